"""The space, whole: of any tree of any kinds of nodes, walks, draws, knobs and configs agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.domains import Int, Value
from spaces.knobs import Knob, knobs
from spaces.space import Either, Group, Node, Same, Sequence, Switch, allowed, draws, fits, flat, walk
from tests.spaces.trees import languages, sequenced, steady, traced


def applies(knob: Knob, values: Mapping[str, Value]) -> bool:
    return all(values.get(switch) in branches for switch, branches in knob.when.items())


def has(node: Node, *kinds: type) -> bool:
    """Whether a node of some kinds stands in a tree."""
    children: Mapping[str, Node] = {}
    match node:
        case Group(inner) | Switch(inner) | Either(inner) | Sequence(inner):
            children = inner
    return isinstance(node, kinds) or any(has(child, *kinds) for child in children.values())


@steady
@given(languages(), st.integers(0, 1000))
def test_of_every_kind_of_node_what_is_drawn_is_a_knob(space: Group, seed: int) -> None:
    _, drawn = traced(space, seed)
    known = {knob.name: knob for knob in knobs(space)}
    assert len(known) == len(knobs(space))
    for name, (domain, value) in drawn.items():
        assert known[name].domain == domain
        assert domain.contains(value)
        assert applies(known[name], {**flat_switches(space, ""), **{n: v for n, (_, v) in drawn.items()}})


@steady
@given(languages(), st.integers(0, 1000))
def test_what_applies_by_all_that_it_says_is_drawn(space: Group, seed: int) -> None:
    """But for the places and steps of sequences: these depend on numbers and on each other."""
    _, drawn = traced(space, seed)
    values = {name: value for name, (_, value) in drawn.items()}
    loose = [name for name, _ in sequenced(space, "")]
    for knob in knobs(space):
        if not any(knob.name.startswith(f"{name}.") for name in loose) and not tied(space, knob.name):
            assert (knob.name in drawn) is applies(knob, {**flat_switches(space, ""), **values}), knob


def flat_switches(node: Node, path: str) -> dict[str, Value]:
    """Switches of one branch, which are not drawn."""
    found: dict[str, Value] = {}
    match node:
        case Switch(inner) if len(inner) == 1:
            found[path] = next(iter(inner))
    match node:
        case Group(inner) | Switch(inner) | Either(inner):
            for name, child in inner.items():
                found |= flat_switches(child, f"{path}.{name}" if path else name)
        case Sequence(steps):
            for name, child in steps.items():
                for place in range(1, node.length.high + 1):
                    found |= flat_switches(child, f"{path}.{place}.{name}" if node.repeat else f"{path}.{name}")
    return found


def tied(node: Node, name: str) -> bool:
    """Whether something in the tree is the same as that knob."""
    match node:
        case Same(path):
            return path == name
        case Group(inner) | Switch(inner) | Either(inner) | Sequence(inner):
            return any(tied(child, name) for child in inner.values())
    return False


@steady
@given(languages(), st.integers(0, 1000))
def test_configs_fit_and_their_draws_lead_back(space: Group, seed: int) -> None:
    config, drawn = traced(space, seed)
    assert fits(space, config)
    found = draws(space, config)
    assert walk(space, lambda name, domain: found[name][1]) == config
    values = flat(space, config)
    assert all(values[name.partition("[")[0]] == value for name, (_, value) in found.items())
    if not has(space, Either, Sequence):  # of which one config may have been drawn in several ways
        assert found == drawn


@steady
@given(languages(), st.integers(0, 1000), st.data())
def test_what_is_damaged_fits_no_more_or_leads_back_still(space: Group, seed: int, data: st.DataObject) -> None:
    """Somebody's config, such as an earlier run's: it is told apart or read rightly, whatever it is."""
    config, _ = traced(space, seed)
    junk = st.sampled_from([None, {}, [], [1], "x", 1, 2.0, True, [{}], [{"p": {}}], {"p": 1}])
    strange = damaged(config, data, junk)
    if fits(space, strange):
        assert isinstance(allowed(space, strange), bool)
        if allowed(space, strange):
            found = draws(space, strange)
            assert walk(space, lambda name, domain: found[name][1]) == strange


def damaged(part: Any, data: st.DataObject, junk: st.SearchStrategy[Any]) -> Any:
    """A config with another value somewhere."""
    keys = list(part) if isinstance(part, dict) else list(range(len(part))) if isinstance(part, list) else []
    place = data.draw(st.sampled_from([None, *keys])) if keys else None
    if place is None:
        return data.draw(junk)
    if isinstance(part, dict):
        return {key: damaged(child, data, junk) if key == place else child for key, child in part.items()}
    return [damaged(child, data, junk) if i == place else child for i, child in enumerate(part)]


@steady
@given(languages(), st.integers(0, 1000))
def test_what_is_to_be_the_same_is(space: Group, seed: int) -> None:
    config, drawn = traced(space, seed)

    def check(node: Node, part: Any) -> None:
        match node:
            case Same(path):
                assert part == drawn[path][1]
            case Group(inner):
                for name, child in inner.items():
                    check(child, part[name])
            case Switch(inner):
                ((name, below),) = part.items()
                check(inner[name], below)
            case Sequence(steps):
                for step in part:
                    ((name, below),) = step.items()
                    check(steps[name], below)

    check(space, config)


def test_a_sequence_takes_each_step_once_or_as_often_as_it_likes() -> None:
    steps = {"p": Group({"x": Int(1, 9)}), "q": Group({}), "r": Group({})}
    once, often = Sequence(steps, Int(2, 3)), Sequence(steps, Int(2, 3), repeat=True)
    given = {"s.length": 3, "s.1": "p", "s.2": "p", "s.3": "p", "s.p.x": 7, "s.1.p.x": 1, "s.2.p.x": 2, "s.3.p.x": 3}
    assert walk(Group({"s": once}), lambda name, _: given[name]) == {"s": [{"p": {"x": 7}}, {"q": {}}, {"r": {}}]}
    assert walk(Group({"s": often}), lambda name, _: given[name]) == {
        "s": [{"p": {"x": 1}}, {"p": {"x": 2}}, {"p": {"x": 3}}]
    }
    assert [knob.name for knob in knobs(Group({"s": once}))] == ["s.length", "s.1", "s.2", "s.3", "s.p.x"]
    assert [(knob.name, knob.when) for knob in knobs(Group({"s": often}))][4:] == [
        ("s.1.p.x", {"s.1": ("p",)}),
        ("s.2.p.x", {"s.2": ("p",)}),
        ("s.3.p.x", {"s.3": ("p",)}),
    ]
    assert flat(Group({"s": once}), {"s": [{"r": {}}, {"p": {"x": 4}}]}) == {
        "s.length": 2,
        "s.1": "r",
        "s.2": "p",
        "s.p.x": 4,
    }
    assert knobs(Group({"s": Sequence(steps, Int(0, 0))})) == []


@pytest.mark.parametrize(
    "part",
    [
        *([], [{"p": {}}], [{"p": {}}, {"p": {}}], [{"p": {}}, {"s": {}}], [{"p": {}}, {"q": {"x": 1}}]),
        *([{"p": {}}, {}], [{"p": {}}, {"q": {}, "r": {}}], [{"p": {}}, "q"], [{"p": {}}, 3], "pq", None, {"p": {}}),
        *([{"p": {}}, ["q"]], [{"p": {}}, {"q": []}]),
    ],
    ids=repr,
)
def test_lists_that_are_none_of_a_sequence(part: Any) -> None:
    space = Group({"s": Sequence({n: Group({}) for n in "pqr"}, Int(2, 3))})
    assert not fits(space, {"s": part})


@pytest.mark.parametrize("order", [("low", "high"), ("high", "low")])
def test_a_way_that_is_to_be_the_same_is_told_from_one_that_is_not(order: tuple[str, ...]) -> None:
    parts = {"high": Int(0, 9), "low": Either({"1": Same("high", Int(0, 9)), "2": Int(0, 9)})}
    space = Group({name: parts[name] for name in order})
    assert flat(space, {"low": 3, "high": 4}) == {"high": 4, "low": "2", "low.2": 3}
    assert flat(space, {"low": 4, "high": 4}) == {"high": 4, "low": "1"}
    found = draws(space, {"low": 3, "high": 4})
    assert walk(space, lambda name, domain: found[name][1]) == {"low": 3, "high": 4}


def test_ways_that_may_be_the_same_are_told_apart_in_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dozen knobs, each the same as one of four others or free, have thousands of readings."""
    others = {name: Int(0, 99) for name in "abcd"}
    ways = Either({**{name: Same(f"z.{name}", domain) for name, domain in others.items()}, "free": Int(0, 99)})
    space = Group({**{f"k{i}": ways for i in range(24)}, "z": Group(others)})
    config = {**{f"k{i}": i for i in range(24)}, "z": dict(zip("abcd", range(90, 94), strict=True))}
    looked = []
    monkeypatch.setattr("spaces.space.fits", lambda node, part: looked.append(node) or fits(node, part))
    found = draws(space, config)
    assert len(looked) < 1000
    assert walk(space, lambda name, domain: found[name][1]) == config


def test_what_is_not_the_same_as_it_should_be_is_not_allowed() -> None:
    space = Group({"x": Int(0, 9), "y": Same("x", Int(0, 9))})
    assert allowed(space, {"x": 1, "y": 1})
    assert not allowed(space, {"x": 1, "y": 2})
    with pytest.raises(ValueError, match="no config of this space"):
        flat(space, {"x": 1, "y": 2})
