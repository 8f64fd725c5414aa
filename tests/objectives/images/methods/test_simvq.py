from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from objectives import SHELVES
from objectives.images.methods.simvq import drawn, restoration_loss
from objectives.optimizer import Optimizer, build_optimizer

SMALL = {"codes": 16, "latent": 4, "width": 8}


def places(method, images) -> np.ndarray:
    """z of images, a place a row, `(M, d)`."""
    return method.enter(method.backbone.maps(images)).permute(0, 2, 3, 1).flatten(0, 2).detach().numpy()


def own_codes(method) -> np.ndarray:
    """W(C), by the weights of one linear layer."""
    table = method.table.view(16, 4).detach().numpy()
    weight, bias = (p.detach().numpy() for p in method.projection[0].parameters())
    return table @ weight.T + bias


@pytest.mark.parametrize("error", ["mse", "l1"])
def test_loss_is_the_papers(build, batch, error) -> None:
    method = build("simvq", **SMALL, beta=0.3, commit=2.0, error=error).double().eval()
    view = batch(1, 6).views[0].double()
    found = method.loss(replace(batch(1, 6), views=(view,)))
    z, q = places(method, view), own_codes(method)
    zq = q[cdist(z, q).argmin(1)]
    restored = method.restore(torch.from_numpy(zq).unflatten(0, (6, 3, 3))).detach().numpy()
    apart = restored - view.numpy()
    assert found["pixels"].item() == pytest.approx(np.mean(apart**2 if error == "mse" else abs(apart)), rel=1e-9)
    assert found["commit"].item() == pytest.approx(2.0 * 1.3 * np.mean((z - zq) ** 2), rel=1e-9)


def test_the_code_term_alone_trains_the_projection_and_never_the_table(build, batch) -> None:
    method = build("simvq", **SMALL, beta=0.3, commit=1.0).double().eval()
    view = batch(1, 6).views[0].double()
    parts = method.loss(replace(batch(1, 6), views=(view,)))
    weight, bias = method.projection[0].parameters()
    assert torch.autograd.grad(parts["pixels"], [weight, bias], retain_graph=True, allow_unused=True) == (None, None)
    by_weight, by_bias = torch.autograd.grad(parts["commit"], [weight, bias])
    z, q = places(method, view), own_codes(method)
    taken = cdist(z, q).argmin(1)
    pull = 2 * (q[taken] - z) / z.size
    np.testing.assert_allclose(by_weight, pull.T @ method.table.view(16, 4).numpy()[taken], atol=1e-12)
    np.testing.assert_allclose(by_bias, pull.sum(0), atol=1e-12)
    assert not method.table.requires_grad


def test_the_encoder_sees_past_the_codes(build, batch) -> None:
    """The gradient that the decoder sends to the codes is what reaches the places, unchanged."""
    method, images = build("simvq", **SMALL), batch(1).images
    z, zq, _ = method.quantise(images)
    z.retain_grad()
    straight = z + (zq - z).detach()
    restoration_loss(method.restore(straight), images, "mse").backward()
    direct = zq.detach().requires_grad_()
    restoration_loss(method.restore(direct), images, "mse").backward()
    torch.testing.assert_close(z.grad, direct.grad)
    assert method.enter.weight.grad.abs().sum() > 0


def test_decoding_from_indices_goes_through_the_projection(build, batch) -> None:
    method = build("simvq", **SMALL)
    _, zq, taken = method.quantise(batch(1).images)
    assert torch.equal(method.codes()[taken], zq)
    assert not torch.allclose(method.table.view(16, 4)[taken], zq, atol=0.1)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["normal", "uniform", "orthogonal"]),
    codes=st.sampled_from([200, 1000]),
    latent=st.sampled_from([4, 16, 300]),
    scale=st.floats(0.1, 2.0),
)
def test_tables_have_one_size_whatever_their_kind(kind: str, codes: int, latent: int, scale: float) -> None:
    torch.manual_seed(0)
    table = drawn(kind, codes, latent, scale)
    assert table.shape == (codes, latent)
    assert table.square().mean().item() == pytest.approx(scale**2 / latent, rel=0.2)


def test_inverse_tables_lie_within_one_over_the_codes() -> None:
    torch.manual_seed(0)
    table = drawn("inverse", 50, 8, 1.0)
    assert 0.9 / 50 < table.abs().max() <= 1 / 50


@pytest.mark.parametrize(
    ("quantiser", "trained"),
    [
        ("simvq", {"projection.0.weight", "projection.0.bias"}),
        ("simvq_both", {"projection.0.weight", "projection.0.bias", "table"}),
        ("vq", {"table"}),
        ("frozen", set()),
        ("ema", set()),
    ],
)
def test_what_each_quantiser_trains(build, batch, total, quantiser, trained) -> None:
    method = build("simvq", quantiser=quantiser, **SMALL)
    total(method.loss(batch(1))).backward()
    codes = [(name, p) for name, p in method.named_parameters() if name.startswith(("table", "projection"))]
    assert {name for name, p in codes if p.grad is not None and p.grad.abs().sum() > 0} == trained


def test_a_trained_table_is_spared_weight_decay(build) -> None:
    method = build("simvq", quantiser="simvq_both", **SMALL)
    groups = build_optimizer(Optimizer(weight_decay=0.5), method).param_groups
    (decay,) = [g["weight_decay"] for g in groups if any(p is method.table for p in g["params"])]
    assert decay == 0


@pytest.mark.parametrize(("quantiser", "all_move"), [("simvq", True), ("vq", False)])
def test_a_projection_moves_all_codes_and_a_table_those_taken(build, batch, train, quantiser, all_move) -> None:
    method = build("simvq", quantiser=quantiser, **SMALL | {"codes": 512}, commit=5.0)
    before = method.codes().detach().clone()
    *_, taken = method.quantise(batch(1).views[0])
    train(method, torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.1), [batch(1)])
    moved = set((method.codes() != before).any(1).nonzero().flatten().tolist())
    assert len(set(taken.flatten().tolist())) < 200
    assert moved == set(range(512)) if all_move else moved <= set(taken.flatten().tolist())


def test_moving_means_follow_what_takes_the_codes(build) -> None:
    method = build("simvq", quantiser="ema", **SMALL, decay=0.9)
    table, z = method.codes().numpy().copy(), np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    taken = np.random.default_rng(1).integers(0, 5, 30)
    method.follow(torch.from_numpy(z), torch.from_numpy(taken))
    for code in range(16):
        count = 0.9 + 0.1 * (taken == code).sum()
        mean = (0.9 * table[code] + 0.1 * z[taken == code].sum(0)) / count
        np.testing.assert_allclose(method.codes()[code].numpy(), mean, rtol=1e-4, atol=1e-6)


def test_moving_means_stand_still_while_measured(build, batch) -> None:
    method = build("simvq", quantiser="ema", **SMALL).eval()
    before = method.table.clone()
    method.loss(batch(1))
    method.measure([batch(1).images])
    assert torch.equal(method.table, before)
    method.train().loss(batch(1))
    assert not torch.equal(method.table, before)


def test_measure_counts_over_the_whole_set(build, batch) -> None:
    method = build("simvq", **SMALL).eval()
    batches = [batch(1, 8, seed=s).images for s in range(3)]
    with torch.no_grad():
        found, (_, zq, taken) = method.measure(batches), method.quantise(torch.cat(batches))
        error = (method.restore(zq) - torch.cat(batches)).square().mean().item()
    shares = np.bincount(taken.flatten().numpy(), minlength=16) / taken.numel()
    assert found["code_usage"] == np.mean(shares > 0)
    assert found["code_perplexity"] == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares if p)))
    assert found["reconstruction"] == pytest.approx(error, rel=1e-5)
    with torch.no_grad():
        assert found["code_usage"] > max(method.measure([one])["code_usage"] for one in batches) - 1e-9


@pytest.mark.parametrize("mistake", [False, True])
def test_the_mistake_leaves_the_codes_where_they_were_drawn(build, batch, task, train, mistake) -> None:
    method = build("simvq", **SMALL)
    if mistake:
        component = SHELVES["plugin"].load("simvq_untrained_projection")
        assert component.needs <= SHELVES["method"].load("simvq").offers
        method = component.build(component.config())(method, task())
    before = method.codes().detach().clone()
    optimizer = torch.optim.Adam((p for p in method.parameters() if p.requires_grad), lr=5e-3)
    train(method, optimizer, [batch(1, seed=s) for s in range(4)])
    still = (method.codes() == before).all(1)
    assert still.all() if mistake else not still.any()


def test_half_precision(same_in_half) -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.randn(2, 4, 2, 5, 5, generator=g)
    same_in_half(lambda a, b: restoration_loss(a, b, "mse"), *images)
    same_in_half(lambda a, b: restoration_loss(a, b, "l1"), *images)
