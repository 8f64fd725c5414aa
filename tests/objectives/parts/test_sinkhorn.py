from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from objectives.parts.sinkhorn import affinity, sinkhorn, transport


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


def least(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """The least cost of any plan with these sums, by linear programming."""
    n, m = cost.shape
    sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    return linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate([rows, columns])).fun


@pytest.mark.parametrize(("n", "m"), [(1, 4), (5, 5), (6, 3)])
def test_transport_comes_to_the_least_cost(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    cost, rows, columns = rng.random((n, m)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    plan = transport(torch.from_numpy(cost), 0.002, 5000, torch.from_numpy(rows), torch.from_numpy(columns))
    assert float((plan.numpy() * cost).sum()) == pytest.approx(least(cost, rows, columns), rel=0.01)
    uniform = transport(torch.from_numpy(cost), 0.002, 5000)
    expected = least(cost, np.full(n, 1 / n), np.full(m, 1 / m))
    assert float((uniform.numpy() * cost).sum()) == pytest.approx(expected, rel=0.01)


def test_a_lower_cost_draws_more_mass() -> None:
    cost = 1 - torch.eye(4, dtype=torch.float64).roll(1, 0)
    assert torch.equal(transport(cost, 0.05, 3).argmax(1), cost.argmin(1))
    torch.testing.assert_close(sinkhorn(-cost, 0.05, 3), 4 * transport(cost, 0.05, 3))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 7), m=st.integers(1, 7))
def test_plans_have_the_sums_that_were_asked_for(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (torch.from_numpy(rng.dirichlet(np.ones(k))) for k in (n, m))
    plan = transport(torch.from_numpy(rng.random((n, m))), 0.3, 500, rows, columns)
    torch.testing.assert_close(plan.sum(1), rows)
    torch.testing.assert_close(plan.sum(0), columns, rtol=1e-4, atol=1e-9)


def test_shares_of_zero_get_nothing() -> None:
    cost = scores(3, 3).requires_grad_()
    rows, columns = torch.tensor([0.5, 0, 0.5]), torch.tensor([0, 0.3, 0.7])
    plan = transport(cost, 0.1, 50, rows, columns)
    assert torch.equal(plan[1], torch.zeros(3, dtype=torch.float64))
    assert torch.equal(plan[:, 0], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), columns.double(), rtol=1e-5, atol=1e-7)
    (plan * cost).sum().backward()
    assert torch.isfinite(cost.grad).all()


def test_several_costs_and_sums_at_once() -> None:
    cost = torch.stack([scores(5, 3, 0), scores(5, 3, 1)])
    rows = torch.stack([scores(1, 5, seed)[0].softmax(0) for seed in (2, 3)])
    for together, alone, own in zip(transport(cost, 0.1, 20, rows), cost, rows, strict=True):
        torch.testing.assert_close(together, transport(alone, 0.1, 20, own))


def test_gradients_flow_through_every_iteration() -> None:
    cost = scores(4, 3).requires_grad_()
    rows = scores(1, 4)[0].softmax(0).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda c, r: transport(c, 0.3, 4, r), (cost, rows))
    assert torch.autograd.gradcheck(lambda s: sinkhorn(s, 0.3, 2), cost)
    assert torch.autograd.gradcheck(lambda c: affinity(c, 0.3, 5), cost)


@pytest.mark.parametrize("kernel", ["absolute", "inner", "positive"])
def test_affinity_is_the_plain_algorithms(kernel: str) -> None:
    c = np.random.default_rng(0).normal(size=(6, 3))
    unit = c / np.linalg.norm(c, axis=1, keepdims=True)
    cosines = {"absolute": np.abs, "inner": np.asarray, "positive": lambda x: np.maximum(x, 0)}[kernel](unit @ unit.T)
    np.testing.assert_allclose(affinity(torch.from_numpy(c), 0.175, 5, kernel), oracle(cosines, 0.175, 5), rtol=1e-6)


def test_affinity_is_doubly_stochastic_and_alike_rows_belong_together() -> None:
    c = torch.cat([scores(1, 8, 0) + 0.1 * scores(5, 8, 1), scores(1, 8, 2) + 0.1 * scores(5, 8, 3)])
    c[2] = -c[2]  # the other end of the same line
    ones = torch.ones(10, dtype=torch.float64)
    for symmetric in (False, True):
        gamma = affinity(c, 0.1, 200, symmetric=symmetric)
        torch.testing.assert_close(gamma.sum(1), ones, rtol=1e-6, atol=0)
        torch.testing.assert_close(gamma.sum(0), ones, rtol=1e-6, atol=0)
        assert gamma[:5, :5].min() > 5 * gamma[:5, 5:].max()
    few = affinity(c, 0.1, 1, symmetric=True)
    torch.testing.assert_close(few, few.T)
    assert affinity(c, 0.1, 200, "inner")[0, 2] < affinity(c, 0.1, 200)[0, 2] / 10


def test_affinity_in_half_precision(same_in_half) -> None:
    same_in_half(lambda c: affinity(c, 0.1, 5), scores(12, 4).float())
