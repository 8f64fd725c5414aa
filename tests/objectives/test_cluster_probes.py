"""Clusters, ranks and pairs against brute force, scikit-learn and singular values."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from objectives.cluster_probes import METRICS, agreement, purity, rank, rank_within


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_agreement_is_that_of_the_best_of_all_matchings(classes: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 40)
    clusters = np.where(rng.random(40) < 0.5, labels % groups, rng.integers(0, groups, 40))
    size = max(classes, groups)
    best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(size)))
    found = agreement(labels, clusters)
    assert found["cluster_accuracy"] == pytest.approx(best)
    assert found["cluster_nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters))


def test_names_of_clusters_do_not_matter_and_unknown_labels_do_not_count() -> None:
    labels = np.array([0, 0, 5, 5, -1, -1, 9, 9])
    found = agreement(labels, np.array([7, 7, -3, -3, 7, 2, 100, 100]))
    assert found == pytest.approx({"cluster_accuracy": 1, "cluster_nmi": 1})
    assert agreement(labels, np.array([1, 1, 1, 1, 1, 1, 2, 3]))["cluster_accuracy"] == pytest.approx(0.5)
    assert agreement(np.full(8, -1), labels) == {}


def subspaces(dims: list[int], rows: int = 60, dim: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes in orthogonal subspaces, of as many dimensions as `dims` says, evenly filled."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    parts, start = [], 0
    for size in dims:
        parts.append(rng.standard_normal((rows, size)) @ basis[start : start + size])
        start += size
    return np.concatenate(parts), np.repeat(np.arange(len(dims)), rows)


def test_classes_in_orthogonal_subspaces() -> None:
    found = rank_within(*subspaces([1, 2, 4]))
    assert found["class_rank"] == pytest.approx((1 + 2 + 4) / 3)
    assert found["rank"] == 7
    assert found["between_cosine"] == pytest.approx(0, abs=1e-6)
    assert found["within_cosine"] > 0.4


@pytest.mark.parametrize(("n", "dim"), [(90, 20), (20, 90)])
def test_ranks_and_cosines_are_those_of_a_loop(n: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, dim)) * np.geomspace(0.05, 1, dim) * rng.uniform(0.1, 10, (n, 1))
    labels = np.where(rng.random(n) < 0.2, -1, rng.integers(0, 3, n))

    def exact(rows: np.ndarray) -> int:
        energy = np.linalg.svd(rows, compute_uv=False) ** 2
        return next(r for r in range(1, len(energy) + 1) if energy[:r].sum() >= 0.95 * energy.sum())

    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j and min(labels[i], labels[j]) >= 0]
    within = np.mean([abs(z[i] @ z[j]) for i, j in pairs if labels[i] == labels[j]])
    between = np.mean([abs(z[i] @ z[j]) for i, j in pairs if labels[i] != labels[j]])
    found = rank_within(x, labels)
    assert found["rank"] == exact(z)
    assert found["class_rank"] == pytest.approx(np.mean([exact(z[labels == c]) for c in range(3)]))
    assert found["within_cosine"] == pytest.approx(within, rel=1e-4)
    assert found["between_cosine"] == pytest.approx(between, rel=1e-4)
    assert set(found) | {"cluster_accuracy", "cluster_nmi"} == set(METRICS)


def test_a_rank_holds_its_energy_and_no_more() -> None:
    assert rank(np.diag([np.sqrt(0.95), np.sqrt(0.05)])) == 1
    assert rank(np.diag([np.sqrt(0.94), np.sqrt(0.06)])) == 2
    assert rank(np.ones((5, 3))) == 1
    assert rank(np.zeros((5, 3))) == 0


def test_what_no_label_or_pair_is_there_for_is_left_out() -> None:
    x, labels = subspaces([1, 2])
    assert rank_within(x, np.full_like(labels, -1)) == {"rank": 3}
    assert set(rank_within(x, np.zeros_like(labels))) == {"rank", "class_rank", "within_cosine"}
    assert set(rank_within(x, np.arange(len(x)))) == {"rank", "class_rank", "between_cosine"}
    assert rank_within(np.zeros_like(x), labels)["rank"] == 0
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        rank_within(x, labels)


def test_purity_is_of_pairs_that_are_known() -> None:
    labels = np.array([0, 0, 1, 1, -1])
    assert purity(np.array([[0, 1], [2, 3], [0, 2], [1, 4], [4, 4]]), labels) == pytest.approx(2 / 3)
    assert purity(np.array([[0, 4], [4, 4]]), labels) is None
    assert purity(np.zeros((0, 2), int), labels) is None
