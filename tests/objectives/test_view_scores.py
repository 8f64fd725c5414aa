"""Scores from augmented views, against the papers' formulas written out once more in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy.stats import ortho_group

from objectives.label_free import alpha_req
from objectives.view_scores import SHRINKAGE, alignment, combined, consistency, lidar, rotation_accuracy

steady = settings(deadline=None, derandomize=True, max_examples=25)


def seen(seed: int, images: int = 20, count: int = 3, size: int = 5, noise: float = 0.5) -> np.ndarray:
    """Views of images: a place of their own, and noise around it."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(images, size)) + noise * rng.normal(size=(count, images, size))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@steady
@given(st.integers(0, 999))
def test_lidar_is_the_effective_rank_of_the_discriminant(seed: int) -> None:
    views = seen(seed)
    count, images, size = views.shape
    means = views.mean(axis=0)
    between = sum(np.outer(m - means.mean(axis=0), m - means.mean(axis=0)) for m in means) / (images - 1)
    within = sum(
        np.outer(views[v, i] - means[i], views[v, i] - means[i]) for v in range(count) for i in range(images)
    ) / (images * (count - 1))
    within = within + SHRINKAGE * np.trace(between + within) / size * np.eye(size)
    root = linalg.inv(linalg.sqrtm(within))
    values = linalg.eigvalsh(root @ between @ root)
    share = values / values.sum()
    assert lidar(views) == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-8)


@steady
@given(st.integers(0, 999))
def test_alignment_is_the_mean_square_distance_of_pairs_on_the_sphere(seed: int) -> None:
    views = seen(seed)
    count, images, _ = views.shape
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    pairs = [(v, w) for v in range(count) for w in range(v)]
    wanted = np.mean([np.sum((unit[v, i] - unit[w, i]) ** 2) for v, w in pairs for i in range(images)])
    assert alignment(views) == pytest.approx(wanted, rel=1e-10)


@steady
@given(st.integers(0, 999))
def test_consistency_asks_each_view_for_its_nearest(seed: int) -> None:
    views = seen(seed)
    count, images, _ = views.shape
    places = [(v, i) for v in range(count) for i in range(images)]
    right = 0
    for here in places:
        nearest = max((p for p in places if p != here), key=lambda p: cosine(views[here], views[p]))
        right += nearest[1] == here[1]
    assert consistency(views) == pytest.approx(right / len(places))


def test_views_that_are_alike_and_images_that_are_not_score_best() -> None:
    views = seen(0, noise=1e-4)
    assert consistency(views) == 1
    assert alignment(views) < 1e-6
    assert lidar(views) > 4
    same = np.ones((3, 20, 5))
    assert (consistency(same), lidar(same), alignment(same)) == (0, 0, pytest.approx(0))


@steady
@given(st.integers(0, 999), st.floats(1e-3, 1e3))
def test_neither_scale_nor_a_turn_of_the_axes_matters(seed: int, scale: float) -> None:
    views = seen(seed)
    turned = scale * views @ ortho_group.rvs(5, random_state=seed)
    for score in (lidar, alignment, consistency):
        assert score(turned) == pytest.approx(score(views), rel=1e-6, abs=1e-9)
    features = views.reshape(-1, 5)
    assert alpha_req(turned.reshape(-1, 5)) == pytest.approx(alpha_req(features), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.7])
def test_alpha_is_the_decay_of_the_spectrum(alpha: float) -> None:
    rng = np.random.default_rng(0)
    size, rows = 24, 200
    left = np.linalg.qr(np.column_stack([np.ones(rows), rng.normal(size=(rows, size))]))[0][:, 1:]  # centred columns
    spectrum = np.arange(1, size + 1.0) ** (-alpha / 2)
    features = left * spectrum @ ortho_group.rvs(size, random_state=1)
    assert alpha_req(features) == pytest.approx(-abs(alpha - 1), abs=1e-6)


def test_spectra_of_next_to_nothing_are_worst() -> None:
    assert alpha_req(np.ones((9, 4))) == alpha_req(np.outer(np.arange(9.0), [1, 2, 3])) == -10


def test_turns_are_told_where_features_show_them_and_only_there() -> None:
    rng = np.random.default_rng(0)
    places, turns = rng.normal(size=(60, 6)), 3 * rng.normal(size=(4, 6))
    assert rotation_accuracy(turns[:, None] + places) > 0.9
    assert 0.1 < rotation_accuracy(np.stack([places] * 4) + 0.01 * rng.normal(size=(4, 60, 6))) < 0.45


def test_turns_are_told_of_images_sorted_by_class_as_well() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.eye(2), 30, axis=0)  # each class turns along axes of its own
    turns = np.einsum("nk,kqd->qnd", classes, 3 * rng.normal(size=(2, 4, 12)))
    assert rotation_accuracy(turns + 0.1 * rng.normal(size=turns.shape)) > 0.9


def test_the_combined_score_prefers_each_good_sign() -> None:
    fair = {
        "rankme": 10.0, "uniformity": -2.0, "alpha_req": -0.5, "lidar": 10.0, "alignment": 0.2, "consistency": 0.4,
        "rotation_accuracy": 0.7,
    }  # fmt: skip
    assert combined({**fair, "consistency": 0.6}) > combined(fair)
    assert np.isfinite(combined({name: value for name, value in fair.items() if name != "rotation_accuracy"}))
