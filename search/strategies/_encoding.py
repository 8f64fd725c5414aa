"""A space as a cube: configs as vectors of numbers in [0, 1], for models that know nothing of trees.

A knob with an order owns one column, its place in its own scale (`to_unit`); a choice without order, or a switch, owns
one column an option, 1 where that option is taken. A knob that does not apply to a config stands at 0.5, and its
options at 0, whatever else the config is: two configs that differ in nothing that applies to them are the same vector,
and a model with a length for each column sees a branch by the switch's own columns. A switch that another one narrows
(`body[cnn|vit]`) is here the one knob `body`, of which some options are not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from spaces.domains import Choice, Domain, Fixed, Int, Ordinal, Uniform, Value
from spaces.knobs import knobs
from spaces.space import Config, Draw, Either, Group, Node, Sequence, Switch, flat, walk

ABSENT = 0.5  # where a knob that does not apply stands
FEW = 32  # configs of which the number of knobs is averaged
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """The columns of a knob: `start` and so many after it; `domain` has every option that is ever open."""

    name: str
    domain: Domain
    start: int
    number: int

    @property
    def width(self) -> int:
        return len(self.domain.options) if nominal(self.domain) else 1

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.width)


@dataclass(frozen=True)
class Spot:
    """A config, its vector (width,), and which knobs apply to it, (places,)."""

    config: Config
    vector: Vector
    applies: NDArray[np.bool_]

    @property
    def key(self) -> bytes:
        """The same for configs that differ in nothing that applies."""
        return self.vector.tobytes()


class Encoding:
    """Takes configs of a space to vectors and back.

    Attributes:
        places: the knobs by name, in the order of the walk.
        width: how many columns there are.
        smooth: whether every knob takes any number of a range, so that there is nothing but slopes to follow.
        dimensions: how many knobs apply to a config, on an average of a few.
    """

    def __init__(self, space: Group) -> None:
        self.space, self.places, self.width = space, dict[str, Place](), 0
        for name, domain in _united(space).items():
            self.places[name] = place = Place(name, domain, self.width, len(self.places))
            self.width += place.width
        self.smooth = not any(stepped(place.domain) for place in self.places.values())
        self.loose = _loose(space)
        rng = np.random.default_rng(0)
        some = [self.visit(lambda _, domain: domain.sample(rng)) for _ in range(FEW)]
        self.dimensions = max(1, round(float(np.mean([spot.applies.sum() for spot in some]))))

    def visit(self, draw: Draw, exact: bool = False) -> Spot:
        """The config to which `draw` leads, with its vector; `exact`: what it draws is what the config tells."""
        vector, applies = np.full(self.width, ABSENT), np.zeros(len(self.places), bool)
        for place in self.places.values():
            if nominal(place.domain):
                vector[place.columns] = 0.0

        def noted(name: str, domain: Domain) -> Value:
            if isinstance(domain, Fixed):
                return domain.value
            value, place = draw(name, domain), self.places[basic(name)]
            applies[place.number] = True
            if nominal(place.domain):
                vector[place.start + place.domain.index(value)] = 1.0
            else:
                vector[place.start] = domain.to_unit(value)
            return value

        config = walk(self.space, noted)
        if self.loose and not exact:
            return self.encode(config)
        return Spot(config, vector, applies)

    def encode(self, config: Config) -> Spot:
        """A config with its vector."""
        values = flat(self.space, config)
        return self.visit(lambda name, _: values[basic(name)], exact=True)

    def decode(self, vector: Vector) -> Spot:
        """The config that a vector (width,) says, or the nearest: of options the one with the highest number among
        those that are open, of steps the one in whose part of the scale the number lies."""

        def draw(name: str, domain: Domain) -> Value:
            place = self.places[basic(name)]
            whole = place.domain
            if nominal(domain) and nominal(whole):
                return max(domain.options, key=lambda option: vector[place.start + whole.index(option)])
            return valued(domain, float(vector[place.start]))

        return self.visit(draw)

    def spread(self, units: Vector) -> Spot:
        """The config at a point of the cube with one number a knob (places,): evenly spread points give evenly spread
        values, options included."""
        return self.visit(lambda name, domain: valued(domain, float(units[self.places[basic(name)].number])))

    def changed(self, config: Config, changes: Mapping[str, Value], rng: np.random.Generator) -> Spot:
        """As `rewalked`, with its vector."""
        return self.visit(redrawing(self.space, config, changes, rng))

    def slopes(self, spot: Spot) -> NDArray[np.bool_]:
        """Along which columns a config can be moved by a little and stay of the same shape: (width,)."""
        found = np.zeros(self.width, bool)
        for place in self.places.values():
            found[place.columns] = spot.applies[place.number] and not nominal(place.domain)
        return found


def basic(name: str) -> str:
    """A knob's name without the branches that another switch has left open."""
    return name.partition("[")[0]


def nominal(domain: Domain) -> TypeGuard[Choice]:
    """Whether a domain's values have no order."""
    return isinstance(domain, Choice) and not isinstance(domain, Ordinal)


def valued(domain: Domain, unit: float) -> Value:
    """The value at a place of a domain's scale."""
    return domain.value if isinstance(domain, Fixed) else domain.from_unit(unit)


def stepped(domain: Domain) -> bool:
    """Whether a domain has a few values with nothing between them."""
    return isinstance(domain, (Choice, Int)) or (isinstance(domain, Uniform) and domain.step > 0)


def rewalked(space: Group, config: Config, changes: Mapping[str, Value], rng: np.random.Generator) -> Config:
    """The config with some knobs set anew, by their `basic` names: what still applies stays as it was, what comes to
    apply by it is drawn."""
    return walk(space, redrawing(space, config, changes, rng))


def redrawing(space: Group, config: Config, changes: Mapping[str, Value], rng: np.random.Generator) -> Draw:
    """The draw that does it."""
    values = flat(space, config) | dict(changes)

    def draw(name: str, domain: Domain) -> Value:
        known = basic(name)
        return values[known] if known in values and domain.contains(values[known]) else domain.sample(rng)

    return draw


def neighbour(domain: Domain, value: Value, deviation: float, rng: np.random.Generator) -> Value:
    """Another value near this one: a normal step on the domain's scale, thrown back at the ends, and at least to the
    next value where there are few; without an order, any other option. The same value if there is no other."""
    if isinstance(domain, Fixed) or domain.size <= 1:
        return value
    if nominal(domain):
        others = [option for option in domain.grid(0) if type(option) is not type(value) or option != value]
        return others[int(rng.integers(len(others)))]
    unit, step = domain.to_unit(value), deviation * rng.standard_normal()
    moved = domain.from_unit(reflected(unit + step))
    while moved == value and stepped(domain):
        step += np.copysign(0.5 / domain.size, step)
        moved = domain.from_unit(reflected(unit + step))
    return moved


def reflected(u: float) -> float:
    """A number thrown back into [0, 1] at its ends."""
    u = abs(u) % 2.0
    return 2.0 - u if u > 1.0 else u


def _united(space: Group) -> dict[str, Domain]:
    """The knobs by their basic names, each with all of its options."""
    found: dict[str, Domain] = {}
    for knob in knobs(space):
        name, domain = basic(knob.name), knob.domain
        if isinstance(domain, Fixed):
            continue
        known = found.get(name)
        if isinstance(known, Choice) and isinstance(domain, Choice) and nominal(domain):
            domain = Choice(*known.options, *(option for option in domain.options if not known.contains(option)))
        found[name] = domain
    return found


def _loose(node: Node) -> bool:
    """Whether a walk can draw otherwise than its config tells: steps make room for each other, ways look alike."""
    match node:
        case Group(parts):
            return any(map(_loose, parts.values()))
        case Switch(branches):
            return any(map(_loose, branches.values()))
        case Either():
            return True
        case Sequence(steps):
            return not node.repeat or any(map(_loose, steps.values()))
    return False
