"""NSGA-II (Deb et al. 2002), by Optuna: crossover and mutation of the configs that no other dominates.

Numbers are crossed and mutated as there, by simulated binary crossover and polynomial mutation. The search is steady
(Durillo et al. 2009): the parents of a trial are the best of all trials so far, by fronts and crowding, instead of
those of the generation before. So nobody waits for the last of a generation, and who the parents are is told by the
record. A knob that only some configs have is taken from one of the parents that have it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from optuna.study import Study
from optuna.trial import FrozenTrial

from search.ledger import Trial
from search.strategies import draw_evenly, generator
from search.strategies._optuna import Record
from spaces.domains import Int
from spaces.space import Config as Point
from spaces.space import Group
from spaces.study import Goal

TARGETS = "many"
INHERITED = 0.5  # of the knobs that only some configs have, the share that is taken from a parent


@dataclass(frozen=True)
class Config:
    """How many parents there are."""

    population: Annotated[int, Int(2, 10_000)] = 20  # trials that count as parents; so many random ones come first


def build(config: Config, space: Group, goal: Goal) -> Nsga2:
    """NSGA-II over a space."""
    return Nsga2(config, space, goal)


class Nsga2:
    """Breeds new configs from the best so far."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        first = {f"{Breeding.__name__}:generation": 0}  # of all trials, so that each that is asked is of the second
        self.record = Record(space, goal, curves=False, attributes=first)

    def tell(self, trial: Trial) -> None:
        self.record.tell(trial)

    def ask(self, number: int) -> Point:
        if number < self.config.population:
            return draw_evenly(self.space, self.goal.seed, number)
        return self.record.ask(lambda stream: self._sampler(number, stream), number)

    def _sampler(self, number: int, stream: int) -> Breeding:
        rng = generator(self.goal.seed, number, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return Breeding(self.config.population, rng)


class Breeding(NSGAIISampler):
    """Optuna's NSGA-II, in which knobs that only some configs have are inherited, too."""

    def __init__(self, population: int, rng: np.random.Generator) -> None:
        super().__init__(
            population_size=population,
            mutation=PolynomialMutation(),
            crossover=SBXCrossover(),
            seed=int(rng.integers(2**31)),
        )
        self.parents: list[FrozenTrial] = []
        self.crossed: dict[str, BaseDistribution] = {}
        self.chance = rng

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self.crossed = super().infer_relative_search_space(study, trial)
        return self.crossed

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        self.parents = super().select_parent(study, generation)
        return self.parents

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        known = [parent.params[param_name] for parent in self.parents if param_name in parent.params]
        if param_name not in self.crossed and known and self.chance.random() < INHERITED:
            return known[int(self.chance.integers(len(known)))]
        return super().sample_independent(study, trial, param_name, param_distribution)
