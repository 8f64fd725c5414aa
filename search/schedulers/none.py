"""No scheduler: every trial runs to the end, reporting a few times on its way."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated

from search.ledger import Trial
from spaces.domains import Int
from spaces.study import Goal


@dataclass(frozen=True)
class Config:
    """How often a trial reports."""

    reports: Annotated[int, Int(1, 1000)] = 4  # evenly spaced over the epochs


def build(config: Config, goal: Goal) -> Straight:
    """The scheduler for trials of the goal's length."""
    return Straight(config, goal.epochs)


class Straight:
    """Lets every trial run through."""

    def __init__(self, config: Config, epochs: int) -> None:
        count = min(config.reports, epochs)
        self.rungs = tuple(round(epochs * (i + 1) / count) for i in range(count))
        self.first = epochs

    def tell(self, trial: Trial) -> None:
        """Nothing is compared."""

    def promote(self, ready: Set[str], exhausted: bool) -> None:
        return None
