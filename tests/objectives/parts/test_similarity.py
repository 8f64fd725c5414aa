from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.similarity import partners, regression, uniformity


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def distance(p: np.ndarray, t: np.ndarray) -> float:
    return float(np.sum((p / np.sqrt(np.sum(p**2)) - t / np.sqrt(np.sum(t**2))) ** 2))


def test_regression_is_the_weighted_mean_of_squared_distances() -> None:
    p, t, w = rows(2, 3, 4), rows(2, 3, 4, seed=1), rows(2, 3, seed=2).abs()
    single = np.array([[distance(p[i, j].numpy(), t[i, j].numpy()) for j in range(3)] for i in range(2)])
    assert regression(p, t).item() == pytest.approx(single.mean(), rel=1e-9)
    assert regression(p, t, w).item() == pytest.approx(np.average(single, weights=w.numpy()), rel=1e-9)


def test_weights_may_be_booleans_and_rows_without_weight_do_not_count() -> None:
    p, t = rows(4, 3), rows(4, 3, seed=1)
    keep = torch.tensor([True, False, True, False])
    torch.testing.assert_close(regression(p, t, keep), regression(p[keep], t[keep]))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_rows_of_zeros_give_no_gradient_and_no_nan(weight: float) -> None:
    p, t = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    loss = regression(p, t, torch.full((2,), weight))
    loss.backward()
    assert loss.item() == 2 * weight
    assert torch.equal(p.grad, torch.zeros(2, 3))
    p = torch.zeros(1, 3, requires_grad=True)
    regression(p, torch.ones(1, 3), torch.zeros(1)).backward()
    assert torch.equal(p.grad, torch.zeros(1, 3))


def test_partners_are_oneself_and_the_other_view() -> None:
    found = partners(6)
    for i in range(6):
        assert found[i].nonzero().flatten().tolist() == sorted({i, (i + 3) % 6})


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_uniformity_is_the_papers(temperature: float) -> None:
    z = rows(6, 3)
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    total = 0.0
    for i in range(6):
        others = [j for j in range(6) if j not in (i, (i + 3) % 6)]
        total += sum(math.exp(float(unit[i] @ unit[j]) / temperature) for j in others) / len(others)
    assert uniformity(z, temperature, partners(6)).item() == pytest.approx(math.log(total / 6), rel=1e-9)


def test_rows_without_rivals_do_not_count() -> None:
    z, out = rows(4, 3), torch.zeros(4, 4, dtype=torch.bool)
    out[0] = True
    unit = z / z.norm(dim=1, keepdim=True)
    means = [np.mean([math.exp(float(unit[i] @ unit[j])) for j in range(4) if j != i]) for i in (1, 2, 3)]
    assert uniformity(z, 1.0, out).item() == pytest.approx(math.log(np.mean(means)), rel=1e-9)
    one = rows(2, 3).requires_grad_()
    loss = uniformity(one, 1.0, partners(2))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(one.grad, torch.zeros_like(one))


def test_spread_rows_are_more_uniform_than_bundled_ones() -> None:
    bundled = torch.ones(8, 4, dtype=torch.float64)
    assert uniformity(torch.eye(4, dtype=torch.float64), 2.0) < uniformity(bundled, 2.0)
    assert uniformity(bundled, 2.0).item() == pytest.approx(0.5)


def test_gradients() -> None:
    p, t = rows(4, 3).requires_grad_(), rows(4, 3, seed=1).requires_grad_()
    weights = torch.tensor([1.0, 0, 2, 1])
    assert torch.autograd.gradcheck(lambda a, b: regression(a, b, weights), (p, t))
    out = partners(4)
    out[0] = True
    assert torch.autograd.gradcheck(lambda a: uniformity(a, 0.7, out), p)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 8), scale=st.floats(0.1, 10))
def test_bounds_and_invariance(seed: int, count: int, scale: float) -> None:
    p, t, w = rows(count, 3, seed=seed), rows(count, 3, seed=seed + 1), rows(count, seed=seed + 2).abs()
    assert 0 <= regression(p, t, w) <= 4
    torch.testing.assert_close(regression(scale * p, t, scale * w), regression(p, t / scale, w))
    torch.testing.assert_close(uniformity(scale * p, 1.0), uniformity(p.flip(0), 1.0))
    assert -1 <= uniformity(p, 1.0) <= 1


def test_half_precision(same_in_half) -> None:
    p, t = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    same_in_half(regression, p, t)
    same_in_half(lambda a: uniformity(a, 0.1), p)
