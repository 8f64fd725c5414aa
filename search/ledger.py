"""The ledger: what happened in a run, one JSON object a line, appended and fsynced; nothing else is the truth.

    {"event": "study", "schema": 2, "name": ..., "metric": ..., "mode": ..., "rungs": [...], ..., "crc": ...}
    {"event": "floors", "floors": {"raw": {...}, "untrained": {...}}, "crc": ...}
    {"event": "asked", "id": "t0003", "number": 3, "config": {...}, "seed": ..., "until": 3, "crc": ...}
    {"event": "rung", "id": "t0003", "epoch": 3, "metrics": {...}, "seconds": 1.8, "crc": ...}
    {"event": "promoted", "id": "t0003", "until": 9, "crc": ...}
    {"event": "retried", "id": "t0003", "reason": "...", "crc": ...}
    {"event": "failed", "id": "t0004", "reason": "...", "crc": ...}
    {"event": "finished", "crc": ...}

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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.claim import Claim
from spaces.document import StudyError, complaint
from spaces.files import write_whole
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
    """A config and what became of it. `until` is the epoch that it has been let run to."""

    id: str
    number: int
    config: Config
    seed: int
    until: int
    rungs: list[Rung] = field(default_factory=list)
    reason: str = ""
    retries: int = 0

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
    damaged: list[int] = field(default_factory=list)
    following: int = 0  # the number of the trial to come

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

    def ranked(self) -> list[Trial]:
        """The trials from best to worst: those that got further first, since an early value is a guess of the final
        one; those that failed or have no value last."""
        metric, sign = self.header["metric"], 1 if self.header["mode"] == "max" else -1

        def key(trial: Trial) -> tuple[bool, int, float, int]:
            value = trial.value(metric)
            return value is None, -trial.epoch, 0.0 if value is None else -sign * value, trial.number

        return sorted(self.trials.values(), key=key)

    def best(self) -> Trial | None:
        """The first of those ranked, if it has a value."""
        first = next(iter(self.ranked()), None)
        return first if first is not None and first.value(self.header["metric"]) is not None else None

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
            case "asked":
                names = ("id", "number", "config", "seed", "until")
                trial = Trial(**{name: event[name] for name in names})
                if not ID.fullmatch(trial.id):  # it becomes a folder
                    raise ValueError(f"a trial is not called {trial.id!r}")
                self.trials[trial.id] = trial
                self.following = max(self.following, trial.number + 1)
            case "rung":
                self.trials[event["id"]].reach(Rung(event["epoch"], event["metrics"], event["seconds"]))
            case "promoted":
                self.trials[event["id"]].until = event["until"]
            case "retried":
                self.trials[event["id"]].retries += 1
            case "failed":
                self.trials[event["id"]].reason = event["reason"]
        self.finished = event["event"] == "finished"


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
            raise _unwritable(path, error) from None
        try:
            self._claim = Claim(self._file.fileno(), path.parent)
            self.history, whole = read(path)
            self._file.truncate(whole)
        except BaseException:
            self.close()
            raise
        self._path, self._size = path, whole

    @classmethod
    def begun(cls, path: Path, header: Event) -> Ledger:
        """A new ledger with its first line; there is none before this line is whole."""
        try:
            write_whole(path, _line(header))
        except OSError as error:
            raise _unwritable(path, error) from None
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
            raise _unwritable(self._path, error) from None
        self._size += len(line)
        self.history.take(json.loads(line))  # what a later reader will see

    def close(self) -> None:
        """Lets go of the run."""
        if hasattr(self, "_claim"):
            self._claim.release()
        self._file.close()


def _existing(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_CREAT)


def _unwritable(path: Path, error: OSError) -> StudyError:
    what = f"cannot be written: {error.strerror or error}"
    return StudyError(complaint(str(path), what, "a folder that can be written, with space left; then --resume"))


def finite(metrics: dict[str, float]) -> str:
    """The name of the first metric that is no finite number; empty where all are."""
    return next((name for name, value in metrics.items() if not math.isfinite(value)), "")
