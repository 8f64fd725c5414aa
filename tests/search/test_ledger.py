"""The ledger: what is appended comes back, whatever a crash leaves of it."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from search.ledger import SCHEMA, Event, History, Ledger, LedgerWarning, Rung, Trial, finite, read
from search.lock import SILENCE
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


def sealed(event: Event) -> bytes:
    """A whole line with a right checksum, whatever it says."""
    body = json.dumps(event, separators=(",", ":")).encode()
    return body[:-1] + b',"crc":"%08x"}' % zlib.crc32(body)


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
    ledger = Ledger.begun(path, events[0])
    for event in events[1:]:
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
            with pytest.raises(StudyError) as caught:
                Ledger(cut)
            assert str(caught.value) == f"{cut}:1: the ledger has no whole line: the run was never started"
            continue
        torn = content[size - 1 : size] != b"\n"
        with pytest.warns(LedgerWarning, match="torn by a crash") if torn else nullcontext():
            ledger = Ledger(cut)
        lines = content[:size].count(b"\n")
        expected = History()
        for event in EVENTS[:lines]:
            expected.take(event)
        assert ledger.history == expected
        ledger.append({"event": "finished"})
        ledger.close()
        whole = content[:size].rfind(b"\n") + 1
        crc = zlib.crc32(b'{"event":"finished"}')
        assert cut.read_bytes() == content[:whole] + b'{"event":"finished","crc":"%08x"}\n' % crc


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"",
        b"null",
        b"[1]",
        b"[" * 100_000,
        b"\xff\xfe",
        b"\0\0\0",
        b'{"id": "t0"}',
        sealed({"event": "rung", "id": "t9", "epoch": 1, "metrics": {}, "seconds": 0}),
        sealed({"event": "rung", "id": "t0"}),
        sealed({"event": "asked", "id": "t0"}),
        sealed({**asked(0), "id": "../../t0"}),
        sealed(rung(0, 1, 0.1)).replace(b"0.1", b"0.7"),  # one bit of a whole line
        json.dumps(rung(0, 1, 0.1)).encode(),  # no checksum
    ],
)
@pytest.mark.parametrize("line", [6, 8, len(EVENTS)])
def test_a_damaged_line_is_named_and_passed_over(tmp_path: Path, line: int, damage: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path)
    lines = path.read_bytes().splitlines()
    lines[line - 1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.warns(LedgerWarning) as told:
        ledger = Ledger(path)
    ledger.close()
    assert [str(warning.message).partition(": ")[0] for warning in told] == [f"{path}:{line}"]
    assert path.read_bytes() == before
    expected = History()
    for event in EVENTS[: line - 1] + EVENTS[line:]:
        expected.take(event)
    expected.damaged = [line]
    assert ledger.history == expected


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore::search.ledger.LedgerWarning")  # lines that hang on the damaged one
@pytest.mark.parametrize("seed", range(40))
def test_any_flipped_bit_is_noticed(tmp_path: Path, seed: int) -> None:
    path, draw = tmp_path / "ledger.jsonl", random.Random(seed)
    written(path)
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    line = bytes(content[:place]).count(b"\n") + 1
    if line == 1:
        with pytest.raises(StudyError, match=f"{path}:"):
            read(path)
        return
    with pytest.warns(LedgerWarning, match=rf"ledger.jsonl:{line}: "):
        read(path)


def test_a_ledger_of_schema_1_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in [{**HEADER, "schema": 1}, *EVENTS[1:5]]))
    ledger = Ledger(path)
    assert [trial.epoch for trial in ledger.history.trials.values()] == [0, 1]
    ledger.append(rung(0, 1, 2.0))
    ledger.close()
    assert read(path)[0].trials["t0"].value("value") == 2.0


def test_a_rung_that_comes_late_takes_its_place(tmp_path: Path) -> None:
    history = History()
    for event in [HEADER, asked(0), rung(0, 3, 3.0), rung(0, 1, 1.0), rung(0, 3, 9.0)]:
        history.take(event)
    (trial,) = history.trials.values()
    assert [(r.epoch, r.metrics["value"]) for r in trial.rungs] == [(1, 1.0), (3, 3.0)]
    assert trial.until == 3


def test_two_drivers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger.begun(path, HEADER)
    with pytest.raises(StudyError) as caught:
        Ledger(path)
    said = str(caught.value)
    assert f"another driver is at work on this run: pid {os.getpid()} on {socket.gethostname()} since 2" in said
    first.append(asked(0))  # unharmed
    first.close()
    second = Ledger(path)
    assert "t0" in second.history.trials
    second.close()
    assert not (tmp_path / "driver.json").exists()


def test_the_lock_of_a_killed_driver_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    code = (
        "import os, signal, sys, pathlib\n"
        "from search.ledger import Ledger\n"
        f"ledger = Ledger.begun(pathlib.Path({str(path)!r}), {HEADER!r})\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"held\n"
        with pytest.raises(StudyError, match=f"pid {driver.pid} on "):
            Ledger(path)
        driver.kill()
    assert (tmp_path / "driver.json").exists()
    Ledger(path).close()


@pytest.mark.parametrize(("age", "taken"), [(3.0, True), (SILENCE + 5, False)])
def test_a_driver_on_another_machine_lives_by_its_signs_of_life(tmp_path: Path, age: float, taken: bool) -> None:
    path, note = tmp_path / "ledger.jsonl", tmp_path / "driver.json"
    written(path)
    note.write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "2026-01-01", "boot": "another"}))
    then = note.stat().st_mtime - age
    os.utime(note, (then, then))
    if not taken:
        Ledger(path).close()
        return
    with pytest.raises(StudyError) as caught:
        Ledger(path)
    assert f"pid 7 on elsewhere since 2026-01-01, {age:.0f} s since its last sign of life" in str(caught.value)
    assert note.exists()


def test_a_disk_that_takes_half_a_line_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger.begun(path, HEADER)
    ledger.append(asked(0))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))  # the kernel writes 20 bytes and no more
    try:
        with pytest.raises(StudyError, match=r"cannot be written.*\n.*then --resume"):
            ledger.append(rung(0, 1, 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert ledger.history.trials["t0"].rungs == []
    ledger.append(rung(0, 1, 1.0))
    ledger.close()
    assert read(path)[0].trials["t0"].epoch == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, EVENTS[:4])
    ledger = Ledger(path)
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
        ({**HEADER, "schema": SCHEMA + 1}, f"written by another version: schema {SCHEMA + 1}\n  allowed: 1, {SCHEMA}"),
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
    with pytest.raises(StudyError, match=":1: the ledger has no whole line: the run was never started"):
        read(path)


def test_every_event_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "ledger.jsonl", []
    ledger = Ledger.begun(path, HEADER)
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((len(path.read_bytes()), len(ledger.history.trials))))
    ledger.append(asked(0))
    ledger.close()
    assert seen == [(path.stat().st_size, 0)]


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
