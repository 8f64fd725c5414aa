from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.parts.gradient_penalty import gradient_norms, gradient_penalty, interpolates


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def bilinear(weight: Tensor):
    return lambda x, y: torch.einsum("bi,ij,bj->b", x, weight, y)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_penalty_of_a_bilinear_critic_in_closed_form(one_sided: bool) -> None:
    """f = x W y has the gradients W y and x W."""
    x, y, w = rows(5, 3), rows(5, 4, seed=1), 0.2 * rows(3, 4, seed=2)
    total, short = 0.0, 0
    for a, b in zip(x.numpy(), y.numpy(), strict=True):
        norm = np.sqrt(np.sum((w.numpy() @ b) ** 2) + np.sum((a @ w.numpy()) ** 2))
        short += norm < 1
        total += max(0, norm - 1) ** 2 if one_sided else (norm - 1) ** 2
    assert gradient_penalty(bilinear(w), (x, y), one_sided).item() == pytest.approx(total / 5, rel=1e-9)
    assert 0 < short < 5


def test_norms_are_those_of_single_rows() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    images = rows(6, 3, 2, 2)
    whole = gradient_norms(lambda x: net(x)[:, 0], [images])
    alone = [gradient_norms(lambda x: net(x)[:, 0], [image[None]]) for image in images]
    torch.testing.assert_close(whole, torch.cat(alone))


def test_the_penalty_trains_the_critic_through_its_gradient() -> None:
    x, y, w = rows(5, 3), rows(5, 4, seed=1), (0.4 * rows(3, 4, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: gradient_penalty(bilinear(v), (x, y)), w)
    assert not x.requires_grad
    assert gradient_norms(bilinear(w), (x, y)).requires_grad


def test_a_trained_critic_comes_to_have_gradients_of_length_one() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    points = [torch.randn(64, 4)]
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        gradient_penalty(lambda x: net(x)[:, 0], points).backward()
        optimizer.step()
    norms = gradient_norms(lambda x: net(x)[:, 0], points)
    assert ((norms - 1).abs() < 0.2).float().mean() > 0.9


def test_it_works_under_no_grad_autocast_and_where_the_gradient_is_zero() -> None:
    net = nn.Linear(3, 1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        norms = gradient_norms(lambda x: net(x)[:, 0], [torch.randn(4, 3).bfloat16()])
    torch.testing.assert_close(norms, net.weight.detach().norm().expand(4))
    flat = nn.Linear(3, 1)
    nn.init.zeros_(flat.weight)
    gradient_penalty(lambda x: flat(x)[:, 0], [torch.randn(4, 3)]).backward()
    assert torch.isfinite(flat.weight.grad).all()


def test_attention_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    project = nn.Linear(8, 8)

    def critic(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*(project(x)[:, None] for _ in range(3))).sum((1, 2, 3))

    gradient_penalty(critic, [torch.randn(4, 5, 8)]).backward()
    assert project.weight.grad.abs().sum() > 0


def test_interpolates_lie_between_each_row_at_a_place_of_its_own() -> None:
    ones, others = (rows(50, 3), rows(50, 2, 2, seed=1)), (rows(50, 3, seed=2), rows(50, 2, 2, seed=3))
    points = interpolates(ones, others, torch.Generator().manual_seed(0))
    place = (points[0] - ones[0])[:, 0] / (others[0] - ones[0])[:, 0]
    assert 0 <= place.min() < 0.1
    assert 0.9 < place.max() <= 1
    assert len(place.unique()) == 50
    for point, one, other in zip(points, ones, others, strict=True):  # the same place in both inputs
        at = place.view(-1, *(1,) * (one.dim() - 1))
        torch.testing.assert_close(point, (1 - at) * one + at * other)
    again = interpolates(ones, others, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(points, again, strict=True))
