"""How a run is stopped from outside, so that it can go on later.

Ctrl-C once: no new trial begins, and those at work end at their next rung. Ctrl-C again: at once, at the cost of the
work since the last rungs. SIGTERM, by which clusters take a machine back: at once, since their patience is short.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SOFTLY = "\nstopping: trials at work end at their next rung; Ctrl-C again to stop at once"


class Interrupted(BaseException):
    """The run was stopped by a signal; `code` is what the process should exit with."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


@contextmanager
def heeded(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at the first SIGINT, and raises `Interrupted` at the second, at SIGTERM, and at the end if stopped.

    In threads other than the main one, which signals do not reach, nothing is heeded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    over = threading.Event()

    def softly(signum: int, frame: FrameType | None) -> None:
        if heard:
            at_once(signum, frame)
        heard.append(signum)
        stop()
        print(SOFTLY, file=sys.stderr, flush=True)

    def at_once(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, insist)
        threading.Thread(target=again, daemon=True).start()
        insist(signum, frame)

    def insist(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # the one exception that Ray lets through from the depths of its waiting

    def again() -> None:
        while not over.wait(2.0):  # for the case that it met code which takes no exception
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGINT, softly), signal.signal(signal.SIGTERM, at_once)
    try:
        yield
    except KeyboardInterrupt:
        if not heard:
            raise
    finally:
        over.set()
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    if heard:
        raise Interrupted(heard[-1])
