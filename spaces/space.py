"""The space of a study: a tree of domains, groups, switches and more, and the one walk that samples it.

A *group* holds parts that all apply; a *switch* holds branches of which one applies, each with its own knobs; an
*either* holds ways to fill one place, of which one applies; a *sequence* lines up some of its steps. A *config* is
one point of the space, in the shape in which a study writes it:

    {"method": {"simclr": {"temperature": 0.3}}, "augmentation": [{"blur": {}}, {"crop": {"scale": 0.4}}]}

Every strategy explores the space by the same `walk`, bringing only its own way to draw a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spaces.domains import Choice, Domain, Fixed, Int, Value
from spaces.expressions import Expression

Config = dict[str, Any]
Draw = Callable[[str, Domain], Value]


@dataclass(frozen=True)
class Group:
    """Named parts that all apply. At the root, `where` says what must hold of a config, by dotted names."""

    parts: Mapping[str, Node]
    where: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Switch:
    """Named branches of which exactly one applies.

    `only` narrows the branches by what another switch has chosen before: `{"method": {"mae": ("vit",)}}`
    says that under method `mae` nothing but `vit` may be taken.
    """

    branches: Mapping[str, Branch]
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def open(self, chosen: Mapping[str, str]) -> tuple[str, ...]:
        """The branches that may be taken once the switches named in `chosen` are set."""
        names = tuple(self.branches)
        for switch, limits in self.only.items():
            allowed = limits.get(chosen.get(switch, ""), names)
            names = tuple(name for name in names if name in allowed)
        return names


@dataclass(frozen=True)
class Either:
    """Named ways to fill one place, with a value or with a group of them; a config holds what was filled in alone.

    Which way a config went is told by what fits: where several do, the first, which is as good as any.
    """

    ways: Mapping[str, Node]


@dataclass(frozen=True)
class Sequence:
    """Some of the named steps, `length` of them, one after another; with `repeat`, each as often as it likes.

    In a config it is a list. Steps that may repeat have knobs of their own at each place.
    """

    steps: Mapping[str, Branch]
    length: Int
    repeat: bool = False


@dataclass(frozen=True)
class Same:
    """The value of the knob at `path`, of that `domain`, here as well; drawn here where it does not apply there."""

    path: str
    domain: Domain


Branch = Group | Either
Node = Domain | Group | Switch | Either | Sequence | Same


def walk(space: Group, draw: Draw) -> Config:
    """One config of `space`, every open value given by `draw(dotted name, domain)`.

    Switches are drawn before what hangs on them, in the order of the study. A switch with one open
    branch, and a fixed value, are not drawn. A switch narrowed by another one is a knob of its own
    (`architecture[vit|convnext]`), so that a model of it never sees its set of options change. The place i of a
    sequence is the knob `augmentation.i`; a step that is taken already stands for the next one that is not.
    """
    return _Walk(draw).visit(space, "")


class _Walk:
    """A walk under way: what was chosen at switches, and the values of knobs so far."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.chosen = draw, dict[str, str]()
        self.values: dict[str, Value] = {}

    def visit(self, node: Node, path: str) -> Any:
        match node:
            case Group(parts):
                return {name: self.visit(part, below(path, name)) for name, part in parts.items()}
            case Switch():
                names = node.open(self.chosen)
                branch = self._one(switch_name(node, path, names), names)
                self.chosen[path] = branch
                return {branch: self.visit(node.branches[branch], f"{path}.{branch}")}
            case Either(ways):
                way = self._one(path, tuple(ways))
                return self.visit(ways[way], f"{path}.{way}")
            case Sequence():
                return self._steps(node, path)
            case Same(other, domain):
                return self._value(other, domain)
            case Fixed(value):
                return value
            case _:
                return self._value(path, node)

    def _one(self, name: str, names: tuple[str, ...]) -> str:
        return names[0] if len(names) == 1 else self.draw(name, Choice(*names))

    def _value(self, path: str, domain: Domain) -> Value:
        if path not in self.values:
            self.values[path] = self.draw(path, domain)
        return self.values[path]

    def _steps(self, node: Sequence, path: str) -> list[Any]:
        low, high = node.length.low, node.length.high
        length = low if low == high else self.draw(f"{path}.length", node.length)
        names, taken = tuple(node.steps), list[str]()
        for place in range(1, length + 1):
            name = self._one(f"{path}.{place}", names)
            while not node.repeat and name in taken:
                name = names[(names.index(name) + 1) % len(names)]
            taken.append(name)
        return [
            {name: self.visit(node.steps[name], step_path(node, path, place, name))}
            for place, name in enumerate(taken, 1)
        ]


def below(path: str, name: str) -> str:
    """The dotted path of a part."""
    return f"{path}.{name}" if path else name


def switch_name(switch: Switch, path: str, names: tuple[str, ...]) -> str:
    """The knob's name for a switch at `path` of which the branches `names` are open."""
    return path if len(names) == len(switch.branches) else f"{path}[{'|'.join(names)}]"


def step_path(node: Sequence, path: str, place: int, name: str) -> str:
    """Where the knobs of a step stand."""
    return f"{path}.{place}.{name}" if node.repeat else f"{path}.{name}"


def flat(space: Group, config: Config) -> dict[str, Value]:
    """The config as {dotted name: value}, switches as their branch's name; only what applies to it.

    Raises:
        ValueError: the config has something where nothing of the space fits.
    """
    for free_first in (False, True):  # else many ways that are the same as others could be tried in every combination
        turns: list[int] | None = []
        while turns is not None:
            reading = _Reading(turns, free_first)
            if reading.visit(space, config, ""):
                return reading.values
            turns = reading.turned() if free_first else None
    raise ValueError("no config of this space has such values")


class _Reading:
    """An attempt to tell what was drawn for a config. Where several ways of an `either` fit, `turns` has the place of
    the one that is tried; it fails if a value is to be the same as another and is not."""

    def __init__(self, turns: list[int], free_first: bool) -> None:
        self.turns, self.free_first = turns, free_first
        self.counts: list[int] = []  # of the ways between which it took its turns
        self.values: dict[str, Value] = {}

    def turned(self) -> list[int] | None:
        """The turns of the next attempt: the last one that can be another is, those behind it start anew."""
        taken = self.turns + [0] * (len(self.counts) - len(self.turns))
        for place in reversed(range(len(self.counts))):
            if taken[place] + 1 < self.counts[place]:
                return [*taken[:place], taken[place] + 1]
        return None

    def visit(self, node: Node, part: Any, path: str) -> bool:
        """Takes in a part of the config; whether it agrees with the rest so far."""
        match node:
            case Group(parts):
                return all(self.visit(child, part[name], below(path, name)) for name, child in parts.items())
            case Switch(branches):
                (branch,) = part
                self.values[path] = branch
                return self.visit(branches[branch], part[branch], f"{path}.{branch}")
            case Either(ways):
                return self._way(ways, part, path)
            case Sequence(steps):
                self.values[f"{path}.length"] = len(part)
                taken = [name for step in part for name in step]
                self.values |= {f"{path}.{place}": name for place, name in enumerate(taken, 1)}
                places = enumerate(zip(taken, part, strict=True), 1)
                return all(self.visit(steps[n], s[n], step_path(node, path, place, n)) for place, (n, s) in places)
            case Same(other):
                return self._agrees(other, part)
            case _:
                return self._agrees(path, part)

    def _way(self, ways: Mapping[str, Node], part: Any, path: str) -> bool:
        fitting = [name for name, way in ways.items() if fits(way, part)]
        if self.free_first and len(fitting) > 1:
            fitting.sort(key=lambda name: _shares(ways[name]))
        if not fitting:
            return False
        turn = self.turns[len(self.counts)] if len(self.counts) < len(self.turns) else 0
        self.counts.append(len(fitting))
        self.values[path] = fitting[turn]
        return self.visit(ways[fitting[turn]], part, f"{path}.{fitting[turn]}")

    def _agrees(self, path: str, value: Value) -> bool:
        known = self.values.setdefault(path, value)
        return known == value and isinstance(known, bool) == isinstance(value, bool)


def _shares(node: Node) -> bool:
    """Whether something in it is the same as another."""
    match node:
        case Same():
            return True
        case Group(children) | Switch(children) | Either(children) | Sequence(children):
            return any(_shares(child) for child in children.values())
    return False


def fits(node: Node, part: Any) -> bool:
    """Whether a part of a config is one that the node could have given (but for narrowed switches and `where`)."""
    match node:
        case Group(parts):
            return isinstance(part, dict) and part.keys() == parts.keys() and all(fits(parts[n], part[n]) for n in part)
        case Switch(branches):
            return (
                isinstance(part, dict)
                and len(part) == 1
                and all(n in branches and fits(branches[n], part[n]) for n in part)
            )
        case Either(ways):
            return any(fits(way, part) for way in ways.values())
        case Sequence(steps, length, repeat):
            if not (isinstance(part, list) and length.contains(len(part))):
                return False
            if not all(isinstance(step, dict) and len(step) == 1 for step in part):
                return False
            names = [next(iter(step)) for step in part]
            distinct = repeat or len(set(names)) == len(names)
            return distinct and all(n in steps and fits(steps[n], step[n]) for n, step in zip(names, part, strict=True))
        case Same(_, domain):
            return domain.contains(part)
        case _:
            return node.contains(part)


def settled(part: Node) -> dict[str, Value]:
    """The knobs of a group that have one value whatever is drawn."""
    if isinstance(part, Group):
        return {name: child.value for name, child in part.parts.items() if isinstance(child, Fixed)}
    if not isinstance(part, Either):
        return {}
    first, *others = (settled(way) for way in part.ways.values())
    return {n: v for n, v in first.items() if all(n in other and other[n] == v for other in others)}


def draws(space: Group, config: Config) -> dict[str, tuple[Domain, Value]]:
    """What a walk must have drawn to arrive at a config: name to domain and value."""
    values, found = flat(space, config), {}

    def draw(name: str, domain: Domain) -> Value:
        value = values[name.partition("[")[0]]
        found[name] = domain, value
        return value

    walk(space, draw)
    return found


def allowed(space: Group, config: Config) -> bool:
    """Whether a config keeps to the constraints of its space; one about a knob that does not apply is kept. What is to
    be the same as another is such a constraint, too."""
    if not space.where and not _shares(space):
        return True
    try:
        values = named(space, config)
    except ValueError:
        return False
    return all(expression.holds(values) for expression in space.where)


def named(space: Group, config: Config) -> dict[str, Value]:
    """The values of a config by all names that conditions may call them; the place of an `either` means its value."""
    return {**flat(space, config), **leaves(config)}


def leaves(config: Config, path: str = "") -> dict[str, Value]:
    """The values of a config by the dotted paths at which they stand in it, but for those in lists."""
    found: dict[str, Value] = {}
    for name, part in config.items():
        if isinstance(part, dict):
            found |= leaves(part, below(path, name))
        elif not isinstance(part, list):
            found[below(path, name)] = part
    return found
