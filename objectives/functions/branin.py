"""Branin's function of two variables: three equal minima of 0.397887, at (-π, 12.275), (π, 2.275), (9.42478, 2.475).

f(x, y) = (y - 5.1 x²/4π² + 5 x/π - 6)² + 10 (1 - 1/8π) cos x + 10   (Dixon and Szegö 1978)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from spaces.domains import Uniform

OPTIMUM = 0.39788735772973816


@dataclass(frozen=True)
class Config:
    """A point of the function's usual domain."""

    x: Annotated[float, Uniform(-5.0, 10.0)] = 0.0  # first coordinate
    y: Annotated[float, Uniform(0.0, 15.0)] = 0.0  # second coordinate


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: branin(config.x, config.y)


def branin(x: float, y: float) -> float:
    """The value of Branin's function."""
    parabola = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return parabola**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
