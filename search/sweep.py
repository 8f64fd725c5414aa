"""The sweep: what to run next, and what came of it. Executors pull jobs from it; the ledger records all.

Nothing here knows Ray. A sweep can be stopped at any instant and rebuilt from its ledger: the strategy is told
the trials again, and trials that were under way go on from their last rung.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from search.ledger import Event, History, Ledger, Rung, Trial
from search.trial import FLOORS, Job, Work, saved_rungs
from spaces.study import Study

Observer = Callable[[Event, History], None]


class Sweep:
    """A study under way.

    Args:
        study: what is searched.
        work: what trials share; its folder is where rungs lie that a crash kept from the ledger.
        ledger: the run's record, new or found.
        observe: called with each event and the history it led to.
    """

    def __init__(self, study: Study, work: Work, ledger: Ledger, observe: Observer) -> None:
        self.study, self.work, self.ledger, self.observe = study, work, ledger, observe
        self.history = ledger.history
        self.scheduler = study.scheduler.build(study.goal)
        self.strategy = study.strategy.build(study.space, study.goal)
        self.busy: set[str] = set()
        self.spent = False  # the strategy has nothing left to try
        self.over = False  # nothing is left to do, and nobody is at work
        self._catch_up()

    @property
    def idle(self) -> bool:
        """Whether no job is out."""
        return not self.busy

    def next_job(self) -> Job | None:
        """The next job, or None: with jobs out, none for now; with none out, the sweep is over."""
        if self.history.floors is None and FLOORS.id not in self.busy:
            self.busy.add(FLOORS.id)
            return FLOORS
        trial = self._unfinished() or self._promoted() or self._new()
        if trial is None:
            self.over = self.idle
            return None
        self.busy.add(trial.id)
        return Job(trial.id, trial.config, trial.seed, trial.epoch, trial.until)

    def told(self, job: Job, rung: Rung) -> None:
        """Records a rung that a job has reached."""
        self._record(event="rung", id=job.id, epoch=rung.epoch, metrics=rung.metrics, seconds=round(rung.seconds, 3))
        self.strategy.tell(self.history.trials[job.id])

    def ended(self, job: Job, outcome: str | dict[str, dict[str, float]]) -> None:
        """Records the end of a job: the reason of a failure (or an empty string), or the floors."""
        self.busy.discard(job.id)
        if job.id == FLOORS.id:
            floors = outcome if isinstance(outcome, dict) else {}
            self._record(event="floors", floors=floors, reason=outcome if isinstance(outcome, str) else "")
        elif outcome or not self.history.trials[job.id].waiting:
            self._record(event="failed", id=job.id, reason=outcome or f"it ended before epoch {job.until}")
            self.strategy.tell(self.history.trials[job.id])

    def finish(self) -> None:
        """Closes the record, if all is done; trials that pause at a rung are then stopped for good."""
        if self.over and not self.history.finished:
            self._record(event="finished")

    def _record(self, **event: Any) -> None:
        self.ledger.append(event)
        self.observe(event, self.history)

    def _catch_up(self) -> None:
        """Tells the strategy what is known, having first taken in rungs that reached the disk but not the ledger."""
        for trial in self.history.trials.values():
            self.strategy.tell(trial)
            if not (trial.failed or trial.waiting):
                job = Job(trial.id, trial.config, trial.seed, trial.epoch, trial.until)
                for rung in saved_rungs(self.work.folder, trial.id):
                    if trial.epoch < rung.epoch <= trial.until:
                        self.told(job, rung)

    def _unfinished(self) -> Trial | None:
        """A trial that was under way when the run broke off."""
        left = (t for t in self.history.trials.values() if not (t.failed or t.waiting or t.id in self.busy))
        return next(left, None)

    def _promoted(self) -> Trial | None:
        alive = [t for t in self.history.trials.values() if not t.failed]
        ready = {t.id for t in alive if t.waiting and t.id not in self.busy}
        exhausted = self.idle and (self.spent or len(self.history.trials) >= self.study.budget.trials)
        choice = self.scheduler.promote(alive, ready, exhausted)
        if choice is None:
            return None
        trial, until = choice
        self._record(event="promoted", id=trial.id, until=until)
        self.strategy.tell(trial)
        return trial

    def _new(self) -> Trial | None:
        number = len(self.history.trials)
        if self.spent or number >= self.study.budget.trials:
            return None
        config = self.strategy.ask(number)
        if config is None:
            self.spent = True
            return self._promoted()
        id = f"t{number:04d}"
        seed = trial_seed(self.study.goal.seed, number)
        self._record(event="asked", id=id, number=number, config=config, seed=seed, until=self.scheduler.first)
        self.strategy.tell(self.history.trials[id])
        return self.history.trials[id]


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, from the study's and its number."""
    return zlib.crc32(f"{seed}/{number}".encode()) & 0x7FFFFFFF


Executor = Callable[[Sweep, Work, Any], None]
"""Runs the jobs of a sweep, given what they share and the data, until the sweep has no more.

It calls `sweep.next_job()` whenever it has room, `sweep.told(job, rung)` at every rung and `sweep.ended(job, outcome)`
when a job is over, all from one thread.
"""
