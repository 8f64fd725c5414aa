"""The ledger: what happened in a run, one JSON object a line, appended and fsynced; nothing else is the truth.

    {"event": "study", "schema": 2, "name": ..., "metric": ..., "mode": ..., "rungs": [...], ..., "crc": ...}
    {"event": "floors", "floors": {"raw": {...}, "untrained": {...}}, "crc": ...}
    {"event": "known", "id": "w0000", "config": {...}, "epoch": 9, "metrics": {...}, "from": "runs/x t0007", "crc": ...}
    {"event": "asked", "id": "t0003", "number": 3, "config": {...}, "seed": ..., "until": 3, "crc": ...}
    {"event": "asked", "id": "t0009", ..., "until": 6, "parent": "t0003", "start": 3, "crc": ...}
    {"event": "rung", "id": "t0003", "epoch": 3, "metrics": {...}, "seconds": 1.8, "crc": ...}
    {"event": "promoted", "id": "t0003", "until": 9, "crc": ...}
    {"event": "retried", "id": "t0003", "reason": "...", "crc": ...}
    {"event": "failed", "id": "t0004", "reason": "...", "cause": "constant", "at": 2, "crc": ...}
    {"event": "finished", "crc": ...}

A trial with a `parent` is a fork: it takes up the state of that trial after the rung at epoch `start`. One that is `of`
another repeats it with another seed.

Every line ends with a checksum of what stands before it. `History` is what the events add up to; replaying a ledger
gives the history that the run had. Schema 1 had no checksums and is still read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import warnings
import zlib
from bisect import insort
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.lock import Lock
from spaces.document import StudyError, complaint
from spaces.expressions import parse
from spaces.files import write_whole
from spaces.goal import SECONDS, Goal, Target
from spaces.space import Config

SCHEMA = 2
READABLE = (1, 2)
NO_RUN = "no run lies here", "a folder with a ledger.jsonl"
ID = re.compile(r"t[0-9]+")
Event = dict[str, Any]


class LedgerWarning(UserWarning):
    """A part of a ledger cannot be read; what the rest says still stands."""


@dataclass(frozen=True)
class Rung:
    """What a trial had reached after some epochs; `seconds` is what it took from the rung before."""

    epoch: int
    metrics: dict[str, float]
    seconds: float


@dataclass
class Trial:
    """A config and what became of it. `until` is the epoch that it has been let run to; a fork has taken up the state
    of the trial `parent` after the rung at epoch `origin`, and has no rungs before. A repeat is `of` a finalist, with a
    seed of its own. A failure that has a name has a `cause`, seen `at` an epoch."""

    id: str
    number: int
    config: Config
    seed: int
    until: int
    rungs: list[Rung] = field(default_factory=list)
    reason: str = ""
    retries: int = 0
    parent: str = ""
    origin: int = 0
    of: str = ""
    cause: str = ""
    at: int = 0

    @property
    def epoch(self) -> int:
        """Epochs done at the last rung, those of a fork's parent included."""
        return self.rungs[-1].epoch if self.rungs else self.origin

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

    def reach(self, rung: Rung) -> None:
        """Takes note of a rung, in its place; one that is known already, or that lies beyond, does no harm."""
        if all(rung.epoch != known.epoch for known in self.rungs):
            insort(self.rungs, rung, key=lambda known: known.epoch)
            self.until = max(self.until, rung.epoch)


@dataclass
class History:
    """All that is known of a run; `damaged` says which lines of its ledger could not be read."""

    header: Event = field(default_factory=dict)
    floors: dict[str, dict[str, float]] | None = None
    trials: dict[str, Trial] = field(default_factory=dict)
    finished: bool = False
    known: list[Trial] = field(default_factory=list)  # of earlier runs, from which this one started warm
    damaged: list[int] = field(default_factory=list)
    repeated: int = 0  # trials that repeat a finalist
    following: int = 0  # the number of the trial to come

    @property
    def rungs(self) -> tuple[int, ...]:
        return tuple(self.header["rungs"])

    def state(self, trial: Trial) -> str:
        """`complete`, `stopped` (early, at a rung), `failed`, `running` or `paused` (at a rung, maybe to go on)."""
        if trial.failed:
            return "failed"
        if trial.epoch >= self.length(trial):
            return "complete"
        if trial.waiting:
            return "stopped" if self.finished else "paused"
        return "running"

    def length(self, trial: Trial) -> int:
        """The epochs of a trial that is not stopped early."""
        per, lengths = self.header.get("per", ""), self.header.get("lengths", {})
        return lengths[next(iter(trial.config[per]))] if per else self.rungs[-1]

    @property
    def searched(self) -> list[Trial]:
        """The trials of the search itself, without the repeats of finalists."""
        return [trial for trial in self.trials.values() if not trial.of]

    @property
    def goal(self) -> Goal:
        """What the run is after."""
        header = self.header
        others = tuple(Target(**target) for target in header.get("others", ()))
        bounds = tuple(parse(text, [*header["scores"], SECONDS]) for text in header.get("subject_to", ()))
        return Goal(header["metric"], header["mode"], self.rungs[-1], header.get("seed", 0), others, bounds)

    def ranked(self) -> list[Trial]:
        """The trials from best to worst: those that got further first, since an early value is a guess of the final
        one; before all others those that keep within bounds; those that failed or have no value last."""
        goal = self.goal
        return sorted(self.searched, key=lambda trial: rank(trial, goal))

    def repeats(self) -> dict[str, list[float]]:
        """The values that each finalist has reached with other seeds, as far as they are there."""
        found: dict[str, list[float]] = {}
        for trial in self.trials.values():
            value = trial.value(self.header["metric"])
            if trial.of and value is not None and self.state(trial) == "complete":
                found.setdefault(trial.of, []).append(value)
        return found

    def front(self) -> list[Trial]:
        """The trials that ran to their end within bounds and that no other such beats in every metric (Pareto)."""
        goal = self.goal
        ended = [trial for trial in self.searched if self.state(trial) == "complete"]
        reached = [(trial, goal.values(trial.rungs[-1].metrics)) for trial in ended if not _excess(trial, goal)]
        points = [(trial, values) for trial, values in reached if values is not None]
        return [trial for trial, values in points if not any(dominates(other, values) for _, other in points)]

    def best(self) -> Trial | None:
        """The finalist with the best mean over its repeats, else the first of those ranked, if it has a value."""
        order = self.ranked()
        if repeats := self.repeats():
            means = {id: sum(values) / len(values) for id, values in repeats.items()}
            order = sorted((trial for trial in order if trial.id in means), key=lambda t: -self.goal.sign * means[t.id])
        return order[0] if order and order[0].value(self.header["metric"]) is not None else None

    def take(self, event: Event) -> None:
        """Adds one event.

        Raises:
            KeyError, TypeError, ValueError: it is none, or it speaks of a trial that nobody asked for.
        """
        match event["event"]:
            case "study":
                self.header = event
            case "floors":
                self.floors = event["floors"]
            case "known":
                number = -len(self.known) - 1
                rung = Rung(event["epoch"], event["metrics"], 0.0)
                self.known.append(Trial(event["id"], number, event["config"], 0, rung.epoch, [rung]))
            case "asked":
                names = ("id", "number", "config", "seed", "until")
                trial = Trial(**{name: event[name] for name in names})
                if not ID.fullmatch(trial.id):  # it becomes a folder
                    raise ValueError(f"a trial is not called {trial.id!r}")
                if "parent" in event:
                    trial.parent, trial.origin = event["parent"], event["start"]
                    if self.trials[trial.parent].number >= trial.number:
                        raise ValueError(f"{trial.parent} is no parent of {trial.id}: it was not there before")
                trial.of = event.get("of", "")
                self.trials[trial.id] = trial
                self.repeated += bool(trial.of)
                self.following = max(self.following, trial.number + 1)
            case "rung":
                self.trials[event["id"]].reach(Rung(event["epoch"], event["metrics"], event["seconds"]))
            case "promoted":
                self.trials[event["id"]].until = event["until"]
            case "retried":
                self.trials[event["id"]].retries += 1
            case "failed":
                trial = self.trials[event["id"]]
                trial.reason, trial.cause, trial.at = event["reason"], event.get("cause", ""), event.get("at", 0)
        self.finished = event["event"] == "finished"


def rank(trial: Trial, goal: Goal) -> tuple[bool, bool, int, float, int]:
    """What trials are ordered by, the best first."""
    value = trial.value(goal.metric)
    return (
        value is None,
        _excess(trial, goal) > 0,
        -trial.epoch,
        0.0 if value is None else -goal.sign * value,
        trial.number,
    )


def _excess(trial: Trial, goal: Goal) -> float:
    """By how much a trial misses the bounds where it stands."""
    return goal.excess(trial.rungs[-1].metrics) if goal.bounds and trial.rungs else 0.0


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is at least as good everywhere, more being better, and better somewhere."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def read(path: Path) -> tuple[History, int]:
    """The history in a ledger file, and how many of its bytes are whole lines.

    A last line torn by a crash, and lines that were damaged since, are passed over with a `LedgerWarning`.

    Raises:
        StudyError: no such file, or its first line, without which the others mean nothing, is not whole.
    """
    if not path.is_file():
        raise StudyError(complaint(str(path.parent), *NO_RUN))
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if not whole:
        raise StudyError(complaint(f"{path}:1", "the ledger has no whole line: the run was never started"))
    history = History()
    lines = content[:whole].split(b"\n")[:-1]
    history.take(_header(lines[0], path))
    for number, line in enumerate(lines[1:], 2):
        try:
            history.take(_event(line, checked=history.header["schema"] > 1))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            history.damaged.append(number)
            said = f"no trial {error} was asked for" if isinstance(error, KeyError) else error
            warnings.warn(f"{path}:{number}: this line is damaged and passed over: {said}", LedgerWarning, stacklevel=2)
    if whole < len(content):
        said = "the last line was torn by a crash and does not count"
        warnings.warn(f"{path}:{len(lines) + 1}: {said}", LedgerWarning, stacklevel=2)
    return history, whole


def _header(line: bytes, path: Path) -> Event:
    try:
        header = _event(line, checked=False)
        schema, event = header.get("schema"), header["event"]
        if event == "study" and schema in READABLE:
            _ = header["rungs"][-1], header["metric"], header["mode"], header["name"]
            return header
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        what = f"damaged line ({type(error).__name__}: {error}), and the others mean nothing without it"
        raise StudyError(complaint(f"{path}:1", what)) from None
    what = f"written by another version: schema {schema}"
    raise StudyError(complaint(f"{path}:1", what, ", ".join(map(str, READABLE))))


MARK = b',"crc":"'


def _line(event: Event) -> bytes:
    """The event as a line: JSON, its last entry the checksum of the object without it."""
    body = json.dumps(event, separators=(",", ":"), allow_nan=False).encode()
    return body[:-1] + MARK + b'%08x"}\n' % zlib.crc32(body)


def _event(line: bytes, checked: bool) -> Event:
    """The event of a line; raises ValueError where its checksum does not match, or is `checked` and missing."""
    body, mark, rest = line.rpartition(MARK)
    if mark and rest != b'%08x"}' % zlib.crc32(body + b"}"):
        raise ValueError("its checksum does not match")
    if checked and not mark:
        raise ValueError("it has no checksum")
    event = json.loads(body + b"}" if mark else line)
    if not isinstance(event, dict):
        raise TypeError("it is no event")
    return event


class Ledger:
    """A run's ledger, open for appending by this process alone; `history` is always what the file says."""

    def __init__(self, path: Path) -> None:
        """Opens a ledger; a line torn by a crash is cut off.

        Raises:
            StudyError: another driver is at work on it, it cannot be read, or not be written.
        """
        try:
            self._file = open(path, "ab", buffering=0, opener=_existing)  # noqa: SIM115  (open as long as the run)
        except FileNotFoundError:
            raise StudyError(complaint(str(path.parent), *NO_RUN)) from None
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            self._lock = Lock(self._file.fileno(), path.parent)
            self.history, whole = read(path)
            self._file.truncate(whole)
        except BaseException:
            self.close()
            raise
        self._path, self._size = path, whole

    @classmethod
    def begun(cls, path: Path, header: Event, known: Iterable[Event] = ()) -> Ledger:
        """A new ledger with its first line and what is known from the start; there is none before these are whole."""
        try:
            write_whole(path, b"".join(map(_line, (header, *known))))
        except OSError as error:
            raise unwritable(path, error) from None
        return cls(path)

    def append(self, event: Event) -> None:
        """Writes one event durably, then counts it in.

        Raises:
            StudyError: the disk is full or broken; the ledger is then as it was before.
        """
        line = _line(event)
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise unwritable(self._path, error) from None
        self._size += len(line)
        self.history.take(json.loads(line))  # what a later reader will see

    def close(self) -> None:
        """Lets go of the run."""
        if hasattr(self, "_lock"):
            self._lock.release()
        self._file.close()


def _existing(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_CREAT)


def unwritable(path: Path, error: OSError) -> StudyError:
    """What is said where a run can keep no more."""
    what = f"cannot be written: {error.strerror or error}"
    return StudyError(complaint(str(path), what, "a folder that can be written, with space left; then --resume"))


def finite(metrics: dict[str, float]) -> str:
    """The name of the first metric that is no finite number; empty where all are."""
    return next((name for name, value in metrics.items() if not math.isfinite(value)), "")
