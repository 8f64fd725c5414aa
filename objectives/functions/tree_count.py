"""Of the conditional tree the branch of whole numbers: minimum 0.5 at 64 trees of depth 6 with 3 features.

f = 0.5 + log2²(trees/64)/8 + (depth - 6)²/16 + (features - 3)²/8
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import bowl, doublings
from spaces.domains import Int

OPTIMUM = 0.5


@dataclass(frozen=True)
class Config:
    """A forest, as it were."""

    trees: Annotated[int, Int(1, 1024, log=True)] = 8  # best at 64
    depth: Annotated[int, Int(1, 16)] = 2  # best at 6
    features: Annotated[int, Int(1, 8)] = 1  # best at 3


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: (
        OPTIMUM + doublings(config.trees, 64) / 8 + bowl(config.depth, 6, 4) + bowl(config.features, 3, 8**0.5)
    )
