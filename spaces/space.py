"""The space of a study: a tree of domains, groups and switches, and the one walk that samples it.

A *group* holds parts that all apply; a *switch* holds branches of which one applies, each with its own
knobs. A *config* is one point of the space, in the shape in which a study writes it:

    {"method": {"simclr": {"temperature": 0.3}}, "optimizer": {"lr": 0.002}}

Every strategy explores the space by the same `walk`, bringing only its own way to draw a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from spaces.domains import Choice, Domain, Fixed, Value

Config = dict[str, Any]
Draw = Callable[[str, Domain], Value]


@dataclass(frozen=True)
class Group:
    """Named parts that all apply."""

    parts: Mapping[str, Node]


@dataclass(frozen=True)
class Switch:
    """Named branches of which exactly one applies.

    `only` narrows the branches by what another switch has chosen before: `{"method": {"mae": ("vit",)}}`
    says that under method `mae` nothing but `vit` may be taken.
    """

    branches: Mapping[str, Group]
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def open(self, chosen: Mapping[str, str]) -> tuple[str, ...]:
        """The branches that may be taken once the switches named in `chosen` are set."""
        names = tuple(self.branches)
        for switch, limits in self.only.items():
            allowed = limits.get(chosen.get(switch, ""), names)
            names = tuple(name for name in names if name in allowed)
        return names


Node = Domain | Group | Switch


@dataclass(frozen=True)
class Knob:
    """A place in the space where a value is drawn: its dotted name, its domain, and when it applies.

    `when` gives, for each switch that decides it, the branches of which one must be taken.
    """

    name: str
    domain: Domain
    when: Mapping[str, tuple[str, ...]]


def walk(space: Group, draw: Draw) -> Config:
    """One config of `space`, every open value given by `draw(dotted name, domain)`.

    Switches are drawn before what hangs on them, in the order of the study. A switch with one open
    branch, and a fixed value, are not drawn. A switch narrowed by another one is a knob of its own
    (`architecture[vit|convnext]`), so that a model of it never sees its set of options change.
    """
    chosen: dict[str, str] = {}

    def visit(node: Node, path: str) -> Any:
        match node:
            case Group(parts):
                return {name: visit(part, f"{path}.{name}" if path else name) for name, part in parts.items()}
            case Switch():
                names = node.open(chosen)
                branch = names[0] if len(names) == 1 else draw(switch_name(node, path, names), Choice(*names))
                chosen[path] = branch
                return {branch: visit(node.branches[branch], f"{path}.{branch}")}
            case Fixed(value):
                return value
            case _:
                return draw(path, node)

    return visit(space, "")


def switch_name(switch: Switch, path: str, names: tuple[str, ...]) -> str:
    """The knob's name for a switch at `path` of which the branches `names` are open."""
    return path if len(names) == len(switch.branches) else f"{path}[{'|'.join(names)}]"


def knobs(space: Group) -> list[Knob]:
    """Every knob that some config of `space` draws, in the order of the walk, without repetition."""
    found: dict[str, Knob] = {}
    switches = dict(_switches(space, ""))

    def visit(node: Node, path: str, when: dict[str, tuple[str, ...]]) -> None:
        match node:
            case Group(parts):
                for name, part in parts.items():
                    visit(part, f"{path}.{name}" if path else name, when)
            case Switch():
                openings = _openings(node, switches)
                for names, others in openings.items():
                    if len(names) > 1:
                        name = switch_name(node, path, names)
                        found.setdefault(name, Knob(name, Choice(*names), {**when, **others}))
                for branch, part in node.branches.items():
                    if any(branch in names for names in openings):
                        visit(part, f"{path}.{branch}", {**when, path: (branch,)})
            case Fixed():
                pass
            case _:
                found.setdefault(path, Knob(path, node, when))

    visit(space, "", {})
    return list(found.values())


def _switches(node: Node, path: str) -> Iterator[tuple[str, Switch]]:
    if isinstance(node, Switch):
        yield path, node
    children = node.parts if isinstance(node, Group) else node.branches if isinstance(node, Switch) else {}
    for name, child in children.items():
        yield from _switches(child, f"{path}.{name}" if path else name)


def _openings(switch: Switch, switches: Mapping[str, Switch]) -> dict[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The sets of branches that may be open in `switch`, each with the branches of other switches that it needs."""
    settings: list[dict[str, str]] = [{}]
    for other in switch.only:
        settings = [{**s, other: branch} for s in settings for branch in switches[other].branches]
    openings: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}
    for names in dict.fromkeys(switch.open(s) for s in settings):
        leading = [s for s in settings if switch.open(s) == names]
        needed = {other: tuple(dict.fromkeys(s[other] for s in leading)) for other in switch.only}
        openings[names] = {o: taken for o, taken in needed.items() if len(taken) < len(switches[o].branches)}
    return openings


def flat(space: Group, config: Config) -> dict[str, Value]:
    """The config as {dotted name: value}, switches as their branch's name; only what applies to it."""
    values: dict[str, Value] = {}

    def visit(node: Node, part: Any, path: str) -> None:
        match node:
            case Group(parts):
                for name, child in parts.items():
                    visit(child, part[name], f"{path}.{name}" if path else name)
            case Switch(branches):
                (branch,) = part
                values[path] = branch
                visit(branches[branch], part[branch], f"{path}.{branch}")
            case _:
                values[path] = part

    visit(space, config, "")
    return values
