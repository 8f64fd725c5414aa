from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.contrastive import arc_margin, bank, pairwise, queue, scores


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


def told(positive: float, negatives: Sequence[float]) -> float:
    """-log of the positive's share, one exponential after the other."""
    return -math.log(math.exp(positive) / (math.exp(positive) + sum(math.exp(n) for n in negatives)))


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_pairwise_leaves_copies_of_an_image_out(temperature: float) -> None:
    z, count = rows(10, 4), 5
    image = np.array([0, 1, 2, 1, 0])  # which image each pair is of
    same = image[:, None] == image[None]
    total = 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        rivals = [k for k in range(2 * count) if image[k % count] != image[i % count]]
        total += told(cosine(z[i], z[partner]) / temperature, [cosine(z[i], z[k]) / temperature for k in rivals])
    found = pairwise(torch.from_numpy(z), temperature, torch.from_numpy(same))
    assert found.item() == pytest.approx(total / 2 / count, rel=1e-9)


def test_pairwise_without_copies_needs_no_exclusion() -> None:
    z = torch.from_numpy(rows(8, 3))
    for exclude in (torch.zeros(4, 4, dtype=torch.bool), torch.eye(4, dtype=torch.bool)):
        torch.testing.assert_close(pairwise(z, 0.2, exclude), pairwise(z, 0.2))


def test_a_copy_among_the_negatives_costs_log_two_unless_left_out() -> None:
    z = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2]]  # three images, each with two equal views
    doubled = z[[0, 1, 2, 0, 1, 2] * 2]  # each image twice in the batch
    same = torch.eye(3, dtype=torch.bool).tile(2, 2)
    assert pairwise(z, 0.01).item() == pytest.approx(0, abs=1e-9)
    assert pairwise(doubled, 0.01).item() == pytest.approx(math.log(3), abs=1e-9)  # two copies beside the partner
    assert pairwise(doubled, 0.01, same).item() == pytest.approx(0, abs=1e-9)
    keys = torch.eye(3, dtype=torch.float64)
    assert queue(keys, keys, keys, 0.01).item() == pytest.approx(math.log(2), abs=1e-9)
    assert queue(keys, keys, keys, 0.01, torch.eye(3, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_queue_is_the_papers(temperature: float) -> None:
    q, k, past = rows(4, 3), rows(4, 3, seed=1), rows(6, 3, seed=2)
    expected = np.mean(
        [
            told(cosine(a, b) / temperature, [cosine(a, p) / temperature for p in past])
            for a, b in zip(q, k, strict=True)
        ]
    )
    found = queue(*(torch.from_numpy(x) for x in (q, k, past)), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.35])
def test_bank_is_the_papers(margin: float) -> None:
    q, positive, negatives = rows(3, 4), rows(3, 4, seed=1), rows(3, 5, 4, seed=2)
    exclude = np.random.default_rng(3).random((3, 5)) < 0.4
    exclude[2] = True  # a row without negatives
    total = 0.0
    for i in range(3):
        rivals = [cosine(q[i], negatives[i, j]) / 0.2 for j in range(5) if not exclude[i, j]]
        total += told((cosine(q[i], positive[i]) - margin) / 0.2, rivals)
    tensors = [torch.from_numpy(x) for x in (q, positive, negatives)]
    found = bank(*tensors, 0.2, margin, torch.from_numpy(exclude))
    assert found.item() == pytest.approx(total / 3, rel=1e-9)


def test_negatives_of_all_are_negatives_of_each() -> None:
    q, positive, negatives = (torch.from_numpy(rows(n, 4, seed=n)) for n in (3, 3, 7))
    torch.testing.assert_close(bank(q, positive, negatives, 0.2), bank(q, positive, negatives.expand(3, 7, 4), 0.2))


def test_a_margin_below_zero_eases_and_one_above_hardens() -> None:
    q, positive, negatives = (torch.from_numpy(rows(n, 4, seed=n)) for n in (3, 3, 7))
    loss = {m: bank(q, positive, negatives, 0.2, m).item() for m in (-0.5, 0.0, 0.5)}
    assert loss[-0.5] < loss[0.0] < loss[0.5]


def test_gradients() -> None:
    q, k = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    past = torch.from_numpy(rows(5, 4))
    out = torch.tensor([[True] * 5, [True, False] * 2 + [True], [False] * 5])
    assert torch.autograd.gradcheck(lambda a, b: queue(a, b, past, 0.3, out), (q, k))
    assert torch.autograd.gradcheck(lambda a: bank(a, a.roll(1, 0), past, 0.3, -0.5, out), q)
    same = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
    assert torch.autograd.gradcheck(lambda a, b: pairwise(torch.cat([a, b]), 0.3, same), (q, k))
    assert torch.autograd.gradcheck(lambda a, b: scores(a @ b.T, True, same), (q, k))


def test_scores_tell_columns_and_rows() -> None:
    logits = 3 * rows(4, 4)
    exclude = np.random.default_rng(1).random((4, 4)) < 0.3
    exclude[0, 0] = exclude[1, 2] = True  # an entry of the diagonal says nothing
    by_row = np.mean([told(logits[i, i], [logits[i, j] for j in range(4) if j != i]) for i in range(4)])
    by_column = np.mean([told(logits[i, i], [logits[j, i] for j in range(4) if j != i]) for i in range(4)])
    some = np.mean(
        [told(logits[i, i], [logits[i, j] for j in range(4) if j != i and not exclude[i, j]]) for i in range(4)]
    )
    tensor = torch.from_numpy(logits)
    assert scores(tensor).item() == pytest.approx(by_row, rel=1e-9)
    assert scores(tensor, symmetric=True).item() == pytest.approx((by_row + by_column) / 2, rel=1e-9)
    assert scores(tensor, exclude=torch.from_numpy(exclude)).item() == pytest.approx(some, rel=1e-9)
    assert by_row != pytest.approx(by_column, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10), count=st.integers(1, 6), past=st.integers(0, 6))
def test_lengths_count_for_scores_alone(seed: int, scale: float, count: int, past: int) -> None:
    q, k, m = (torch.from_numpy(rows(n, 3, seed=seed + i)) for i, n in enumerate((count, count, past)))
    torch.testing.assert_close(queue(scale * q, k, m, 0.2), queue(q, k, m / scale, 0.2))
    torch.testing.assert_close(queue(q, k, m, 0.2), queue(q, k, m.flip(0), 0.2))
    assert queue(q, k, m, 0.2) >= 0
    if not past:
        assert queue(q, k, m, 0.2) == 0


def test_half_precision(same_in_half) -> None:
    q, k, m = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0))
    same_in_half(lambda a, b: pairwise(torch.cat([a, b]), 0.05), q, k)
    same_in_half(lambda a, b, c: queue(a, b, c, 0.05), q, k, m)
    same_in_half(lambda a, b, c: bank(a, b, c.expand(8, 8, 4), 0.05, -0.5), q, k, m)
    same_in_half(lambda a: scores(a), q @ k.T)


def test_an_arc_margin_goes_no_further_than_the_angles_there_are() -> None:
    q = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    positive = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    eased, hardened = arc_margin(q, positive, -0.5), arc_margin(q, positive, 0.5)
    assert eased.flatten().tolist() == pytest.approx([0, -1 - math.cos(math.pi - 0.5), -math.sin(0.5)], abs=1e-3)
    assert hardened.flatten().tolist() == pytest.approx([1 - math.cos(0.5), 0, math.sin(0.5)], abs=1e-3)
    hardened.sum().backward()
    assert torch.isfinite(q.grad).all()
