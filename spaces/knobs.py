"""The knobs of a space, in a list: what is drawn, when it applies, and how many configs there are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
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
        for place in range(1, (high if node.repeat else min(high, 1)) + 1):
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
    """How many configs the space has, before `where`; infinite where a knob takes any fraction. What two ways of an
    `either` share counts twice."""
    deciding = sorted({other for part in space.parts.values() if isinstance(part, Switch) for other in part.only})
    switches = dict(_switches(space, ""))
    shared = dict(_shared(space))
    total = 0.0
    for taken in product(*(switches[path].branches for path in deciding)):
        chosen = dict(zip(deciding, taken, strict=True))
        counts = _product(_counts(part, name, chosen, shared) for name, part in space.parts.items())
        total += sum(count * math.prod(shared[path].size for path in drawn) for drawn, count in counts.items())
    return total


MOST_SETS = 1000  # of shared knobs, beyond which all count as drawn wherever one is
Counts = dict[frozenset[str], float]
"""How many configs draw each set of shared knobs, those knobs themselves not counted."""
ONE: Counts = {frozenset(): 1.0}


def _counts(node: Node, path: str, chosen: Mapping[str, str], shared: Mapping[str, Domain]) -> Counts:
    match node:
        case Group(parts):
            return _product(_counts(part, below(path, name), chosen, shared) for name, part in parts.items())
        case Switch(branches):
            open_ = [chosen[path]] if path in chosen else node.open(chosen)
            return _sum(_counts(branches[name], f"{path}.{name}", chosen, shared) for name in open_)
        case Either(ways):
            return _sum(_counts(way, f"{path}.{name}", chosen, shared) for name, way in ways.items())
        case Sequence():
            steps = [_counts(step, f"{path}.{name}", chosen, shared) for name, step in node.steps.items()]
            return _sum(_lines(node, steps, length) for length in range(node.length.low, node.length.high + 1))
        case Same(other):
            return {frozenset((other,)): 1.0}
        case _:
            return {frozenset((path,)): 1.0} if path in shared else {frozenset(): node.size}


def _lines(node: Sequence, steps: list[Counts], length: int) -> Counts:
    """How many sequences of one length there are: of steps that may repeat, or of subsets in every order."""
    if node.repeat:
        return _product([_sum(steps)] * length)
    elementary: list[Counts] = [ONE, *({} for _ in range(length))]  # symmetric polynomials of the steps
    for counts in steps:
        for k in range(length, 0, -1):
            elementary[k] = _sum([elementary[k], _product([elementary[k - 1], counts])])
    return {drawn: count * math.factorial(length) for drawn, count in elementary[length].items()}


def _sum(terms: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for term in terms:
        for drawn, count in term.items():
            total[drawn] = total.get(drawn, 0.0) + count
    return total


def _product(factors: Iterable[Counts]) -> Counts:
    total = ONE
    for factor in factors:
        total = _sum({one | other: a * b} for one, a in total.items() for other, b in factor.items())
        if len(total) > MOST_SETS:
            total = {frozenset().union(*total): sum(total.values())}
    return total


def _shared(node: Node) -> Iterator[tuple[str, Domain]]:
    """The knobs whose values others take as well."""
    match node:
        case Same(path, domain):
            yield path, domain
        case Group(children) | Switch(children) | Either(children) | Sequence(children):
            for child in children.values():
                yield from _shared(child)
