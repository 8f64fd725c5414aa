"""Random search: the pool in a random order, without replacement. The floor that every other searcher must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.latent.record import Record

BLIND = True  # it looks at no latents


@dataclass(frozen=True)
class Config:
    """Random search has no knobs."""


def build(config: Config, latents: NDArray, seed: int) -> Random:
    """Random search over a pool of latents (B, d)."""
    return Random(Record(latents, seed))


class Random:
    """Looks at no reward."""

    batch = 100

    def __init__(self, record: Record) -> None:
        self.record = record

    def ask(self, n: int) -> NDArray[np.int64]:
        return self.record.drawn(n)

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for pair in zip(*self.record.checked(indices, rewards), strict=True):
            self.record.add(*pair)

    def extend(self, latents: NDArray) -> None:
        self.record.extend(latents)
