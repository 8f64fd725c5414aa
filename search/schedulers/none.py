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
    return Straight(spread(goal.epochs, config.reports))


def spread(epochs: int, reports: int) -> tuple[int, ...]:
    """So many rungs, evenly spaced over the epochs; at most one an epoch."""
    count = min(reports, epochs)
    return tuple(round(epochs * (i + 1) / count) for i in range(count))


class Straight:
    """Lets every trial run through."""

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self.rungs = rungs

    def first(self, number: int) -> int:
        return self.rungs[-1]

    def tell(self, trial: Trial) -> None:
        """Nothing is compared."""

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> None:
        return None
