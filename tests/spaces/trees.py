"""Trees of every kind of node, at any depth, for properties of the space."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from spaces.domains import Choice, Domain, Fixed, Int, Log, Ordinal, Uniform, Value
from spaces.space import Config, Either, Group, Node, Same, Sequence, Switch, walk

steady = settings(max_examples=60, deadline=None, derandomize=True)
NAMES = st.sampled_from("pqrstuv")
LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [Uniform(0, 1), Log(1e-3, 1), Int(1, 3), Int(1, 9, log=True), Choice("x", "y"), Choice(4), Fixed(2), Fixed("z")]
)


def groups(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Group]:
    return st.dictionaries(NAMES, children, max_size=3).map(Group)


WIDE: st.SearchStrategy[Any] = LEAVES | st.sampled_from(
    [Ordinal(1, 2, 4), Uniform(0, 1, step=0.25), Int(0, 8, step=4), Uniform(0, 2)]
)
FINITE: st.SearchStrategy[Any] = st.sampled_from(
    [Int(1, 2), Choice("x", "y"), Ordinal(1, 2, 4), Fixed(2), Uniform(0, 1, step=0.5), Choice(4)]
)
TIED: dict[str, Any] = {
    "tied.a": Int(0, 2),
    "tied.s.u.b": Choice("x", "y"),
    "tied.e.2": Uniform(0, 2),
    "tied.q.u.c": Ordinal(1, 2),
}


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What may stand below a switch or in a sequence."""
    ways = st.lists(groups(inner), min_size=2, max_size=2).map(lambda w: Either({"1": w[0], "2": w[1]}))
    return groups(inner) | ways


@st.composite
def sequences(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Sequence:
    steps = draw(st.dictionaries(NAMES, branches(inner), min_size=1, max_size=3))
    repeat = draw(st.booleans())
    low, high = sorted(draw(st.lists(st.integers(0, 2 if repeat else min(len(steps), 3)), min_size=2, max_size=2)))
    return Sequence(steps, Int(low, high), repeat)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nodes of every kind, at any depth."""
    return st.recursive(
        leaves,
        lambda inner: (
            branches(inner)
            | st.dictionaries(NAMES, branches(inner), min_size=1, max_size=3).map(Switch)
            | st.lists(inner, min_size=2, max_size=3).map(lambda ways: Either({str(i): w for i, w in enumerate(ways)}))
            | sequences(inner)
        ),
        max_leaves=6,
    )


@st.composite
def languages(draw: st.DrawFn, leaves: st.SearchStrategy[Any] = WIDE, either: bool = True) -> Group:
    """A tree of all kinds of nodes, before or behind four knobs that others in it may be the same as: one that always
    applies, one below a switch, one way of an either, and one in a sequence."""
    same = st.sampled_from([Same(path, domain) for path, domain in TIED.items() if either or path != "tied.e.2"])
    parts = draw(st.dictionaries(NAMES, trees(leaves | same), max_size=3))
    tied = Group(
        {
            "a": TIED["tied.a"],
            "s": Switch({"u": Group({"b": TIED["tied.s.u.b"]}), "v": Group({})}),
            **({"e": Either({"1": Choice(0.5, 1.0), "2": TIED["tied.e.2"]})} if either else {}),
            "q": Sequence({"u": Group({"c": TIED["tied.q.u.c"]}), "v": Group({})}, Int(0, 2)),
        }
    )
    first = draw(st.booleans())
    return Group({"tied": tied, **parts} if first else {**parts, "tied": tied})


def traced(space: Group, seed: int) -> tuple[Config, dict[str, tuple[Domain, Value]]]:
    """A random config, and what was drawn for it by name."""
    rng, drawn = np.random.default_rng(seed), {}

    def draw(name: str, domain: Domain) -> Value:
        assert name not in drawn
        value = domain.sample(rng)
        drawn[name] = domain, value
        return value

    return walk(space, draw), drawn


def sequenced(node: Node, path: str) -> list[tuple[str, Sequence]]:
    """The sequences of a tree, by their paths."""
    match node:
        case Sequence():
            return [(path, node)]
        case Group(inner) | Switch(inner) | Either(inner):
            return [
                found for name, child in inner.items() for found in sequenced(child, f"{path}.{name}" if path else name)
            ]
    return []
