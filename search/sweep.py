"""The sweep: what to run next, and what came of it. Executors pull jobs from it; the ledger records all.

Nothing here knows Ray. A sweep can be stopped at any instant and rebuilt from its ledger: strategy and scheduler are
told the trials again, and trials that were under way go on from their last rung.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from search.ledger import Event, History, Ledger, Rung, Trial
from search.retention import Retention
from search.rungs import saved_rungs
from search.trial import FLOORS, End, Job, Work
from spaces.study import Study

Observer = Callable[[Event, History], None]


class Sweep:
    """A study under way.

    Args:
        study: what is searched.
        work: what trials share; its folder is where rungs lie that a crash kept from the ledger.
        ledger: the run's record, new or found.
        observe: called with each event and the history it led to.

    Attributes:
        over: nothing is left to do, and nobody is at work.
        stopping: no job is given out any more, and those that are out should end at their next rung.
        obstacle: why the run cannot go on, if it cannot.
    """

    def __init__(self, study: Study, work: Work, ledger: Ledger, observe: Observer) -> None:
        self.study, self.work, self.ledger, self.observe = study, work, ledger, observe
        self.history = ledger.history
        self.scheduler = study.scheduler.build(study.goal)
        self.strategy = study.strategy.build(study.space, study.goal)
        self.retention = Retention(work.folder, study.resources.keep, self.history)
        self.busy: set[str] = set()  # the trials that are out
        self.left: deque[Trial] = deque()  # under way when the run or their worker broke off
        self.ready: set[str] = set()  # those that pause at a rung
        self.spent = False  # the strategy has nothing left to try
        self.floors_lost = 0
        self.over, self.stopping, self.obstacle = False, False, ""
        self._catch_up()

    @property
    def idle(self) -> bool:
        """Whether no job is out."""
        return not self.busy

    def next_job(self) -> Job | None:
        """The next job, or None: with jobs out, none for now; with none out, the sweep is over or stopped."""
        if self.stopping:
            return None
        if self.history.floors is None and FLOORS.id not in self.busy:
            self.busy.add(FLOORS.id)
            return FLOORS
        trial = self.left.popleft() if self.left else self._promoted() or self._new()
        if trial is None:
            self.over = self.idle
            return None
        self.busy.add(trial.id)
        return _job(trial)

    def told(self, job: Job, rung: Rung) -> None:
        """Records a rung that a job has reached."""
        self._record(event="rung", id=job.id, **_entries(rung))
        self._tell(self.history.trials[job.id])

    def ended(self, job: Job, end: End) -> None:
        """Records the end of a job; of one that was lost, whether it is tried again."""
        self.busy.discard(job.id)
        if end.kind == "blocked":
            self.stop(end.reason)
        if job.id == FLOORS.id:
            self._floors_ended(end)
            return
        trial = self.history.trials[job.id]
        if end.kind == "lost" and trial.retries < self.study.budget.retries:
            self._record(event="retried", id=job.id, reason=end.reason)
            self.left.append(trial)
        elif end.kind in ("failed", "lost") or (end.kind == "done" and not trial.waiting):
            self._record(event="failed", id=job.id, reason=self._reason(trial, job, end))
            self._tell(trial)
            self.retention.failed(trial)
        elif trial.waiting:
            self.ready.add(trial.id)
            self.retention.reached(trial)
        else:
            self.left.append(trial)

    def stop(self, obstacle: str = "") -> None:
        """Gives out no more jobs; with an obstacle, the run cannot go on."""
        self.stopping, self.obstacle = True, self.obstacle or obstacle

    def finish(self) -> None:
        """Closes the record, if all is done; trials that pause at a rung are then stopped for good."""
        if self.over and not self.history.finished:
            self._record(event="finished")
        if self.over:
            self.retention.finished()

    def _floors_ended(self, end: End) -> None:
        if end.kind == "lost" and self.floors_lost < self.study.budget.retries:
            self.floors_lost += 1
        elif end.kind in ("done", "failed", "lost"):
            self._record(event="floors", floors=end.floors, reason=end.reason)

    def _reason(self, trial: Trial, job: Job, end: End) -> str:
        if end.kind == "done":
            return f"it ended before epoch {job.until}"
        tries = f" ({trial.retries + 1} times)" if end.kind == "lost" and trial.retries else ""
        return (end.reason or "for no reason that it told") + tries

    def _record(self, **event: Any) -> None:
        self.ledger.append(event)
        self.observe(event, self.history)

    def _tell(self, trial: Trial) -> None:
        self.strategy.tell(trial)
        self.scheduler.tell(trial)

    def _catch_up(self) -> None:
        """Takes in rungs that reached the disk but not the ledger, and tells strategy and scheduler what is known.

        Of a ledger that was damaged, lost rungs come back in the same way.
        """
        for trial in self.history.trials.values():
            under_way = not (trial.failed or trial.waiting)
            if under_way or self.history.damaged:
                known = {rung.epoch for rung in trial.rungs}
                for rung in saved_rungs(self.work.folder, trial.id, trial.config):
                    if rung.epoch not in known and rung.epoch <= trial.until:
                        self._record(event="rung", id=trial.id, **_entries(rung))
            self._tell(trial)
            if trial.waiting:
                self.ready.add(trial.id)
            elif not trial.failed:
                self.left.append(trial)

    def _promoted(self) -> Trial | None:
        exhausted = self.idle and (self.spent or len(self.history.trials) >= self.study.budget.trials)
        choice = self.scheduler.promote(self.ready, exhausted)
        if choice is None:
            return None
        trial, until = choice
        self._record(event="promoted", id=trial.id, until=until)
        self.ready.discard(trial.id)
        self._tell(trial)
        return trial

    def _new(self) -> Trial | None:
        if self.spent or len(self.history.trials) >= self.study.budget.trials:
            return None
        number = self.history.following
        config = self.strategy.ask(number)
        if config is None:
            self.spent = True
            return self._promoted()
        id = f"t{number:04d}"
        seed = trial_seed(self.study.goal.seed, number)
        self._record(event="asked", id=id, number=number, config=config, seed=seed, until=self.scheduler.first)
        self._tell(self.history.trials[id])
        return self.history.trials[id]


def _job(trial: Trial) -> Job:
    return Job(trial.id, trial.config, trial.seed, trial.epoch, trial.until)


def _entries(rung: Rung) -> dict[str, Any]:
    return {"epoch": rung.epoch, "metrics": rung.metrics, "seconds": round(rung.seconds, 3)}


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, from the study's and its number."""
    return zlib.crc32(f"{seed}/{number}".encode()) & 0x7FFFFFFF


Executor = Callable[[Sweep, Work, Any], None]
"""Runs the jobs of a sweep, given what they share and the data, until the sweep has no more.

It calls `sweep.next_job()` whenever it has room, `sweep.told(job, rung)` at every rung and `sweep.ended(job, end)`
when a job is over, all from one thread. Once `sweep.stopping`, it ends jobs that are out at their next rung.
"""
