"""Hartmann's function of six variables: six minima, the least -3.32237 at (.2017, .1500, .4769, .2753, .3117, .6573).

f(x) = -Σᵢ αᵢ exp(-Σⱼ Aᵢⱼ (xⱼ - Pᵢⱼ)²)   (Hartman 1973; constants as in Dixon and Szegö 1978)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated

import numpy as np

from spaces.domains import Uniform

OPTIMUM = -3.3223680114155147
ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array(
    [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ]
)
P = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)
Coordinate = Annotated[float, Uniform(0.0, 1.0)]


@dataclass(frozen=True)
class Config:
    """A point of the unit cube."""

    x1: Coordinate = 0.5
    x2: Coordinate = 0.5
    x3: Coordinate = 0.5
    x4: Coordinate = 0.5
    x5: Coordinate = 0.5
    x6: Coordinate = 0.5


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: hartmann6(astuple(config))


def hartmann6(x: Sequence[float]) -> float:
    """The value of Hartmann's function at six coordinates."""
    return -float(ALPHA @ np.exp(-(A * (np.asarray(x) - P) ** 2).sum(1)))
