"""The supervised control: label random circuits, fit a head on their latents, evaluate what it predicts to be good.

What a search in the latent space must beat at an equal budget, for the labels are queries like any others. The paper
compares itself with such heads (Sun et al., Quantum 10, 1994), but gives them 1,000 labels and 1,000 queries more, and
draws the latter at random among the circuits whose predicted reward reaches a level: `filtered`. To take the best
predicted first, `ranked`, is the stronger use of the same head.

The head is fitted once, to the first circuits told, as many as `labels`; later rewards teach it nothing. Circuits that
join are predicted by it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.latent.acquisition import highest
from search.latent.head import DESIGNS, Head, fitted
from search.latent.record import Record
from spaces.domains import Choice, Int, Log, Uniform

BATCH = 100  # circuits proposed at once by the fitted head, which learns from none of them


@dataclass(frozen=True)
class Config:
    """How many labels, which head, and how its predictions choose."""

    labels: Annotated[int, Int(2, 2000, log=True)] = 300  # random circuits to which the head is fitted
    head: Annotated[str, Choice(*DESIGNS)] = "gnn"  # layers of 64 and 32 with dropout, or one of 20 with batch norm
    effort: Annotated[float, Log(0.1, 10)] = 1.0  # epochs of the fit, in those published: 300 or 200
    choice: Annotated[str, Choice("ranked", "filtered")] = "ranked"  # best first, or at random from `level` on
    level: Annotated[float, Uniform(0, 1)] = 0.5  # prediction to pass the filter; 0.9 for max-cut, 0.675 for H2


def build(config: Config, latents: NDArray, seed: int) -> Predictor:
    """The predictor control over a pool of latents (B, d)."""
    return Predictor(config, Record(latents, seed))


class Predictor:
    """Fits while it is told the last label, so that what it predicts of which circuits does not depend on requests."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.head: Head | None = None
        self.predicted = np.empty(0, np.float32)  # rewards of all circuits, (B,), once the head is fitted

    @property
    def batch(self) -> int:
        missing = self.config.labels - len(self.record)
        return missing if missing > 0 else BATCH

    def ask(self, n: int) -> NDArray[np.int64]:
        if self.head is None:
            return self.record.drawn(n)
        number, free, order = self.record.allowed(n), self.record.free, self.record.order
        passing = (self.config.choice == "filtered") & (self.predicted >= self.config.level)
        chosen = order[(free & passing)[order]][:number]
        if len(chosen) == number:
            return chosen
        rest = np.flatnonzero(free & ~passing)
        return np.concatenate([chosen, rest[highest(self.predicted[rest], number - len(chosen))]])

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for pair in zip(*self.record.checked(indices, rewards), strict=True):
            self.record.add(*pair)
            if len(self.record) == self.config.labels:
                self._fit()

    def extend(self, latents: NDArray) -> None:
        joined = self.record.extend(latents)
        if self.head is not None:
            self.predicted = np.concatenate([self.predicted, self.head.predict(joined)])

    def _fit(self) -> None:
        inputs, rewards = self.record.latents[self.record.indices], self.record.rewards
        self.head = fitted(self.config.head, inputs, rewards, self.config.effort, self.record.seed)
        self.predicted = self.head.predict(self.record.latents)
