from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.images.methods.barlow_twins import cross_correlation, twin_losses


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equation 2, on features with their means taken off."""
    n, d = a.shape
    a, b = a - sum(a) / n, b - sum(b) / n
    c = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            lengths = math.sqrt(sum(a[:, i] ** 2)) * math.sqrt(sum(b[:, j] ** 2))
            c[i, j] = sum(a[:, i] * b[:, j]) / lengths
    return c


def losses(c: np.ndarray) -> tuple[float, float]:
    """The two sums of equation 1, over the number of features."""
    d = len(c)
    others = sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j)
    return sum((1 - c[i, i]) ** 2 for i in range(d)) / d, others / d


def loss_of(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    invariance, redundancy = twin_losses(cross_correlation(one, two))
    return invariance + 0.1 * redundancy


@pytest.mark.parametrize(("count", "width"), [(2, 1), (4, 3), (9, 6)])
def test_the_losses_are_the_papers(count: int, width: int) -> None:
    a, b = np.random.default_rng(count).normal(size=(2, count, width)) * 3 + 1
    c = cross_correlation(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(c.numpy(), correlation(a, b), rtol=1e-6, atol=1e-12)
    found = [part.item() for part in twin_losses(c)]
    assert found == pytest.approx(losses(correlation(a, b)), rel=1e-6)


def test_the_losses_by_hand() -> None:
    white = torch.tensor([[1.0, 1], [-1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    assert [part.item() for part in twin_losses(cross_correlation(white, white))] == [0, 0]
    assert [part.item() for part in twin_losses(cross_correlation(white, -white))] == [4, 0]
    assert [part.item() for part in twin_losses(cross_correlation(white, white.flip(1)))] == [1, 1]
    same = white[:, :1].expand(4, 3)
    assert [part.item() for part in twin_losses(cross_correlation(same, same))] == [0, 2]


def test_gradient() -> None:
    one, two = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(loss_of, (one.requires_grad_(), two.requires_grad_()))


def test_a_constant_feature_gives_no_nan() -> None:
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0, 1])
    z.requires_grad_()
    loss = loss_of(z, z)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), exponent=st.floats(-2, 2), shift=st.floats(-5, 5))
def test_features_can_be_scaled_and_shifted(seed: int, exponent: float, shift: float) -> None:
    g = torch.Generator().manual_seed(seed)
    one, two = torch.randn(2, 7, 4, dtype=torch.float64, generator=g)
    scale = 10.0**exponent * (torch.rand(4, dtype=torch.float64, generator=g) + 0.5)
    torch.testing.assert_close(loss_of(one * scale + shift, two), loss_of(one, two))
    order = torch.randperm(7, generator=g)
    torch.testing.assert_close(loss_of(one[order], two[order]), loss_of(one, two))
    torch.testing.assert_close(loss_of(two, one), loss_of(one, two))


def test_half_precision(same_in_half) -> None:
    same_in_half(loss_of, *torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0)))


def test_the_parts_are_named_and_weighted(build, batch) -> None:
    method = build("barlow_twins", redundancy=0.5)
    method.backbone, method.projector = torch.nn.Flatten(), torch.nn.Identity()
    given = batch(count=6, shape=(1, 3, 2))
    expected = losses(correlation(*(view.flatten(1).double().numpy() for view in given.views)))
    parts = method.loss(given)
    assert parts["invariance"].item() == pytest.approx(expected[0], rel=1e-4)
    assert parts["redundancy"].item() == pytest.approx(0.5 * expected[1], rel=1e-4)
