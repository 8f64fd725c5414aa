"""A space as the columns of a table, and a config as a row of it: knobs by the places at which configs show them.

The ways of an `either` share one place, whose column spans them all; a sequence has a column for its length, one for
the step at each place, and those of its steps' knobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spaces.domains import Choice, Domain, Fixed, Uniform, Value
from spaces.knobs import Knob, knobs
from spaces.space import Config, Either, Group, Same, Sequence, Switch, below, step_path
from spaces.space import Node as SpaceNode


def columns(space: Group) -> list[Knob]:
    """The columns that the configs of a space fill, in the order of the walk."""
    ways = sorted(_ways(space, ""), key=len, reverse=True)
    found: dict[str, Knob] = {}
    for knob in knobs(space):
        name = knob.name
        for path in ways:  # deepest first, so that outer ones still find themselves in the name
            if name.startswith(f"{path}."):
                name = _elided(name, path)
        if knob.name in ways:
            continue  # which way it went shows in what it holds
        known = found.get(name)
        found[name] = Knob(name, _hull(known.domain, knob.domain) if known else knob.domain, knob.when)
    return list(found.values())


def _elided(name: str, path: str) -> str:
    """The name without the way that follows the path of an `either`."""
    _, _, rest = name[len(path) + 1 :].partition(".")
    return f"{path}.{rest}" if rest else path


def _ways(node: SpaceNode, path: str) -> list[str]:
    """The paths of all that is an `either`."""
    children: Mapping[str, SpaceNode] = {}
    found: list[str] = []
    match node:
        case Either(ways):
            children, found = ways, [path]
        case Group(parts):
            children = parts
        case Switch(branches):
            children = branches
        case Sequence(steps, _, repeat):
            places = range(1, node.length.high + 1) if repeat else (1,)
            for place in places:
                for name, step in steps.items():
                    found += _ways(step, step_path(node, path, place, name))
            return found
    for name, child in children.items():
        found += _ways(child, below(path, name))
    return found


def _hull(one: Domain, other: Domain) -> Domain:
    """A domain that spans both: a range of numbers, or all options."""
    if isinstance(one, (Choice, Fixed)) or isinstance(other, (Choice, Fixed)):
        options = [option for domain in (one, other) for option in domain.grid(2)]
        return Choice(*{(type(option), option): option for option in options}.values())
    if one == other:
        return one
    return Uniform(min(one.low, other.low), max(one.high, other.high))


def cell(config: Config, name: str) -> Value | None:
    """What a config has in a column; None where that does not apply to it."""
    place: Any = config
    for part in name.partition("[")[0].split("."):
        if isinstance(place, list):
            place = len(place) if part == "length" else _step(place, part)
        else:
            place = place.get(part) if isinstance(place, dict) else None
    if isinstance(place, dict):
        return next(iter(place)) if len(place) == 1 else None
    return None if isinstance(place, list) else place


def _step(steps: list[dict[str, Any]], part: str) -> Any:
    """The step at a place, or the knobs of the first step of that name."""
    if part.isdecimal():
        return steps[int(part) - 1] if int(part) <= len(steps) else None
    return next((step[part] for step in steps if part in step), None)


def reach(part: SpaceNode) -> dict[str, tuple[Domain, ...]]:
    """The domains of each knob of a group, all those that it may have where it can be filled in several ways."""
    if isinstance(part, Group):
        return {name: _domains(child) for name, child in part.parts.items()}
    found: dict[str, tuple[Domain, ...]] = {}
    for way in part.ways.values() if isinstance(part, Either) else ():
        for name, domains in reach(way).items():
            found[name] = (*found.get(name, ()), *domains)
    return found


def _domains(node: SpaceNode) -> tuple[Domain, ...]:
    if isinstance(node, Either):
        return tuple(domain for way in node.ways.values() for domain in _domains(way))
    if isinstance(node, Same):
        return (node.domain,)
    return () if isinstance(node, (Group, Switch, Sequence)) else (node,)
