"""Domains: the sets of values that a knob may take.

A domain is a small frozen value. It says what it contains (`contains`), draws from itself (`sample`),
walks over itself (`grid`) and prints itself the way a study writes it (`str`). Nothing here knows what
the values are for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Value = Any  # what a knob can be set to: bool, int, float or str


def _ordered(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"bounds must be finite, got [{low}, {high}]")
    if low > high:
        raise ValueError(f"the lower bound must not exceed the upper one, got [{low}, {high}]")


def _number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Uniform:
    """Floats in [low, high], every interval of one length equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)

    def contains(self, value: Value) -> bool:
        return _number(value) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))

    def grid(self, points: int) -> list[Value]:
        return [float(v) for v in np.linspace(self.low, self.high, points)]

    def __str__(self) -> str:
        return f"{self.low:.12g} .. {self.high:.12g}"


@dataclass(frozen=True)
class Log:
    """Floats in [low, high], uniform in their logarithm; low must be above 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"a logarithmic range must start above 0, got [{self.low}, {self.high}]")

    def contains(self, value: Value) -> bool:
        return _number(value) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # exp(log(x)) may miss x by one rounding

    def grid(self, points: int) -> list[Value]:
        inner = np.geomspace(self.low, self.high, points)
        return [min(max(float(v), self.low), self.high) for v in inner]

    def __str__(self) -> str:
        return f"{self.low:.12g} .. {self.high:.12g} (log)"


@dataclass(frozen=True)
class Int:
    """Whole numbers in [low, high], both included; with `log`, uniform in their logarithm (low >= 1)."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise ValueError(f"bounds must be whole numbers, got [{self.low}, {self.high}]")
        if self.log and self.low < 1:
            raise ValueError(f"a logarithmic range must start above 0, got [{self.low}, {self.high}]")

    def contains(self, value: Value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        if not self.log:
            return int(rng.integers(self.low, self.high, endpoint=True))
        # Each whole number owns the interval of half a unit on either side of it.
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def grid(self, points: int) -> list[Value]:
        space = np.geomspace if self.log else np.linspace
        return sorted({round(float(v)) for v in space(self.low, self.high, points)})

    def __str__(self) -> str:
        return f"{self.low} .. {self.high}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """One of a few named values, without an order."""

    options: tuple[Value, ...]

    def __init__(self, *options: Value) -> None:
        if not options:
            raise ValueError("a choice needs at least one option")
        if len({(type(o), o) for o in options}) < len(options):
            raise ValueError(f"a choice must not name an option twice, got {list(options)}")
        object.__setattr__(self, "options", options)

    def contains(self, value: Value) -> bool:
        return any(type(value) is type(option) and value == option for option in self.options)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.options[int(rng.integers(len(self.options)))]

    def grid(self, points: int) -> list[Value]:
        return list(self.options)

    def __str__(self) -> str:
        return " | ".join(str(option) for option in self.options)


@dataclass(frozen=True)
class Fixed:
    """The one value that a study, or a default, has settled."""

    value: Value

    def contains(self, value: Value) -> bool:
        return type(value) is type(self.value) and value == self.value

    def sample(self, rng: np.random.Generator) -> Value:
        return self.value

    def grid(self, points: int) -> list[Value]:
        return [self.value]

    def __str__(self) -> str:
        return str(self.value)


Domain = Uniform | Log | Int | Choice | Fixed


def within(inner: Domain, outer: Domain) -> bool:
    """Whether every value of `inner` is also one of `outer` (a study may narrow a range, never widen it)."""
    match inner:
        case Fixed(value):
            return outer.contains(value)
        case Choice(options):
            return all(outer.contains(option) for option in options)
        case Int(low, high) if isinstance(outer, (Choice, Fixed)):
            return all(outer.contains(number) for number in range(low, high + 1))
        case _:
            if isinstance(outer, (Int, Choice, Fixed)) and not isinstance(inner, Int):
                return False  # a range of fractions lies neither among whole numbers nor among a few options
            return outer.contains(inner.low) and outer.contains(inner.high)
