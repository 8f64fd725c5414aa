"""Random search, the branches of every switch taking turns: the floor that any other strategy must beat."""

from __future__ import annotations

from dataclasses import dataclass

from search.ledger import Trial
from search.strategies import draw_evenly
from spaces.space import Config as Point
from spaces.space import Group
from spaces.study import Goal

TARGETS = "many"


@dataclass(frozen=True)
class Config:
    """Random search has no knobs."""


def build(config: Config, space: Group, goal: Goal) -> Random:
    """Random search over a space."""
    return Random(space, goal.seed)


class Random:
    """Draws every config independently of what has been seen."""

    def __init__(self, space: Group, seed: int) -> None:
        self.space, self.seed = space, seed

    def ask(self, number: int) -> Point:
        return draw_evenly(self.space, self.seed, number)

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""
