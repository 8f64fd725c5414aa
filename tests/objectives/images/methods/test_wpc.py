"""WPC: loss and penalty against the paper's formulas, and what must hold for the penalty to mean a slope."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.methods.wpc import WPC, Config, Critic, away, dual
from objectives.images.methods.wpc import build as build_wpc
from objectives.method import Task

TASK = Task((2, 8, 8), 64, 16, 10)
mutation = SHELVES["plugin"].load("penalty_without_graph")


class Flat(nn.Module):
    """A linear backbone, whose critic has a gradient that can be written down."""

    features = 5

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(128, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.map(images.flatten(1))


def linear(**knobs: object) -> WPC:
    """WPC on linear backbones that differ, in double precision."""
    torch.manual_seed(0)
    method = build_wpc(Config(out=16, **knobs), Flat(), TASK).double()
    nn.init.normal_(method.other.map.weight)
    assert isinstance(method, WPC)
    return method


def flat(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def oracle(method: WPC, x: np.ndarray, y: np.ndarray, place: np.ndarray) -> tuple[float, list[float]]:
    """The contrastive term and the slope at each pair, for f(x, y) = (A U x) . (B V y)."""
    a = flat(method.critic.x.weight) @ flat(method.backbone.map.weight)
    b = flat(method.critic.y.weight) @ flat(method.other.map.weight)
    count, contrast, slopes = len(x), 0.0, []
    for i in range(count):
        row = [math.exp((a @ x[i]) @ (b @ y[j])) for j in range(count)]
        contrast -= math.log(row[i] / sum(row))
        between = (1 - place[i]) * y[i] + place[i] * y[i - 1]
        of_y = 0.0 if method.config.inputs == "one" else sum((b.T @ (a @ x[i])) ** 2)
        slopes.append(math.sqrt(sum((a.T @ (b @ between)) ** 2) + of_y))
    return contrast / count, slopes


@pytest.mark.parametrize("side", ["two", "one"])
@pytest.mark.parametrize("inputs", ["both", "one"])
def test_the_loss_is_the_papers(side: str, inputs: str, batch) -> None:
    method = linear(side=side, inputs=inputs, penalty=3.0)
    rows = batch(count=6)
    scale = torch.linspace(0.01, 0.15, 6, dtype=torch.float64).view(-1, 1, 1, 1)
    x, y = (scale * view.double() for view in rows.views)
    found = method.loss(replace(rows, views=(x, y), generator=torch.Generator().manual_seed(5)))
    place = torch.rand(6, generator=torch.Generator().manual_seed(5)).double().numpy()
    contrast, slopes = oracle(method, x.flatten(1).numpy(), y.flatten(1).numpy(), place)
    assert min(slopes) < 0.9 < 1.1 < max(slopes)  # so that the sides differ
    excess = [max(slope - 1, 0) if side == "one" else slope - 1 for slope in slopes]
    assert found["scores"].item() == pytest.approx(contrast, rel=1e-9)
    assert found["penalty"].item() == pytest.approx(3 * np.mean(np.square(excess)), rel=1e-9)


def test_the_pure_dual_is_a_difference_of_means() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    pairs = [matrix[i, i] for i in range(5)]
    others = [matrix[i, j] for i in range(5) for j in range(5) if i != j]
    expected = np.mean(others) - np.mean(pairs)
    assert dual(torch.from_numpy(matrix)).item() == pytest.approx(expected, rel=1e-12)


def test_the_dual_in_half_precision(same_in_half) -> None:
    same_in_half(dual, torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(["separable", "bilinear", "mlp"]), count=st.integers(1, 6), seed=st.integers(0, 99))
def test_all_scores_are_the_scores_of_all_pairs(kind: str, count: int, seed: int) -> None:
    torch.manual_seed(seed)
    critic = Critic(kind, 7, 4, clipped=False).double()
    x, y = torch.randn(2, count, 7, dtype=torch.float64)
    one_by_one = [[critic(x[i : i + 1], y[j : j + 1]).item() for j in range(count)] for i in range(count)]
    torch.testing.assert_close(critic.every(x, y), torch.tensor(one_by_one, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["separable", "bilinear", "mlp"])
def test_clipped_maps_lengthen_nothing_and_small_ones_stay(kind: str) -> None:
    critic = Critic(kind, 6, 8, clipped=True)
    for layer in (part for part in critic.modules() if isinstance(part, nn.Linear)):
        for scale in (100.0, 1e-3):
            given_ = scale * torch.randn(layer.weight.shape)
            layer.parametrizations.weight.original.data = given_
            largest = np.linalg.svd(given_.numpy(), compute_uv=False)[0]
            torch.testing.assert_close(layer.weight, given_ / max(1.0, float(largest)))


@pytest.mark.parametrize("towards", ["shuffled_y", "shuffled_pair"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_what_pairs_are_held_against_does_not_belong_together(towards: str, count: int) -> None:
    rows = torch.arange(count)
    x, y = away(rows, rows, towards, torch.Generator())
    assert not torch.any(x == y)
    assert sorted(x.tolist()) == sorted(y.tolist()) == rows.tolist()


def test_the_penalty_does_not_shrink_with_the_batch(batch) -> None:
    method, rows = linear(inputs="one"), batch(count=4)
    x, y = (view.double() for view in rows.views)
    y = y[:1].expand(4, -1, -1, -1)  # one partner for all: no interpolation moves it, so the slope in x is the same
    four = method.penalty(x, y, torch.Generator())
    two = method.penalty(x[:2], y[:2], torch.Generator())
    slope = np.linalg.norm(
        flat(method.backbone.map.weight).T
        @ flat(method.critic.x.weight).T
        @ flat(method.critic.y.weight)
        @ flat(method.other.map.weight)
        @ y[0].flatten().numpy()
    )
    assert four.item() == pytest.approx((slope - 1) ** 2, rel=1e-9)
    assert four.item() == pytest.approx(two.item(), rel=1e-9)


@pytest.mark.parametrize("inputs", ["both", "one", "features"])
@pytest.mark.parametrize("towards", ["shuffled_y", "shuffled_pair", "noise"])
@pytest.mark.parametrize("critic", ["separable", "bilinear", "mlp"])
def test_every_penalty_trains_the_critic(inputs: str, towards: str, critic: str, build, batch) -> None:
    method = build("wpc", inputs=inputs, towards=towards, critic=critic)
    rows = batch()
    method.loss(rows)["penalty"].backward()
    assert method.critic.x.weight.grad.abs().sum() > 0
    trained = next(method.backbone.parameters()).grad
    assert (trained is None) == (inputs == "features")  # between features the backbone has no part


@pytest.mark.parametrize("estimator", ["wpc_gp", "wpc_sn", "cpc", "dual"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_estimator_trains_both_backbones(estimator: str, symmetric: bool, build, batch, total) -> None:
    method = build("wpc", estimator=estimator, symmetric=symmetric)
    parts = method.loss(batch())
    assert ("penalty" in parts) == (estimator in ("wpc_gp", "dual"))
    total(parts).backward()
    for network in (method.backbone, method.other):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_batch_norms_neither_mix_rows_nor_learn_in_the_penalty(build, batch) -> None:
    method, rows = build("wpc", inputs="both"), batch(count=8)
    x, y = rows.views
    before = copy.deepcopy(method.state_dict())
    y = y[:1].expand(8, -1, -1, -1)
    whole = method.penalty(x, y, torch.Generator())
    each = [method.penalty(x[i : i + 1], y[:1], torch.Generator()) for i in range(8)]
    torch.testing.assert_close(whole, torch.stack(each).mean())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(module.training for module in method.modules())


def test_the_slope_is_that_of_pairs_of_different_images() -> None:
    method = linear().eval()
    images = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    a = flat(method.critic.x.weight) @ flat(method.backbone.map.weight)
    b = flat(method.critic.y.weight) @ flat(method.other.map.weight)
    x = images.flatten(1).numpy()
    slopes = [math.hypot(np.linalg.norm(a.T @ b @ x[i - 1]), np.linalg.norm(b.T @ a @ x[i])) for i in range(3)]
    with torch.no_grad():
        found = method.measure([images])
    assert found == {"critic_slope": pytest.approx(np.mean(slopes), rel=1e-9)}


def test_a_penalty_holds_the_slope(build, batch, train) -> None:
    slopes = {}
    for estimator in ("wpc_gp", "cpc"):
        method = build("wpc", estimator=estimator, out=16)
        optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
        train(method, optimizer, [batch(seed=s) for s in range(60)])
        with torch.no_grad():
            slopes[estimator] = method.eval().measure([batch(seed=99).images])["critic_slope"]
    assert slopes["wpc_gp"] < 0.5 * slopes["cpc"]
    assert 0.5 < slopes["wpc_gp"] < 2


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch needs two images"):
        build_wpc(Config(), Flat(), replace(TASK, batch=1))


def test_without_its_graph_the_penalty_is_shown_and_trains_nothing(build, batch, total, task) -> None:
    right, wrong, plain = build("wpc"), build("wpc"), build("wpc", estimator="cpc")
    wrong = mutation.build(mutation.config())(wrong, task())
    losses = [method.loss(batch()) for method in (right, wrong, plain)]
    assert losses[0]["penalty"].item() == losses[1]["penalty"].item() > 0
    for loss in losses:
        total(loss).backward()
    gradients = [next(method.backbone.parameters()).grad for method in (right, wrong, plain)]
    assert torch.equal(gradients[1], gradients[2])
    assert not torch.allclose(gradients[0], gradients[2])
