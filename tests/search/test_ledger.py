"""The ledger: what is appended comes back, whatever a crash leaves of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from search.ledger import SCHEMA, Event, History, Ledger, Rung, Trial, finite, read
from spaces.document import StudyError

HEADER: Event = {
    "event": "study",
    "schema": SCHEMA,
    "name": "x",
    "metric": "value",
    "mode": "max",
    "seed": 0,
    "rungs": [1, 3],
}


def asked(number: int, until: int = 1) -> Event:
    config = {"method": {"größe\n": {"lr": 0.1 + 0.2, "n": 2**53 + 1, "on": True}}}
    return {"event": "asked", "id": f"t{number}", "number": number, "config": config, "seed": 7, "until": until}


def rung(number: int, epoch: int, value: float) -> Event:
    return {"event": "rung", "id": f"t{number}", "epoch": epoch, "metrics": {"value": value}, "seconds": 0.5}


EVENTS: list[Event] = [
    HEADER,
    {"event": "floors", "floors": {"raw": {"value": 0.5}}},
    asked(0),
    asked(1),
    rung(1, 1, 1e-300),
    rung(0, 1, 0.1),
    {"event": "promoted", "id": "t1", "until": 3},
    rung(1, 3, -math.pi),
    asked(2),
    {"event": "failed", "id": "t2", "reason": 'it said "no"\n'},
    {"event": "finished"},
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def written(path: Path, events: list[Event] = EVENTS) -> History:
    ledger = Ledger(path)
    for event in events:
        ledger.append(event)
    ledger.close()
    return ledger.history


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("count", range(1, len(EVENTS) + 1))
def test_replaying_a_ledger_gives_the_history_of_the_run(tmp_path: Path, count: int) -> None:
    history = written(tmp_path / "ledger.jsonl", EVENTS[:count])
    assert read(tmp_path / "ledger.jsonl") == (history, (tmp_path / "ledger.jsonl").stat().st_size)
    again = Ledger(tmp_path / "ledger.jsonl")
    assert again.history == history
    again.close()


def test_the_history_is_what_the_events_say(tmp_path: Path) -> None:
    history = written(tmp_path / "ledger.jsonl")
    assert history.header == HEADER
    assert history.floors == {"raw": {"value": 0.5}}
    assert history.finished
    config = asked(0)["config"]
    assert list(history.trials.values()) == [
        Trial("t0", 0, config, 7, 1, [Rung(1, {"value": 0.1}, 0.5)]),
        Trial("t1", 1, config, 7, 3, [Rung(1, {"value": 1e-300}, 0.5), Rung(3, {"value": -math.pi}, 0.5)]),
        Trial("t2", 2, config, 7, 1, [], 'it said "no"\n'),
    ]
    assert [history.state(trial) for trial in history.trials.values()] == ["stopped", "complete", "failed"]


@pytest.mark.usefixtures("quick")
def test_a_ledger_cut_off_anywhere_keeps_its_whole_lines(tmp_path: Path) -> None:
    path, cut = tmp_path / "ledger.jsonl", tmp_path / "cut.jsonl"
    written(path)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for size in range(len(content) + 1):
        cut.write_bytes(content[:size])
        if size < first:  # never started
            with pytest.raises(StudyError, match="the ledger is empty"):
                Ledger(cut)
            continue
        ledger = Ledger(cut)
        lines = content[:size].count(b"\n")
        expected = History()
        for event in EVENTS[:lines]:
            expected.take(event)
        assert ledger.history == expected
        ledger.append({"event": "finished"})
        ledger.close()
        whole = content[:size].rfind(b"\n") + 1
        assert cut.read_bytes() == content[:whole] + b'{"event":"finished"}\n'


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"\0\0\0",
        b'{"id": "t0"}',
        b'{"event": "rung", "id": "t9", "epoch": 1, "metrics": {}, "seconds": 0}',
        b'{"event": "rung", "id": "t0"}',
        b'{"event": "asked", "id": "t0"}',
    ],
)
@pytest.mark.parametrize("line", [4, len(EVENTS)])
def test_a_damaged_line_is_named(tmp_path: Path, line: int, damage: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path)
    lines = path.read_bytes().splitlines()
    lines[line - 1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.raises(StudyError) as caught:
        Ledger(path)
    assert str(caught.value).startswith(f"{path}:{line}: damaged line")
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    for event in EVENTS[:4]:
        ledger.append(event)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.append(rung(0, 1, value))
    assert path.read_bytes() == before
    assert ledger.history.trials["t0"].rungs == []
    ledger.append(rung(0, 1, 1.0))
    ledger.close()
    assert read(path)[0].trials["t0"].value("value") == 1.0


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({**HEADER, "schema": SCHEMA + 1}, f"written by another version: schema {SCHEMA + 1}\n  allowed: {SCHEMA}"),
        ({"event": "study"}, "written by another version: schema None"),
    ],
)
def test_a_ledger_of_another_version_is_refused(tmp_path: Path, header: Event, said: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(StudyError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:1: {said}")


def test_empty_and_missing_ledgers_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(StudyError, match="no run lies here"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(StudyError, match="the ledger is empty: the run was never started"):
        read(path)


def test_every_event_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "ledger.jsonl", []
    ledger = Ledger(path)
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((len(path.read_bytes()), bool(ledger.history.header))))
    ledger.append(HEADER)
    ledger.close()
    assert seen == [(path.stat().st_size, False)]


def test_an_event_may_follow_the_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path)
    ledger = Ledger(path)
    assert ledger.history.finished
    ledger.append(asked(3))
    ledger.close()
    history, _ = read(path)
    assert not history.finished
    assert [history.state(trial) for trial in history.trials.values()] == ["paused", "complete", "failed", "running"]


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("max", [{1: 1.0}, {1: 3.0}, {1: 2.0}], 1),
        ("min", [{1: 1.0}, {1: 3.0}, {1: 2.0}], 0),
        ("max", [{1: 1.0}, {1: 1.0}], 0),  # a tie goes to the earlier
        ("max", [{1: 9.0}, {1: 1.0, 3: 2.0}, {1: 3.0, 3: 1.0}], 1),  # the furthest are compared, by their last rung
        ("max", [{}, {1: -5.0}], 1),
        ("max", [{}, {}], None),
    ],
)
def test_the_best_is_the_best_of_the_furthest(mode: str, values: list[dict[int, float]], best: int | None) -> None:
    history = History()
    history.take({**HEADER, "mode": mode})
    for number, curve in enumerate(values):
        history.take(asked(number))
        for epoch, value in curve.items():
            history.take(rung(number, epoch, value))
    found = history.best()
    assert (found.number if found else None) == best
    if found is not None:
        history.take({"event": "failed", "id": found.id, "reason": "it broke"})
        assert history.best() is not found


def test_a_trial_knows_how_it_stands() -> None:
    trial = Trial("t0", 0, {}, 0, 3)
    assert (trial.epoch, trial.waiting, trial.failed, trial.value("value")) == (0, False, False, None)
    trial.rungs = [Rung(1, {"value": 1.0}, 0.25), Rung(3, {"value": 2.0}, 0.5)]
    assert (trial.epoch, trial.waiting, trial.seconds) == (3, True, 0.75)
    assert (trial.value("value"), trial.value("other")) == (2.0, None)
    trial.until = 9
    assert not trial.waiting
    trial.reason = "it broke"
    assert (trial.failed, trial.waiting, trial.value("value")) == (True, False, None)


@pytest.mark.parametrize(
    ("metrics", "bad"),
    [({}, ""), ({"a": 1.0, "b": 0}, ""), ({"a": 1.0, "b": math.nan, "c": math.inf}, "b"), ({"a": -math.inf}, "a")],
)
def test_the_first_metric_that_is_no_number_is_named(metrics: dict[str, Any], bad: str) -> None:
    assert finite(metrics) == bad
