"""Patience with trials: what ends one that reaches no rung for too long.

A worker's process is ended by a thread in C, which needs neither the interpreter nor its lock and leaves a note of
where every thread was; so a hang is told from any other death. The serial executor's process must live on: there the
kernel's alarm raises `Hung` in whatever Python is about.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

Rearm = Callable[[], None]  # to be called at every rung
Patience = Callable[[str], AbstractContextManager[Rearm]]  # with the trial of that id


class Hung(Exception):
    """A trial has reached no rung for too long."""


def ends_process(seconds: float, note: Callable[[str], Path | None]) -> Patience:
    """Ends this process if `seconds` pass without a rung (0: never), once it is written at `note(id)` where it was.

    Without a path for it, that is written to the standard error.
    """

    @contextmanager
    def patience(id: str) -> Iterator[Rearm]:
        if not seconds:
            yield _nothing
            return
        path = note(id)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(path or os.devnull, "w") as file:
            arm = partial(faulthandler.dump_traceback_later, seconds, exit=True, file=file if path else sys.stderr)
            arm()
            try:
                yield arm
            finally:
                faulthandler.cancel_dump_traceback_later()
                if path:
                    path.unlink(missing_ok=True)

    return patience


def hung(note: Path | None) -> bool:
    """Whether a worker that is dead has noted a hang; one that had no time to note anything died otherwise."""
    if note is None or not note.exists():
        return False
    if note.stat().st_size:
        return True
    note.unlink()
    return False


def raises(seconds: float) -> Patience:
    """Raises `Hung` in this process's main thread if `seconds` pass without a rung; 0: never."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hung

    @contextmanager
    def patience(id: str) -> Iterator[Rearm]:
        if not seconds or threading.current_thread() is not threading.main_thread():
            yield _nothing
            return

        def arm() -> None:
            signal.setitimer(signal.ITIMER_REAL, seconds)

        before = signal.signal(signal.SIGALRM, ring)
        arm()
        try:
            yield arm
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return patience


def _nothing() -> None:
    """For those whose patience is endless."""


endless = raises(0)
