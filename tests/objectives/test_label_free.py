"""Label-free scores against their papers' formulas and known cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group

from objectives.label_free import rankme, uniformity


def cloud(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * np.geomspace(0.01, 1, dim) + 0.3).astype(np.float32)


@pytest.mark.parametrize(("n", "dim"), [(200, 16), (16, 200), (50, 50)])
def test_rankme_is_equation_1(n: int, dim: int) -> None:
    x = cloud(n, dim)
    values = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    share = values / values.sum() + 1e-7
    assert rankme(x) == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 5, 12])
@pytest.mark.parametrize(("n", "dim"), [(300, 12), (12, 300)])
def test_rankme_of_equal_singular_values_is_the_rank(rank: int, n: int, dim: int) -> None:
    rng = np.random.default_rng(rank)
    left = np.linalg.qr(rng.standard_normal((n, rank)))[0]
    right = np.linalg.qr(rng.standard_normal((dim, rank)))[0]
    assert rankme(7 * left @ right.T) == pytest.approx(rank, rel=1e-6)


def test_rankme_of_collapsed_features() -> None:
    assert rankme(np.full((30, 8), 2.0)) == pytest.approx(1)
    assert rankme(np.zeros((30, 8))) == 0
    assert rankme(np.ones((1, 1))) == pytest.approx(1)


def test_rankme_does_not_centre() -> None:
    x = cloud(200, 16)
    assert rankme(x + 100) < 1.5 < rankme(x)


def test_rankme_reads_evenly_spaced_rows() -> None:
    x = cloud(1000, 8)
    assert rankme(x, rows=10) == rankme(x[np.linspace(0, 999, 10).astype(int)])


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_scores_ignore_rotation_and_scale(n: int, dim: int, scale: float, seed: int) -> None:
    x = cloud(n, dim, seed).astype(np.float64)
    turned = scale * x @ ortho_group.rvs(dim, random_state=seed)
    assert rankme(turned) == pytest.approx(rankme(x), rel=1e-5)
    assert uniformity(turned) == pytest.approx(uniformity(x), abs=1e-9)
    assert 1 - 1e-9 <= rankme(x) <= min(n, dim) + 1e-9


def test_uniformity_is_the_papers_loss() -> None:
    x = cloud(120, 7).astype(np.float64)
    on_sphere = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.log(np.mean(np.exp(-2 * pdist(on_sphere, "sqeuclidean"))))
    assert uniformity(x) == pytest.approx(expected, abs=1e-12)


def test_uniformity_of_collapsed_features_is_0() -> None:
    assert uniformity(np.full((30, 8), 2.0)) == pytest.approx(0, abs=1e-9)
    assert uniformity(np.zeros((30, 8))) == 0
    assert uniformity(np.ones((1, 8))) == 0


def test_uniformity_falls_as_features_spread() -> None:
    x = np.random.default_rng(0).standard_normal((400, 8))
    assert uniformity(x) < uniformity(x + 1) < uniformity(x + 5) < 0
