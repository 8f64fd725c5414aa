"""Ackley's function of up to ten variables: a funnel full of local minima, the least, 0, where all stand at `shift`.

f(x) = -20 exp(-0.2 √(Σ zᵢ²/n)) - exp(Σ cos(2π zᵢ)/n) + 20 + e with z = x - shift   (Ackley 1987)

Without a shift the minimum lies in the centre of the usual domain, to the gain of every search that begins there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated

from spaces.domains import Uniform

OPTIMUM = 0.0
MOST = 10  # variables
WIDTH = 32.768  # of the usual domain, to either side
Coordinate = Annotated[float, Uniform(-WIDTH, WIDTH)]


@dataclass(frozen=True)
class Config:
    """A point of the usual domain, where the minimum lies, and how many of the coordinates count."""

    x1: Coordinate = 20.0
    x2: Coordinate = 20.0
    x3: Coordinate = 20.0
    x4: Coordinate = 20.0
    x5: Coordinate = 20.0
    x6: Coordinate = 20.0
    x7: Coordinate = 20.0
    x8: Coordinate = 20.0
    x9: Coordinate = 20.0
    x10: Coordinate = 20.0
    dimensions: int = MOST  # coordinates that count, the first ones
    shift: float = 0.0  # every coordinate of the minimum

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= MOST:
            raise ValueError(f"dimensions must be 1 .. {MOST}, got {self.dimensions}")
        if abs(self.shift) > WIDTH:
            raise ValueError(f"shift must lie in the domain, {-WIDTH} .. {WIDTH}, got {self.shift}")


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: ackley([x - config.shift for x in astuple(config)[: config.dimensions]])


def ackley(z: Sequence[float]) -> float:
    """The value of Ackley's function, its minimum at the origin."""
    count = len(z)
    radius = math.sqrt(math.fsum(v * v for v in z) / count)
    waves = math.fsum(math.cos(2 * math.pi * v) for v in z) / count
    return -20 * math.exp(-0.2 * radius) - math.exp(waves) + 20 + math.e
