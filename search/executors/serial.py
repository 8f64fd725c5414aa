"""One job at a time in this very process: for tests, for debugging, and for machines without Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from search.ledger import Rung
from search.sweep import Sweep
from search.trial import End, Hung, Job, Work


def run(sweep: Sweep, work: Work, data: Any) -> None:
    """Runs the sweep's jobs to the end, or to the next rung once it is stopping."""
    with _impatient():
        while (job := sweep.next_job()) is not None:
            sweep.ended(job, _end(sweep, work, job, data))


def _end(sweep: Sweep, work: Work, job: Job, data: Any) -> End:
    def tell(rung: Rung) -> None:
        sweep.told(job, rung)
        if sweep.stopping:
            raise _Halted

    try:
        return work.run(job, data, tell)
    except _Halted:
        return End("halted")


class _Halted(BaseException):
    """A rung after which the sweep wants no more; not for a trial's own code to catch."""


@contextmanager
def _impatient() -> Iterator[None]:
    """Makes the alarm of a trial that hangs an exception, which ends whatever it is about in Python."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hung

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
