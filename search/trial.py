"""A trial's work on a worker: from its last rung on to the next, every rung safe on disk before it is told."""

from __future__ import annotations

import io
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from objectives.kinds import Failed, Setting
from search.folder import Folder
from search.ledger import Rung, finite
from spaces.files import write_whole
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


FLOORS = Job("floors", {}, 0, 0, 0)


@dataclass(frozen=True)
class Work:
    """What all jobs of a run share."""

    study: Study
    folder: Folder
    rungs: tuple[int, ...]
    device: str

    def floors(self, data: Any) -> dict[str, dict[str, float]] | str:
        """The metrics that trials must beat, or the reason why they could not be measured."""
        try:
            return self.study.objective.module.floors(self.study, data)
        except Exception as error:
            return self._failed(FLOORS, error)

    def run(self, job: Job, data: Any, tell: Callable[[Rung], None]) -> str:
        """Does a job, telling each rung as it is reached; the reason why the trial failed, or an empty string."""
        try:
            self._advance(job, data, tell)
        except Failed as failure:
            return str(failure)
        except Exception as error:
            return self._failed(job, error)
        return ""

    def _failed(self, job: Job, error: Exception) -> str:
        """The reason of a failure on one line; the whole story goes to the trial's folder."""
        write_whole(self.folder.trial(job.id) / "error.txt", traceback.format_exc().encode())
        return _reason(error)

    def _advance(self, job: Job, data: Any, tell: Callable[[Rung], None]) -> None:
        threads = max(1, int(self.study.resources.cpu))
        setting = Setting(job.config, job.seed, self.rungs, data, self.study.probe, threads, self.device)
        started = time.perf_counter()
        objective = self.study.objective.build(setting)
        if job.start:
            objective.load_state_dict(load_state(self.folder, job.id, job.start))
        for metrics in objective.run():
            if bad := finite(metrics):
                raise Failed(f"the metric {bad} became {metrics[bad]} in epoch {objective.epoch}")
            rung = Rung(objective.epoch, metrics, time.perf_counter() - started)
            save_rung(self.folder, job.id, rung, objective.state_dict())
            tell(rung)
            if objective.epoch >= job.until:
                return
            started = time.perf_counter()


def _reason(error: Exception) -> str:
    """One line that says what went wrong; torch reports a failed allocation as a RuntimeError."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in message or "can't allocate memory" in message:
        return f"out of memory: {message[:200]}" if message else "out of memory"
    return f"{type(error).__name__}: {message[:300]}"


def save_rung(folder: Folder, id: str, rung: Rung, state: dict[str, Any]) -> None:
    """Makes a rung durable: the state first, then the result that vouches for it; older states go."""
    write_whole(folder.checkpoint(id, rung.epoch), _packed(state))
    write_whole(folder.result(id, rung.epoch), json.dumps(asdict(rung), allow_nan=False).encode())
    for old in folder.trial(id).glob("rung-*.pt"):
        if old != folder.checkpoint(id, rung.epoch):
            old.unlink(missing_ok=True)


def saved_rungs(folder: Folder, id: str) -> list[Rung]:
    """The rungs of a trial that lie on disk, in order."""
    results = sorted(folder.trial(id).glob("rung-*.json"))
    return [Rung(**json.loads(result.read_bytes())) for result in results]


def load_state(folder: Folder, id: str, epoch: int) -> dict[str, Any]:
    """The state of a trial after the rung at `epoch`, on the CPU."""
    import torch

    return torch.load(folder.checkpoint(id, epoch), map_location="cpu", weights_only=True)


def _packed(state: dict[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
