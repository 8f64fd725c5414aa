"""Strategies: the contract that each keeps, and what each of them is for."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from objectives import SHELVES
from search.ledger import Rung, Trial
from search.strategies import Strategy, draw_evenly
from search.strategies.tpe import Config as TpeConfig
from search.strategies.tpe import Tpe
from spaces.components import Shelf, full_space
from spaces.domains import Choice, Fixed, Int, Log, Uniform
from spaces.space import Config, Group, Switch, flat, walk
from spaces.study import Goal

SHELF = Shelf("strategy", "search.strategies")
each = pytest.mark.parametrize("name", SHELF.names())

METHODS = {
    "a": Group({"lr": Log(1e-4, 1.0), "depth": Int(1, 3), "kind": Choice("x", "y"), "still": Fixed(3)}),
    "b": Group({"share": Uniform(0.0, 1.0)}),
    "c": Group({}),
}
BODIES = {"cnn": Group({}), "mlp": Group({"width": Int(8, 64, log=True)}), "vit": Group({"patch": Choice(2, 4)})}
SPACE = Group(
    {
        "method": Switch(METHODS),
        "body": Switch(BODIES, {"method": {"b": ("cnn", "vit"), "c": ("vit",)}}),
        "optimizer": Group({"batch": Choice(16, 32), "nesterov": Fixed(True)}),
    }
)
GOAL = Goal("value", "max", 9, seed=3)


def build(name: str, space: Group = SPACE, goal: Goal = GOAL) -> Strategy:
    component = SHELF.load(name)
    built: Strategy = component.build(component.config(), space, goal)
    return built


def score(config: Config, epoch: int) -> float:
    """Some value that depends on all of a config."""
    return float(np.random.default_rng([*json.dumps(config).encode(), epoch]).normal())


def trial(number: int, config: Config, epochs: tuple[int, ...], until: int, reason: str = "") -> Trial:
    rungs = [Rung(epoch, {"value": score(config, epoch), "other": 0.0}, 1.0) for epoch in epochs]
    return Trial(f"t{number:04d}", number, config, number, until, rungs, reason)


def stages(number: int, config: Config) -> list[Trial]:
    """What becomes of a trial, word by word: stopped at a rung, complete, failed or still running."""
    asked, first = trial(number, config, (), 3), trial(number, config, (3,), 3)
    ends = [
        [],
        [trial(number, config, (3,), 9), trial(number, config, (3, 9), 9)],
        [trial(number, config, (3,), 9, "out of memory")],
        [trial(number, config, (3,), 9)],
    ]
    return [asked, first, *ends[number % 4]]


def story(name: str, count: int) -> tuple[Strategy, list[Trial]]:
    """A strategy that has seen `count` trials, and these as they stand at the end."""
    strategy, trials = build(name), []
    for number in range(count):
        config = strategy.ask(number)
        assert config is not None
        for stage in stages(number, config):
            strategy.tell(stage)
        trials.append(stages(number, config)[-1])
    return strategy, trials


def replayed(name: str, trials: list[Trial]) -> Strategy:
    strategy = build(name)
    for told in trials:
        strategy.tell(told)
    return strategy


def inside(space: Group, config: Config) -> bool:
    """Whether the config is what a walk of the space gives, with every drawn value in its domain."""
    values, good = flat(space, config), True

    def draw(name: str, domain: Any) -> Any:
        nonlocal good
        value = values[name.partition("[")[0]]
        good &= domain.contains(value)
        return value

    return walk(space, draw) == config and good


@each
def test_asked_configs_lie_in_the_space(name: str) -> None:
    _, trials = story(name, 24)
    assert all(inside(SPACE, told.config) for told in trials)
    assert json.loads(json.dumps([told.config for told in trials])) == [told.config for told in trials]


@each
def test_a_suggestion_depends_on_the_record_alone(name: str) -> None:
    strategy, trials = story(name, 14)
    other = replayed(name, trials)
    expected = [strategy.ask(number) for number in (14, 15, 20)]
    assert [strategy.ask(number) for number in (14, 15, 20)] == expected  # asking changes nothing
    assert [other.ask(number) for number in (20, 15, 14)] == expected[::-1]


@each
def test_the_ledger_rebuilds_a_strategy_after_any_trial(name: str) -> None:
    _, trials = story(name, 16)
    for count in range(16):
        written = json.loads(json.dumps([vars(told) | {"rungs": [vars(r) for r in told.rungs]} for told in trials]))
        back = [Trial(**{**told, "rungs": [Rung(**r) for r in told["rungs"]]}) for told in written[:count]]
        assert replayed(name, back).ask(count) == trials[count].config


@cache
def suggestions() -> str:
    """The trials of a story of each strategy, and what it would try next."""
    found = {}
    for name in SHELF.names():
        strategy, trials = story(name, 16)
        found[name] = [told.config for told in trials], strategy.ask(16)
    return json.dumps(found)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_suggests_the_same(seed: str) -> None:
    script = "import sys; sys.path[:0] = sys.argv[1:]; import test_strategies; print(test_strategies.suggestions())"
    here = Path(__file__)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script, str(here.parent), str(here.parents[2])],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == suggestions()


@each
@pytest.mark.parametrize("told", [0, 14])
def test_the_number_tells_suggestions_apart(name: str, told: int) -> None:
    strategy = build(name, Group({"x": Uniform(0.0, 1.0), "y": Choice("a", "b"), "z": Int(1, 3)}))
    for number in range(told):
        strategy.tell(trial(number, {"x": number / 14, "y": "a", "z": 2}, (3, 9), 9))
    assert len({json.dumps(strategy.ask(number)) for number in range(told, 18)}) == 18 - told


@pytest.mark.parametrize("name", [name for name in SHELF.names() if name != "grid"])
def test_the_seed_decides(name: str) -> None:
    first, again, other = (build(name, goal=Goal("value", "max", 9, seed)) for seed in (5, 5, 6))
    asked = [[strategy.ask(number) for number in range(12)] for strategy in (first, again, other)]
    assert asked[0] == asked[1] != asked[2]


@each
@pytest.mark.parametrize("fate", ["nothing told", "failed", "running", "first rung", "one complete"])
def test_poor_records_do_not_break_a_strategy(name: str, fate: str) -> None:
    strategy = build(name)
    for number in range(12):
        config = draw_evenly(SPACE, 0, number)
        if fate == "failed":
            strategy.tell(trial(number, config, (), 3, "it broke"))
        elif fate == "running" or (fate == "one complete" and number):
            strategy.tell(trial(number, config, (), 3))
        elif fate == "first rung":
            strategy.tell(trial(number, config, (3,), 3))
        elif fate == "one complete":
            strategy.tell(trial(number, config, (3, 9), 9))
    asked = [strategy.ask(number) for number in (12, 13)]
    assert all(config is not None and inside(SPACE, config) for config in asked)


@each
def test_a_space_without_choice_is_asked_too(name: str) -> None:
    strategy = build(name, Group({"method": Switch({"c": Group({"still": Fixed(1)})})}))
    config = strategy.ask(0)
    assert config == {"method": {"c": {"still": 1}}}
    strategy.tell(trial(0, config, (3, 9), 9))
    assert strategy.ask(11) in (config, None)


@pytest.mark.parametrize("name", ["random", "tpe"])
@pytest.mark.parametrize("seed", range(5))
def test_branches_take_turns(name: str, seed: int) -> None:
    strategy = build(name, goal=Goal("value", "max", 9, seed))
    rounds = 4 if name == "random" else 3  # of three, within the ten trials before the model
    methods = [next(iter((strategy.ask(number) or {})["method"])) for number in range(3 * rounds)]
    assert all(set(methods[3 * turn : 3 * turn + 3]) == set("abc") for turn in range(rounds))


def test_the_turns_come_in_random_order() -> None:
    orders = Counter(
        tuple(next(iter(draw_evenly(SPACE, seed, number)["method"])) for number in range(3)) for seed in range(60)
    )
    assert len(orders) == 6
    assert max(orders.values()) < 25


def test_random_draws_each_knob_over_its_whole_range() -> None:
    strategy = build("random")
    found = [flat(SPACE, strategy.ask(number) or {}) for number in range(600)]
    logs = np.log10([values["method.a.lr"] for values in found if values["method"] == "a"])
    assert np.histogram(logs, 4, (-4, 0))[0].min() > 30  # 50 expected
    shares = [values["method.b.share"] for values in found if values["method"] == "b"]
    assert np.histogram(shares, 4, (0, 1))[0].min() > 30
    assert {values["body"] for values in found if values["method"] == "c"} == {"vit"}
    assert {values["body"] for values in found if values["method"] == "b"} == {"cnn", "vit"}


def test_more_branches_than_startup_are_all_tried_before_the_model() -> None:
    space = Group({"method": Switch({f"m{i:02d}": Group({}) for i in range(17)})})
    strategy = build("tpe", space)
    for number in range(17):
        config = strategy.ask(number)
        assert config is not None
        strategy.tell(trial(number, config, (3, 9), 9))
    assert isinstance(strategy, Tpe)
    assert {next(iter(told.params.values())) for told in strategy.known.values()} == set(space.parts["method"].branches)  # type: ignore[union-attr]


def gridded(points: int) -> list[str]:
    """The whole grid, written out by hand."""
    bodies: dict[str, list[dict[str, Any]]] = {
        "cnn": [{}],
        "mlp": [{"width": v} for v in Int(8, 64, log=True).grid(points)],
        "vit": [{"patch": 2}, {"patch": 4}],
    }
    depths = {2: [1, 3], 3: [1, 2, 3]}[points]
    methods: dict[str, list[dict[str, Any]]] = {
        "a": [
            {"lr": lr, "depth": depth, "kind": kind, "still": 3}
            for lr, depth, kind in product(Log(1e-4, 1.0).grid(points), depths, "xy")
        ],
        "b": [{"share": v} for v in Uniform(0.0, 1.0).grid(points)],
        "c": [{}],
    }
    fits = {"a": ["cnn", "mlp", "vit"], "b": ["cnn", "vit"], "c": ["vit"]}
    return [
        json.dumps({"method": {method: knobs}, "body": {body: inner}, "optimizer": {"batch": batch, "nesterov": True}})
        for method in methods
        for knobs in methods[method]
        for body in fits[method]
        for inner in bodies[body]
        for batch in (16, 32)
    ]


@pytest.mark.parametrize("points", [2, 3])
def test_the_grid_has_each_combination_once_and_an_end(points: int) -> None:
    grid = SHELF.load("grid")
    strategy, expected = grid.build(grid.config(points=points), SPACE, GOAL), gridded(points)
    found = [json.dumps(strategy.ask(number)) for number in range(len(expected))]
    assert found == expected
    assert strategy.ask(len(expected)) is None
    assert strategy.ask(len(expected) + 5) is None
    assert json.dumps(strategy.ask(7)) == expected[7]
    assert json.dumps(strategy.ask(3)) == expected[3]
    assert json.dumps(strategy.ask(len(expected) - 1)) == expected[-1]


def regret(function: str, name: str, seed: int, evaluations: int = 60) -> float:
    """How far from the optimum the best of the evaluations lies."""
    component = SHELVES["function"].load(function)
    space = Group({"function": Switch({function: full_space(component.config)})})
    strategy, values = build(name, space, Goal("value", "min", 1, seed)), []
    for number in range(evaluations):
        config = strategy.ask(number)
        assert config is not None
        values.append(component.build(component.config(**config["function"][function]))())
        strategy.tell(Trial(str(number), number, config, 0, 1, [Rung(1, {"value": values[-1]}, 0.0)]))
    return float(min(values)) - component.module.OPTIMUM


@pytest.mark.parametrize("function", ["branin", "mixed"])
def test_the_model_beats_chance(function: str) -> None:
    chance, model = (
        statistics.median(regret(function, name, seed) for seed in range(10)) for name in ("random", "tpe")
    )
    assert 0 <= model < chance / 3  # measured: branin 0.75 and 0.043, mixed 0.26 and 0.0003
    assert chance < 2


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_model_turns_towards_the_goal(mode: str) -> None:
    space = Group({"x": Uniform(0.0, 1.0)})
    strategy, found = build("tpe", space, Goal("value", mode, 1, 0)), []
    for number in range(30):
        config = strategy.ask(number)
        assert config is not None
        found.append(config["x"])
        strategy.tell(Trial(str(number), number, config, 0, 1, [Rung(1, {"value": config["x"]}, 0.0)]))
    late = statistics.mean(found[15:])
    assert late > 0.7 if mode == "max" else late < 0.3


def test_the_model_avoids_where_trials_fail() -> None:
    """Trials above one half look best at their first rung, then fail; those below are all alike."""
    late = []
    for seed in range(4):
        strategy = build("tpe", Group({"x": Uniform(0.0, 1.0)}), Goal("value", "max", 9, seed))
        for number in range(40):
            config = strategy.ask(number)
            assert config is not None
            told = trial(number, config, (3, 9), 9)
            if config["x"] > 0.5:
                told.rungs, told.reason = [Rung(3, {"value": 10.0}, 0.0)], "it broke"
            strategy.tell(told)
            late += [config["x"] > 0.5] if number >= 15 else []
    assert statistics.mean(late) < 0.3  # measured: 0.13; chance: 0.5; a model that is not told of failures: 1


def test_the_model_is_told_the_truth() -> None:
    strategy = Tpe(TpeConfig(), SPACE, GOAL)
    config = draw_evenly(SPACE, 0, 0)
    told = {
        "asked": trial(0, config, (), 3),
        "going on": trial(1, config, (3,), 9),
        "stopped": trial(2, config, (3,), 3),
        "complete": trial(3, config, (3, 9), 9),
        "failed": trial(4, config, (3,), 9, "it broke"),
    }
    for stage in told.values():
        strategy.tell(stage)
    frozen = {fate: strategy.known[stage.id] for fate, stage in told.items()}
    curve = {3: score(config, 3)}
    assert {fate: known.state for fate, known in frozen.items()} == {
        "asked": TrialState.RUNNING,
        "going on": TrialState.RUNNING,
        "stopped": TrialState.PRUNED,
        "complete": TrialState.COMPLETE,
        "failed": TrialState.PRUNED,
    }
    assert frozen["asked"].intermediate_values == {}
    assert frozen["going on"].intermediate_values == curve
    assert (frozen["stopped"].value, frozen["stopped"].intermediate_values) == (None, curve)
    assert frozen["complete"].value == score(config, 9)
    assert frozen["complete"].intermediate_values == curve | {9: score(config, 9)}
    assert (frozen["failed"].value, frozen["failed"].intermediate_values) == (None, {})
    values = flat(SPACE, config)
    for known in frozen.values():
        assert {name.partition("[")[0]: value for name, value in known.params.items()} == {
            name: value for name, value in values.items() if name not in ("method.a.still", "optimizer.nesterov")
        }
    strategy.tell(trial(0, config, (3, 9), 9))
    assert strategy.known["t0000"].state == TrialState.COMPLETE  # a later word replaces an earlier
    assert len(strategy.known) == 5


@pytest.mark.parametrize(
    ("method", "body"),
    [("a", "body"), ("b", "body[cnn|vit]"), ("c", None)],
)
def test_the_model_sees_each_set_of_branches_as_its_own_knob(method: str, body: str | None) -> None:
    strategy = Tpe(TpeConfig(), SPACE, GOAL)
    number = next(n for n in range(3) if method in draw_evenly(SPACE, 0, n)["method"])
    strategy.tell(trial(number, draw_evenly(SPACE, 0, number), (3, 9), 9))
    (known,) = strategy.known.values()
    assert [name for name in known.params if name.startswith("body") and "." not in name] == ([body] if body else [])
    if body:
        assert known.distributions[body].choices == (("cnn", "mlp", "vit") if method == "a" else ("cnn", "vit"))
