"""From nodes of a document to values, configs and spaces, by what a component's fields declare.

A knob may be written as a value, as `search` (its declared range), `default`, or a range of its own:

    {uniform: [0, 1]}   {log: [1e-4, 0.1]}   {int: [1, 3]}   {choice: [relu, gelu]}   {ordinal: [16, 32]}
    {uniform: [0, 1], step: 0.25}            on a grid
    {log: [1e-4, 0.1], default: 3e-3, confidence: high}         with a belief about where good values lie
    {either: [0, {log: [1e-4, 0.1]}]}        one of several ways, each a value or a range
    {same: simclr.temperature}               the value of another knob, here as well

and a component as `search` (all its knobs), `default`, `off`, a mapping of its knobs, or `{either: ...}` of those.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from spaces.components import Component, Field, Pick, Shelf, default_space, fields, full_space
from spaces.document import Node, StudyError, describe, shown
from spaces.domains import Choice, Domain, Fixed, Int, Log, Ordinal, Prior, Uniform, within
from spaces.priors import CONFIDENCES
from spaces.space import Either, Group, Same, Sequence
from spaces.space import Node as SpaceNode

WORDS = ("search", "default", "off")
RANGES = ("uniform", "log", "int", "choice", "ordinal")
LISTS = ("choice", "ordinal")  # ranges that are a list of options
FORMS = (*RANGES, "either", "same")
LONGEST = 8  # steps of a sequence that may repeat
LARGEST = 2**63 - 1  # whole number, so that every array holds it


def names(config: type) -> list[str]:
    """The knobs of a config class."""
    return [f.name for f in fields(config)]


def text(node: Node) -> str:
    """The text at a node, on one line."""
    if not isinstance(node.value, str) or not node.value.strip():
        raise node.wrong(f"expected text, found {describe(node)}")
    return " ".join(node.value.split())


def value(node: Node, field: Field) -> Any:
    """The value of one knob at a node: of the field's type (whole numbers count as floats) and within its bounds."""
    found = node.value
    if field.type is float and type(found) is int and abs(found) <= sys.float_info.max:
        found = float(found)
    if field.type is int and type(found) is int and abs(found) > LARGEST:
        raise node.wrong(f"the number {shown(str(found))} is too large", str(field.domain or f"at most {LARGEST}"))
    if isinstance(found, float) and not math.isfinite(found):
        raise node.wrong(f"expected a finite number, found {found}", str(field.domain or ""))
    if type(found) is not field.type:
        wanted = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}[field.type]
        raise node.wrong(f"expected {wanted}, found {describe(node)}", str(field.domain or ""))
    if field.domain is not None and not field.domain.contains(found):
        near = found if isinstance(field.domain, Choice) and isinstance(found, str) else None
        allowed = field.domain.options if near is not None else str(field.domain)  # type: ignore[union-attr]
        raise node.wrong(f"{found!r} is out of bounds", allowed, near)
    return found


def config(node: Node, cls: type) -> Any:
    """An instance of a config class from a mapping of settled values; what is not named keeps its default."""
    by_name = {f.name: f for f in fields(cls)}
    children = node.known(by_name, "setting")
    return _built(cls, {name: value(child, by_name[name]) for name, child in children.items()}, node)


def space(node: Node | None, cls: type) -> Group | Either:
    """The space that a study gives to the knobs of a config class."""
    if node is None or node.value == "default":
        return default_space(cls)
    if node.value == "search":
        return full_space(cls)
    if not isinstance(node.value, dict):
        allowed, near = (WORDS, node.value) if isinstance(node.value, str) and node.value != "off" else ((), None)
        raise node.wrong(f"expected 'search', 'default' or a mapping of knobs, found {describe(node)}", allowed, near)
    by_name = {f.name: f for f in fields(cls)}
    if "either" in node.value and "either" not in by_name:
        return Either({name: space(way, cls) for name, way in _ways(node).items()})
    children = node.known(by_name, "knob")
    parts = {
        name: knob(children[name], field) if name in children else Fixed(field.default)
        for name, field in by_name.items()
    }
    settled = {name: part.value for name, part in parts.items() if isinstance(part, Fixed)}
    if len(settled) == len(parts):  # else a check across knobs would judge by defaults that no config has
        _built(cls, settled, node)
    return Group(parts)


@dataclass(frozen=True)
class Wanted(Same):
    """A knob that is to be the same as another, before it is known which that is: `path` is as the study has it."""

    node: Node
    field: Field

    def found(self, path: str, target: Domain) -> Same | Fixed:
        """The same knob, now that the other is found."""
        bounds = self.field.domain or Fixed(self.field.default)
        fine = within(target, bounds) if self.field.domain else type(target.grid(2)[0]) is self.field.type
        if not fine:
            raise self.node.wrong(f"'{path}' has the range {target}, which does not fit here", str(bounds))
        return target if isinstance(target, Fixed) else Same(path, target)


def knob(node: Node, field: Field) -> SpaceNode:
    """What a study gives to one knob: a domain, one of several, or that of another knob."""
    if isinstance(node.value, dict) and "either" in node.value:
        return Either({name: knob(way, field) for name, way in _ways(node).items()})
    if isinstance(node.value, dict) and "same" in node.value:
        (child,) = node.known(("same",), "setting beside 'same'").values()
        return Wanted(text(child), field.domain or Fixed(field.default), child, field)
    return domain(node, field)


def _ways(node: Node) -> dict[str, Node]:
    """The ways of an `either`: a list, or a mapping that names them."""
    (child,) = node.known(("either",), "setting beside 'either'").values()
    if isinstance(child.value, list):
        ways = {str(place): way for place, way in enumerate(child.value, 1)}
    else:
        ways = dict(child.mapping("a list of ways, or a mapping that names them"))
    if len(ways) < 2:
        raise child.wrong("'either' needs two ways at least")
    for name, way in ways.items():
        if not re.fullmatch(r"\w+", name):
            raise way.wrong(f"'{shown(name)}' cannot name a way", "letters, digits and _")
    return ways


def domain(node: Node, field: Field) -> Domain:
    """The domain that a study gives to one knob; it may narrow the declared range, never leave it."""
    free = field.type is str and field.domain is None  # any word may be meant as it stands
    if node.value == "default" and not free:
        return Fixed(field.default)
    if node.value == "search" and not free:
        if field.domain is None:
            raise node.wrong(f"'{field.name}' has no range to search; give it a value")
        return field.domain
    if isinstance(node.value, list):
        raise node.wrong("expected one value, found a list", "a value, or {choice: [...]} to search among them")
    if not isinstance(node.value, dict):
        return Fixed(value(node, field))
    children = node.known((*FORMS, "step", "default", "confidence"), "part of a range")
    kinds = [kind for kind in RANGES if kind in children]
    if len(kinds) != 1:
        raise node.wrong("a range is one of these with its bounds", FORMS)
    made = _range(kinds[0], children, field, node)
    if field.domain is not None and not within(made, field.domain):
        raise children[kinds[0]].wrong(f"the range {made} leaves the declared one", str(field.domain))
    return made


def _range(kind: str, children: Mapping[str, Node], field: Field, node: Node) -> Domain:
    """The range of a kind, with its step and its belief."""
    bounds = children[kind]
    if not isinstance(bounds.value, list) or (kind not in LISTS and len(bounds.value) != 2):
        wanted = "a list of options" if kind in LISTS else "[low, high]"
        raise bounds.wrong(f"'{kind}' takes {wanted}, found {describe(bounds)}")
    if kind not in LISTS and field.type not in (int, float):
        raise bounds.wrong(f"'{field.name}' is no number, so it has no '{kind}' range", "{choice: [...]}")
    if kind == "int" and field.type is float:
        raise bounds.wrong(f"'{field.name}' takes fractions", "uniform, log, choice, ordinal")
    free = Field(field.name, field.type, field.default, None)
    ends = [value(child, field if kind in LISTS else free) for child in bounds.value]
    more: dict[str, Any] = {}
    if "step" in children:
        if kind not in ("uniform", "int"):
            raise children["step"].wrong(f"'{kind}' has no step", "uniform, int")
        more["step"] = value(children["step"], free)
        if more["step"] <= 0:
            raise children["step"].wrong(f"a step must be above 0, found {more['step']}")
    if "confidence" in children and "default" not in children:
        raise children["confidence"].wrong("confidence in what? Say it by 'default'")
    if "default" in children:
        more["prior"] = Prior(value(children["default"], free), _confidence(children))
    makers: dict[str, Callable[..., Domain]] = {
        "choice": Choice,
        "ordinal": Ordinal,
        "uniform": Int if field.type is int else Uniform,
        "log": partial(Int, log=True) if field.type is int else Log,
        "int": Int,
    }
    try:
        return makers[kind](*ends, **more)
    except ValueError as error:
        word = str(error).split()[1]  # the default, the step, or what the bounds are
        raise children.get(word, bounds).wrong(str(error)) from None


def _confidence(children: Mapping[str, Node]) -> Any:
    if "confidence" not in children:
        return Prior.confidence
    node = children["confidence"]
    if node.value not in CONFIDENCES:
        raise node.wrong(f"expected a confidence, found {describe(node)}", CONFIDENCES)
    return node.value


def component(node: Node, shelf: Shelf) -> Component:
    """The component that a node names."""
    if not isinstance(node.value, str):
        raise node.wrong(f"expected the name of one {shelf.kind}, found {describe(node)}", shelf.names())
    name = text(node)
    if name not in shelf.names():
        raise node.wrong(f"there is no {shelf.kind} '{name}'", shelf.names(), near=name)
    return shelf.load(name)


def choices(node: Node, shelf: Shelf) -> tuple[dict[str, Group | Either], dict[str, Component]]:
    """The components of a shelf that a node names, each with the space of its knobs.

    `search` or `default` take the whole shelf; a name takes that one; a list takes each at its default;
    a mapping says for each `search`, `default`, `off` or its knobs.
    """
    if node.value in ("search", "default"):
        wanted = {name: Node(node.value, node.origin, f"{node.path}.{name}") for name in shelf.names()}
    elif isinstance(node.value, str):
        wanted = {component(node, shelf).name: Node("default", node.origin, f"{node.path}.{node.value}")}
    elif isinstance(node.value, list):
        wanted = {}
        for item in node.value:
            name = component(item, shelf).name
            if name in wanted:
                raise item.wrong(f"'{name}' is named twice")
            wanted[name] = Node("default", item.origin, f"{node.path}.{name}")
    else:
        wanted = dict(node.known(shelf.names(), shelf.kind))
    loaded = {name: shelf.load(name) for name, child in wanted.items() if child.value != "off"}
    return {name: space(wanted[name], found.config) for name, found in loaded.items()}, loaded


def sequence(node: Node, shelf: Shelf) -> Sequence:
    """Which components of a shelf, in which order: `{of: ..., length: [1, 3], repeat: true}`."""
    children = node.known(("of", "length", "repeat"), "setting of a sequence")
    if "of" not in children:
        raise node.wrong("a sequence of what?", "of")
    steps, _ = choices(children["of"], shelf)
    if not steps:
        raise children["of"].wrong(f"no {shelf.kind} is left to choose from", shelf.names())
    repeat = "repeat" in children and value(children["repeat"], Field("repeat", bool, False, None))
    most = LONGEST if repeat else len(steps)
    bounds = Field("length", int, most, Int(0, most))
    length = _length(children.get("length"), bounds)
    return Sequence(steps, length, repeat)


def _length(node: Node | None, field: Field) -> Int:
    """How many steps a sequence has: a number, `[low, high]`, or from none to all of them."""
    if node is None:
        return Int(0, field.default)
    ends = node.value if isinstance(node.value, list) else [node, node]
    if len(ends) != 2:
        raise node.wrong(f"expected a number or [low, high], found {describe(node)}")
    try:
        return Int(*(value(end, field) for end in ends))
    except ValueError as error:
        if isinstance(error, StudyError):
            raise
        raise node.wrong(str(error)) from None


def pick(node: Node, shelf: Shelf) -> Pick:
    """The one component, with settled knobs, that a node names: `tpe`, `{asha: {eta: 3}}` or `{npz: file.npz}`.

    A bare value stands for the component's `path` if it has one, else for its first knob.
    """
    if not isinstance(node.value, dict):
        found = component(node, shelf)
        return Pick(found, _built(found.config, {}, node), node)
    children = node.known(shelf.names(), shelf.kind)
    if len(children) > 1:  # a flag's word replaces the file's
        children = {name: child for name, child in children.items() if child.origin.startswith("--set")}
    if len(children) != 1:
        raise node.wrong(f"expected one {shelf.kind}, found {len(node.value)}", shelf.names())
    ((name, child),) = children.items()
    found = shelf.load(name)
    if child.value is not None and not isinstance(child.value, (dict, list)) and fields(found.config):
        knobs = names(found.config)
        child = Node({"path" if "path" in knobs else knobs[0]: child}, child.origin, child.path)
    settings = Node({}, child.origin, child.path) if child.value is None else child
    return Pick(found, config(settings, found.config), child)


def _built(cls: type, values: dict[str, Any], node: Node) -> Any:
    """The config, its own cross-checks (ValueError in `__post_init__`) told as complaints about the node."""
    try:
        return cls(**values)
    except ValueError as error:
        raise node.wrong(str(error)) from None
