"""What a searcher knows: the latents of the pool, and which circuits had which rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

JOINED = 1  # the stream of random numbers in whose order circuits join


class Record:
    """The pairs that were told, in their order, and the pool as it is now.

    Attributes:
        latents: the pool, (B, d) float32.
        free: whether a circuit is still unvisited, (B,).
        order: all circuits in a random order, (B,): the first pool in that of the seed, and behind it each group of
            circuits that joined in an order of its own, decided by the seed and the numbers of circuits.
    """

    def __init__(self, latents: NDArray, seed: int) -> None:
        """Raises ValueError for latents that are not (B, d), B and d at least 1, or not finite."""
        self.latents = _read(latents)
        self.seed = seed
        self.free = np.ones(len(self.latents), bool)
        self.order: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(self.latents))
        self._indices: list[int] = []
        self._rewards: list[float] = []

    def __len__(self) -> int:
        """How many circuits were told."""
        return len(self._indices)

    @property
    def indices(self) -> NDArray[np.int64]:
        return np.array(self._indices, np.int64)

    @property
    def rewards(self) -> NDArray[np.float64]:
        return np.array(self._rewards)

    def generator(self, *stream: int) -> np.random.Generator:
        """The random numbers of one purpose, at this point of the record: of the seed and of how much was told."""
        return np.random.default_rng([self.seed, len(self), *stream])

    def allowed(self, n: int) -> int:
        """How many circuits a request for `n` gets: fewer where fewer are unvisited."""
        if n < 1:
            raise ValueError(f"asked for {n} circuits: at least 1 is needed")
        return min(n, len(self.free) - len(self))

    def drawn(self, n: int) -> NDArray[np.int64]:
        """The first `n` unvisited circuits of the random order, or all."""
        return self.order[self.free[self.order]][: self.allowed(n)]

    def checked(self, indices: ArrayLike, rewards: ArrayLike) -> tuple[list[int], list[float]]:
        """What is about to be told, if it can be; see `Searcher.tell`."""
        given, values = np.asarray(indices), np.asarray(rewards, np.float64)
        if given.ndim != 1 or given.shape != values.shape:
            raise ValueError(f"{given.shape} indices and {values.shape} rewards: one reward an index is needed")
        if given.size and given.dtype.kind not in "iu":
            raise ValueError(f"indices of type {given.dtype}: whole numbers are needed")
        given = given.astype(np.int64)
        outside = given[(given < 0) | (given >= len(self.free))]
        if outside.size:
            raise ValueError(f"circuit {outside[0]} is not in the pool of {len(self.free)}")
        seen = given[~self.free[given]]
        if seen.size or len(np.unique(given)) < len(given):
            raise ValueError(f"circuit {seen[0] if seen.size else _twice(given)} was told before")
        if not np.isfinite(values).all():
            raise ValueError(f"a reward is {values[~np.isfinite(values)][0]}: finite ones are needed")
        return given.tolist(), values.tolist()

    def add(self, index: int, reward: float) -> None:
        """Takes note of a checked pair."""
        self.free[index] = False
        self._indices.append(index)
        self._rewards.append(reward)

    def extend(self, latents: NDArray) -> NDArray[np.float32]:
        """Takes circuits (N, d) into the pool, and gives their latents as it has them; see `Searcher.extend`.

        The arrays are made anew each time, which takes 2 ms where 100,000 circuits of 16 dimensions are there.
        """
        joined, size = _read(latents), len(self.free)
        if joined.shape[1] != self.latents.shape[1]:
            raise ValueError(f"latents of {joined.shape[1]} dimensions cannot join those of {self.latents.shape[1]}")
        order = size + np.random.default_rng([self.seed, size, JOINED]).permutation(len(joined))
        self.latents = np.concatenate([self.latents, joined])
        self.free = np.concatenate([self.free, np.ones(len(joined), bool)])
        self.order = np.concatenate([self.order, order])
        return joined


def _read(latents: NDArray) -> NDArray[np.float32]:
    found = np.ascontiguousarray(latents, np.float32)
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"latents of shape {found.shape}: (circuits, dimensions) are needed")
    if not np.isfinite(found).all():
        raise ValueError("latents must be finite")
    return found


def _twice(indices: NDArray) -> int:
    values, counts = np.unique(indices, return_counts=True)
    return int(values[counts > 1][0])


def shaped(rewards: NDArray, threshold: float, penalty: float) -> NDArray[np.float64]:
    """Rewards as the published searchers learn from them: not below 0, and r^penalty where r < threshold."""
    kept = np.maximum(np.asarray(rewards, np.float64), 0.0)
    return np.where(kept < threshold, kept**penalty, kept)


@dataclass(frozen=True)
class Scale:
    """The map x ↦ (x - zero) / unit, both (d,). Derived from a pool, it holds for circuits that join later too."""

    zero: NDArray
    unit: NDArray

    def __call__(self, latents: NDArray) -> NDArray[np.float32]:
        """Of latents (B, d): (B, d)."""
        return np.ascontiguousarray((latents - self.zero) / self.unit, np.float32)


def standard(latents: NDArray) -> Scale:
    """Gives these latents (B, d) mean 0 and deviation 1 in each dimension; a constant one goes to 0."""
    deviation = latents.std(axis=0, dtype=np.float64)
    return Scale(latents.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))


def unit_cube(latents: NDArray) -> Scale:
    """Gives these latents (B, d) least value 0 and largest 1 in each dimension; a constant one goes to 0."""
    low, high = latents.min(axis=0), latents.max(axis=0)
    return Scale(low, np.where(high > low, high - low, np.float32(1)))
