"""How many configs there are: what is counted is what a walk through all of them finds."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings

from search.strategies.grid import combinations
from spaces.domains import Choice, Fixed, Int, Uniform
from spaces.knobs import size
from spaces.space import Either, Group, Node, Same, Sequence, Switch
from tests.spaces.trees import FINITE, languages

MOST = 300  # configs that are looked at


def told_apart(node: Node) -> Any:
    """The tree with every way of an either marked by its name, so that no two have anything in common."""
    match node:
        case Group(inner):
            return Group({name: told_apart(child) for name, child in inner.items()})
        case Switch(inner, only):
            return Switch({name: told_apart(child) for name, child in inner.items()}, only)
        case Either(ways):
            return Either({name: Group({"way": Fixed(name), "it": told_apart(way)}) for name, way in ways.items()})
        case Sequence(steps, length, repeat):
            return Sequence({name: told_apart(step) for name, step in steps.items()}, length, repeat)
    return node


@settings(max_examples=40, deadline=None, derandomize=True)
@given(languages(FINITE, either=False))
def test_the_size_is_the_number_of_distinct_configs(space: Group) -> None:
    count = size(space)
    if count > MOST:
        return
    every = islice(combinations(told_apart(space), 99), 4 * MOST)
    walked = [repr(config) for config in every]
    if len(walked) < 4 * MOST:  # else sequences come in too many ways
        assert len(set(walked)) == count


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (Group({}), 1),
        (Group({"x": Int(1, 3), "y": Choice("a", "b")}), 6),
        (Group({"x": Int(1, 3), "y": Same("x", Int(1, 3))}), 3),
        (Group({"x": Same("m.p.y", Int(1, 3)), "m": Switch({"p": Group({"y": Int(1, 3)}), "q": Group({})})}), 6),
        (Group({"m": Switch({"p": Group({"y": Int(1, 3)}), "q": Group({"z": Same("m.p.y", Int(1, 3))})})}), 6),
        (Group({"x": Either({"1": Fixed(0), "2": Int(5, 6)})}), 3),
        (Group({"x": Either({"1": Fixed(0), "2": Uniform(0, 1)})}), float("inf")),
        (Group({"x": Sequence({n: Group({}) for n in "pqr"}, Int(0, 3))}), 16),  # 1 + 3 + 6 + 6
        (Group({"x": Sequence({n: Group({}) for n in "pqr"}, Int(2, 2))}), 6),
        (Group({"x": Sequence({n: Group({}) for n in "pqr"}, Int(0, 0))}), 1),
        (Group({"x": Sequence({n: Group({}) for n in "pq"}, Int(0, 3), repeat=True)}), 15),
        (Group({"x": Sequence({"p": Group({"y": Int(1, 3)}), "q": Group({})}, Int(1, 2))}), 10),  # 4 + 6
        (Group({"x": Sequence({"p": Group({"y": Int(1, 3)}), "q": Group({})}, Int(2, 2), repeat=True)}), 16),
        (Group({"x": Sequence({"p": Group({"y": Uniform(0, 1)})}, Int(0, 0))}), 1),
    ],
)
def test_sizes_by_hand(space: Group, count: float) -> None:
    assert size(space) == count


def test_knobs_that_many_share_are_counted_in_time() -> None:
    """Each may or may not be drawn: 2 to the 24th sets of them."""
    shared = {f"k{i}": Switch({"p": Group({"x": Int(1, 2)}), "q": Group({})}) for i in range(24)}
    others = {f"s{i}": Same(f"k{i}.p.x", Int(1, 2)) for i in range(24)}
    assert size(Group({**shared, "on": Switch({"p": Group(others), "q": Group({})})})) >= 2**24 * 2**24 + 3**24
