from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.contrastive import pairwise


def oracle(z: np.ndarray, temperature: float) -> float:
    """Equation 1 and algorithm 1, one pair after the other; rows b and B + b are partners."""
    n = len(z)

    def sim(i: int, j: int) -> float:
        return float(np.dot(z[i], z[j]) / (np.sqrt(np.sum(z[i] ** 2)) * np.sqrt(np.sum(z[j] ** 2))))

    def pair(i: int, j: int) -> float:
        rivals = sum(math.exp(sim(i, k) / temperature) for k in range(n) if k != i)
        return -math.log(math.exp(sim(i, j) / temperature) / rivals)

    half = n // 2
    return sum(pair(b, b + half) + pair(b + half, b) for b in range(half)) / n


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize(("pairs", "width"), [(1, 3), (2, 2), (7, 5)])
def test_nt_xent_is_the_papers(pairs: int, width: int, temperature: float) -> None:
    z = np.random.default_rng(pairs).normal(size=(2 * pairs, width))
    assert pairwise(torch.from_numpy(z), temperature).item() == pytest.approx(oracle(z, temperature), rel=1e-6)


def test_nt_xent_by_hand() -> None:
    # Two pairs on orthogonal axes: the partner has similarity 1, both rivals have 0.
    z = torch.tensor([[1.0, 0], [0, 1], [3, 0], [0, 5]], dtype=torch.float64)
    assert pairwise(z, 0.5).item() == pytest.approx(math.log(math.e**2 + 2) - 2, rel=1e-12)


def test_nt_xent_gradient() -> None:
    z = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pairwise(x, 0.3), z)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), pairs=st.integers(1, 8), width=st.integers(2, 6), scale=st.floats(0.1, 10))
def test_nt_xent_sees_neither_rotation_nor_order_nor_length(seed: int, pairs: int, width: int, scale: float) -> None:
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(2 * pairs, width, dtype=torch.float64, generator=g)
    rotation = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=g))[0]
    order = torch.randperm(pairs, generator=g)
    lengths = torch.rand(2 * pairs, 1, dtype=torch.float64, generator=g) + scale
    loss = pairwise(z, 0.2)
    torch.testing.assert_close(pairwise(z @ rotation, 0.2), loss)
    torch.testing.assert_close(pairwise(z[torch.cat([order, order + pairs])], 0.2), loss)
    torch.testing.assert_close(pairwise(z.roll(pairs, 0), 0.2), loss)  # the views exchanged
    torch.testing.assert_close(pairwise(z * lengths, 0.2), loss)


def test_nt_xent_in_half_precision(same_in_half) -> None:
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    same_in_half(lambda x: pairwise(x, 0.05), z)


def test_partners_are_the_two_views_of_an_image(build, batch) -> None:
    method = build("simclr", temperature=0.1)
    method.projector = torch.nn.Identity()
    method.backbone = torch.nn.Flatten()
    given = batch()
    same = replace(given, views=(given.views[0], given.views[0]))
    other = replace(given, views=(given.views[0], given.views[0].roll(1, 0)))
    assert method.loss(same) < method.loss(other) - 1


def test_the_loss_is_the_contrast_of_its_one_pair(build, batch) -> None:
    method, given = build("simclr"), batch()
    z = method.projector(method.backbone(torch.cat(given.views)))
    ((q, k),) = method.pairs(given)
    assert q.shape == k.shape == (32, method.width)
    assert torch.equal(torch.cat([q, k]), z)
    assert torch.equal(method.loss(given), pairwise(z, method.temperature))
