from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.images.methods.vicreg import covariance_loss, invariance_loss, variance_loss


def invariance(a: np.ndarray, b: np.ndarray) -> float:
    n, d = a.shape
    return sum((a[i, j] - b[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)


def variance(z: np.ndarray) -> float:
    """Equations 1 and 2."""
    n, d = z.shape
    total = 0.0
    for j in range(d):
        mean = sum(z[:, j]) / n
        spread = sum((z[i, j] - mean) ** 2 for i in range(n)) / (n - 1)
        total += max(0.0, 1 - math.sqrt(spread + 1e-4))
    return total / d


def covariance(z: np.ndarray) -> float:
    """Equations 3 and 4."""
    n, d = z.shape
    mean = sum(z) / n
    matrix = sum(np.outer(row - mean, row - mean) for row in z) / (n - 1)
    return sum(matrix[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("count", "width"), [(2, 1), (3, 5), (9, 4)])
def test_the_three_losses_are_the_papers(count: int, width: int, scale: float) -> None:
    a, b = scale * np.random.default_rng(count).normal(size=(2, count, width)) + 2
    one, two = torch.from_numpy(a), torch.from_numpy(b)
    assert invariance_loss(one, two).item() == pytest.approx(invariance(a, b), rel=1e-6)
    assert variance_loss(one).item() == pytest.approx(variance(a), rel=1e-6)
    assert covariance_loss(one).item() == pytest.approx(covariance(a), rel=1e-6)


def test_the_losses_by_hand() -> None:
    collapsed = torch.ones(4, 3, dtype=torch.float64)
    assert variance_loss(collapsed).item() == pytest.approx(1 - 0.01)  # sqrt(0 + 0.0001) = 0.01
    assert covariance_loss(collapsed).item() == 0
    spread = torch.tensor([[2.0, 1], [-2, 1], [2, -1], [-2, -1]], dtype=torch.float64)  # uncorrelated
    assert variance_loss(spread).item() == 0  # deviations 2.3 and 1.2 are beyond the hinge
    assert covariance_loss(spread).item() == 0
    twice = torch.tensor([[1.0, 1], [-1, -1]], dtype=torch.float64)  # one feature said twice: covariance 2
    assert covariance_loss(twice).item() == pytest.approx((2**2 + 2**2) / 2)
    assert invariance_loss(twice, -twice).item() == pytest.approx(4)


def test_gradients() -> None:
    g = torch.Generator().manual_seed(0)
    one, two = (0.5 * torch.randn(5, 3, dtype=torch.float64, generator=g) for _ in range(2))
    assert torch.autograd.gradcheck(invariance_loss, (one.requires_grad_(), two.requires_grad_()))
    assert torch.autograd.gradcheck(variance_loss, one)
    assert torch.autograd.gradcheck(covariance_loss, one)


def test_collapsed_features_are_pushed_apart_by_a_finite_gradient() -> None:
    z = (1e-6 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    variance_loss(z).backward()
    assert torch.isfinite(z.grad).all()
    assert (z.detach() - z.grad).std() > z.detach().std()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), shift=st.floats(-5, 5))
def test_invariances(seed: int, shift: float) -> None:
    g = torch.Generator().manual_seed(seed)
    z, order = torch.randn(6, 4, dtype=torch.float64, generator=g), torch.randperm(6, generator=g)
    for loss in (variance_loss, covariance_loss):
        torch.testing.assert_close(loss(z + shift), loss(z))
        torch.testing.assert_close(loss(z[order]), loss(z))
        torch.testing.assert_close(loss(-z), loss(z))
    torch.testing.assert_close(invariance_loss(z + shift, z), torch.tensor(shift**2, dtype=torch.float64))


def test_half_precision(same_in_half) -> None:
    one, two = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    same_in_half(invariance_loss, one, two)
    same_in_half(variance_loss, 0.5 * one)
    same_in_half(covariance_loss, one)


def test_the_parts_are_weighted_sums_over_both_views(build, batch) -> None:
    method = build("vicreg", invariance=2.0, variance=3.0, covariance=5.0)
    method.backbone, method.expander = torch.nn.Flatten(), torch.nn.Identity()
    given = batch(count=6)
    a, b = (0.5 * view.flatten(1).double() for view in given.views)
    parts = method.loss(replace(given, views=(a, b)))
    a, b = a.numpy(), b.numpy()
    assert parts["invariance"].item() == pytest.approx(2 * invariance(a, b), rel=1e-6)
    assert parts["variance"].item() == pytest.approx(3 * (variance(a) + variance(b)), rel=1e-6)
    assert parts["covariance"].item() == pytest.approx(5 * (covariance(a) + covariance(b)), rel=1e-6)
