"""How much may be on its way at once: many small blobs, or a few large ones, in about the same memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """At most `limit` is spent at any time; whoever wants more waits. What wants it all gets it when it is alone."""

    def __init__(self, limit: int) -> None:
        self._limit, self._spent = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def spend(self, amount: int) -> Iterator[None]:
        amount = min(amount, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._spent + amount <= self._limit)
            self._spent += amount
        try:
            yield
        finally:
            with self._changed:
                self._spent -= amount
                self._changed.notify_all()
