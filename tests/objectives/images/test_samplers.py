"""Samplers and pools: every batch as it is promised, from the pool as it counts, the same by the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor

from objectives.images.pools import Pool, inflated, real
from objectives.images.samplers import clustered, shuffled
from objectives.images.self_report import batch_purity

DIGITS = load_digits()
PIXELS = torch.from_numpy(DIGITS.images[:600, None] / 16).float()
LABELS = DIGITS.target[:600]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nothing(images: Tensor) -> Tensor:
    raise AssertionError("this sampler asks the encoder nothing")


def plain(images: Tensor = PIXELS) -> Pool:
    return real.build(real.Config())(images, 0)


def test_shuffled_sees_each_image_at_most_once_an_epoch() -> None:
    sampler = shuffled.build(shuffled.Config())(plain(), 64, 9, 0)
    first, second = sampler.epoch(0, nothing, seeded()), sampler.epoch(1, nothing, seeded(1))
    assert first.shape == (9, 64)
    assert len(first.unique()) == 9 * 64
    assert not torch.equal(first, second)


# ── Batches across clusters ───────────────────────────────────────────────────────────────────────────────────────────


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_batch_takes_its_quota_from_one_cluster_after_the_other(data: st.DataObject) -> None:
    clusters, quota = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, clusters - 1), min_size=clusters, max_size=40)))
    there = len(labels.unique())
    batch, steps = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 5))
    found = clustered.drawn(
        labels, torch.arange(len(labels)), batch, steps, quota, seeded(data.draw(st.integers(0, 9)))
    )
    assert found.shape == (steps, batch)
    for row in labels[found]:
        runs = row[::quota]
        assert all((row[k : k + quota] == row[k]).all() for k in range(0, batch, quota))
        assert all(
            len(set(runs[k : k + there].tolist())) == len(runs[k : k + there]) for k in range(0, len(runs), there)
        )


def test_the_images_of_a_cluster_take_turns() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    found = clustered.drawn(labels, torch.arange(4), 2, 3, 1, seeded())
    assert sorted(found[labels[found] == 0].tolist()) == [0, 1, 2]


def test_replicas_are_drawn_as_often_as_they_count() -> None:
    rows = torch.tensor([0, 0, 0, 1])
    found = clustered.drawn(torch.zeros(2, dtype=torch.long), rows, 1, 4, 1, seeded())
    assert sorted(found.flatten().tolist()) == [0, 0, 0, 1]


@pytest.mark.parametrize("features", ["autoencoder", "pca", "pixels"])
@pytest.mark.parametrize("clusterer", ["kmeans", "balanced"])
def test_clustered_batches_hold_fewer_pairs_of_a_class_than_random_ones(features: str, clusterer: str) -> None:
    config = clustered.Config(features=features, clusterer=clusterer)
    sampler = clustered.build(config)(plain(), 12, 50, 0)
    met = sampler.epoch(0, nothing, seeded())
    random = shuffled.build(shuffled.Config())(plain(), 12, 50, 0).epoch(0, nothing, seeded())
    assert batch_purity(met.numpy(), LABELS) < 0.75 * batch_purity(random.numpy(), LABELS)
    again = clustered.build(config)(plain(), 12, 50, 0)
    assert torch.equal(again.epoch(0, nothing, seeded()), met)


def test_a_fixed_order_comes_again_and_a_fresh_one_does_not() -> None:
    for order, same in (("fixed", True), ("fresh", False)):
        sampler = clustered.build(clustered.Config(features="pca", order=order))(plain(), 16, 4, 0)
        generator = seeded()
        assert torch.equal(sampler.epoch(0, nothing, generator), sampler.epoch(1, nothing, generator)) is same


def test_the_encoder_is_asked_again_when_its_features_are_due() -> None:
    asked: list[int] = []
    now = 0

    def encode(images: Tensor) -> Tensor:
        asked.append(now)
        return images.flatten(1)[:, torch.randperm(64, generator=seeded(now))[:8]]

    sampler = clustered.build(clustered.Config(features="encoder", refresh=2, clusters=8))(plain(), 16, 4, 0)
    for number in range(5):
        now = number
        sampler.epoch(number, encode, seeded())
    assert asked == [0, 2, 4]
    other = clustered.build(clustered.Config(features="encoder", refresh=2, clusters=8))(plain(), 16, 4, 0)
    other.load_state_dict(sampler.state_dict())
    assert torch.equal(other.epoch(5, encode, seeded(7)), sampler.epoch(5, encode, seeded(7)))
    assert asked == [0, 2, 4]


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="700 clusters of 600 images"):
        clustered.build(clustered.Config(clusters=700))(plain(), 16, 4, 0)


# ── Inflation ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("generator", ["kde", "gmm", "mixture", "vae", "diffusion"])
def test_generated_images_join_replicated_real_ones(generator: str) -> None:
    config = inflated.Config(generated=0.5, replicas=3, generator=generator, steps=100)
    pool = inflated.build(config)(PIXELS, 5)
    assert pool.images.shape == (900, 1, 8, 8)
    assert torch.equal(pool.images[:600], PIXELS)
    assert torch.bincount(pool.rows).tolist() == [3] * 600 + [1] * 300
    assert (pool.images.amin(), pool.images.amax()) == (0, 1)
    assert torch.equal(inflated.build(config)(PIXELS, 5).images, pool.images)
    assert not torch.equal(inflated.build(config)(PIXELS, 6).images, pool.images)


@pytest.mark.parametrize("generator", ["kde", "gmm", "mixture", "vae", "diffusion"])
def test_generated_images_look_like_images(generator: str) -> None:
    config = inflated.Config(generated=0.5, generator=generator, steps=500)
    made = inflated.build(config)(PIXELS, 0).images[600:].flatten(1)
    rest = torch.from_numpy(DIGITS.images[600:1200] / 16).float().flatten(1)
    noise = PIXELS.flatten(1)[:, torch.randperm(64, generator=seeded())]  # their pixels in disorder
    away = lambda x: torch.cdist(x, rest).amin(1).mean()  # noqa: E731
    assert away(made) < 0.6 * away(noise)
    assert (torch.cdist(made, PIXELS.flatten(1)).amin(1) < 1e-3).float().mean() < 0.02  # and are no copies


def test_bytes_stay_bytes_and_nothing_generated_is_nothing() -> None:
    stored = (PIXELS * 255).to(torch.uint8)
    assert inflated.build(inflated.Config(generated=0.1))(stored, 0).images.dtype == torch.uint8
    pool = inflated.build(inflated.Config(generated=0.0, replicas=2))(stored, 0)
    assert torch.equal(pool.images, stored)
    assert len(pool.rows) == 1200


def test_inflation_buys_no_steps() -> None:
    pool = inflated.build(inflated.Config())(PIXELS, 0)
    met = shuffled.build(shuffled.Config())(pool, 64, 9, 0).epoch(0, nothing, seeded())
    assert met.shape == (9, 64)
    assert 0.6 < np.mean(met.numpy() < 600) < 0.95  # ten replicas of each real image, two generated ones
