"""A trial's work on a worker: from its last rung on to the next, every rung safe on disk before it is told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from objectives.kinds import Failed, Setting
from search.folder import Folder
from search.ledger import Rung, finite
from search.patience import Hung, Patience, Rearm, endless
from search.rungs import last_state, save_rung
from spaces.space import Config
from spaces.study import Study


@dataclass(frozen=True)
class Job:
    """A stretch of a trial: from the rung at epoch `start` (0: from scratch) through that at epoch `until`."""

    id: str
    config: Config
    seed: int
    start: int
    until: int


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
            return End("failed", str(failure))
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
        threads = max(1, int(self.study.resources.cpu))
        setting = Setting(job.config, job.seed, self.rungs, data, self.study.probe, threads, self.device)
        started = time.perf_counter()
        objective = self.study.objective.build(setting)
        with _blocking(job):
            state = last_state(self.folder, job.id, job.start)
        if state is not None:
            objective.load_state_dict(state)
        for metrics in objective.run():
            if bad := finite(metrics):
                raise Failed(f"the metric {bad} became {metrics[bad]} in epoch {objective.epoch}")
            rung = Rung(objective.epoch, metrics, time.perf_counter() - started)
            with _blocking(job):
                save_rung(self.folder, job.id, job.config, rung, objective.state_dict())
            if rung.epoch > job.start:  # else it was told before, and its state was lost since
                tell(rung)
                rearm()
            if rung.epoch >= job.until:
                return
            started = time.perf_counter()


class _Blocked(Exception):
    """A trial's files cannot be read or written: the disk is full or out of reach, which is no fault of the trial's."""


@contextmanager
def _blocking(job: Job) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Blocked(f"{error.strerror or error} (the files of {job.id})") from None


def _reason(error: Exception) -> str:
    """One line that says what went wrong; torch reports a failed allocation as a RuntimeError."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message:
        return f"out of memory: {message[:200]}" if message else "out of memory"
    return f"{type(error).__name__}: {message[:300]}"
