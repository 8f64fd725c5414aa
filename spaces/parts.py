"""The parts of a space: what an objective declares, what a study makes of them, and the one tree that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spaces import reading
from spaces.components import Catalogue, Component
from spaces.conditions import constrained
from spaces.document import Node
from spaces.domains import Domain
from spaces.expressions import resolve
from spaces.space import Either, Group, Same, Sequence, Switch, below, step_path
from spaces.space import Node as SpaceNode


@dataclass(frozen=True)
class OneOf:
    """A part of the space that is one component of a shelf: the study's `kind: {name: knobs, ...}`."""

    kind: str
    default: tuple[str, ...] = ()  # taken where the study is silent; without it the study must speak
    serves: str = ""  # the part whose needs this one's offers must meet


@dataclass(frozen=True)
class SomeOf:
    """A part of the space that is a sequence of a shelf's components, in the order in which the study names them."""

    kind: str
    default: tuple[str, ...] = ()


Part = OneOf | SomeOf | type


def read_space(node: Node | None, document: Node, parts: Mapping[str, Part], catalogue: Catalogue) -> Group:
    """The space under `node`: each part that the objective declares, as the study or its default has it, and what
    must hold of it (`where`)."""
    node = node or Node({}, document.origin, "space")
    given = node.known((*parts, "where"), "space part")
    tree: dict[str, SpaceNode] = {}
    branches: dict[str, dict[str, Component]] = {}
    for name, part in parts.items():
        child = given.get(name)
        if isinstance(part, type):
            tree[name] = reading.space(child, part)
            continue
        shelf = catalogue[part.kind]
        if child is None and not part.default and isinstance(part, OneOf):
            raise node.wrong(f"the space names no {name}", shelf.names())
        path = f"space.{name}"
        child = child or Node({n: Node("default", node.origin, f"{path}.{n}") for n in part.default}, node.origin, path)
        if isinstance(part, SomeOf) and isinstance(child.value, dict) and "sequence" in child.value:
            (steps,) = child.known(("sequence",), "setting beside 'sequence'").values()
            tree[name] = reading.sequence(steps, shelf)
            continue
        options, branches[name] = reading.choices(child, shelf)
        if isinstance(part, SomeOf):
            tree[name] = Group(options)
            continue
        if not options:
            raise child.wrong(f"no {name} is left to choose from", shelf.names())
        tree[name] = Switch(options, _compatible(part.serves, branches, child) if part.serves else {})
    return constrained(united(Group(tree)), given.get("where"))


def united(space: Group) -> Group:
    """The space with each knob that is to be the same as another tied to it."""
    targets = dict(_domains(space, ""))

    def tied(node: SpaceNode) -> SpaceNode:
        match node:
            case reading.Wanted():
                try:
                    path = resolve(node.path, list(targets))
                except ValueError as error:
                    raise node.node.wrong(f"no knob to be the same as: {error}") from None
                return node.found(path, targets[path])
            case Group(parts):
                return Group({name: tied(part) for name, part in parts.items()})
            case Switch(branches, only):
                return Switch({name: tied(branch) for name, branch in branches.items()}, only)  # type: ignore[misc]
            case Either(ways):
                return Either({name: tied(way) for name, way in ways.items()})
            case Sequence(steps, length, repeat):
                return Sequence({name: tied(step) for name, step in steps.items()}, length, repeat)  # type: ignore[misc]
        return node

    return Group({name: tied(part) for name, part in space.parts.items()})


def _domains(node: SpaceNode, path: str) -> Iterator[tuple[str, Domain]]:
    """Every place with a value of its own, drawn or settled, by its dotted name."""
    match node:
        case Group(children) | Switch(children) | Either(children):
            for name, child in children.items():
                yield from _domains(child, below(path, name))
        case Sequence(steps, _, repeat):
            for name, child in steps.items() if not repeat else ():
                yield from _domains(child, step_path(node, path, 0, name))
        case Same():
            pass
        case _:
            yield path, node


def _compatible(
    other: str, branches: Mapping[str, Mapping[str, Component]], node: Node
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Which of this part's branches meet the needs of each branch of the part `other`."""
    *_, mine = branches.values()
    limits = {}
    for name, component in branches[other].items():
        able = tuple(b for b, c in mine.items() if component.needs <= c.offers)
        if not able:
            wants = ", ".join(sorted(component.needs))
            raise node.wrong(f"{other} '{name}' needs {wants}, which none of {', '.join(mine)} offers")
        if len(able) < len(mine):
            limits[name] = able
    return {other: limits} if limits else {}
