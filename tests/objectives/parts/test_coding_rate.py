from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts import coding_rate as module
from objectives.parts.coding_rate import coding_rate, rate_of_parts


def unit(n: int, d: int, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def shares(k: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n), size=k)


def by_eigenvalues(matrix: np.ndarray) -> float:
    return float(np.log1p(np.linalg.eigvalsh(matrix).clip(min=0)).sum())


@pytest.mark.parametrize("eps2", [0.01, 0.5])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (20, 4), (4, 20), (5, 5)])
def test_coding_rate_is_the_papers(n: int, d: int, eps2: float) -> None:
    z = unit(n, d)
    expected = by_eigenvalues(d / (n * eps2) * z.T @ z)
    assert coding_rate(torch.from_numpy(z), eps2).item() == pytest.approx(expected, rel=1e-9)
    assert coding_rate(torch.from_numpy(z), eps2, half=True).item() == pytest.approx(expected / 2, rel=1e-9)


@pytest.mark.parametrize("room", [1, 100, 2**23])
@pytest.mark.parametrize(("n", "d", "k"), [(6, 3, 6), (4, 8, 3), (9, 2, 1)])
def test_rate_of_parts_is_the_papers(monkeypatch, n: int, d: int, k: int, room: int) -> None:
    monkeypatch.setattr(module, "_ROOM", room)
    z, gamma, weights = unit(n, d), shares(k, n), np.random.default_rng(1).random(k)
    parts = [by_eigenvalues(d / 0.2 * z.T @ np.diag(gamma[j]) @ z) for j in range(k)]
    tensors = torch.from_numpy(z), torch.from_numpy(gamma)
    assert rate_of_parts(*tensors, 0.2).item() == pytest.approx(sum(parts) / n, rel=1e-9)
    weighted = rate_of_parts(*tensors, 0.2, torch.from_numpy(weights), half=True)
    assert weighted.item() == pytest.approx(weights @ parts / n / 2, rel=1e-9)


def test_clusters_by_weights_are_maximal_rate_reduction() -> None:
    """sum_j n_j / 2n log det(I + d / (n_j eps^2) Z_j^T Z_j), cluster by cluster."""
    z, labels = unit(12, 3), np.arange(12) % 3 % 2
    member = np.stack([labels == j for j in range(2)]).astype(float)
    sizes = member.sum(1)
    expected = sum(
        sizes[j] / 24 * by_eigenvalues(3 / (sizes[j] * 0.1) * z[labels == j].T @ z[labels == j]) for j in range(2)
    )
    gamma, weights = torch.from_numpy(member / sizes[:, None]), torch.from_numpy(sizes)
    assert rate_of_parts(torch.from_numpy(z), gamma, 0.1, weights, half=True).item() == pytest.approx(expected)


def test_one_part_of_all_rows_leaves_nothing_to_gain() -> None:
    z = torch.from_numpy(unit(10, 4))
    uniform = torch.full((10, 10), 0.1, dtype=torch.float64)
    torch.testing.assert_close(rate_of_parts(z, uniform, 0.3), coding_rate(z, 0.3))
    right = torch.eye(10, dtype=torch.float64)
    assert rate_of_parts(z, right, 0.3).item() == pytest.approx(math.log(1 + 4 / 0.3))  # every row its own part


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 10), d=st.integers(1, 6))
def test_parts_never_need_more_than_the_whole(seed: int, n: int, d: int) -> None:
    z = torch.from_numpy(unit(n, d, seed))
    plan = torch.from_numpy(shares(n, n, seed))
    for _ in range(200):  # doubly stochastic: the average of the parts is the whole
        plan = plan / plan.sum(0)
        plan = plan / plan.sum(1, keepdim=True)
    assert rate_of_parts(z, plan, 0.2) <= coding_rate(z, 0.2) + 1e-6
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(d, d))))[0]
    torch.testing.assert_close(coding_rate(z @ turn, 0.2), coding_rate(z, 0.2))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(rate_of_parts(z[order], plan[order][:, order], 0.2), rate_of_parts(z, plan, 0.2))


def test_gradients(monkeypatch) -> None:
    monkeypatch.setattr(module, "_ROOM", 20)
    z, gamma = torch.from_numpy(unit(5, 3)).requires_grad_(), torch.from_numpy(shares(4, 5)).requires_grad_()
    wide = torch.from_numpy(unit(3, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: coding_rate(x, 0.2), z)
    assert torch.autograd.gradcheck(lambda x: coding_rate(x, 0.2), wide)
    assert torch.autograd.gradcheck(lambda x, g: rate_of_parts(x, g, 0.2), (z, gamma))


def test_single_precision_loses_nothing_inside() -> None:
    z = torch.from_numpy(unit(64, 3) @ np.random.default_rng(1).normal(size=(3, 8))).float()  # of rank 3
    gamma = torch.from_numpy(shares(64, 64)).float()
    whole, parts = coding_rate(z, 1e-6), rate_of_parts(z, gamma, 1e-6)
    assert whole.dtype == parts.dtype == torch.float32
    torch.testing.assert_close(whole, coding_rate(z.double(), 1e-6).float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(parts, rate_of_parts(z.double(), gamma.double(), 1e-6).float(), rtol=1e-7, atol=0)


def test_what_overflowed_is_not_a_number_rather_than_an_error() -> None:
    z = torch.full((3, 2), torch.nan)
    assert coding_rate(z, 0.1).isnan()
    assert rate_of_parts(z, torch.eye(3), 0.1).isnan()


def test_half_precision(same_in_half) -> None:
    z = torch.from_numpy(unit(16, 8)).float()
    same_in_half(lambda x: coding_rate(x, 0.05), z)
    same_in_half(lambda x, g: rate_of_parts(x, g, 0.05), z, torch.from_numpy(shares(16, 16)).float())
