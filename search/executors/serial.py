"""One job at a time in this very process: for tests, for debugging, and for machines without Ray."""

from __future__ import annotations

from typing import Any

from search.sweep import Sweep
from search.trial import FLOORS, Work


def run(sweep: Sweep, work: Work, data: Any) -> None:
    """Runs the sweep's jobs to the end."""
    while (job := sweep.next_job()) is not None:
        if job == FLOORS:
            sweep.ended(job, work.floors(data))
        else:
            reason = work.run(job, data, lambda rung, job=job: sweep.told(job, rung))  # type: ignore[misc]
            sweep.ended(job, reason)
