"""The space: its walk, its knobs and its flat configs agree on any tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.domains import Choice, Domain, Fixed, Int, Log, Uniform, Value
from spaces.knobs import Knob, knobs
from spaces.space import Group, Node, Switch, flat, walk
from tests.spaces.trees import LEAVES, NAMES, groups, steady, traced

NODES = st.recursive(
    LEAVES,
    lambda inner: groups(inner) | st.dictionaries(NAMES, groups(inner), min_size=1, max_size=3).map(Switch),
    max_leaves=6,
)


@st.composite
def spaces(draw: st.DrawFn) -> Group:
    """A tree of up to three parts, followed by two switches of which the first narrows the second."""
    parts = dict(draw(st.dictionaries(NAMES, NODES, max_size=3)))
    first, second = (draw(st.dictionaries(NAMES, groups(NODES), min_size=1, max_size=3)) for _ in range(2))
    some = st.lists(st.sampled_from(list(second)), min_size=1, unique=True).map(tuple)
    only = draw(st.dictionaries(st.sampled_from(list(first)), some))
    return Group({**parts, "method": Switch(first), "body": Switch(second, {"method": only} if only else {})})


def part(space: Group, name: str) -> Switch:
    found = space.parts[name]
    assert isinstance(found, Switch)
    return found


def applies(knob: Knob, values: Mapping[str, Value]) -> bool:
    return all(values.get(switch) in branches for switch, branches in knob.when.items())


def ends(node: Node, path: str = "") -> dict[str, Domain | Switch]:
    """Every domain and switch of a tree by its path, whether it can apply or not."""
    found: dict[str, Domain | Switch] = {}
    if isinstance(node, Group):
        children = node.parts
    elif isinstance(node, Switch):
        children, found[path] = node.branches, node
    else:
        return {path: node}
    for name, child in children.items():
        found |= ends(child, f"{path}.{name}" if path else name)
    return found


@steady
@given(spaces(), st.integers(0, 1000))
def test_what_a_walk_draws_are_the_knobs_that_apply(space: Group, seed: int) -> None:
    config, drawn = traced(space, seed)
    values = flat(space, config)
    known = {knob.name: knob for knob in knobs(space)}
    assert len(known) == len(knobs(space))
    assert drawn.keys() <= known.keys()
    for name, (domain, _) in drawn.items():
        assert known[name].domain == domain
    assert drawn.keys() == {knob.name for knob in known.values() if applies(knob, values)}


@steady
@given(spaces(), st.integers(0, 1000))
def test_flat_values_lie_in_the_domains_of_their_names(space: Group, seed: int) -> None:
    config, drawn = traced(space, seed)
    values = flat(space, config)
    declared = ends(space)
    for name, value in values.items():
        node = declared[name]
        assert value in node.branches if isinstance(node, Switch) else node.contains(value)
    for name, (_, value) in drawn.items():
        assert values[name.partition("[")[0]] == value


@steady
@given(spaces(), st.integers(0, 1000))
def test_flat_values_lead_back_to_the_config(space: Group, seed: int) -> None:
    config, _ = traced(space, seed)
    values = flat(space, config)
    assert walk(space, lambda name, domain: values[name.partition("[")[0]]) == config


@steady
@given(spaces())
def test_every_knob_is_drawn_where_it_says_when(space: Group) -> None:
    for knob in knobs(space):
        assert any(
            knob.name in steered(space, {"method": (method,), **knob.when}) for method in part(space, "method").branches
        )


def steered(space: Group, wanted: Mapping[str, tuple[str, ...]]) -> set[str]:
    """What a walk draws that takes the wanted branches where it can."""
    names = set()

    def draw(name: str, domain: Domain) -> Value:
        names.add(name)
        options = domain.grid(1)
        return next((o for o in options if o in wanted.get(name.partition("[")[0], ())), options[0])

    walk(space, draw)
    return names


@steady
@given(spaces(), st.integers(0, 1000))
def test_narrowing_is_kept(space: Group, seed: int) -> None:
    config, drawn = traced(space, seed)
    ((method,), (body,)) = config["method"], config["body"]
    bodies = part(space, "body")
    allowed = bodies.only.get("method", {}).get(method, tuple(bodies.branches))
    assert body in allowed
    asked = [name for name in drawn if name.partition("[")[0] == "body"]
    assert len(asked) == (len(allowed) > 1)


def no_draw(name: str, domain: Domain) -> Any:
    raise AssertionError(f"{name} was drawn")


def test_one_open_branch_and_fixed_values_are_not_drawn() -> None:
    space = Group({"method": Switch({"a": Group({"x": Fixed(1)})}), "off": Group({})})
    assert walk(space, no_draw) == {"method": {"a": {"x": 1}}, "off": {}}
    assert knobs(space) == []
    assert flat(space, {"method": {"a": {"x": 1}}, "off": {}}) == {"method": "a", "method.a.x": 1}


def three_bodies() -> Group:
    """Method `p` takes any body, `q` and `r` two of them, `s` one."""
    branches = {"cnn": Group({"width": Int(1, 4)}), "vit": Group({"patch": Choice(2, 4)}), "mlp": Group({})}
    only = {"q": ("cnn", "vit"), "r": ("cnn", "vit"), "s": ("vit",)}
    methods = {name: Group({}) for name in "pqrs"}
    return Group({"method": Switch(methods), "body": Switch(branches, {"method": only})})


def test_a_narrowed_switch_is_a_knob_of_its_own() -> None:
    assert knobs(three_bodies()) == [
        Knob("method", Choice("p", "q", "r", "s"), {}),
        Knob("body", Choice("cnn", "vit", "mlp"), {"method": ("p",)}),
        Knob("body[cnn|vit]", Choice("cnn", "vit"), {"method": ("q", "r")}),
        Knob("body.cnn.width", Int(1, 4), {"body": ("cnn",)}),
        Knob("body.vit.patch", Choice(2, 4), {"body": ("vit",)}),
    ]


@pytest.mark.parametrize(
    ("method", "asked"), [("p", ["body"]), ("q", ["body[cnn|vit]"]), ("r", ["body[cnn|vit]"]), ("s", [])]
)
def test_the_walk_asks_for_what_the_method_leaves(method: str, asked: list[str]) -> None:
    names = []

    def draw(name: str, domain: Domain) -> Value:
        names.append(name)
        return method if name == "method" else "vit" if name.startswith("body[") or name == "body" else 2

    assert walk(three_bodies(), draw) == {"method": {method: {}}, "body": {"vit": {"patch": 2}}}
    assert names == ["method", *asked, "body.vit.patch"]


def test_a_branch_that_no_method_leaves_has_no_knobs() -> None:
    branches = {"cnn": Group({"width": Int(1, 4)}), "vit": Group({"patch": Choice(2, 4)})}
    space = Group({"method": Switch({"p": Group({})}), "body": Switch(branches, {"method": {"p": ("vit",)}})})
    assert [knob.name for knob in knobs(space)] == ["body.vit.patch"]


def test_knobs_come_in_the_order_of_the_study_with_what_they_hang_on() -> None:
    inner = Switch({"s": Group({"t": Uniform(0, 1)}), "u": Group({})})
    space = Group({"b": Int(1, 2), "a": Switch({"x": Group({"n": inner}), "y": Group({"m": Log(1, 2)})})})
    assert [(knob.name, knob.when) for knob in knobs(space)] == [
        ("b", {}),
        ("a", {}),
        ("a.x.n", {"a": ("x",)}),
        ("a.x.n.s.t", {"a": ("x",), "a.x.n": ("s",)}),
        ("a.y.m", {"a": ("y",)}),
    ]


def test_several_switches_narrow_together() -> None:
    switch = Switch({name: Group({}) for name in "abc"}, {"p": {"x": ("a", "b")}, "q": {"y": ("b", "c")}})
    assert switch.open({}) == ("a", "b", "c")
    assert switch.open({"p": "x"}) == ("a", "b")
    assert switch.open({"p": "x", "q": "y"}) == ("b",)
    assert switch.open({"p": "other", "q": "y"}) == ("b", "c")
