from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_circles
from sklearn.metrics import adjusted_rand_score

from objectives.parts.clusterers import Centroids, agglomerative, balanced, kmeans, means, rebalance, spectral


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(k: int, each: int, seed: int = 0, width: int = 4) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(k), each)
    centres = 10 * np.eye(k, width)
    return torch.from_numpy(centres[truth] + 0.3 * rng.normal(size=(k * each, width))), truth


def inertia(x: np.ndarray, centroids: np.ndarray, labels: np.ndarray) -> float:
    return float(np.sum((x - centroids[labels]) ** 2))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 30),
    part=st.floats(0.01, 1),
    coarse=st.booleans(),
    spherical=st.booleans(),
)
def test_every_cluster_has_members_of_which_it_is_the_mean(
    seed: int, n: int, part: float, coarse: bool, spherical: bool
) -> None:
    x, k = np.random.default_rng(seed).normal(size=(n, 2)), max(math.ceil(part * n), 1)
    x = x.round() if coarse else x  # many rows alike
    centroids, labels = kmeans(torch.from_numpy(x), k, seeded(seed), iterations=5, spherical=spherical)
    sizes = torch.bincount(labels, minlength=k)
    assert sizes.sum() == n
    assert sizes.min() >= 1
    if spherical:
        x = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    for j in range(k):
        mean = x[labels.numpy() == j].mean(0)
        mean = mean / max(np.linalg.norm(mean), 1e-12) if spherical else mean
        if not spherical or np.linalg.norm(mean) > 0.5:  # opposite rows have no mean direction
            np.testing.assert_allclose(centroids[j], mean, atol=1e-9)


def test_kmeans_is_as_good_as_scikit_learns() -> None:
    x = load_digits().data / 16
    reference = KMeans(20, n_init=3, random_state=0).fit(x)
    centroids, labels = kmeans(torch.from_numpy(x).float(), 20, seeded(), 100, 3)
    assert inertia(x, centroids.numpy(), labels.numpy()) < 1.02 * reference.inertia_
    assert labels.numpy().tolist() == cdist(x, centroids.numpy()).argmin(1).tolist()  # it has come to rest


def test_seeding_finds_clusters_that_lie_apart() -> None:
    x, truth = blobs(6, 15, width=6)
    for seed in range(5):
        assert adjusted_rand_score(truth, kmeans(x, 6, seeded(seed), 1)[1]) == 1


def test_neither_offset_nor_a_repeated_call_matters() -> None:
    x, _ = blobs(4, 10)
    near, far = kmeans(x.float(), 4, seeded()), kmeans(x.float() + 1000, 4, seeded())
    assert torch.equal(near[1], far[1])
    torch.testing.assert_close(far[0] - 1000, near[0], atol=1e-2, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(near, kmeans(x.float(), 4, seeded()), strict=True))


def test_spherical_goes_by_direction_alone() -> None:
    x, truth = blobs(3, 12)
    scaled = x * torch.from_numpy(np.random.default_rng(1).uniform(0.1, 50, (36, 1)))
    centroids, labels = kmeans(scaled, 3, seeded(), restarts=3, spherical=True)
    assert adjusted_rand_score(truth, labels) == 1
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(3, dtype=torch.float64))
    assert adjusted_rand_score(truth, kmeans(scaled, 3, seeded(), restarts=3)[1]) < 0.9


@pytest.mark.parametrize("k", [0, 4])
def test_too_many_clusters_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match="3 rows cannot make"):
        kmeans(torch.zeros(3, 2), k, seeded())


def test_means_keep_what_has_no_members() -> None:
    x, old = torch.tensor([[1.0, 2], [3, 4], [7, 7]]), torch.full((3, 2), 9.0)
    assert means(x, torch.tensor([0, 0, 2]), old).tolist() == [[2, 3], [9, 9], [7, 7]]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 8), extra=st.integers(0, 40), smallest=st.integers(0, 12))
def test_rebalanced_clusters_cover_everything_and_none_is_empty(seed: int, k: int, extra: int, smallest: int) -> None:
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.normal(size=(k + extra, 3)))
    labels = torch.from_numpy(rng.integers(0, rng.integers(1, k + 1), k + extra))  # some slots empty
    given_labels = labels.clone()
    centroids = means(features, labels, torch.zeros(k, 3, dtype=torch.float64))
    new = rebalance(features, labels, centroids, smallest, seeded(seed))
    sizes = torch.bincount(new, minlength=k)
    assert len(sizes) == k
    assert sizes.sum() == k + extra
    assert sizes.min() >= 1
    assert torch.equal(labels, given_labels)


def test_a_small_cluster_joins_the_nearest_large_one_and_the_biggest_is_halved() -> None:
    x, _ = blobs(4, 10)
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 8 + [3] * 2)  # two blobs under one label; the last one torn
    x[38:] = x[20:22] + 0.1  # what is labelled 3 lies with the blob that is labelled 1
    centroids = means(x, labels, torch.zeros(4, 4, dtype=torch.float64))
    new = rebalance(x, labels, centroids, 5, seeded())
    assert new[20:30].tolist() == [1] * 10
    assert new[30:38].tolist() == [2] * 8
    assert new[38:].tolist() == [1] * 2
    assert sorted([new[:10].unique().tolist(), new[10:20].unique().tolist()]) == [[0], [3]]


def test_large_clusters_are_left_alone() -> None:
    x, truth = blobs(4, 10)
    labels = torch.from_numpy(truth)
    centroids = means(x, labels, torch.zeros(4, 4, dtype=torch.float64))
    assert torch.equal(rebalance(x, labels, centroids, 10, seeded()), labels)
    assert torch.equal(rebalance(x, labels, centroids, 1000, seeded()), labels)  # more than N // k cannot be asked


def test_centroids_follow_the_rows() -> None:
    x, truth = blobs(4, 10)
    clusters = Centroids(4, 4).double()
    labels = clusters.start(x, seeded())
    assert adjusted_rand_score(truth, labels) == 1
    assert torch.equal(clusters.assign(x), labels)
    clusters.recompute(x + 1, labels)
    torch.testing.assert_close(clusters.means, means(x + 1, labels, clusters.means))
    again = Centroids(4, 4).double()
    again.load_state_dict(clusters.state_dict())
    assert torch.equal(again.means, clusters.means)
    assert not list(clusters.parameters())


def test_assignment_is_by_inner_product_with_means_of_any_length() -> None:
    clusters = Centroids(2, 2)
    clusters.means.copy_(torch.tensor([[0.2, 0.0], [0.0, 0.9]]))
    assert clusters.assign(torch.tensor([[1.0, 0.5], [1.0, 0.1]])).tolist() == [1, 0]


def test_tidying_renews_the_centroids_that_it_touched_alone() -> None:
    x, truth = blobs(4, 10)
    clusters = Centroids(4, 4).double()
    labels = torch.from_numpy(truth).clone()
    labels[labels == 3] = 2
    clusters.recompute(x, labels)
    clusters.means[0] += 0.5
    stale = clusters.means[0].clone()
    new = clusters.tidy(x, labels, 3, seeded())
    assert adjusted_rand_score(truth, new) == 1
    torch.testing.assert_close(clusters.means[0], stale)
    torch.testing.assert_close(clusters.means[2:], means(x, new, clusters.means)[2:])


@pytest.mark.filterwarnings("error")
def test_spectral_finds_rings_where_kmeans_cannot() -> None:
    x, truth = make_circles(120, noise=0.03, factor=0.4, random_state=0)
    affinity = torch.from_numpy(np.exp(-((cdist(x, x) / 0.15) ** 2))).requires_grad_()
    labels = spectral(affinity, 2, seed=0)
    assert labels.dtype == torch.long
    assert adjusted_rand_score(truth, labels) == 1
    assert torch.equal(labels, spectral(affinity, 2, seed=0))
    assert adjusted_rand_score(truth, kmeans(torch.from_numpy(x), 2, seeded())[1]) < 0.2
    lopsided = affinity * 2 * torch.ones(120, 120).triu(1).double()  # half of each pair holds all of it
    assert adjusted_rand_score(truth, spectral(lopsided, 2, seed=0)) == 1


def test_merging_keeps_apart_what_lies_apart() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [3, 10, 40])
    x = torch.from_numpy(np.array([[0, 0], [5, 0], [0, 5]])[truth] + rng.normal(0, 0.3, (53, 2))).float()
    found = agglomerative(x.requires_grad_(), 3)
    assert adjusted_rand_score(truth, found.numpy()) == 1


def test_balanced_labels_are_those_of_the_least_distance() -> None:
    rng = np.random.default_rng(0)
    x, centroids = rng.normal(size=(24, 3)), rng.normal(size=(4, 3))
    distance = cdist(x, centroids)
    slots = linear_sum_assignment(np.repeat(distance, 6, axis=1))[1] // 6  # six rows for each, at least distance
    found = balanced(torch.from_numpy(x), torch.from_numpy(centroids), 0.005, 3000)
    assert found.tolist() == slots.tolist()


def test_balanced_labels_are_near_and_about_equally_many() -> None:
    x, truth = blobs(4, 10)
    centroids = torch.stack([x[truth == j].mean(0) for j in range(4)])
    assert balanced(x, centroids, 0.1, 10).tolist() == truth.tolist()
    crowd = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 4)))
    sizes = torch.bincount(balanced(crowd, centroids[:3] / 4 + torch.tensor([3.0, 0, 0, 0]), 0.05, 500), minlength=3)
    assert (sizes - 20).abs().max() <= 3


def test_half_precision(same_in_half) -> None:
    x = torch.randn(40, 6, generator=seeded())
    same_in_half(lambda a: kmeans(a, 5, seeded())[1], x)
    same_in_half(lambda a: kmeans(a, 5, seeded())[0], x)
    same_in_half(lambda a, c: balanced(a, c, 0.1, 10), x, x[:5])
    clusters = Centroids(5, 6)
    clusters.recompute(x, torch.arange(40) % 5)
    same_in_half(clusters.assign, x)
