"""Replayed searches and their curves, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from search.latent.replay import curves, search
from search.latent.searchers import random


class InOrder:
    """Proposes 0, 1, 2, ... and remembers what it was asked and told."""

    batch = 4

    def __init__(self, count: int) -> None:
        self.count, self.told, self.asked = count, [], []

    def ask(self, n):
        self.asked.append(n)
        return np.arange(len(self.told), min(len(self.told) + n, self.count))

    def tell(self, indices, rewards):
        self.told += zip(indices.tolist(), rewards.tolist(), strict=True)


@pytest.mark.parametrize(
    ("batch", "queries", "asked"), [(None, 10, [4, 4, 2]), (3, 10, [3, 3, 3, 1]), (None, 99, [4, 4, 4, 4])]
)
def test_it_asks_in_batches_until_the_queries_or_the_pool_are_spent(batch, queries, asked):
    rewards, searcher = np.linspace(0, 1, 12), InOrder(12)
    visited = search(searcher, rewards, queries, batch)
    assert visited.tolist() == list(range(min(queries, 12)))
    assert searcher.asked == asked
    assert searcher.told == [(i, rewards[i]) for i in visited]


def test_curves_by_hand():
    found = curves([0.2, 0.96, 0.5, 1.1, 0.95], threshold=0.95)
    assert found.candidates.tolist() == [0, 1, 1, 2, 3]
    assert found.regret == pytest.approx([0.8, 0.04, 0.04, 0.0, 0.0])
    assert found.means == pytest.approx([0.742])
    assert found.first == 2


def test_means_are_of_hundreds_and_the_last_of_what_is_left():
    rewards = np.concatenate([np.full(100, 0.1), np.full(100, 0.3), np.full(50, 0.7)])
    assert curves(rewards, 0.9).means == pytest.approx([0.1, 0.3, 0.7])
    assert curves(rewards, 0.9).first is None
    assert curves(rewards, 0.9, best=0.7).regret[-1] == 0


def test_no_queries_give_no_curve():
    searcher = random.build(random.Config(), np.zeros((3, 2), np.float32), 0)
    found = curves(np.zeros(3)[search(searcher, np.zeros(3), 0)], 0.5)
    assert len(found.candidates) == len(found.regret) == len(found.means) == 0
    assert found.first is None
