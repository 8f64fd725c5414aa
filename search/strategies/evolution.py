"""Regularised evolution (Real et al., AAAI 2019): change what was good a little, and let the old die.

The population are the youngest trials that have a value. The best of a few drawn from it is the parent, and in its
child one knob is another: a number moves a little, a choice or a switch changes, and what a new branch brings is drawn
afresh. A child is bred from what was told when it is asked for; so several can be out, and none waits for another.
Trials that were stopped early count as what they would likely have come to, those that failed as the worst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from search.ledger import Trial
from search.strategies import before, draw_evenly, generator, key, permitted
from search.strategies._encoding import basic, neighbour, rewalked
from search.strategies._evidence import evidence, kept
from spaces.domains import Int, Log
from spaces.space import Config as Point
from spaces.space import Group, draws
from spaces.study import Goal

TRIES = 100  # children that are bred before one like another trial is let live


@dataclass(frozen=True)
class Config:
    """How large the population is, how it selects and how far its children fall."""

    startup: Annotated[int, Int(1, 10_000)] = 10  # random trials before the first child
    population: Annotated[int, Int(2, 10_000, log=True)] = 25  # the youngest trials, which may become parents
    sample: Annotated[int, Int(1, 10_000, log=True)] = 8  # trials drawn from them, with replacement; the best is parent
    deviation: Annotated[float, Log(0.001, 1.0)] = 0.1  # of a number's move, as a share of its range


def build(config: Config, space: Group, goal: Goal) -> Evolution:
    """Evolution over a space."""
    return Evolution(config, space, goal)


class Evolution:
    """Breeds from what was told."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.known: dict[str, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = kept(trial)

    def ask(self, number: int) -> Point:
        grown = before(self.known.values(), number) >= self.config.startup
        population = self._population() if grown else []
        if not population:
            return draw_evenly(self.space, self.goal.seed, number)

        def child(attempt: int) -> Point:
            rng = generator(self.goal.seed, number, attempt)
            parent = population[rng.integers(len(population), size=self.config.sample).min()]
            return mutated(self.space, parent.config, self.config.deviation, rng)

        seen = {key(trial.config) for trial in self.known.values()}
        return permitted(self.space, self.goal.seed, number, child, TRIES, seen)

    def _population(self) -> list[Trial]:
        """The youngest trials that have a value, the best first."""
        known = evidence(self.known.values(), self.goal)
        young = len(known.trials) - self.config.population
        return [known.trials[place] for place in known.ranked if place >= young]


def mutated(space: Group, config: Point, deviation: float, rng: np.random.Generator) -> Point:
    """The config with one knob changed."""
    drawn = [item for item in draws(space, config).items() if item[1][0].size > 1]
    if not drawn:
        return config
    name, (domain, value) = drawn[rng.integers(len(drawn))]
    return rewalked(space, config, {basic(name): neighbour(domain, value, deviation, rng)}, rng)
