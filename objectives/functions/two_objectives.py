"""Branin's and Currin's functions of one point of the unit square, `value` and `second`, both to be minimised.

value  = Branin's function at (15 x - 5, 15 y)
second = (1 - exp(-1/2y)) (2300 x³ + 1900 x² + 2092 x + 60) / (100 x³ + 500 x² + 4 x + 20)   (Currin et al. 1991)

A pair of objectives since Belakaria, Deshwal and Doppa (NeurIPS 2019). The Pareto front is known by computation alone:
`HYPERVOLUME` is the area that it dominates below the usual reference point (18, 6), the limit of ever finer grids;
BoTorch states 59.36, the area of a front that a search had found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions.branin import OPTIMUM, branin
from spaces.domains import Uniform

REFERENCE = (18.0, 6.0)
HYPERVOLUME = 59.407
__all__ = ["HYPERVOLUME", "OPTIMUM", "REFERENCE", "Config", "build", "currin", "hypervolume"]


@dataclass(frozen=True)
class Config:
    """A point of the unit square."""

    x: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # first coordinate
    y: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # second coordinate


def build(config: Config) -> Callable[[], dict[str, float]]:
    """Both functions at the config's point."""
    x, y = config.x, config.y
    return lambda: {"value": branin(15 * x - 5, 15 * y), "second": currin(x, y)}


def currin(x: float, y: float) -> float:
    """The value of Currin's function; at y = 0 its limit."""
    damped = 1 - math.exp(-1 / (2 * y)) if y > 0 else 1.0
    return damped * (2300 * x**3 + 1900 * x**2 + 2092 * x + 60) / (100 * x**3 + 500 * x**2 + 4 * x + 20)


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """The area between the reference point and what the points dominate; what lies beyond the reference counts 0."""
    area, lowest = 0.0, REFERENCE[1]
    for value, second in sorted(points):
        if value < REFERENCE[0] and second < lowest:
            area += (REFERENCE[0] - value) * (lowest - second)
            lowest = second
    return area
