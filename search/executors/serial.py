"""One job at a time in this very process: for tests, for debugging, and for machines without Ray."""

from __future__ import annotations

from typing import Any

from search.ledger import Rung
from search.patience import raises
from search.sweep import Sweep
from search.trial import End, Job, Work


def run(sweep: Sweep, work: Work, data: Any) -> None:
    """Runs the sweep's jobs to the end, or to the next rung once it is stopping."""
    while (job := sweep.next_job()) is not None:
        sweep.ended(job, _end(sweep, work, job, data))


def _end(sweep: Sweep, work: Work, job: Job, data: Any) -> End:
    def tell(rung: Rung) -> None:
        sweep.told(job, rung)
        if sweep.stopping:
            raise _Halted

    try:
        return work.run(job, data, tell, raises(work.study.budget.trial_timeout))
    except _Halted:
        return End("halted")


class _Halted(BaseException):
    """A rung after which the sweep wants no more; not for a trial's own code to catch."""
