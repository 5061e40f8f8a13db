"""Ctrl-C and SIGTERM as KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from azbatch.signals import Interrupts


class Ends:
    """Something whose finalizer the signal arrives in."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        time.monotonic()


def _dropped() -> None:
    one = Ends()
    del one
    threading.Event().wait(20)


@pytest.mark.fault("Ctrl-C in a finalizer", "it comes again, without a traceback")
def test_a_signal_that_arrives_in_a_finalizer_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Python ignores what a finalizer raises: the interrupt comes again after it, and no traceback is printed."""
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        _dropped()
    assert "Traceback" not in capsys.readouterr().err


def test_a_signal_waits_until_a_stretch_ends() -> None:
    """Within `held` nothing is interrupted; after it, what came is raised."""
    said: list[str] = []
    done: list[int] = []

    def held(interrupts: Interrupts) -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            done.append(1)

    with Interrupts(said.append) as interrupts, pytest.raises(KeyboardInterrupt):
        held(interrupts)
    assert done
    assert said == ["One moment: this has to be finished first."]
