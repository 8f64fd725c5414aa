"""Regularised evolution in the latent space (Real et al., AAAI 2019): mutate what was good, and let the old die.

A parent is the best of a few drawn from the population; its child is the unvisited circuit nearest to the parent's
latent plus Gaussian noise. The population are the youngest circuits told; with `survivors: best`, the best ones, which
makes it a local search around the incumbents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.latent.index import nearest
from search.latent.record import Record
from spaces.domains import Choice, Int, Log


@dataclass(frozen=True)
class Config:
    """How large the population is, how it selects and how far its children fall."""

    initial: Annotated[int, Int(1, 256, log=True)] = 32  # random circuits before the first child
    population: Annotated[int, Int(2, 512, log=True)] = 64  # circuits that may become parents
    sample: Annotated[int, Int(1, 128, log=True)] = 8  # circuits drawn from them, with replacement; the best is parent
    survivors: Annotated[str, Choice("young", "best")] = "young"  # who makes up the population
    sigma: Annotated[float, Log(0.01, 3)] = 0.3  # deviation of a mutation, in deviations of the pool's latents
    generation: Annotated[int, Int(1, 64, log=True)] = 8  # children that are bred before any of them can be a parent


def build(config: Config, latents: NDArray, seed: int) -> Evolution:
    """Evolution over a pool of latents (B, d)."""
    return Evolution(config, Record(latents, seed))


class Evolution:
    """A child is bred from what was told; those of one request share a population, and no two are the same."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.reach = config.sigma * record.latents.std(axis=0)  # of the first pool, whoever joins

    @property
    def batch(self) -> int:
        missing = self.config.initial - len(self.record)
        return missing if missing > 0 else self.config.generation

    def ask(self, n: int) -> NDArray[np.int64]:
        if len(self.record) < self.config.initial:
            return self.record.drawn(n)
        number, free = self.record.allowed(n), self.record.free.copy()
        population = self._population()
        rng, children = self.record.generator(), np.empty(number, np.int64)
        for place in range(number):
            parent = population[rng.integers(len(population), size=self.config.sample).min()]
            mutation = self.reach * rng.standard_normal(len(self.reach))
            children[place] = nearest(self.record.latents, self.record.latents[parent] + mutation, free)
            free[children[place]] = False
        return children

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for pair in zip(*self.record.checked(indices, rewards), strict=True):
            self.record.add(*pair)

    def extend(self, latents: NDArray) -> None:
        self.record.extend(latents)

    def _population(self) -> NDArray[np.int64]:
        """The population, its best first."""
        rewards, size = self.record.rewards, self.config.population
        ranked = np.argsort(-rewards, kind="stable")
        if self.config.survivors == "best":
            return self.record.indices[ranked[:size]]
        return self.record.indices[ranked[ranked >= len(rewards) - size]]
