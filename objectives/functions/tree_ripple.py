"""Of the conditional tree the branch full of local minima: minimum 0.25 at x 0.3, y 0.7, kernel 5.

f = 0.25 + (x - 0.3)² + (y - 0.7)² + waves(x)/4 + waves(y)/4 + log2²(kernel/5)/4, where waves lie between 0 and 2, are
0.2 long, and 0 at the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import bowl, doublings, ripple
from spaces.domains import Ordinal, Uniform

OPTIMUM = 0.25
LENGTH = 0.2  # of a wave


@dataclass(frozen=True)
class Config:
    """A point on rippled ground, and a size."""

    x: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # best at 0.3
    y: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # best at 0.7
    kernel: Annotated[int, Ordinal(1, 3, 5, 7, 11)] = 1  # best at 5


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    x, y = config.x, config.y
    ground = bowl(x, 0.3, 1) + bowl(y, 0.7, 1) + (ripple(x, 0.3, LENGTH) + ripple(y, 0.7, LENGTH)) / 4
    return lambda: OPTIMUM + ground + doublings(config.kernel, 5) / 4
