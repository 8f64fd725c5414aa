"""A trial's work on a worker: from its last rung on to the next, every rung safe on disk before it is told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from objectives.kinds import Failed, Objective, Setting
from search.branches import ladder
from search.folder import Folder
from search.ledger import Rung, finite
from search.patience import Hung, Patience, Rearm, endless
from search.rungs import KEPT, last_state, save_rung
from search.schedulers import forks
from spaces.space import Config
from spaces.study import Study


class Ancestor(NamedTuple):
    """A trial whose state after the rung at epoch `until` another took up."""

    id: str
    config: Config
    seed: int
    until: int


@dataclass(frozen=True)
class Job:
    """A stretch of a trial: from the rung at epoch `start` (0: from scratch) through that at epoch `until`. A fork has
    a line of ancestors, the eldest first."""

    id: str
    config: Config
    seed: int
    start: int
    until: int
    line: tuple[Ancestor, ...] = ()


@dataclass(frozen=True)
class End:
    """How a job ended.

    done      it reached what it was let run to; of the floors' job, `floors` is what it measured
    failed    the trial cannot go on
    lost      its worker died or hung: the same job may do better elsewhere
    halted    it was told to stop at its last rung
    blocked   nothing can be written any more, which no trial can mend
    """

    kind: Literal["done", "failed", "lost", "halted", "blocked"]
    reason: str = ""
    floors: dict[str, dict[str, float]] = field(default_factory=dict)
    cause: str = ""  # of a failure that has a name, and the epoch at which it was seen
    epoch: int = 0


FLOORS = Job("floors", {}, 0, 0, 0)


@dataclass(frozen=True)
class Work:
    """What all jobs of a run share."""

    study: Study
    folder: Folder
    rungs: tuple[int, ...]
    device: str

    def run(self, job: Job, data: Any, tell: Callable[[Rung], None], patience: Patience = endless) -> End:
        """Does a job, telling each rung as it is reached."""
        import safetensors.torch  # noqa: F401  (seconds, not to be charged to a trial, nor to its patience)

        try:
            with patience(job.id) as rearm:
                if job == FLOORS:
                    return End("done", floors=self.study.objective.module.floors(self.study, data))
                self._advance(job, data, tell, rearm)
                return End("done")
        except Failed as failure:
            return End("failed", str(failure), cause=failure.cause, epoch=failure.epoch)
        except Hung:
            return End("lost", self.hung)
        except _Blocked as blocked:
            return End("blocked", str(blocked))
        except Exception as error:
            with suppress(OSError):  # the whole story, if there is room for it
                self.folder.trials.write(f"{job.id}/error.txt", traceback.format_exc().encode())
            return End("failed", _reason(error))

    @property
    def hung(self) -> str:
        """What is said of a trial that hangs."""
        return f"it hung: no rung within {self.study.budget.trial_timeout:g} s (budget.trial_timeout)"

    def note(self, id: str) -> Path | None:
        """Where a worker that hangs notes what it was about, if that is a place which the driver sees, too."""
        return self.folder.trials.local(f"{id}/hung.txt")

    def _advance(self, job: Job, data: Any, tell: Callable[[Rung], None], rearm: Rearm) -> None:
        started = time.perf_counter()
        objective = self._taken_up((*job.line, Ancestor(job.id, job.config, job.seed, job.start)), data, rearm)
        kept = len(self.rungs) if forks(self.study) else KEPT
        for metrics in objective.run():
            if bad := finite(metrics):
                raise Failed(f"the metric {bad} became {metrics[bad]} in epoch {objective.epoch}")
            rung = Rung(objective.epoch, metrics, time.perf_counter() - started)
            with _blocking(job.id):
                save_rung(self.folder, job.id, job.config, rung, objective.state_dict(), kept)
            if rung.epoch > job.start:  # else it was told before, and its state was lost since
                tell(rung)
                rearm()
            if rung.epoch >= job.until:
                return
            started = time.perf_counter()

    def _taken_up(self, line: tuple[Ancestor, ...], data: Any, rearm: Rearm) -> Objective:
        """The last of a line where it stands: from its last whole state or else, if it is a fork, from what the one
        before it had come to, which is run again where its states are lost, too."""
        *elders, (id, config, seed, until) = line
        threads = max(1, int(self.study.resources.cpu))
        setting = Setting(
            config, seed, ladder(self.study, config, self.rungs), data, self.study.probe, threads, self.device
        )
        objective: Objective = self.study.objective.build(setting)
        origin = elders[-1].until if elders else 0
        with _blocking(id):
            state = last_state(self.folder, id, until, after=origin)
        if state is None and elders:
            elder = self._taken_up(tuple(elders), data, rearm)
            steps = elder.run()
            while elder.epoch < origin:
                next(steps)
                rearm()
            state = elder.state_dict()
        if state is not None:
            objective.load_state_dict(state)
        return objective


class _Blocked(Exception):
    """A trial's files cannot be read or written: the disk is full or out of reach, which is no fault of the trial's."""


@contextmanager
def _blocking(id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Blocked(f"{error.strerror or error} (the files of {id})") from None


def _reason(error: Exception) -> str:
    """One line that says what went wrong; torch reports a failed allocation as a RuntimeError."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message:
        return f"out of memory: {message[:200]}" if message else "out of memory"
    return f"{type(error).__name__}: {message[:300]}"
