"""A function of a choice, a whole number and a logarithmic rate: minimum 0 at kind `b`, depth 3, rate 0.01.

f = penalty(kind) + (depth - 3)²/4 + log10(rate/0.01)²/2, the penalties being 1 for `a`, 0 for `b`, 2 for `c`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from spaces.domains import Choice, Int, Log

OPTIMUM = 0.0
PENALTY = {"a": 1.0, "b": 0.0, "c": 2.0}


@dataclass(frozen=True)
class Config:
    """A point with three kinds of coordinates."""

    kind: Annotated[str, Choice("a", "b", "c")] = "a"  # decides the penalty
    depth: Annotated[int, Int(1, 8)] = 1  # best at 3
    rate: Annotated[float, Log(1e-5, 1.0)] = 1.0  # best at 0.01


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: PENALTY[config.kind] + (config.depth - 3) ** 2 / 4 + math.log10(config.rate / 0.01) ** 2 / 2
