"""The ledger: what happened in a run, one JSON object a line, appended and fsynced; nothing else is the truth.

    {"event": "study", "schema": 1, "name": ..., "metric": ..., "mode": ..., "rungs": [...], "study": {...}, ...}
    {"event": "floors", "floors": {"raw": {...}, "untrained": {...}}}
    {"event": "asked", "id": "t0003", "number": 3, "config": {...}, "seed": ..., "until": 3}
    {"event": "rung", "id": "t0003", "epoch": 3, "metrics": {...}, "seconds": 1.8}
    {"event": "promoted", "id": "t0003", "until": 9}
    {"event": "failed", "id": "t0004", "reason": "..."}
    {"event": "finished"}

`History` is what the events add up to; replaying a ledger gives the history that the run had.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.document import StudyError, complaint
from spaces.files import sync_folder
from spaces.space import Config

SCHEMA = 1
Event = dict[str, Any]


@dataclass(frozen=True)
class Rung:
    """What a trial had reached after some epochs; `seconds` is what it took from the rung before."""

    epoch: int
    metrics: dict[str, float]
    seconds: float


@dataclass
class Trial:
    """A config and what became of it. `until` is the epoch that it has been let run to."""

    id: str
    number: int
    config: Config
    seed: int
    until: int
    rungs: list[Rung] = field(default_factory=list)
    reason: str = ""

    @property
    def epoch(self) -> int:
        """Epochs done at the last rung."""
        return self.rungs[-1].epoch if self.rungs else 0

    @property
    def failed(self) -> bool:
        return bool(self.reason)

    @property
    def waiting(self) -> bool:
        """Whether it has reached what it was let run to, and waits for more."""
        return not self.failed and self.epoch >= self.until

    @property
    def seconds(self) -> float:
        return sum(rung.seconds for rung in self.rungs)

    def value(self, metric: str) -> float | None:
        """The metric at the last rung, or None where there is none."""
        return None if self.failed or not self.rungs else self.rungs[-1].metrics.get(metric)


@dataclass
class History:
    """All that is known of a run."""

    header: Event = field(default_factory=dict)
    floors: dict[str, dict[str, float]] | None = None
    trials: dict[str, Trial] = field(default_factory=dict)
    finished: bool = False

    @property
    def rungs(self) -> tuple[int, ...]:
        return tuple(self.header["rungs"])

    def state(self, trial: Trial) -> str:
        """`complete`, `stopped` (early, at a rung), `failed`, `running` or `paused` (at a rung, maybe to go on)."""
        if trial.failed:
            return "failed"
        if trial.epoch >= self.rungs[-1]:
            return "complete"
        if trial.waiting:
            return "stopped" if self.finished else "paused"
        return "running"

    def best(self) -> Trial | None:
        """The best trial: of those that got furthest, since an early rung's value is a guess of the final one."""
        metric, sign = self.header["metric"], 1 if self.header["mode"] == "max" else -1
        scored = [t for t in self.trials.values() if t.value(metric) is not None]
        return max(scored, key=lambda t: (t.epoch, sign * t.rungs[-1].metrics[metric], -t.number), default=None)

    def take(self, event: Event) -> None:
        """Adds one event."""
        match event["event"]:
            case "study":
                self.header = event
            case "floors":
                self.floors = event["floors"]
            case "asked":
                names = ("id", "number", "config", "seed", "until")
                self.trials[event["id"]] = Trial(**{name: event[name] for name in names})
            case "rung":
                self.trials[event["id"]].rungs.append(Rung(event["epoch"], event["metrics"], event["seconds"]))
            case "promoted":
                self.trials[event["id"]].until = event["until"]
            case "failed":
                self.trials[event["id"]].reason = event["reason"]
        self.finished = event["event"] == "finished"


def read(path: Path) -> tuple[History, int]:
    """The history in a ledger file, and how many of its bytes are whole lines; a torn last line is not read.

    Raises:
        StudyError: no such file, or a line before the last that is no event.
    """
    if not path.is_file():
        raise StudyError(complaint(str(path.parent), "no run lies here", "a folder with a ledger.jsonl"))
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    history = History()
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            event = json.loads(line)
            if number == 1 and event.get("schema") != SCHEMA:
                what = f"written by another version: schema {event.get('schema')}"
                raise StudyError(complaint(f"{path}:1", what, f"{SCHEMA}"))
            history.take(event)
        except StudyError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            what = f"damaged line ({type(error).__name__}: {error})"
            raise StudyError(complaint(f"{path}:{number}", what)) from None
    if not whole:
        raise StudyError(complaint(f"{path}", "the ledger is empty: the run was never started"))
    return history, whole


class Ledger:
    """A run's ledger, open for appending; `history` is always what the file says."""

    def __init__(self, path: Path) -> None:
        """Opens the ledger at `path`, or a new one; a line torn by a crash is cut off."""
        self.history, whole = read(path) if path.exists() else (History(), 0)
        self._file = open(path, "ab")  # noqa: SIM115  (open as long as the run)
        if self._file.tell() > whole:
            self._file.truncate(whole)
        sync_folder(path.parent)

    def append(self, event: Event) -> None:
        """Writes one event durably, then counts it in."""
        line = json.dumps(event, separators=(",", ":"), allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.history.take(json.loads(line))  # what a later reader will see

    def close(self) -> None:
        self._file.close()


def finite(metrics: dict[str, float]) -> str:
    """The name of the first metric that is no finite number; empty where all are."""
    return next((name for name, value in metrics.items() if not math.isfinite(value)), "")
