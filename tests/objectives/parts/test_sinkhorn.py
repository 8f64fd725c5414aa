from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.sinkhorn import sinkhorn


def scores(count: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, k)))


def oracle(s: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Prototypes by samples, outside logarithms: total mass 1, then rows to 1/K and columns to 1/B in turn."""
    count, k = s.shape
    q = [[math.exp(s[b, j] / epsilon) for b in range(count)] for j in range(k)]
    mass = sum(sum(row) for row in q)
    q = [[value / mass for value in row] for row in q]
    for _ in range(iterations):
        for j in range(k):
            total = sum(q[j])
            q[j] = [value / total / k for value in q[j]]
        for b in range(count):
            total = sum(q[j][b] for j in range(k))
            for j in range(k):
                q[j][b] /= total * count
    return np.array([[count * q[j][b] for j in range(k)] for b in range(count)])


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize(("count", "k"), [(1, 3), (8, 3), (5, 9)])
def test_codes_are_the_plain_algorithms(count: int, k: int, iterations: int) -> None:
    s = scores(count, k)
    np.testing.assert_allclose(sinkhorn(s, 0.05, iterations), oracle(s.numpy(), 0.05, iterations), rtol=1e-6)


def test_a_higher_score_draws_more_mass() -> None:
    own = torch.eye(4, dtype=torch.float64).roll(1, 0)
    assert torch.equal(sinkhorn(own, 0.05, 3).argmax(1), own.argmax(1))
    s = scores(1, 6)
    assert torch.equal(sinkhorn(s, 0.1, 0).argsort(1), s.argsort(1))


def test_marginals_after_many_iterations() -> None:
    codes = sinkhorn(scores(30, 6), 0.2, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(30, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((6,), 5.0, dtype=torch.float64))


def test_a_prototype_that_all_prefer_is_shared_out() -> None:
    s = scores(12, 4) * 0.1
    s[:, 2] += 0.8
    assert (sinkhorn(s, 0.05, 0).argmax(1) == 2).all()  # a softmax alone gives everything to it
    torch.testing.assert_close(
        sinkhorn(s, 0.05, 50).sum(0), torch.full((4,), 3.0, dtype=torch.float64), rtol=1e-3, atol=0
    )


def test_the_optimum_is_that_of_regularised_transport() -> None:
    """No plan with the same marginals has a larger value: tried along every direction that keeps them."""
    s, epsilon = scores(4, 3), 0.3
    best = sinkhorn(s, epsilon, 500)

    def value(q: torch.Tensor) -> float:
        return float((q * s).sum() - epsilon * (q * q.log()).sum())

    for b in range(3):
        for j in range(2):
            swap = torch.zeros_like(best)
            swap[b, j] = swap[b + 1, j + 1] = 1e-5
            swap[b, j + 1] = swap[b + 1, j] = -1e-5
            assert value(best + swap) < value(best)
            assert value(best - swap) < value(best)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 9), k=st.integers(1, 6), shift=st.floats(-3, 3))
def test_rows_sum_to_one_and_constants_do_not_matter(seed: int, count: int, k: int, shift: float) -> None:
    s = scores(count, k, seed)
    codes = sinkhorn(s, 0.1, 3)
    torch.testing.assert_close(codes.sum(1), torch.ones(count, dtype=torch.float64))
    torch.testing.assert_close(sinkhorn(s + shift, 0.1, 3), codes, rtol=1e-6, atol=1e-12)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(sinkhorn(s[order], 0.1, 3), codes[order])


def test_several_batches_at_once_stay_apart() -> None:
    both = torch.stack([scores(5, 3, 0), scores(5, 3, 1)])
    for together, alone in zip(sinkhorn(both, 0.1, 3), both, strict=True):
        torch.testing.assert_close(together, sinkhorn(alone, 0.1, 3))


def test_nothing_overflows_in_half_precision() -> None:
    s = torch.linspace(-1, 1, 24).view(8, 3).half()
    with torch.autocast("cpu", torch.bfloat16):
        codes = sinkhorn(s, 0.005, 3)  # exp(200) is beyond float32, let alone float16
    assert codes.dtype == torch.float32
    assert torch.isfinite(codes).all()
