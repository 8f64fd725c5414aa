"""Strategies that learn nothing: how evenly they draw, and that what is forbidden is passed over."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_strategies import GOAL, SHELF, SPACE, SPACES, build

from search.strategies import draw_evenly, generator, key, permitted
from search.strategies import grid as grids
from spaces.document import StudyError
from spaces.domains import Choice, Int, Log, Uniform
from spaces.expressions import parse
from spaces.goal import Goal
from spaces.space import Config, Group, allowed, flat

X = Group({"x": Int(0, 9)}, (parse("x > 6", ["x"]),))


@given(st.lists(st.integers(5, 9), min_size=1, max_size=6), st.sets(st.integers(7, 9), min_size=1))
def test_the_first_that_is_allowed_and_new_is_taken(drawn: list[int], seen: set[int]) -> None:
    texts = {key({"x": x}) for x in seen}
    found = permitted(X, 0, 0, lambda stream: {"x": drawn[stream]}, len(drawn), texts)["x"]
    kept = [x for x in drawn if x > 6]
    fresh = [x for x in kept if x not in seen]
    assert found == (fresh or kept or [found])[0]
    assert found > 6


def test_where_nothing_is_allowed_an_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Group({"x": Int(0, 9)}, (parse("x > 9", ["x"]),))
    with pytest.raises(StudyError, match=r"^space\.where: of 10000 configs drawn at random none keeps"):
        draw_evenly(space, 0, 0)
    monkeypatch.setattr(grids, "MOST_FORBIDDEN", 1000)
    with pytest.raises(StudyError, match=r"^space\.where: the conditions forbid 1,000 cells of the grid"):
        build("grid", Group({"x": Int(0, 2), **{f"c{i}": Choice(*range(10)) for i in range(3)}}, space.where)).ask(0)


def test_streams_are_apart_and_the_first_is_the_usual_one() -> None:
    assert generator(3, 4).random() == np.random.default_rng([3, 4]).random()
    assert len({generator(3, 4, stream).random() for stream in range(9)}) == 9


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


def test_sobol_points_are_one_to_a_part_in_every_knob() -> None:
    space = Group({"x": Uniform(0.0, 1.0), "y": Log(1.0, 2.0**16), "c": Choice(*range(4)), "n": Int(0, 7)})
    strategy = build("sobol", space)
    found: list[Config] = [strategy.ask(number) or {} for number in range(16)]
    assert {int(config["x"] * 16) for config in found} == set(range(16))
    assert {int(np.log2(config["y"])) for config in found} == set(range(16))
    assert set(Counter(config["c"] for config in found).values()) == {4}
    assert set(Counter(config["n"] for config in found).values()) == {2}
    pairs = Counter((int(config["x"] * 4), int(np.log2(config["y"]) / 4)) for config in found)
    assert set(pairs.values()) == {1}  # a net: in the first two dimensions one to each of 16 squares
    assert [strategy.ask(number) for number in (15, 3, 9, 10)] == [found[number] for number in (15, 3, 9, 10)]
    assert build("sobol", space).ask(12) == found[12]


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


def test_the_grid_passes_over_what_is_forbidden() -> None:
    space = SPACES["constrained"]
    strategy = build("grid", space)
    expected = [cell for cell in grids.combinations(space, 3) if allowed(space, cell)]
    assert 0 < len(expected) < len(list(grids.combinations(space, 3)))
    assert [strategy.ask(number) for number in range(len(expected) + 1)] == [*expected, None]
