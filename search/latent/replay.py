"""A search on a pool whose rewards are all known: replayed in milliseconds, and what is said of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.latent import Searcher


def search(searcher: Searcher, rewards: NDArray, queries: int, batch: int | None = None) -> NDArray[np.int64]:
    """The circuits that a searcher visits, in order: (queries,), or the whole pool where that is smaller.

    Args:
        rewards: of every circuit, (B,).
        queries: how many circuits may be looked up.
        batch: how many are asked for at once; None: as many as the searcher likes.
    """
    visited: list[int] = []
    while len(visited) < queries:
        asked = searcher.ask(min(batch or searcher.batch, queries - len(visited)))
        if not len(asked):
            break
        searcher.tell(asked, rewards[asked])
        visited += asked.tolist()
    return np.array(visited, np.int64)


@dataclass(frozen=True)
class Curves:
    """How a search of Q queries went.

    Attributes:
        candidates: how many rewards reached the threshold within the first 1, 2, ... Q queries: (Q,).
        regret: how much the best reward so far falls short of the best there is, at least 0: (Q,).
        means: the mean reward of each hundred queries, the last perhaps of fewer: (⌈Q/100⌉,).
        first: the number of queries to the first candidate, counted from 1; None if there is none.
    """

    candidates: NDArray[np.int64]
    regret: NDArray[np.float64]
    means: NDArray[np.float64]
    first: int | None


def curves(rewards: NDArray, threshold: float, best: float = 1.0) -> Curves:
    """The curves of rewards in the order of the visits, (Q,); `best` is the largest that can be had."""
    rewards = np.asarray(rewards, np.float64)
    hits = rewards >= threshold
    starts = np.arange(0, len(rewards), 100)
    return Curves(
        candidates=np.cumsum(hits),
        regret=np.maximum(best - np.maximum.accumulate(rewards), 0.0) if len(rewards) else rewards,
        means=np.array([rewards[start : start + 100].mean() for start in starts]),
        first=int(np.argmax(hits)) + 1 if hits.any() else None,
    )
