"""Of the conditional tree the branch that tempts: good everywhere, but its minimum is 0.9, at x 0.5 and scale 1.

f = 0.9 + (x - 0.5)²/2 + log10²(scale)/20
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import bowl, decades
from spaces.domains import Log, Uniform

OPTIMUM = 0.9


@dataclass(frozen=True)
class Config:
    """A point on flat ground."""

    x: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # best at 0.5
    scale: Annotated[float, Log(0.01, 100.0)] = 0.1  # best at 1


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: OPTIMUM + bowl(config.x, 0.5, 2**0.5) + decades(config.scale, 1.0) / 20
