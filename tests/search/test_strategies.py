"""The contract that every strategy of the shelf keeps, in spaces of every kind and on records good and bad."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.ledger import Rung, Trial
from search.strategies import Strategy, draw_evenly, key
from spaces.components import Shelf
from spaces.domains import Choice, Fixed, Int, Log, Ordinal, Uniform
from spaces.expressions import parse
from spaces.goal import Goal, Target
from spaces.space import Config, Group, Same, Sequence, Switch, allowed, draws, walk

SHELF = Shelf("strategy", "search.strategies")
SEVERAL = [name for name in SHELF.names() if getattr(SHELF.load(name).module, "TARGETS", "") == "many"]
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
PIPELINE = Sequence({"blur": Group({}), "crop": Group({"scale": Uniform(0.1, 1.0)})}, Int(0, 2), repeat=True)
CUBE = Group({"x": Uniform(-5.0, 5.0), "y": Log(1e-5, 1e-1), "z": Int(1, 30)})
SPACES = {
    "conditional": SPACE,
    "cube": CUBE,
    "stepped": Group(
        {
            "x": Uniform(0.0, 1.0, step=0.25),
            "n": Int(0, 30, step=5),
            "o": Ordinal(16, 32, 64),
            "flag": Choice(True, 1, "yes"),
            "s": Uniform(0.1, 0.7, step=0.1),
        }
    ),
    "single values": Group(
        {
            "x": Uniform(2.0, 2.0),
            "l": Log(3.0, 3.0),
            "n": Int(4, 4),
            "c": Choice("only"),
            "o": Ordinal(8),
            "f": Fixed(0),
        }
    ),
    "constrained": Group(
        {**CUBE.parts, "c": Choice("p", "q"), "w": Uniform(-5.0, 5.0)},
        (parse("x < w", ["x", "w", "c", "z"]), parse("c != 'p' or z > 15", ["x", "w", "c", "z"])),
    ),
    "pipeline": Group(
        {"augmentation": PIPELINE, "lr": Log(0.01, 1.0), "again": Group({"lr": Same("lr", Log(0.01, 1.0))})}
    ),
}
TALES = ("conditional", "constrained")  # of which the stories are longer
GOAL = Goal("value", "max", 9, seed=3)
QUICK = {"startup": 3, "candidates": 16, "starts": 1, "population": 4, "sample": 2, "observations": 3, "few": 6}


def build(name: str, space: Group = SPACE, goal: Goal = GOAL, quick: bool = False) -> Strategy:
    component = SHELF.load(name)
    settings = {f.name: QUICK[f.name] for f in fields(component.config) if quick and f.name in QUICK}
    if name == "cmaes":
        settings.pop("startup", None)  # which is something else there
    built: Strategy = component.build(component.config(**settings), space, goal)
    return built


def score(config: Config, epoch: int) -> float:
    """Some value that depends on all of a config."""
    return float(np.random.default_rng([*json.dumps(config).encode(), epoch]).normal())


def trial(number: int, config: Config, epochs: tuple[int, ...], until: int, reason: str = "") -> Trial:
    rungs = [Rung(epoch, {"value": score(config, epoch), "other": score(config, -epoch % 99)}, 1.0) for epoch in epochs]
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


def story(name: str, count: int, space: Group = SPACE, goal: Goal = GOAL) -> tuple[Strategy, list[Trial]]:
    """A strategy that has seen `count` trials, and these as they stand at the end; fewer if it came to its end."""
    strategy, trials = build(name, space, goal, quick=True), []
    for number in range(count):
        config = strategy.ask(number)
        if config is None:
            break
        for stage in stages(number, config):
            strategy.tell(stage)
        trials.append(stages(number, config)[-1])
    return strategy, trials


@cache
def tale(name: str, space: str = "conditional") -> tuple[Strategy, list[Trial]]:
    """The one story of a strategy in a space that many tests look at; none may tell it more."""
    return story(name, 8 if space in TALES else 6, SPACES[space])


def replayed(name: str, trials: list[Trial], space: Group = SPACE) -> Strategy:
    """A strategy that is told the last word about each trial, as a ledger on disk has it."""
    written = json.dumps([vars(told) | {"rungs": [vars(rung) for rung in told.rungs]} for told in trials])
    strategy = build(name, space, quick=True)
    for told in json.loads(written):
        strategy.tell(Trial(**{**told, "rungs": [Rung(**rung) for rung in told["rungs"]]}))
    return strategy


def inside(space: Group, config: Config) -> bool:
    """Whether the config is what a walk of the space gives, with every drawn value in its domain, and allowed."""
    drawn = draws(space, config)
    again = walk(space, lambda name, _: drawn[name][1])
    return key(again) == key(config) and all(d.contains(v) for d, v in drawn.values()) and allowed(space, config)


@each
@pytest.mark.parametrize("space", SPACES)
def test_asked_configs_lie_in_the_space(name: str, space: str) -> None:
    _, trials = tale(name, space)
    assert trials
    assert all(inside(SPACES[space], told.config) for told in trials)
    assert json.loads(json.dumps([told.config for told in trials])) == [told.config for told in trials]


@each
@pytest.mark.parametrize("space", TALES)
def test_a_suggestion_depends_on_the_record_alone(name: str, space: str) -> None:
    strategy, trials = tale(name, space)
    expected = [strategy.ask(number) for number in (8, 9)]
    other = replayed(name, trials[::-1], SPACES[space])  # nor does the order of telling matter
    assert [other.ask(number) for number in (9, 8)] == expected[::-1]
    assert [strategy.ask(number) for number in (8, 9)] == expected  # asking changes nothing


@each
def test_a_later_word_replaces_an_earlier(name: str) -> None:
    space = SPACES["constrained"]
    trials = [stages(number, draw_evenly(space, 0, number)) for number in range(8)]
    strategy = build(name, space, quick=True)
    for words in trials:
        strategy.tell(words[1])
    strategy.ask(8)  # what is kept of this must not outlive the next words
    for words in trials:
        strategy.tell(words[-1])
    assert strategy.ask(8) == replayed(name, [words[-1] for words in trials], space).ask(8)


@each
def test_the_ledger_rebuilds_a_strategy_after_any_trial(name: str) -> None:
    _, trials = tale(name)
    for count in range(8):
        assert replayed(name, trials[:count]).ask(count) == trials[count].config


def suggestions() -> str:
    """The trials of a story of each strategy, and what it would try next."""
    return json.dumps({n: [[told.config for told in tale(n)[1]], tale(n)[0].ask(8)] for n in SHELF.names()})


def test_another_process_suggests_the_same() -> None:
    script = "import sys; sys.path[:0] = sys.argv[1:]; import test_strategies; print(test_strategies.suggestions())"
    here, mine = Path(__file__), os.environ.get("PYTHONHASHSEED")
    environment = {**os.environ, "PYTHONHASHSEED": "2" if mine == "1" else "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(here.parent), str(here.parents[2])]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == suggestions()


@each
@pytest.mark.parametrize("told", [0, 8])
def test_trials_that_are_out_at_once_differ(name: str, told: int) -> None:
    space = Group({"x": Uniform(0.0, 1.0), "y": Choice("a", "b"), "z": Int(1, 3)})
    strategy = build(name, space, quick=True)
    for number in range(told):
        strategy.tell(trial(number, {"x": number / 14, "y": "a", "z": 2}, (3, 9), 9))
    asked: list[Any] = []
    for number in range(told, told + 8):
        asked.append(strategy.ask(number))
        strategy.tell(trial(number, asked[-1], (), 3))
    assert len({key(config) for config in asked}) == 8


@pytest.mark.parametrize("name", [name for name in SHELF.names() if name != "grid"])
def test_the_seed_decides(name: str) -> None:
    first, again, other = (build(name, goal=Goal("value", "max", 9, seed)) for seed in (5, 5, 6))
    asked = [[strategy.ask(number) for number in range(6)] for strategy in (first, again, other)]
    assert asked[0] == asked[1] != asked[2]


def fate(name: str, number: int, config: Config) -> Trial:
    """What became of a trial, on a record that gives little to learn from, or strange things."""
    done = trial(number, config, (3, 9), 9)
    values = {
        "equal": 1.0,
        "huge": (-1.0) ** number * 1e300,
        "tiny": number * 5e-324,
        "one huge": 1e300 * (number == 3),
    }
    match name:
        case "running":
            return trial(number, config, (), 3)
        case "failed":
            return trial(number, config, (3,), 9, "it broke")
        case "first rung":
            return trial(number, config, (3,), 3)
        case "one complete":
            return trial(number, config, (), 3) if number else done
        case "fork":
            return replace(trial(number, config, (9,), 9), parent="t0000", origin=3)
        case "no metric":
            return replace(done, rungs=[Rung(rung.epoch, {"third": 1.0}, 1.0) for rung in done.rungs])
        case "no metric at the end":
            return replace(done, rungs=[done.rungs[0], Rung(9, {"third": 1.0}, 1.0)])
    return replace(done, rungs=[Rung(r.epoch, {"value": values[name], "other": values[name]}, 1.0) for r in done.rungs])


FATES = ("running", "failed", "first rung", "one complete", "fork", "no metric", "no metric at the end")
GIVEN = (*FATES, "equal", "huge", "tiny", "one huge")


@each
@pytest.mark.parametrize("given", GIVEN)
def test_poor_records_do_not_break_a_strategy(name: str, given: str) -> None:
    strategy = build(name, quick=True)
    for number in range(8):
        strategy.tell(fate(given, number, draw_evenly(SPACE, 0, number)))
    config = strategy.ask(8)
    assert config is not None
    assert inside(SPACE, config)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("given", ["stages", "no metric at the end", "huge", "first rung"])
def test_several_targets_and_bounds_are_served(name: str, given: str) -> None:
    bound = parse("other < 0.5", ["value", "other"])
    goal = Goal("value", "max", 9, 3, (Target("other", "min"),), (bound,) if given != "huge" else ())
    strategy = build(name, goal=goal, quick=True)
    for number in range(8):
        config = draw_evenly(SPACE, 0, number)
        strategy.tell(stages(number, config)[-1] if given == "stages" else fate(given, number, config))
    asked = strategy.ask(8)
    assert asked is not None
    assert inside(SPACE, asked)


@each
def test_a_space_without_choice_is_asked_too(name: str) -> None:
    strategy = build(name, Group({"method": Switch({"c": Group({"still": Fixed(1)})})}))
    config = strategy.ask(0)
    assert config == {"method": {"c": {"still": 1}}}
    strategy.tell(trial(0, config, (3, 9), 9))
    assert strategy.ask(11) in (config, None)


@each
def test_trials_of_earlier_runs_are_learned_from(name: str) -> None:
    """Told trials with numbers below 0, a strategy asks as ever: within the space, and alike when told again."""
    earlier = [
        Trial(f"w{place:04d}", place - 30, told.config, 0, 9, [Rung(9, {"value": score(told.config, 9)}, 0.0)])
        for place in range(30)
        for told in [trial(place, draw_evenly(SPACE, 99, place), (9,), 9)]
    ]
    warm, again = build(name, quick=True), build(name, quick=True)
    for told in earlier:
        warm.tell(told)
    for told in reversed(earlier):
        again.tell(told)
    asked = [warm.ask(number) for number in range(3)]
    assert asked == [again.ask(number) for number in range(3)]
    assert all(config is not None and inside(SPACE, config) for config in asked)
    if name in ("tpe", "gp", "bohb", "evolution", "reinforce", "prior"):  # whose start is over by then
        assert asked != [build(name, quick=True).ask(number) for number in range(3)]
