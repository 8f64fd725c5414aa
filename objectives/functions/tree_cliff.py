"""Of the conditional tree the branch that is best at the edge of a cliff: minimum 0.15 at momentum 0.9, rate 0.1.

f = 0.15 + 4 (0.9 - momentum) + log10²(rate/0.1)/4 up to a momentum of 0.9, and 4 beyond it, as if training diverged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import decades
from spaces.domains import Log, Uniform

OPTIMUM = 0.15
EDGE, BEYOND = 0.9, 4.0


@dataclass(frozen=True)
class Config:
    """A step, as it were."""

    momentum: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # best at 0.9, worst right behind it
    rate: Annotated[float, Log(1e-4, 10.0)] = 0.001  # best at 0.1


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    if config.momentum > EDGE:
        return lambda: BEYOND
    return lambda: OPTIMUM + 4 * (EDGE - config.momentum) + decades(config.rate, 0.1) / 4
