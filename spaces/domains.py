"""Domains: the sets of values that a knob may take.

A domain is a small frozen value. It says what it contains (`contains`), draws from itself (`sample`),
walks over itself (`grid`), prints itself (`str`) and, for models that see numbers alone, maps itself onto [0, 1]
(`to_unit`, and back by `from_unit`): in its own scale, a domain of n values giving each of them 1/n of the way. An
expert's belief about where in it good values lie may stand on it (`prior`). Nothing here knows what the values are for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Value = Any  # what a knob can be set to: bool, int, float or str
MANY = 100_000  # values that are looked at one by one
ROUNDING = 1e-6  # of a step: how near a value must lie to one of the grid
FINEST = 1e-9  # of the larger bound: a step, so that rounding stays well below the above


@dataclass(frozen=True)
class Prior:
    """An expert's belief: good values lie around this one."""

    value: Value
    confidence: Literal["low", "medium", "high"] = "medium"


def _believed(domain: Uniform | Log | Int | Choice) -> None:
    if domain.prior is not None and not domain.contains(domain.prior.value):
        raise ValueError(f"the default {domain.prior.value!r} is not in {domain}")


def _ordered(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"bounds must be finite, got [{low}, {high}]")
    if low > high:
        raise ValueError(f"the lower bound must not exceed the upper one, got [{low}, {high}]")
    if not math.isfinite(high - low):
        raise ValueError(f"the bounds are too far apart, got [{low}, {high}]")


def _number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Uniform:
    """Floats in [low, high], every interval of one length equally likely; with a `step`, low, low + step, ..."""

    low: float
    high: float
    step: float = 0.0
    prior: Prior | None = None

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)
        if not 0 <= self.step < math.inf:
            raise ValueError(f"a step must be above 0, got {self.step}")
        if 0 < self.step < FINEST * max(abs(self.low), abs(self.high)):
            raise ValueError(f"the step {self.step} is too small for [{self.low}, {self.high}]")
        _believed(self)

    @property
    def size(self) -> float:
        """How many values there are."""
        if self.step:
            return math.floor((self.high - self.low) / self.step + ROUNDING) + 1
        return math.inf if self.high > self.low else 1

    def contains(self, value: Value) -> bool:
        if not (_number(value) and self.low <= value <= self.high):
            return False
        return not self.step or abs((value - self.low) / self.step - self._place(value)) <= ROUNDING

    def sample(self, rng: np.random.Generator) -> float:
        if self.step:
            return self._at(int(rng.integers(int(self.size))))
        return float(rng.uniform(self.low, self.high))

    def grid(self, points: int) -> list[Value]:
        if self.step:
            return [self._at(place) for place in _spread(int(self.size), points)]
        return [float(v) for v in np.linspace(self.low, self.high, points)]

    def to_unit(self, value: Value) -> float:
        if self.step:
            return (self._place(value) + 0.5) / self.size
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def from_unit(self, u: float) -> float:
        if self.step:
            return self._at(_cell(u, int(self.size)))
        return min(max(self.low + u * (self.high - self.low), self.low), self.high)

    def _place(self, value: float) -> int:
        return round((value - self.low) / self.step)

    def _at(self, place: int) -> float:
        digits = 12 - math.floor(math.log10(self.step))  # 0.3, not 0.30000000000000004
        return min(max(round(self.low + place * self.step, digits), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:.12g} .. {self.high:.12g}" + (f" (step {self.step:.12g})" if self.step else "")


@dataclass(frozen=True)
class Log:
    """Floats in [low, high], uniform in their logarithm; low must be above 0."""

    low: float
    high: float
    prior: Prior | None = None

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"a logarithmic range must start above 0, got [{self.low}, {self.high}]")
        _believed(self)

    @property
    def size(self) -> float:
        return math.inf if self.high > self.low else 1

    def contains(self, value: Value) -> bool:
        return _number(value) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # exp(log(x)) may miss x by one rounding

    def grid(self, points: int) -> list[Value]:
        inner = np.geomspace(self.low, self.high, points)
        return [min(max(float(v), self.low), self.high) for v in inner]

    def to_unit(self, value: Value) -> float:
        width = math.log(self.high) - math.log(self.low)
        return (math.log(value) - math.log(self.low)) / width if width else 0.5

    def from_unit(self, u: float) -> float:
        low, high = math.log(self.low), math.log(self.high)
        return min(max(math.exp(low + u * (high - low)), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:.12g} .. {self.high:.12g} (log)"


@dataclass(frozen=True)
class Int:
    """Whole numbers in [low, high], both included; with a `step`, low, low + step, ...; with `log`, uniform in their
    logarithm (low >= 1)."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    prior: Prior | None = None

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise ValueError(f"bounds must be whole numbers, got [{self.low}, {self.high}]")
        if self.log and self.low < 1:
            raise ValueError(f"a logarithmic range must start above 0, got [{self.low}, {self.high}]")
        if not isinstance(self.step, int) or self.step < 1:
            raise ValueError(f"the step of whole numbers must be one above 0, got {self.step}")
        if self.log and self.step > 1:
            raise ValueError("a logarithmic range has no step")
        _believed(self)

    @property
    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    def contains(self, value: Value) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def sample(self, rng: np.random.Generator) -> int:
        if self.log:
            return self.from_unit(rng.random())
        return self.low + int(rng.integers(self.size, dtype=np.int64 if self.size < 2**63 else np.uint64)) * self.step

    def grid(self, points: int) -> list[Value]:
        if self.step > 1:
            return [self.low + place * self.step for place in _spread(self.size, points)]
        space = np.geomspace if self.log else np.linspace
        return sorted({min(max(round(float(v)), self.low), self.high) for v in space(self.low, self.high, points)})

    def to_unit(self, value: Value) -> float:
        if self.log:
            low, high = self._ends()
            return (math.log(value) - low) / (high - low) if high > low else 0.5
        return ((value - self.low) // self.step + 0.5) / self.size

    def from_unit(self, u: float) -> int:
        if self.log:
            low, high = self._ends()
            return min(max(round(math.exp(low + u * (high - low))), self.low), self.high)
        return self.low + _cell(u, self.size) * self.step

    def _ends(self) -> tuple[float, float]:
        """In logarithms; each whole number owns the interval of half a unit on either side of it."""
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def __str__(self) -> str:
        more = " (log)" if self.log else f" (step {self.step})" if self.step > 1 else ""
        return f"{self.low} .. {self.high}{more}"


@dataclass(frozen=True)
class Choice:
    """One of a few named values, without an order."""

    options: tuple[Value, ...]
    prior: Prior | None = None

    def __init__(self, *options: Value, prior: Prior | None = None) -> None:
        if not options:
            raise ValueError("a choice needs at least one option")
        if len({(type(o), o) for o in options}) < len(options):
            raise ValueError(f"a choice must not name an option twice, got {list(options)}")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "prior", prior)
        _believed(self)

    @property
    def size(self) -> float:
        return len(self.options)

    def contains(self, value: Value) -> bool:
        return any(type(value) is type(option) and value == option for option in self.options)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.options[int(rng.integers(len(self.options)))]

    def grid(self, points: int) -> list[Value]:
        return list(self.options)

    def to_unit(self, value: Value) -> float:
        return (self.index(value) + 0.5) / len(self.options)

    def from_unit(self, u: float) -> Value:
        return self.options[_cell(u, len(self.options))]

    def index(self, value: Value) -> int:
        """The place of an option; true and 1 are two."""
        return next(i for i, option in enumerate(self.options) if type(value) is type(option) and value == option)

    def __str__(self) -> str:
        return " | ".join(str(option) for option in self.options)


@dataclass(frozen=True)
class Ordinal(Choice):
    """One of a few values in an order that means something, such as 16, 32, 64: models see neighbours as alike."""

    def __init__(self, *options: Value, prior: Prior | None = None) -> None:
        super().__init__(*options, prior=prior)

    def grid(self, points: int) -> list[Value]:
        return [self.options[place] for place in _spread(len(self.options), points)]

    def __str__(self) -> str:
        return " < ".join(str(option) for option in self.options)


@dataclass(frozen=True)
class Fixed:
    """The one value that a study, or a default, has settled."""

    value: Value

    @property
    def size(self) -> float:
        return 1

    def contains(self, value: Value) -> bool:
        return type(value) is type(self.value) and value == self.value

    def sample(self, rng: np.random.Generator) -> Value:
        return self.value

    def grid(self, points: int) -> list[Value]:
        return [self.value]

    def __str__(self) -> str:
        return str(self.value)


Domain = Uniform | Log | Int | Choice | Fixed


def _cell(u: float, count: int) -> int:
    """Which of `count` equal parts of [0, 1] a number lies in."""
    return min(max(int(u * count), 0), count - 1)


def _spread(count: int, points: int) -> list[int]:
    """At most `points` of the places 0 .. count - 1, both ends among them, evenly spread."""
    return sorted({min(round(float(place)), count - 1) for place in np.linspace(0, count - 1, min(points, count))})


def within(inner: Domain, outer: Domain) -> bool:
    """Whether every value of `inner` is also one of `outer` (a study may narrow a range, never widen it).

    Of domains that must be looked at value by value, those of more than `MANY` values count as not within.
    """
    if isinstance(inner, Fixed):
        return outer.contains(inner.value)
    if isinstance(inner, Choice):
        return all(outer.contains(option) for option in inner.options)
    if isinstance(outer, (Choice, Fixed)) or (isinstance(outer, Uniform) and outer.step):
        return inner.size <= MANY and all(outer.contains(value) for value in _all(inner))
    if isinstance(outer, Int):  # among whole numbers there is no range of fractions
        steady = isinstance(inner, Int) and (inner.size == 1 or inner.step % outer.step == 0)
        return steady and all(outer.contains(end) for end in _ends(inner))
    return all(outer.contains(end) for end in _ends(inner))


def _all(domain: Uniform | Log | Int) -> list[Value]:
    """Every value of a domain that has so many."""
    if isinstance(domain, Int):
        return list(range(domain.low, domain.high + 1, domain.step))
    return domain.grid(int(domain.size))


def _ends(domain: Uniform | Log | Int) -> list[Value]:
    """The first and the last value."""
    if isinstance(domain, Int):
        return [domain.low, domain.low + (domain.size - 1) * domain.step]
    return domain.grid(2)
