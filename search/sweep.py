"""The sweep: what to run next, and what came of it. Executors pull jobs from it; the ledger records all.

Nothing here knows Ray. A sweep can be stopped at any instant and rebuilt from its ledger: strategy and scheduler are
told the trials again, and trials that were under way go on from their last rung.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from search import branches
from search.ledger import Event, History, Ledger, Rung, Trial
from search.retention import Retention
from search.rungs import saved_rungs
from search.schedulers import Forking
from search.trial import FLOORS, Ancestor, End, Job, Work
from spaces.goal import SECONDS
from spaces.space import Config
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
        self.scheduler, self.strategy = branches.scheduler(study), branches.strategy(study)
        self.retention = Retention(work.folder, study.resources.keep, self.history, isinstance(self.scheduler, Forking))
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
        trial = (
            self.left.popleft() if self.left else self._forked() or self._promoted() or self._new() or self._repeat()
        )
        if trial is None:
            self.over = self.idle
            return None
        self.busy.add(trial.id)
        return Job(trial.id, trial.config, trial.seed, trial.epoch, trial.until, self._line(trial))

    def told(self, job: Job, rung: Rung) -> None:
        """Records a rung that a job has reached."""
        self._rung(self.history.trials[job.id], rung)
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
            named = {"cause": end.cause, "at": end.epoch} if end.cause else {}
            self._record(event="failed", id=job.id, reason=self._reason(trial, job, end), **named)
            self._tell(trial)
            self.retention.failed(trial)
        elif trial.waiting:
            self.ready.add(trial.id)
            self.retention.reached(trial)
        else:
            self.left.append(trial)
        if isinstance(self.scheduler, Forking):
            self.retention.passed(self.scheduler.oldest() if self._room() else self.history.rungs[-1])

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

    def _rung(self, trial: Trial, rung: Rung) -> None:
        seconds, metrics = round(rung.seconds, 3), rung.metrics
        if self.study.goal.timed:
            metrics = {**metrics, SECONDS: trial.seconds + seconds}
        self._record(event="rung", id=trial.id, epoch=rung.epoch, metrics=metrics, seconds=seconds)

    def _tell(self, trial: Trial) -> None:
        if trial.of:
            return  # what a finalist repeats is no news
        self.strategy.tell(trial)
        self.scheduler.tell(trial)

    def _catch_up(self) -> None:
        """Takes in rungs that reached the disk but not the ledger, and tells strategy and scheduler what is known.

        Of a ledger that was damaged, lost rungs come back in the same way.
        """
        for trial in self.history.known:
            self.strategy.tell(trial)
        for trial in self.history.trials.values():
            under_way = not (trial.failed or trial.waiting)
            if under_way or self.history.damaged:
                known = {rung.epoch for rung in trial.rungs}
                for rung in saved_rungs(self.work.folder, trial.id, trial.config):
                    if rung.epoch not in known and rung.epoch <= trial.until:
                        self._rung(trial, rung)
            self._tell(trial)
            if trial.waiting:
                self.ready.add(trial.id)
            elif not trial.failed:
                self.left.append(trial)

    def _next(self) -> Trial | None:
        return self._forked() or self._promoted() or self._new() or self._repeat()

    def _room(self) -> bool:
        """Whether the budget has room for a trial more."""
        return len(self.history.trials) - self.history.repeated < self.study.trials

    def _line(self, trial: Trial) -> tuple[Ancestor, ...]:
        """Those of whom a trial is a fork, the eldest first."""
        line: list[Ancestor] = []
        while trial.parent:
            parent = self.history.trials[trial.parent]
            line.append(Ancestor(parent.id, parent.config, parent.seed, trial.origin))
            trial = parent
        return tuple(reversed(line))

    def _promoted(self) -> Trial | None:
        choice = self.scheduler.promote(self.ready, not self.spent and self._room(), self.idle)
        if choice is None:
            return None
        trial, until = choice
        self._record(event="promoted", id=trial.id, until=until)
        self.ready.discard(trial.id)
        self._tell(trial)
        return trial

    def _forked(self) -> Trial | None:
        if not (isinstance(self.scheduler, Forking) and self._room()):
            return None
        fork = self.scheduler.fork(self.history.following)
        if fork is None:
            return None
        return self._asked(fork.config, fork.until, parent=fork.parent.id, start=fork.start)

    def _new(self) -> Trial | None:
        if self.spent or not self._room():
            return None
        number = self.history.following
        until = self.scheduler.first(number)
        if not until:
            return None
        config = self.strategy.ask(number)
        if config is None:
            self.spent = True
            return self._promoted()
        return self._asked(config, until)

    def _repeat(self) -> Trial | None:
        """The next repeat of a finalist, once the search itself is over."""
        budget = self.study.budget
        if not budget.repeats or any(not self.history.trials[id].of for id in self.busy):
            return None
        ended = [trial for trial in self.history.ranked() if self.history.state(trial) == "complete"]
        for finalist in ended[: budget.finalists]:
            if sum(trial.of == finalist.id for trial in self.history.trials.values()) < budget.repeats:
                return self._asked(finalist.config, self.history.length(finalist), of=finalist.id)
        return None

    def _asked(self, config: Config, until: int, **origin: Any) -> Trial:
        number = self.history.following
        turn = number // max(len(self.study.paired), 1)
        id, seed = f"t{number:04d}", trial_seed(self.study.goal.seed, turn)
        self._record(event="asked", id=id, number=number, config=config, seed=seed, until=until, **origin)
        self._tell(self.history.trials[id])
        return self.history.trials[id]


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, from the study's and its number or, of configs that share seeds, that of its turn."""
    return zlib.crc32(f"{seed}/{number}".encode()) & 0x7FFFFFFF


Executor = Callable[[Sweep, Work, Any], None]
"""Runs the jobs of a sweep, given what they share and the data, until the sweep has no more.

It calls `sweep.next_job()` whenever it has room, `sweep.told(job, rung)` at every rung and `sweep.ended(job, end)`
when a job is over, all from one thread. Once `sweep.stopping`, it ends jobs that are out at their next rung.
"""
