"""The sweep, run in this process on functions: its order, its failures, and how it is taken up after a crash."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from objectives import SHELVES
from objectives.functions import branin
from objectives.kinds import Failed, function
from search.executors import serial
from search.folder import Folder
from search.ledger import SCHEMA, Event, History, Ledger, LedgerWarning, read
from search.rungs import KEPT, saved_rungs
from search.schedulers import build_scheduler
from search.sweep import Sweep, trial_seed
from search.trial import FLOORS, End, Work
from spaces.components import Shelf
from spaces.document import parse
from spaces.study import Study, read_study

CATALOGUE = {
    **SHELVES,
    "strategy": Shelf("strategy", "search.strategies"),
    "scheduler": Shelf("scheduler", "search.schedulers"),
}


pytestmark = pytest.mark.filterwarnings("ignore::search.ledger.LedgerWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def study(
    strategy: str = "{tpe: {startup: 4}}",
    scheduler: str = "asha",
    space: str = "{branin: search, mixed: search}",
    trials: int = 9,
    seed: int = 0,
) -> Study:
    text = f"""
name: x
objective: function
space: {{function: {space}}}
budget: {{trials: {trials}, epochs: 9}}
search: {{strategy: {strategy}, scheduler: {scheduler}, seed: {seed}}}
"""
    return read_study(parse(text, "s.yaml"), CATALOGUE)


def nothing(event: Event, history: History) -> None:
    """An observer that does not look."""


def begun(wanted: Study, root: Path, observe: Callable[[Event, History], None] = nothing) -> tuple[Sweep, Work]:
    """A sweep over a new folder, or one that has been begun before."""
    folder, rungs = Folder(root), build_scheduler(wanted).rungs
    root.mkdir(exist_ok=True)
    goal = {"metric": wanted.goal.metric, "mode": wanted.goal.mode, "seed": wanted.goal.seed}
    header = {"event": "study", "schema": SCHEMA, "name": wanted.name, **goal, "rungs": list(rungs)}
    ledger = Ledger(folder.ledger) if folder.ledger.exists() else Ledger.begun(folder.ledger, header)
    work = Work(wanted, folder, rungs, "cpu")
    return Sweep(wanted, work, ledger, observe), work


def run(wanted: Study, root: Path, observe: Callable[[Event, History], None] = nothing) -> History:
    sweep, work = begun(wanted, root, observe)
    try:
        serial.run(sweep, work, None)
        sweep.finish()
    finally:
        sweep.ledger.close()
    return sweep.history


def events(root: Path) -> list[Event]:
    """The ledger's events, apart from how long things took."""
    lines = [json.loads(line) for line in (root / "ledger.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "crc")} for line in lines]


STUDIES = {
    "tpe and asha": study(),
    "random and no scheduler": study("random", "{none: {reports: 3}}", trials=5),
    "grid and asha": study("{grid: {points: 2}}", "{asha: {eta: 2}}", "{branin: search, mixed: {kind: search}}", 20),
}
each = pytest.mark.parametrize("wanted", STUDIES.values(), ids=STUDIES)
MORE = STUDIES | {
    "random and hyperband": study("random", "{hyperband: {eta: 2}}", trials=6),
    "random and median": study("random", "{median: {reports: 4, grace: 2}}", trials=6),
}
every = pytest.mark.parametrize("wanted", MORE.values(), ids=MORE)


@every
def test_a_seed_decides_a_whole_run(tmp_path: Path, wanted: Study) -> None:
    seen: list[Event] = []
    history = run(wanted, tmp_path / "a", lambda event, _: seen.append(event))
    run(wanted, tmp_path / "b")
    assert events(tmp_path / "a") == events(tmp_path / "b")
    assert [e["event"] for e in seen] == [e["event"] for e in events(tmp_path / "a")][1:]
    replayed, _ = read(tmp_path / "a" / "ledger.jsonl")
    assert (replayed.trials, replayed.floors, replayed.finished) == (history.trials, {}, True)


def test_another_seed_runs_otherwise(tmp_path: Path) -> None:
    runs = [run(study(seed=seed), tmp_path / str(seed)) for seed in (0, 1)]
    configs = [[trial.config for trial in history.trials.values()] for history in runs]
    assert configs[0] != configs[1]
    assert len({trial.seed for history in runs for trial in history.trials.values()}) == 18
    assert [trial.seed for trial in runs[1].trials.values()] == [trial_seed(1, number) for number in range(9)]


@each
def test_what_a_run_consists_of(tmp_path: Path, wanted: Study) -> None:
    history = run(wanted, tmp_path)
    found = events(tmp_path)
    assert [e["event"] for e in found[:3]] == ["study", "floors", "asked"]
    assert found[-1]["event"] == "finished"
    trials = list(history.trials.values())
    assert [trial.number for trial in trials] == list(range(len(trials)))
    grid = wanted.strategy.component.name == "grid"
    assert len(trials) == (4 + 3 if grid else wanted.budget.trials)
    assert {next(iter(trial.config["function"])) for trial in trials} == {"branin", "mixed"}
    rungs = history.rungs
    for trial in trials:
        assert [rung.epoch for rung in trial.rungs] == list(rungs[: len(trial.rungs)])
        assert history.state(trial) in ("complete", "stopped")
        saved = saved_rungs(Folder(tmp_path), trial.id, trial.config)
        assert [(rung.epoch, rung.metrics) for rung in saved] == [(rung.epoch, rung.metrics) for rung in trial.rungs]
    best = [trial.id for trial in history.ranked()[: wanted.resources.keep]]
    assert {path.parent.name for path in tmp_path.glob("trials/*/*.safetensors")} == set(best)
    for id in best:  # the last, and one before it
        assert f"rung-{history.trials[id].epoch:06d}.safetensors" in Folder(tmp_path).trials.names(id)
        assert len(list(tmp_path.glob(f"trials/{id}/*.safetensors"))) <= KEPT
    assert any(history.state(trial) == "complete" for trial in trials)


def test_the_last_rung_tells_the_truth_and_early_ones_guess_it(tmp_path: Path) -> None:
    history = run(study("random", "none", "{branin: search}", trials=3), tmp_path)
    for trial in history.trials.values():
        knobs = trial.config["function"]["branin"]
        values = [rung.metrics["value"] for rung in trial.rungs]
        truth = branin.branin(knobs["x"], knobs["y"])
        assert values[-1] == truth
        assert all(0 < abs(after - truth) < abs(before - truth) for before, after in pairwise(values[:-1]))


def test_early_stopping_spends_less_and_ends_with_a_winner(tmp_path: Path) -> None:
    halving = run(study("random", "asha", trials=9), tmp_path / "asha")
    whole = run(study("random", "none", trials=9), tmp_path / "none")
    epochs = [sum(trial.epoch for trial in history.trials.values()) for history in (halving, whole)]
    assert epochs[1] == 9 * 9
    assert 9 + 3 * 2 + 6 <= epochs[0] < 50
    best = halving.best()
    assert best is not None
    assert halving.state(best) == "complete"
    assert [t.config for t in halving.trials.values()] == [t.config for t in whole.trials.values()]


class Crash(BaseException):
    """Stands for the end of the process; nothing in the house may catch it."""


def broken(wanted: Study, root: Path, patch: pytest.MonkeyPatch, line: int, how: str) -> None:
    """Runs until the ledger is about to hold so many lines, then dies `after` that line, `before` it or `within`."""
    append = Ledger.append

    def dying(ledger: Ledger, event: Event) -> None:
        lines = Folder(root).ledger.read_bytes().count(b"\n")
        if lines + 1 < line:
            return append(ledger, event)
        if how == "after":
            append(ledger, event)
        elif how == "within":
            ledger._file.write(json.dumps(event).encode()[:-3])
        ledger._file.flush()
        raise Crash

    with patch.context() as patched:
        patched.setattr(Ledger, "append", dying)
        with pytest.raises(Crash):
            run(wanted, root)
    assert Folder(root).ledger.read_bytes().count(b"\n") == (line if how == "after" else line - 1)


@every
@pytest.mark.parametrize("how", ["after", "before", "within"])
def test_a_broken_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Study, how: str
) -> None:
    run(wanted, tmp_path / "whole")
    whole = events(tmp_path / "whole")
    for line in range(2, len(whole) + 1, 1 if how == "before" else 2):
        root = tmp_path / f"{line}"
        broken(wanted, root, monkeypatch, line, how)
        run(wanted, root)
        assert events(root) == whole


def test_a_run_may_break_at_every_single_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = STUDIES["tpe and asha"]
    run(wanted, tmp_path / "whole")
    whole = events(tmp_path / "whole")
    for line in range(2, len(whole) + 1):
        broken(wanted, tmp_path / "broken", monkeypatch, line, "before")
    run(wanted, tmp_path / "broken")
    assert events(tmp_path / "broken") == whole


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    run(study(), tmp_path)
    before = events(tmp_path)
    run(study(), tmp_path)
    assert events(tmp_path) == before


def test_a_finished_run_may_get_more_trials(tmp_path: Path) -> None:
    short, long = (study("random", trials=trials) for trials in (5, 9))
    run(short, tmp_path / "grown")
    grown, whole = run(long, tmp_path / "grown"), run(long, tmp_path / "whole")
    assert [t.config for t in grown.trials.values()] == [t.config for t in whole.trials.values()]
    assert [t.rungs[0].metrics for t in grown.trials.values()] == [t.rungs[0].metrics for t in whole.trials.values()]
    assert grown.finished


def test_rungs_that_reached_only_the_disk_are_taken_in(tmp_path: Path) -> None:
    wanted = STUDIES["random and no scheduler"]
    run(wanted, tmp_path / "whole")
    sweep, work = begun(wanted, tmp_path / "lost")
    sweep.ended(FLOORS, End("done"))
    job = sweep.next_job()
    assert job is not None
    assert work.run(job, None, lambda rung: None) == End("done")  # three rungs on disk, none in the ledger
    sweep.ledger.close()
    history = run(wanted, tmp_path / "lost")
    assert [rung.epoch for rung in history.trials["t0000"].rungs] == [3, 6, 9]
    assert events(tmp_path / "lost") == events(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign", "unvouched"])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_trial_whose_state_is_damaged_goes_on_from_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, all_of_them: bool
) -> None:
    run(study(), tmp_path / "whole")
    whole = events(tmp_path / "whole")
    line = 1 + next(i for i, event in enumerate(whole) if event["event"] == "promoted" and event["until"] == 9)
    broken(study(), tmp_path / "lost", monkeypatch, line, "after")
    promoted = events(tmp_path / "lost")[-1]["id"]
    states = sorted((tmp_path / "lost/trials" / promoted).glob("*.safetensors"))
    assert [state.name for state in states] == ["rung-000001.safetensors", "rung-000003.safetensors"]
    for state in states if all_of_them else states[-1:]:
        harm(state, damage)
    run(study(), tmp_path / "lost")
    assert events(tmp_path / "lost") == whole


def harm(state: Path, how: str) -> None:
    content = state.read_bytes()
    match how:
        case "missing":
            state.unlink()
        case "torn":
            state.write_bytes(content[: len(content) // 2])
        case "foreign":
            state.write_bytes(b"\x80\x04 no state" + content)
        case "unvouched":
            state.with_suffix(".json").write_text("{")


def test_an_interrupted_sweep_stops_at_the_next_rung(tmp_path: Path) -> None:
    wanted = STUDIES["random and no scheduler"]
    run(wanted, tmp_path / "whole")
    sweep, work = begun(wanted, tmp_path / "halted", lambda event, _: sweep.stop() if event.get("epoch") == 6 else None)
    serial.run(sweep, work, None)
    sweep.finish()
    sweep.ledger.close()
    assert events(tmp_path / "halted")[-1]["event"] == "rung"
    assert not sweep.history.finished
    run(wanted, tmp_path / "halted")
    assert events(tmp_path / "halted") == events(tmp_path / "whole")


def test_what_is_lost_is_tried_again_so_many_times(tmp_path: Path) -> None:
    sweep, work = begun(study("random", "none", trials=2), tmp_path)
    sweep.ended(FLOORS, End("done"))
    job, lost = sweep.next_job(), End("lost", "the worker died")
    assert job is not None
    sweep.ended(job, lost)
    assert sweep.next_job() == job
    sweep.ended(job, lost)
    assert sweep.next_job() == job
    assert work.run(job, None, partial(sweep.told, job)) == End("done")
    sweep.ended(job, End("done"))
    other = sweep.next_job()
    assert other is not None
    for _ in range(2):
        sweep.ended(other, lost)
        assert sweep.next_job() == other
    sweep.ended(other, lost)
    assert sweep.history.trials[other.id].reason == "the worker died (3 times)"
    assert sweep.next_job() is None
    sweep.ledger.close()
    told = [(e["event"], e["id"]) for e in events(tmp_path) if e["event"] in ("retried", "failed")]
    assert told == [("retried", job.id)] * 2 + [("retried", other.id)] * 2 + [("failed", other.id)]
    assert read(tmp_path / "ledger.jsonl")[0].trials[job.id].retries == 2


def test_a_damaged_rung_comes_back_from_the_disk(tmp_path: Path) -> None:
    whole = run(study(), tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if b'"event":"rung"' in line)
    lines[place] = lines[place].replace(b'"seconds"', b'"Seconds"')
    path.write_bytes(b"".join(lines))
    with pytest.warns(LedgerWarning, match=rf"ledger.jsonl:{place + 1}: "):
        healed = run(study(), tmp_path)
    rungs = [[[(r.epoch, r.metrics) for r in t.rungs] for t in h.trials.values()] for h in (whole, healed)]
    assert rungs[0] == rungs[1]
    assert healed.finished


def test_a_rung_of_another_config_is_not_taken_in(tmp_path: Path) -> None:
    wanted = STUDIES["random and no scheduler"]
    run(wanted, tmp_path / "whole")
    sweep, work = begun(wanted, tmp_path / "stale")
    sweep.ended(FLOORS, End("done"))
    job = sweep.next_job()
    assert job is not None
    work.run(replace(job, config={"function": {"branin": {"x": 0.0, "y": 0.0}}}), None, lambda rung: None)
    sweep.ledger.close()
    run(wanted, tmp_path / "stale")
    assert events(tmp_path / "stale") == events(tmp_path / "whole")


def wounded(monkeypatch: pytest.MonkeyPatch, wound: Callable[[], float]) -> None:
    """Makes Branin's function fail where x is above zero."""
    build = branin.build
    monkeypatch.setattr(branin, "build", lambda config: wound if config.x > 0 else build(config))


def raising(error: Exception) -> Callable[[], float]:
    def wound() -> float:
        raise error

    return wound


@pytest.mark.parametrize(
    ("wound", "reason", "traced"),
    [
        (raising(RuntimeError("shapes\n  differ")), "RuntimeError: shapes differ", True),
        (raising(KeyError("lr")), "KeyError: 'lr'", True),
        (raising(MemoryError()), "out of memory", True),
        (raising(RuntimeError("CUDA out of memory. Tried to ...")), "out of memory: CUDA out of memory", True),
        (raising(ValueError("x" * 9999)), "ValueError: " + "x" * 300, True),
        (raising(RuntimeError()), "RuntimeError: ", True),
        (raising(Failed("the loss became nan")), "the loss became nan", False),
        (lambda: math.nan, "the metric value became nan in epoch 1", False),
        (lambda: -math.inf, "the metric value became -inf in epoch 1", False),
    ],
    ids=["error", "key", "memory", "cuda", "long", "silent", "failed", "nan", "inf"],
)
def test_a_failing_trial_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wound: Callable[[], float], reason: str, traced: bool
) -> None:
    wounded(monkeypatch, wound)
    history = run(study("random", trials=8), tmp_path)
    ill = [t for t in history.trials.values() if t.config["function"].get("branin", {"x": -1})["x"] > 0]
    assert 0 < len(ill) < 5
    assert len(history.trials) == 8
    for trial in history.trials.values():
        assert trial.failed == (trial in ill)
        error = tmp_path / "trials" / trial.id / "error.txt"
        assert error.exists() == (trial in ill and traced)
        if trial in ill:
            assert trial.reason.startswith(reason)
            assert "\n" not in trial.reason
            assert len(trial.reason) < 400
            assert trial.rungs == []
    best = history.best()
    assert best is not None
    assert history.state(best) == "complete"


def test_a_trial_that_fails_later_keeps_its_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(self: Any) -> Any:
        for metrics in advance(self):
            if self.epoch > 1:
                raise RuntimeError("too long")
            yield metrics

    advance = function.Function.run
    monkeypatch.setattr(function.Function, "run", breaking)
    history = run(study("random", trials=6), tmp_path)
    failed = [trial for trial in history.trials.values() if trial.failed]
    assert len(failed) == 6  # one after the other is sent on, since nobody gets to the end
    assert all([rung.epoch for rung in trial.rungs] == [1] for trial in failed)
    assert {trial.reason for trial in failed} == {"RuntimeError: too long"}
    assert history.best() is None
    assert history.finished


def test_a_trial_that_ends_too_early_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function.Function, "run", lambda self: iter(()))
    history = run(study("random", "none", trials=2), tmp_path)
    assert {trial.reason for trial in history.trials.values()} == {"it ended before epoch 9"}


def test_floors_that_cannot_be_measured_are_said_and_trials_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(study: Study, data: None) -> None:
        raise ValueError("no ground")

    monkeypatch.setattr(function, "floors", breaking)
    history = run(study("random", "none", trials=2), tmp_path)
    (floors,) = (event for event in events(tmp_path) if event["event"] == "floors")
    assert floors["reason"] == "ValueError: no ground"
    assert [history.state(trial) for trial in history.trials.values()] == ["complete", "complete"]
    assert "no ground" in (tmp_path / "trials" / "floors" / "error.txt").read_text()


def test_jobs_are_handed_out_side_by_side(tmp_path: Path) -> None:
    sweep, work = begun(study("random", trials=4), tmp_path)
    first = sweep.next_job()
    assert first == FLOORS
    jobs = [sweep.next_job() for _ in range(4)]
    assert [job.id for job in jobs if job] == ["t0000", "t0001", "t0002", "t0003"]  # beside the floors
    assert sweep.next_job() is None
    assert not sweep.idle
    sweep.ended(FLOORS, End("done", floors={"raw": {"value": 1.0}}))
    assert sweep.history.floors == {"raw": {"value": 1.0}}
    for job in (jobs[2], jobs[0], jobs[3]):
        assert job is not None
        sweep.ended(job, work.run(job, None, partial(sweep.told, job)))
    promoted = sweep.next_job()  # the best of three that have reported, the second trial still running
    assert promoted is not None
    assert (promoted.start, promoted.until) == (1, 3)
    assert promoted.id != "t0001"
    assert sweep.next_job() is None
    assert jobs[1] is not None
    sweep.ended(jobs[1], End("failed", "the worker died"))
    assert sweep.history.trials["t0001"].reason == "the worker died"
    sweep.ended(promoted, End("done"))
    assert sweep.history.trials[promoted.id].reason == "it ended before epoch 3"
    last = sweep.next_job()
    assert last is not None
    assert (last.start, last.until) == (1, 3)  # two are left, too few for a third, but nobody else will come
    sweep.ledger.close()


def test_nobody_is_sent_on_for_want_of_others_while_one_is_still_out(tmp_path: Path) -> None:
    sweep, work = begun(study("random", trials=2), tmp_path)
    sweep.ended(FLOORS, End("done"))
    first, second = sweep.next_job(), sweep.next_job()
    assert first is not None
    assert second is not None
    sweep.ended(first, work.run(first, None, partial(sweep.told, first)))
    assert sweep.next_job() is None
    sweep.ended(second, work.run(second, None, partial(sweep.told, second)))
    best = sweep.history.best()
    job = sweep.next_job()
    assert best is not None
    assert job is not None
    assert (job.id, job.until) == (best.id, 3)
    sweep.ledger.close()


def test_who_was_under_way_goes_first_after_a_crash(tmp_path: Path) -> None:
    sweep, _ = begun(study("random", trials=6), tmp_path)
    handed = [sweep.next_job() for _ in range(4)]
    sweep.ledger.close()
    again, _ = begun(study("random", trials=6), tmp_path)
    assert [again.next_job() for _ in range(4)] == handed
    assert again.next_job() is not None
    assert len(again.history.trials) == 4
    again.ledger.close()


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_every_branch_is_tried(tmp_path: Path, name: str) -> None:
    space = "{mixed: {kind: a}, branin: {x: 1}}"
    history = run(study(name, "none", space, trials=2), tmp_path)
    assert {next(iter(trial.config["function"])) for trial in history.trials.values()} == {"mixed", "branin"}
