"""Cell probes: labels of cells pixel by pixel, read-outs against scikit-learn, clusters against k-means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score

from objectives.cell_probes import METRICS, cell_labels, cells, foreground, halves, read
from objectives.features import pareto

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def scenes(n: int = 60, side: int = 8, dim: int = 6, noise: float = 0.3, seed: int = 0) -> Data:
    """Maps of one object a scene, of one of three classes, on the background; masks of twice the resolution."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, side, side), np.int16)
    for scene in truth:
        row, column = rng.integers(1, side - 4, 2)
        scene[row : row + 3, column : column + 3] = rng.integers(1, 4)
    maps = np.moveaxis(rng.standard_normal((4, dim))[truth], 3, 1) + noise * rng.standard_normal((n, dim, side, side))
    masks = truth.repeat(2, axis=1).repeat(2, axis=2)
    return maps.astype(np.float32), masks, rng.choice([0, 0, 0, 1, 2], n).astype(np.int8)


def voted(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Labels of the cells of one mask, pixel by pixel."""
    votes: dict[tuple[int, int], list[int]] = {}
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            cell = int((row + 0.5) / mask.shape[0] * height), int((column + 0.5) / mask.shape[1] * width)
            votes.setdefault(cell, []).append(int(mask[row, column]))
    found = np.full((height, width), -1)
    for cell, labels in votes.items():
        known = [label for label in labels if label != -1]
        if len(known) >= len(labels) / 2:
            found[cell] = min(set(known), key=lambda label: (-known.count(label), label))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 11), st.integers(1, 11), st.integers(1, 7), st.integers(1, 7), st.integers(0, 999))
def test_cells_take_the_label_of_most_pixels(high: int, wide: int, height: int, width: int, seed: int) -> None:
    masks = np.random.default_rng(seed).choice([-1, -1, 0, 1, 7], (2, high, wide)).astype(np.int16)
    expected = [voted(mask, height, width) for mask in masks]
    np.testing.assert_array_equal(cell_labels(masks, height, width), expected)


def test_rows_and_columns_are_not_exchanged() -> None:
    masks = np.zeros((1, 4, 6), np.int16)
    masks[0, 0:2, 4:6] = 3
    np.testing.assert_array_equal(cell_labels(masks, 2, 3), [[[0, 0, 3], [0, 0, 0]]])


@pytest.mark.parametrize(("prefix", "where"), [("", 1), ("test_", 2)])
def test_the_read_out_is_scikit_learns(prefix: str, where: int) -> None:
    maps, masks, part = scenes(noise=1.0)
    masks[np.random.default_rng(1).random(masks.shape) < 0.3] = -1
    truth = cell_labels(masks, 8, 8)
    x, y, owner = maps.transpose(0, 2, 3, 1).reshape(-1, 6), truth.ravel(), np.repeat(part, 64)
    fit, scored = ((owner == p) & (y != -1) for p in (0, where))
    z = pareto(np.concatenate([x[fit], x[scored]]), np.arange(fit.sum() + scored.sum()) < fit.sum())
    fitted = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(z[: fit.sum()], y[fit])
    given, true = fitted.predict(z[fit.sum() :]), y[scored]
    assert (y == -1).any()
    found = cells(maps, masks, part, penalty=2.0, seed=0, most=10**6)
    assert list(found) == [*METRICS, *(f"test_{name}" for name in METRICS)]
    iou = jaccard_score(true, given, average="macro", labels=np.unique(true))
    assert found[f"{prefix}cell_accuracy"] == pytest.approx(np.mean(given == true), abs=0.003)
    assert found[f"{prefix}cell_miou"] == pytest.approx(iou, abs=0.01)


def test_a_class_that_train_cells_lack_counts_as_missed() -> None:
    maps, masks, part = scenes(noise=0.01)
    truth = cell_labels(masks, 8, 8)
    without = part.copy()
    without[(truth == 3).any(axis=(1, 2)) & (part == 0)] = 1
    found = cells(maps, masks, without, 1.0, seed=0, most=10**6)
    valid = truth[without == 1]
    assert found["cell_accuracy"] == pytest.approx(np.mean(valid != 3), abs=0.01)
    assert found["cell_miou"] < 0.75


def test_cells_are_drawn_by_the_seed_alone() -> None:
    maps, masks, part = scenes(noise=1.0)
    some, same, other = (cells(maps, masks, part, 1.0, seed=s, most=200) for s in (0, 0, 1))
    assert some == same
    assert some["cell_miou"] != other["cell_miou"]
    assert some["foreground_iou"] == other["foreground_iou"]
    everything = cells(maps, masks, part, 1.0, seed=0, most=10**6)
    assert some["cell_accuracy"] == pytest.approx(everything["cell_accuracy"], abs=0.12)
    assert some["cell_accuracy"] * 200 == pytest.approx(round(some["cell_accuracy"] * 200))  # so many are scored


def test_unlabelled_cells_and_other_parts_do_not_count() -> None:
    maps, masks, part = scenes(noise=1.0)
    masks[:, :, :6] = -1
    ruined = maps.copy()
    ruined[:, :, :, :3] = 50
    ruined[part == 2] = -9
    names = ("cell_accuracy", "cell_miou")
    found, same = (cells(x, masks, part, 1.0, 0, 500) for x in (maps, ruined))
    assert {name: found[name] for name in names} == {name: same[name] for name in names}


def test_what_has_no_labels_is_not_given() -> None:
    maps, masks, part = scenes()
    assert cells(maps, np.full_like(masks, -1), part, 1.0, 0, 500) == {}
    assert list(cells(maps, masks, np.where(part == 2, 0, part), 1.0, 0, 500)) == list(METRICS)
    unfitted = np.where((part == 0)[:, None, None], -1, masks).astype(np.int16)
    assert list(cells(maps, unfitted, part, 1.0, 0, 500)) == ["foreground_iou", "test_foreground_iou"]
    spots = np.where(masks > 0, masks - 1, -1).astype(np.int16)  # classes from 0, and no background
    assert list(cells(maps, spots, part, 1.0, 0, 500))[:2] == ["cell_accuracy", "cell_miou"]
    assert "foreground_iou" not in cells(maps, spots, part, 1.0, 0, 500)


def test_each_cell_is_read_by_itself() -> None:
    maps, masks, part = scenes(noise=1.0)
    maps[np.flatnonzero(part == 1)[::2]] *= 100
    truth = cell_labels(masks, 8, 8)
    everywhere = np.indices((60, 8, 8)).reshape(3, -1)
    train, *scored = (everywhere[:, np.isin(everywhere[0], np.flatnonzero(part == p))] for p in (0, 1, 2))
    found = [read(maps, truth, train, one, 1.0)["cell_accuracy"] for one in (*scored, np.hstack(scored))]
    sizes = [one.shape[1] for one in scored]
    assert found[2] == pytest.approx(np.average(found[:2], weights=sizes))


def test_read_needs_two_classes() -> None:
    maps, masks, _ = scenes()
    everywhere = np.indices((60, 8, 8)).reshape(3, -1)
    assert read(maps, 0 * cell_labels(masks, 8, 8), everywhere, everywhere, 1.0) == {}


def exact_foreground(maps: np.ndarray, truth: np.ndarray) -> float:
    """Image by image, by scikit-learn's k-means."""
    found = []
    for features, labels in zip(maps.astype(np.float64), truth, strict=True):
        box = np.ones((3, 3))
        count = convolve(np.ones(labels.shape), box, mode="constant")
        x = np.stack([convolve(channel, box, mode="constant") / count for channel in features], axis=-1)
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
        cluster = KMeans(2, n_init=10, random_state=0).fit_predict(x.reshape(-1, x.shape[-1])).reshape(labels.shape)
        known = labels != -1
        found.append(max(jaccard_score((labels > 0)[known], (cluster == one)[known]) for one in range(2)))
    return float(np.mean(found))


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_foreground_is_that_of_k_means(noise: float) -> None:
    maps, masks, _ = scenes(noise=noise)
    truth = cell_labels(masks, 8, 8)
    truth[:, 0] = -1
    assert foreground(maps, truth)["foreground_iou"] == pytest.approx(exact_foreground(maps, truth), abs=0.01)


def test_foreground_counts_images_with_objects_background_and_labels() -> None:
    maps, masks, _ = scenes(n=8)
    truth = cell_labels(masks, 8, 8)
    spoilt = truth.copy()
    spoilt[1] = 0
    spoilt[2] = 2
    spoilt[3, :5] = -1
    others = [0, 4, 5, 6, 7]
    assert foreground(maps, spoilt) == pytest.approx(foreground(maps[others], truth[others]))
    assert foreground(maps[1:4], spoilt[1:4]) == {}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 999))
def test_halves_end_where_no_step_improves(points: int, dim: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((3, points, dim)).astype(np.float32)
    for problem, half in zip(x.astype(np.float64), halves(x), strict=True):
        assert half.any()
        assert not half.all()
        centres = problem[half].mean(axis=0), problem[~half].mean(axis=0)
        near, far = (np.sum((problem - centre) ** 2, axis=1) for centre in centres)
        np.testing.assert_array_less((near - far)[half], 1e-4)
        np.testing.assert_array_less((far - near)[~half], 1e-4)


def test_halves_are_about_as_tight_as_the_best_of_many_restarts() -> None:
    x = np.random.default_rng(0).standard_normal((30, 60, 5)).astype(np.float32)
    ratios = []
    for problem, half in zip(x, halves(x), strict=True):
        inertia = sum(np.sum((problem[one] - problem[one].mean(axis=0)) ** 2) for one in (half, ~half))
        ratios.append(inertia / KMeans(2, n_init=20, random_state=0).fit(problem).inertia_)
    assert np.mean(ratios) < 1.01


@pytest.mark.filterwarnings("error")
def test_collapsed_maps_score_as_nothing_known() -> None:
    maps, masks, part = scenes()
    for value in (0.0, 2.5):
        found = cells(np.full_like(maps, value), masks, part, 1.0, 0, 10**6)
        share = np.mean(masks[part == 1] > 0)
        assert found["cell_accuracy"] == pytest.approx(1 - share)
        assert found["foreground_iou"] <= share + 1e-6


def test_arrays_must_fit_and_be_finite() -> None:
    maps, masks, part = scenes()
    with pytest.raises(ValueError, match=r"masks \(59, 16, 16\)"):
        cells(maps, masks[1:], part, 1.0, 0, 100)
    maps[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        cells(maps, masks, part, 1.0, 0, 100)
