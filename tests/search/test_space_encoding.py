"""Spaces as cubes: vectors of configs and back, on trees of every kind of node, and moves between configs."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.strategies._encoding import ABSENT, Encoding, basic, neighbour, nominal, reflected, rewalked
from spaces.domains import Choice, Domain, Fixed, Int, Log, Ordinal, Uniform
from spaces.space import Config, Either, Group, Same, Sequence, Switch, draws, flat, walk

DOMAINS: tuple[Domain, ...] = (
    Uniform(-2.0, 3.0),
    Uniform(0.0, 1.0, step=0.25),
    Log(1e-4, 10.0),
    Int(1, 5),
    Int(1, 500, log=True),
    Int(2, 20, step=3),
    Choice("x", "y", "z"),
    Choice(True, 1, 2.0),
    Ordinal(16, 32, 64),
    Fixed(7),
    Uniform(1.0, 1.0),
)
seeds = st.integers(0, 2**32 - 1)
domains = st.sampled_from(DOMAINS)


def groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Group]:
    return st.lists(inner, max_size=3).map(lambda parts: Group({f"k{i}": part for i, part in enumerate(parts)}))


def nodes(depth: int) -> st.SearchStrategy[Any]:
    if depth == 0:
        return domains
    group = groups(nodes(depth - 1))
    branches = st.lists(group, min_size=1, max_size=3).map(lambda gs: {f"b{i}": g for i, g in enumerate(gs)})
    return st.one_of(
        domains,
        group,
        branches.map(Switch),
        branches.map(lambda b: Either({"off": Fixed(None), **b})),
        st.builds(
            lambda steps, repeat: Sequence(steps, Int(0 if repeat else 1, len(steps)), repeat), branches, st.booleans()
        ),
    )


trees = groups(nodes(2))


def drawn(space: Group, seed: int) -> Config:
    rng = np.random.default_rng(seed)
    return walk(space, lambda _, domain: domain.sample(rng))


def alike(one: Any, other: Any) -> bool:
    """Whether two configs are the same but for rounding, or for the type: of two ways that fit, the first is told."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if {type(one), type(other)} <= {int, float}:
        return math.isclose(one, other)
    return type(one) is type(other) and one == other


@given(trees, seeds)
@settings(max_examples=100, deadline=None)
def test_a_config_survives_its_vector(space: Group, seed: int) -> None:
    encoding, config = Encoding(space), drawn(space, seed)
    spot = encoding.encode(config)
    assert spot.vector.shape == (encoding.width,)
    assert ((spot.vector >= 0) & (spot.vector <= 1)).all()
    assert alike(encoding.decode(spot.vector).config, config)
    assert spot.config == config


@given(trees, seeds)
@settings(max_examples=100, deadline=None)
def test_every_vector_says_a_config_and_what_it_says_is_its_vector(space: Group, seed: int) -> None:
    encoding, rng = Encoding(space), np.random.default_rng(seed)
    for spot in (encoding.decode(rng.random(encoding.width)), encoding.spread(rng.random(len(encoding.places)))):
        again = encoding.encode(spot.config)
        assert np.allclose(again.vector, spot.vector)
        assert (again.applies == spot.applies).all()


@given(trees, seeds)
@settings(max_examples=100, deadline=None)
def test_knobs_that_do_not_apply_are_all_alike(space: Group, seed: int) -> None:
    encoding = Encoding(space)
    spot = encoding.encode(drawn(space, seed))
    applying = {basic(name) for name, (domain, _) in draws(space, spot.config).items() if not isinstance(domain, Fixed)}
    for name, place in encoding.places.items():
        columns = spot.vector[place.columns]
        if name in applying:
            assert not nominal(place.domain) or (columns.sum() == 1 and columns.max() == 1)
        else:
            assert set(columns) == ({0.0} if nominal(place.domain) else {ABSENT})
        assert spot.applies[place.number] == (name in applying)


def test_the_columns_are_as_written_by_hand() -> None:
    branches = {"a": Group({"lr": Log(0.01, 1.0)}), "b": Group({"n": Int(1, 4), "kind": Choice("x", "y")})}
    encoding = Encoding(Group({"m": Switch(branches), "size": Ordinal(16, 32)}))
    assert list(encoding.places) == ["m", "m.a.lr", "m.b.n", "m.b.kind", "size"]
    one = encoding.encode({"m": {"a": {"lr": 0.1}}, "size": 32})
    other = encoding.encode({"m": {"b": {"n": 4, "kind": "y"}}, "size": 16})
    assert one.vector.tolist() == pytest.approx([1, 0, 0.5, 0.5, 0, 0, 0.75])
    assert other.vector.tolist() == pytest.approx([0, 1, 0.5, 0.875, 0, 1, 0.25])
    assert encoding.slopes(one).tolist() == [False, False, True, False, False, False, True]
    assert encoding.slopes(other).tolist() == [False, False, False, True, False, False, True]
    assert not encoding.smooth
    assert Encoding(Group({"x": Uniform(0.0, 1.0), "y": Log(0.1, 1.0)})).smooth


def test_a_narrowed_switch_is_one_knob() -> None:
    bodies = {name: Group({}) for name in ("cnn", "mlp", "vit")}
    only = {"method": {"mae": ("cnn", "vit")}}
    space = Group({"method": Switch({"mae": Group({}), "byol": Group({})}), "body": Switch(bodies, only)})
    encoding = Encoding(space)
    assert list(encoding.places) == ["method", "body"]
    assert encoding.places["body"].domain == Choice("cnn", "vit", "mlp")
    assert encoding.encode({"method": {"mae": {}}, "body": {"vit": {}}}).vector.tolist() == [1, 0, 0, 1, 0]
    assert encoding.decode(np.array([0.9, 0.1, 0.2, 0.1, 0.8])).config == {"method": {"mae": {}}, "body": {"cnn": {}}}


def test_a_knob_that_is_shared_is_one() -> None:
    space = Group({"a": Uniform(0.0, 1.0), "b": Group({"a": Same("a", Uniform(0.0, 1.0))})})
    encoding = Encoding(space)
    assert list(encoding.places) == ["a"]
    assert encoding.decode(np.array([0.25])).config == {"a": 0.25, "b": {"a": 0.25}}


def test_even_points_give_even_values() -> None:
    encoding = Encoding(Group({"s": Switch({n: Group({}) for n in "abc"}), "n": Int(1, 4)}))
    units = (np.arange(12) + 0.5) / 12
    found = [encoding.spread(np.array([u, v])).config for u in units for v in units]
    assert set(Counter(next(iter(config["s"])) for config in found).values()) == {48}
    assert set(Counter(config["n"] for config in found).values()) == {36}


@given(trees, seeds)
@settings(max_examples=50, deadline=None)
def test_to_set_one_knob_leaves_the_others(space: Group, seed: int) -> None:
    config, rng = drawn(space, seed), np.random.default_rng(seed)
    known = draws(space, config)
    for name, (domain, value) in known.items():
        moved = neighbour(domain, value, 0.1, rng)
        assert domain.contains(moved)
        changed = rewalked(space, config, {basic(name): moved}, rng)
        assert Encoding(space).encode(changed).config == changed
        if not nominal(domain) and not name.endswith(".length"):
            assert flat(space, changed) == flat(space, config) | {name: moved}
    assert rewalked(space, config, {}, rng) == config


@pytest.mark.parametrize("domain", [d for d in DOMAINS if d.size > 1], ids=str)
def test_a_neighbour_is_another_value_and_near_by(domain: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        value = domain.sample(rng)
        moved = neighbour(domain, value, 0.01, rng)
        assert domain.contains(moved)
        assert (type(moved), moved) != (type(value), value)
        if not nominal(domain):
            least = 1.5 / domain.size if domain.size < math.inf and not getattr(domain, "log", False) else 0.2
            assert abs(domain.to_unit(moved) - domain.to_unit(value)) < max(0.06, least)


def test_a_value_alone_has_no_neighbour() -> None:
    rng = np.random.default_rng(0)
    assert neighbour(Int(3, 3), 3, 0.5, rng) == 3
    assert neighbour(Choice("a"), "a", 0.5, rng) == "a"


@pytest.mark.parametrize(
    ("u", "back"), [(0.25, 0.25), (-0.25, 0.25), (1.25, 0.75), (2.25, 0.25), (-1.25, 0.75), (1, 1)]
)
def test_what_leaves_the_unit_interval_is_thrown_back(u: float, back: float) -> None:
    assert reflected(u) == back
