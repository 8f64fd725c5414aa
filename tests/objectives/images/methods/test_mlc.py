from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from objectives.images.methods.mlc import Config, rate_reduction_loss, total_rate_loss
from objectives.images.methods.mlc import build as build_mlc
from objectives.images.mutations import mlc_unscaled_affinity


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=shape)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def log_det(matrix: np.ndarray) -> float:
    return float(np.log(np.linalg.eigvalsh(matrix)).sum())


def rate(z: np.ndarray, eps2: float) -> float:
    n, d = z.shape
    return log_det(np.eye(d) + d / (n * eps2) * z.T @ z)


def rate_of(z: np.ndarray, gamma: np.ndarray, eps2: float) -> float:
    n, d = z.shape
    return sum(log_det(np.eye(d) + d / eps2 * z.T @ np.diag(gamma[j]) @ z) for j in range(n)) / n


def balanced(scores: np.ndarray, eta: float, iterations: int) -> np.ndarray:
    kernel, n = np.exp(scores / eta), len(scores)
    u = np.ones(n)
    for _ in range(iterations):
        v = 1 / (kernel.T @ u)
        u = 1 / (kernel @ v)
    return u[:, None] * kernel * v


@pytest.mark.parametrize("views", [1, 2, 3])
def test_stage_one_is_the_papers(views: int) -> None:
    z = rows(views, 7, 4)
    found = total_rate_loss(torch.from_numpy(z), 0.4, 20.0)
    assert found["expand"].item() == pytest.approx(-rate(z.mean(0), 0.4), rel=1e-9)
    pairs = [(a, b) for a in range(views) for b in range(a)]
    cosine = np.mean([[z[a, i] @ z[b, i] for i in range(7)] for a, b in pairs]) if pairs else 1
    assert found["agree"].item() == pytest.approx(20 * (1 - cosine), rel=1e-9, abs=1e-12)


def test_stage_two_is_the_papers() -> None:
    z, gamma = rows(6, 4), np.random.default_rng(1).dirichlet(np.ones(6), 6)
    found = rate_reduction_loss(torch.from_numpy(z), torch.from_numpy(gamma), 0.3, 1.5, 0.05)
    assert found["expand"].item() == pytest.approx(-rate(z, 0.3), rel=1e-9)
    assert found["compress"].item() == pytest.approx(1.5 * rate_of(z, gamma, 0.3), rel=1e-9)
    assert found["norm"].item() == pytest.approx(0.05 * (gamma**2).sum() / 2, rel=1e-9)


def test_half_precision(same_in_half) -> None:
    z, gamma = torch.from_numpy(rows(2, 8, 4)).float(), torch.rand(8, 8).softmax(1)
    same_in_half(lambda x: sum(total_rate_loss(x, 0.5, 20.0).values()), z)
    same_in_half(lambda x, g: sum(rate_reduction_loss(x, g, 0.5, 1.0, 0.1).values()), z[0], gamma)


@pytest.mark.parametrize(
    ("kernel", "of"), [("absolute", np.abs), ("inner", lambda c: c), ("positive", lambda c: c * (c > 0))]
)
def test_a_step_of_stage_two_takes_mean_views_and_the_mean_affinity(kernel: str, of, build, batch) -> None:
    method = build("mlc", kernel=kernel, share=0.5, out=8, eta=0.3, affinity_norm=0.1).double()
    method.step.fill_(method.first)
    given = batch(2, count=12)
    given = replace(given, views=tuple(view.double() for view in given.views))
    with torch.no_grad():
        codes = method.backbone(torch.cat(given.views))
        heads = [head(codes).unflatten(0, (2, -1)).numpy() for head in (method.feature_head, method.cluster_head)]
    z, c = (h / np.linalg.norm(h, axis=2, keepdims=True) for h in heads)
    z = z.mean(0) / np.linalg.norm(z.mean(0), axis=1, keepdims=True)
    gamma = np.mean([balanced(of(view @ view.T), 0.3, 5) for view in c], axis=0)
    np.testing.assert_allclose(gamma.sum(1), 1)
    found = method.loss(given)
    assert found["expand"].item() == pytest.approx(-rate(z, 0.5), rel=1e-7)
    assert found["compress"].item() == pytest.approx(rate_of(z, gamma, 0.5), rel=1e-7)
    assert found["norm"].item() == pytest.approx(0.1 * (gamma**2).sum() / 2, rel=1e-7)


@pytest.mark.parametrize("copy", [True, False])
def test_the_feature_head_is_copied_with_its_bias_once_before_stage_two(copy: bool, build, batch, train) -> None:
    method = build("mlc", steps=4, share=0.5, copy=copy, depth=2)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)

    def same() -> bool:
        pairs = zip(method.feature_head.state_dict().values(), method.cluster_head.state_dict().values(), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)

    seen = []
    for seed in range(4):
        train(method, optimizer, [batch(2, seed=seed)])
        seen.append(same())
    assert method.first == 2
    assert seen == [False, copy, False, False]


def test_both_heads_learn_in_stage_two_and_the_cluster_head_only_then(build, batch, total) -> None:
    method = build("mlc", steps=10)
    total(method.loss(batch(2))).backward()
    assert all(p.grad is None for p in method.cluster_head.parameters())
    method.step.fill_(method.first)
    total(method.loss(batch(2))).backward()
    assert all(p.grad.abs().sum() > 0 for p in method.cluster_head.parameters())


@pytest.mark.parametrize("first", ["simclr", "mocov2", "vicreg"])
def test_other_losses_of_stage_one_train_and_lead_into_stage_two(first: str, build, batch, train) -> None:
    method = build("mlc", steps=30, share=0.1, first=first, queue=64, eps2=0.5)
    optimizer = torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)
    losses = train(method, optimizer, [batch(2, seed=s) for s in range(30)])
    assert np.mean(losses[22:27]) < 0.97 * np.mean(losses[3:8])
    assert set(method.loss(batch(2))) == {"expand", "compress", "norm"}


def test_moco_remembers_its_teachers_keys(build, batch) -> None:
    method = build("mlc", first="mocov2", queue=64)
    given = batch(2, count=8)
    method.loss(given)
    keys = method.teacher(given.views[1])
    torch.testing.assert_close(method.queue.rows[:8], torch.nn.functional.normalize(keys))
    assert int(method.queue.count) == 8


def blobs(method) -> tuple[torch.Tensor, np.ndarray]:
    """Images whose affinity falls into three groups, whatever the network: copies of three images."""
    labels = np.arange(30) % 3
    images = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(5))
    return 3 * images[labels], labels


def test_clusters_are_those_of_the_affinity(build) -> None:
    method = build("mlc", eta=0.05).eval()
    images, labels = blobs(method)
    with torch.no_grad():
        for step in (0, method.first + 1):
            method.step.fill_(step)
            found, features = method.clusters(images, 3)
            assert len(set(zip(found.tolist(), labels.tolist(), strict=True))) == 3
            assert features.shape == (30, 32)
            torch.testing.assert_close(features.norm(dim=1), torch.ones(30))


def test_the_affinity_is_that_of_features_until_stage_two_has_begun(build, batch, monkeypatch) -> None:
    method, given = build("mlc", steps=10, share=0.5).eval(), []
    affinity = method.affinity
    monkeypatch.setattr(method, "affinity", lambda rows: given.append(rows) or affinity(rows))
    with torch.no_grad():
        codes = method.backbone(batch().images)
        for step in (0, 5, 6):
            method.step.fill_(step)
            method.clusters(batch().images, 3)
        features = torch.nn.functional.normalize(method.feature_head(codes))
        for rows, expected in zip(given, (features, features, method.cluster_head(codes)), strict=True):
            torch.testing.assert_close(rows, expected)


def test_an_affinity_that_is_not_scaled_compresses_next_to_nothing(build, batch, task) -> None:
    right, wrong = build("mlc"), build("mlc")
    mlc_unscaled_affinity.build(mlc_unscaled_affinity.Config())(wrong, task())
    for method in (right, wrong):
        method.step.fill_(method.first)
    right, wrong = (method.loss(batch(2))["compress"].item() for method in (right, wrong))
    assert wrong < 0.3 * right  # of 32 images; the more there are, the less is left


def test_without_expansion_everything_would_fall_on_one_line() -> None:
    z, gamma = torch.from_numpy(rows(20, 6)), torch.full((20, 20), 1 / 20, dtype=torch.double)
    line = z[:1].expand(20, -1)
    here, there = (rate_reduction_loss(x, gamma, 0.5, 1.0, 0.0) for x in (z, line))
    assert there["compress"] < here["compress"]
    assert there["expand"] > here["expand"]


def test_what_cannot_work_is_refused(body, task) -> None:
    with pytest.raises(ValueError, match="stage 1 by simclr takes two views of an image, and 'views' is 3"):
        build_mlc(Config(first="simclr", views=3), body(), task())
    with pytest.raises(ValueError, match="an affinity needs two images a batch"):
        build_mlc(Config(), body(), task(batch=1))
