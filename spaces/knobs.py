"""The knobs of a space, in a list: what is drawn, when it applies, and how many configs there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from spaces.domains import Choice, Domain, Fixed
from spaces.space import Either, Group, Node, Same, Sequence, Switch, below, step_path, switch_name

When = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Knob:
    """A place in the space where a value is drawn: its dotted name, its domain, and when it applies.

    `when` gives, for each switch that decides it, the branches of which one must be taken.
    """

    name: str
    domain: Domain
    when: When


def knobs(space: Group) -> list[Knob]:
    """Every knob that some config of `space` draws, in the order of the walk, without repetition."""
    found: dict[str, Knob] = {}
    for knob in _Listing(space).visit(space, "", {}):
        known = found.get(knob.name)
        found[knob.name] = Knob(knob.name, knob.domain, _united(known.when, knob.when)) if known else knob
    return list(found.values())


def _united(one: When, other: When) -> When:
    """When either applies, as far as a single table of branches can say it."""
    return {path: tuple(dict.fromkeys((*taken, *other[path]))) for path, taken in one.items() if path in other}


class _Listing:
    """The walk's other form: it goes every way."""

    def __init__(self, space: Group) -> None:
        self.switches = dict(_switches(space, ""))

    def visit(self, node: Node, path: str, when: When) -> Iterator[Knob]:
        match node:
            case Group(parts):
                for name, part in parts.items():
                    yield from self.visit(part, below(path, name), when)
            case Switch():
                yield from self._switch(node, path, when)
            case Either(ways):
                if len(ways) > 1:
                    yield Knob(path, Choice(*ways), when)
                for way, part in ways.items():
                    more = {path: (way,)} if len(ways) > 1 else {}
                    yield from self.visit(part, f"{path}.{way}", {**when, **more})
            case Sequence():
                yield from self._sequence(node, path, when)
            case Same(other, domain):
                yield Knob(other, domain, when)
            case Fixed():
                pass
            case _:
                yield Knob(path, node, when)

    def _switch(self, node: Switch, path: str, when: When) -> Iterator[Knob]:
        openings = _openings(node, self.switches)
        for names, others in openings.items():
            if len(names) > 1:
                yield Knob(switch_name(node, path, names), Choice(*names), {**when, **others})
        for branch, part in node.branches.items():
            if any(branch in names for names in openings):
                yield from self.visit(part, f"{path}.{branch}", {**when, path: (branch,)})

    def _sequence(self, node: Sequence, path: str, when: When) -> Iterator[Knob]:
        names, low, high = tuple(node.steps), node.length.low, node.length.high
        if low < high:
            yield Knob(f"{path}.length", node.length, when)
        for place in range(1, high + 1):
            if len(names) > 1:
                yield Knob(f"{path}.{place}", Choice(*names), when)
        for place in range(1, high + 1 if node.repeat else 2):
            for name, part in node.steps.items():
                taken = {f"{path}.{place}": (name,)} if node.repeat and len(names) > 1 else {}
                yield from self.visit(part, step_path(node, path, place, name), {**when, **taken})


def _switches(node: Node, path: str) -> Iterator[tuple[str, Switch]]:
    children: Mapping[str, Node] = {}
    match node:
        case Switch(branches):
            yield path, node
            children = branches
        case Group(parts):
            children = parts
        case Either(ways):
            children = ways
        case Sequence(steps):
            children = steps
    for name, child in children.items():
        yield from _switches(child, below(path, name))


def _openings(switch: Switch, switches: Mapping[str, Switch]) -> dict[tuple[str, ...], When]:
    """The sets of branches that may be open in `switch`, each with the branches of other switches that it needs."""
    settings: list[dict[str, str]] = [{}]
    for other in switch.only:
        settings = [{**s, other: branch} for s in settings for branch in switches[other].branches]
    openings: dict[tuple[str, ...], When] = {}
    for names in dict.fromkeys(switch.open(s) for s in settings):
        leading = [s for s in settings if switch.open(s) == names]
        needed = {other: tuple(dict.fromkeys(s[other] for s in leading)) for other in switch.only}
        openings[names] = {o: taken for o, taken in needed.items() if len(taken) < len(switches[o].branches)}
    return openings


def size(space: Group) -> float:
    """How many configs the space has, before `where`; infinite where a knob takes any fraction."""
    deciding = sorted({other for part in space.parts.values() if isinstance(part, Switch) for other in part.only})
    switches = dict(_switches(space, ""))
    total = 0.0
    for taken in product(*(switches[path].branches for path in deciding)):
        chosen = dict(zip(deciding, taken, strict=True))
        total += math.prod(_size(part, name, chosen) for name, part in space.parts.items())
    return total


def _size(node: Node, path: str, chosen: Mapping[str, str]) -> float:
    match node:
        case Group(parts):
            return math.prod(_size(part, below(path, name), chosen) for name, part in parts.items())
        case Switch(branches):
            open_ = [chosen[path]] if path in chosen else node.open(chosen)
            return sum(_size(branches[name], f"{path}.{name}", chosen) for name in open_)
        case Either(ways):
            return sum(_size(way, f"{path}.{name}", chosen) for name, way in ways.items())
        case Sequence():
            return sum(_lines(node, path, chosen, length) for length in node.length.grid(node.length.high))
        case Same():
            return 1  # counted where it stands, or else a part of that
        case _:
            return node.size


def _lines(node: Sequence, path: str, chosen: Mapping[str, str], length: int) -> float:
    """How many sequences of one length there are: of steps that may repeat, or of subsets in every order."""
    sizes = [_size(step, f"{path}.{name}", chosen) for name, step in node.steps.items()]
    if node.repeat:
        return sum(sizes) ** length
    elementary = [1.0] + [0.0] * length  # symmetric polynomials of the sizes
    for count in sizes:
        for k in range(length, 0, -1):
            elementary[k] += elementary[k - 1] * count if elementary[k - 1] else 0.0
    return elementary[length] * math.factorial(length)
