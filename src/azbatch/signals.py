"""Ctrl-C and SIGTERM as KeyboardInterrupt, and stretches in which they have to wait."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within `with`, both signals raise KeyboardInterrupt in the main thread. Elsewhere than there it does nothing.

    `said` is called with a sentence when a signal has to wait.
    """

    def __init__(self, said: Callable[[str], None] = lambda _: None) -> None:
        self._said = said
        self._before: dict[signal.Signals, Any] = {}
        self._hook: Callable[[sys.UnraisableHookArgs], Any] = sys.unraisablehook
        self._held = 0
        self._waiting = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            # Set even where SIGINT is ignored, as it is for background jobs of a shell: whoever sends it means it.
            self._before = {number: signal.signal(number, self._came) for number in _SIGNALS}
            self._hook, sys.unraisablehook = sys.unraisablehook, self._lost
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._hook

    def _lost(self, lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            self._hook(lost)
            return
        # A finalizer or the callback of a weak reference swallowed it: it comes again once that is over.
        again = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    def _came(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._held:
            self._waiting = True
            self._said("One moment: this has to be finished first.")
            return
        raise KeyboardInterrupt

    @contextmanager
    def held(self, *, dropped: bool = False) -> Iterator[None]:
        """Signals wait until the end of the block, and are then raised; with `dropped` they are forgotten."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._waiting = False
            if not dropped:
                raise KeyboardInterrupt
