"""Of the conditional tree the branch with a single knob: minimum 1.1 at x 0.25.

f = 1.1 + 4 (x - 0.25)²
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import bowl
from spaces.domains import Uniform

OPTIMUM = 1.1


@dataclass(frozen=True)
class Config:
    """A point on a line."""

    x: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # best at 0.25


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: OPTIMUM + bowl(config.x, 0.25, 0.5)
