"""Budgets per branch, repeats of finalists, bounds, several metrics and warm starts, on functions of known value."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import run as runs
from search import warm
from search.branches import Turns
from search.compare.table import as_json, half_width, show
from search.folder import Folder
from search.ledger import History, Trial, dominates, read
from spaces.document import StudyError, parse
from spaces.study import Study, read_study


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def study(space: str, budget: str, search: str, name: str = "x") -> Study:
    text = f"name: {name}\nobjective: function\nspace: {space}\nbudget: {budget}\nsearch: {search}\n"
    return read_study(parse(text, "s.yaml"), runs.CATALOGUE)


def ran(wanted: Study, root: Path, stop_after: int = 0) -> History:
    """Runs a study in this process, or goes on with it; stopped at an event if that is asked for."""
    folder = Folder(root)
    known, _ = warm.known(wanted)
    ledger = runs.resume(wanted, folder, None) if folder.ledger.exists() else runs.start(wanted, folder, None, known)
    count = len(folder.ledger.read_text().splitlines())

    def observe(event: Any, history: History) -> None:
        nonlocal count
        count += 1
        if count == stop_after:
            raise KeyboardInterrupt

    with runs.executor("serial", wanted) as execute:
        return runs.sweep(wanted, None, folder, ledger, observe, execute)


APART = study(
    "{function: {branin: search, mixed: search, hartmann6: search}}",
    "{trials: 6, epochs: 9, per: function, branches: {mixed: {trials: 3}, hartmann6: {epochs: 18}}}",
    "{strategy: {tpe: {startup: 3}}, seed: 4}",
)


def branch(trial: Any) -> str:
    return next(iter(trial.config["function"]))


def test_every_branch_has_its_trials_and_one_that_runs_to_its_own_end(tmp_path: Path) -> None:
    history = ran(APART, tmp_path)
    assert Counter(map(branch, history.trials.values())) == {"branin": 6, "mixed": 3, "hartmann6": 6}
    ended = {branch(trial): trial.epoch for trial in history.trials.values() if history.state(trial) == "complete"}
    assert ended == {"branin": 9, "mixed": 9, "hartmann6": 18}
    rungs = {name: {r.epoch for t in history.trials.values() if branch(t) == name for r in t.rungs} for name in ended}
    assert rungs == {"branin": {1, 3, 9}, "mixed": {1, 3, 9}, "hartmann6": {2, 6, 18}}


def test_a_branch_is_searched_as_if_it_were_alone(tmp_path: Path) -> None:
    together = ran(APART, tmp_path / "a")
    alone = ran(
        study("{function: {branin: search}}", "{trials: 6, epochs: 9}", "{strategy: {tpe: {startup: 3}}, seed: 4}"),
        tmp_path / "b",
    )
    configs = [trial.config for trial in together.trials.values() if branch(trial) == "branin"]
    assert configs == [trial.config for trial in alone.trials.values()]


def test_branches_take_turns_by_their_shares() -> None:
    branches = "{branin: {trials: 4}, hartmann6: {trials: 1}}"
    wanted = study(
        "{function: {branin: search, mixed: search, hartmann6: search}}",
        f"{{trials: 2, per: function, branches: {branches}}}",
        "{}",
    )
    turns, order = Turns(wanted), list[tuple[str, int]]()
    while (due := turns.next()) is not None:
        order.append(due)
        assert turns.left(due[0])
        turns.tell(Trial(f"t{len(order)}", len(order), {"function": {due[0]: {}}}, 0, 1))
    assert [name for name, _ in order] == ["branin", "mixed", "branin", "hartmann6", "branin", "mixed", "branin"]
    assert [n for name, n in order if name == "branin"] == [0, 1, 2, 3]


def test_a_budget_per_branch_may_grow_on_resumption(tmp_path: Path) -> None:
    def wanted(trials: int) -> Study:
        return study(
            "{function: {branin: search, mixed: search}}",
            f"{{trials: {trials}, epochs: 3, per: function}}",
            "{strategy: random, seed: 1}",
        )

    ran(wanted(3), tmp_path)
    history = ran(wanted(5), tmp_path)
    assert Counter(map(branch, history.trials.values())) == {"branin": 5, "mixed": 5}
    configs = [json.dumps(trial.config) for trial in history.trials.values()]
    assert len(set(configs)) == len(configs)


@pytest.mark.parametrize("stop", [5, 17, 40, 44])
def test_shares_and_repeats_go_on_after_a_break_as_without_one(tmp_path: Path, stop: int) -> None:
    wanted = study(
        "{function: {branin: search, noisy: search}}",
        "{trials: 6, epochs: 9, per: function, repeats: 2, finalists: 2}",
        "{strategy: {tpe: {startup: 3}}, seed: 2}",
    )
    whole = ran(wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        ran(wanted, tmp_path / "broken", stop)
    again = ran(wanted, tmp_path / "broken")
    assert [(t.id, t.config, t.seed, t.of) for t in again.trials.values()] == [
        (t.id, t.config, t.seed, t.of) for t in whole.trials.values()
    ]
    assert [[r.metrics for r in t.rungs] for t in again.trials.values()] == [
        [r.metrics for r in t.rungs] for t in whole.trials.values()
    ]


def test_the_best_are_run_again_with_other_seeds_and_chosen_by_their_mean(tmp_path: Path) -> None:
    wanted = study(
        "{function: {noisy: search}}",
        "{trials: 12, epochs: 1, repeats: 4, finalists: 3}",
        "{strategy: random, scheduler: none}",
    )
    history = ran(wanted, tmp_path)
    first = history.ranked()[:3]
    repeats = history.repeats()
    assert repeats.keys() == {trial.id for trial in first}
    assert all(len(values) == 4 for values in repeats.values())
    assert len({trial.seed for trial in history.trials.values()}) == len(history.trials)
    best = history.best()
    assert best is not None
    assert best.id == min(repeats, key=lambda id: float(np.mean(repeats[id])))
    assert len(history.searched) == 12
    assert len(history.trials) == 24


def test_the_interval_is_students() -> None:
    from scipy import stats

    values = [0.91, 0.95, 0.93, 0.96]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)


TWO = study(
    "{function: {two_objectives: search}}",
    "{trials: 30, epochs: 9}",
    "{strategy: random, scheduler: none, metric: [value, second], subject_to: value < 100}",
)


def test_the_front_holds_what_none_beats_and_bounds_come_first(tmp_path: Path, capsys: Any) -> None:
    history = ran(TWO, tmp_path)
    points = {t.id: [t.rungs[-1].metrics[name] for name in ("value", "second")] for t in history.trials.values()}
    inside = {id: point for id, point in points.items() if point[0] < 100}
    assert 0 < len(inside) < len(points)
    front = {  # by the definition, one pair at a time
        id
        for id, (x, y) in inside.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in inside.values())
    }
    assert {trial.id for trial in history.front()} == front
    order = [trial.id for trial in history.ranked()]
    assert set(order[: len(inside)]) == inside.keys()
    assert set(as_json(history)["front"]) == front
    show(history, "x")
    shown = capsys.readouterr().out
    assert shown.count("complete *") == len(front & set(order[:12]))
    assert f"{len(front)} trials are beaten by none" in shown


def test_seconds_may_be_traded_and_bounded(tmp_path: Path) -> None:
    wanted = study(
        "{function: {branin: search}}",
        "{trials: 4, epochs: 3}",
        "{strategy: random, metric: [value, seconds], subject_to: seconds < 1e3}",
    )
    history = ran(wanted, tmp_path)
    for trial in history.trials.values():
        assert trial.rungs[-1].metrics["seconds"] == pytest.approx(trial.seconds, abs=1e-9)
    assert history.front()
    with pytest.raises(StudyError, match="no probe gives the metric 'seconds'"):
        study("{function: {branin: search}}", "{trials: 4}", "{metric: seconds}")


def test_domination_wants_one_to_be_better_somewhere() -> None:
    assert dominates((1, 2), (1, 1))
    assert not dominates((1, 1), (1, 1))
    assert not dominates((2, 0), (1, 1))


def test_an_earlier_run_is_known_to_the_strategy_and_its_misfits_are_told(tmp_path: Path) -> None:
    before = study("{function: {branin: search, mixed: search}}", "{trials: 24, epochs: 9}", "{seed: 1}", "before")
    ran(before, tmp_path / "before")
    wanted = study(
        "{function: {branin: {x: {uniform: [-5, 10]}, y: {uniform: [0, 12]}}}}",
        "{trials: 2, epochs: 3}",
        f"{{strategy: {{tpe: {{startup: 3}}}}, warm_start: {tmp_path}/before}}",
    )
    events, (line,) = warm.known(wanted)
    old = [t for t in read(tmp_path / "before/ledger.jsonl")[0].trials.values() if branch(t) == "branin"]
    fitting = [trial for trial in old if trial.config["function"]["branin"]["y"] <= 12]
    assert len(old) > len(events) == len(fitting) > 2
    assert f"{len(fitting)} of 24 trials are used" in line
    assert f"function 'mixed' is not searched ({24 - len(old)})" in line
    assert {event["epoch"] for event in events} <= {1, 3}  # a ninth, a third or all of three epochs
    history = ran(wanted, tmp_path / "after")
    assert len(history.known) == len(fitting)
    again = read(tmp_path / "after/ledger.jsonl")[0]
    assert [known.config for known in again.known] == [event["config"] for event in events]


def test_a_warm_start_changes_what_is_asked_and_is_replayed(tmp_path: Path) -> None:
    before = study("{function: {branin: search}}", "{trials: 20, epochs: 1}", "{scheduler: none}", "before")
    ran(before, tmp_path / "before")
    space, budget = "{function: {branin: search}}", "{trials: 8, epochs: 1}"
    cold = study(space, budget, "{strategy: {tpe: {startup: 4}}, scheduler: none}")
    warmed = study(
        space, budget, f"{{strategy: {{tpe: {{startup: 4}}}}, scheduler: none, warm_start: {tmp_path}/before}}"
    )
    first = [trial.config for trial in ran(cold, tmp_path / "cold").trials.values()]
    second = [trial.config for trial in ran(warmed, tmp_path / "warm").trials.values()]
    assert first != second
    (tmp_path / "before/ledger.jsonl").unlink()  # it is needed no more
    lines = (tmp_path / "warm/ledger.jsonl").read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "ledger.jsonl").write_bytes(b"".join(lines[:26]))
    assert [json.loads(line)["event"] for line in lines[:26]].count("known") == 20
    ledger = runs.resume(warmed, Folder(torn), None)
    with runs.executor("serial", warmed) as execute:
        history = runs.sweep(warmed, None, Folder(torn), ledger, lambda event, history: None, execute)
    assert [trial.config for trial in history.trials.values()] == second


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("{warm_start: nowhere}", "search.warm_start: the run to start from cannot be read: nowhere"),
        ("{warm_start: [BEFORE]}", "no trial of an earlier run fits this space: "),
        ("{warm_start: 3}", "search.warm_start: expected text, found the number 3"),
    ],
)
def test_a_warm_start_that_cannot_be_is_told(tmp_path: Path, search: str, said: str) -> None:
    ran(study("{function: {mixed: search}}", "{trials: 2, epochs: 1}", "{}", "before"), tmp_path)
    with pytest.raises(StudyError, match="warm_start") as caught:
        warm.known(
            study("{function: {branin: search}}", "{trials: 2, epochs: 1}", search.replace("BEFORE", str(tmp_path)))
        )
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("{per: functoin}", "budget.per: the space has no switch 'functoin'"),
        ("{branches: {branin: {trials: 3}}}", "budget.branches: which switch are these branches of"),
        ("{per: function, branches: {brann: {trials: 3}}}", "there is no function 'brann'"),
        ("{per: function, branches: {branin: {trails: 3}}}", "there is no setting 'trails'"),
    ],
)
def test_a_budget_per_branch_that_cannot_be_is_told(budget: str, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        study("{function: {branin: search, mixed: search}}", budget, "{}")
    assert said in str(caught.value)


def test_collapsed_trials_are_counted_by_cause_and_so_is_what_they_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from objectives.collapse import Collapsed
    from objectives.kinds import function

    advance = function.Function.run

    def collapsing(self: Any) -> Any:
        for metrics in advance(self):
            if self.setting.config["function"]["branin"]["x"] < 0:
                raise Collapsed("constant", "they are all alike", self.epoch)
            yield metrics

    monkeypatch.setattr(function.Function, "run", collapsing)
    wanted = study("{function: {branin: search}}", "{trials: 12, epochs: 9}", "{strategy: random, scheduler: none}")
    history = ran(wanted, tmp_path)
    collapsed = [trial for trial in history.trials.values() if trial.config["function"]["branin"]["x"] < 0]
    assert {(trial.cause, trial.at) for trial in collapsed} == {("constant", 2)}
    again = read(tmp_path / "ledger.jsonl")[0]
    assert [trial.cause for trial in again.trials.values()] == [trial.cause for trial in history.trials.values()]
    show(again, "x")
    saved = 7 * len(collapsed)
    assert f"{len(collapsed)} trials were stopped as collapsed (constant {len(collapsed)}), {saved} epochs before" in (
        " ".join(capsys.readouterr().out.split())
    )
