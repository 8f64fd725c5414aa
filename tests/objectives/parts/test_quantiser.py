from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from objectives.parts import quantiser
from objectives.parts.quantiser import commit_loss, nearest, perplexity, straight_through, usage, used_share


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), k=st.integers(1, 12), room=st.integers(1, 60))
def test_nearest_is_the_nearest_in_any_chunks(seed: int, count: int, k: int, room: int) -> None:
    rng = np.random.default_rng(seed)
    z, codes = rng.normal(size=(count, 3)), rng.normal(size=(k, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiser, "_ROOM", room)
        found = nearest(torch.from_numpy(z), torch.from_numpy(codes))
    assert found.tolist() == cdist(z, codes).argmin(1).tolist()


def test_a_common_offset_does_not_drown_the_differences() -> None:
    rng = np.random.default_rng(0)
    z, codes = (torch.from_numpy(rng.normal(size=(n, 4))).float() + 5000 for n in (200, 10))
    assert nearest(z, codes).tolist() == cdist(z.double(), codes.double()).argmin(1).tolist()


def test_the_first_of_equal_codes() -> None:
    codes = torch.tensor([[5.0, 5], [1, 0], [1, 0], [1, 0]])
    assert nearest(torch.zeros(3, 2), codes).tolist() == [1, 1, 1]


def test_straight_through_has_the_value_of_the_code_and_the_gradient_of_the_row() -> None:
    z, zq = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    zq.requires_grad_()
    out = straight_through(z, zq)
    torch.testing.assert_close(out, zq)
    weight = torch.randn(5, 3)
    (out * weight).sum().backward()
    assert torch.equal(z.grad, weight)
    assert zq.grad is None


def test_commitment_moves_the_encoder_by_beta_and_the_codes_by_one() -> None:
    z, zq = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 3)))
    z.requires_grad_()
    zq.requires_grad_()
    loss = commit_loss(z, zq, 0.25)
    apart = (z - zq).detach().numpy()
    assert loss.item() == pytest.approx(1.25 * np.mean(apart**2), rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(z.grad, 0.25 * 2 * apart / 15)
    np.testing.assert_allclose(zq.grad, -2 * apart / 15)


def test_the_lookup_lets_the_gradient_into_the_map_of_the_codes() -> None:
    """SimVQ: a fixed table through a linear map; the code term alone must reach the map."""
    g = torch.Generator().manual_seed(0)
    table, z = torch.randn(6, 3, generator=g), torch.randn(4, 3, generator=g, requires_grad=True)
    linear = torch.nn.Linear(3, 3)
    codes = linear(table)
    zq = codes[nearest(z, codes)]
    straight_through(z, zq).sum().backward(retain_graph=True)
    assert linear.weight.grad is None
    commit_loss(z, zq, 0.25).backward()
    assert linear.weight.grad.abs().sum() > 0
    assert linear.bias.grad.abs().sum() > 0


def test_usage() -> None:
    counts = usage(torch.tensor([[0, 2], [2, 2]]), 5)
    assert counts.tolist() == [1, 0, 3, 0, 0]
    assert used_share(counts) == pytest.approx(0.4)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert perplexity(counts) == pytest.approx(math.exp(entropy))
    assert perplexity(torch.full((7,), 3)) == pytest.approx(7)
    assert perplexity(torch.tensor([0, 9, 0])) == pytest.approx(1)


def test_half_precision(same_in_half) -> None:
    z, zq = torch.randn(2, 32, 8, generator=torch.Generator().manual_seed(0))
    same_in_half(nearest, z, zq)
    same_in_half(lambda a, b: commit_loss(a, b, 0.25), z, zq)
