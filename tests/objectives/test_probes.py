"""The probes as a whole: against scikit-learn, on data whose answers are known, and in awkward cases."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from objectives.features import pareto
from objectives.label_free import rankme, uniformity
from objectives.probes import METRICS, Config, clusters, few_shot_draws, nearest, probe
from spaces.components import fields

Data = tuple[np.ndarray, np.ndarray, np.ndarray]
TESTED = [f"test_{name}" for name in METRICS if name.endswith("_accuracy")]
FREE = [name for name, metric in METRICS.items() if not metric.labels]


def blobs(n: int = 300, dim: int = 10, classes: int = 4, apart: float = 2.0, seed: int = 0) -> Data:
    """Gaussian classes with centres `apart` deviations from the origin, rows in random parts 3 : 1 : 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = apart * np.linalg.qr(rng.standard_normal((dim, classes)))[0].T
    features = centres[labels] + rng.standard_normal((n, dim))
    return features.astype(np.float32), labels, rng.choice([0, 0, 0, 1, 2], n).astype(np.int8)


@pytest.fixture(scope="module")
def digits() -> Data:
    pixels, labels = load_digits(return_X_y=True)
    part = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [1079, 359, 359])).astype(np.int8)
    return (pixels / 16).astype(np.float32), labels, part


@pytest.fixture(scope="module")
def scaled(digits: Data) -> np.ndarray:
    """The digits, Pareto-scaled by the formula in float64."""
    pixels, _, part = digits
    x = pixels.astype(np.float64)
    mean, deviation = x[part == 0].mean(axis=0), x[part == 0].std(axis=0)
    x = (x - mean) / np.sqrt(np.where(deviation > 0, deviation, 1))
    return x / np.sqrt(np.mean(x[part == 0] ** 2))


@pytest.fixture(scope="module")
def scores(digits: Data) -> dict[str, float]:
    return probe(*digits, Config(), seed=3)


def test_names_are_those_of_metrics(scores: dict[str, float]) -> None:
    assert list(scores) == [*METRICS, *TESTED]
    assert all(type(value) is float for value in scores.values())
    assert all(metric.mode in ("max", "min") and metric.meaning for metric in METRICS.values())


def test_every_knob_states_a_range_that_holds_its_default() -> None:
    assert all(field.domain is not None for field in fields(Config))


@pytest.mark.parametrize(("prefix", "where"), [("", 1), ("test_", 2)])
def test_full_label_probes_are_scikit_learns(digits, scaled, scores, prefix: str, where: int) -> None:
    _, y, part = digits
    fit, held_out = (scaled[part == 0], y[part == 0]), (scaled[part == where], y[part == where])
    logistic = LogisticRegression(C=1, tol=1e-6, max_iter=5000).fit(*fit)
    vote = KNeighborsClassifier(10, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)).fit(*fit)
    ridge = RidgeClassifierCV(1079 * np.logspace(-5, 1, 13)).fit(*fit)  # by leave-one-out error, close to GCV
    assert scores[f"{prefix}linear_accuracy"] == pytest.approx(logistic.score(*held_out), abs=2 / 359)
    assert scores[f"{prefix}knn_accuracy"] == pytest.approx(vote.score(*held_out), abs=1.01 / 359)
    assert scores[f"{prefix}ridge_accuracy"] == pytest.approx(ridge.score(*held_out), abs=1.01 / 359)


@pytest.mark.parametrize(("prefix", "where"), [("", 1), ("test_", 2)])
def test_few_shot_is_scikit_learns_on_the_same_draws(digits, scaled, scores, prefix: str, where: int) -> None:
    _, y, part = digits
    x, codes = scaled[part == 0], y[part == 0]
    draws = few_shot_draws(codes, shots=5, draws=10, seed=3)
    fits = [LogisticRegression(C=1, tol=1e-6, max_iter=5000).fit(x[draw], codes[draw]) for draw in draws]
    each = [fitted.score(scaled[part == where], y[part == where]) for fitted in fits]
    assert scores[f"{prefix}few_shot_accuracy"] == pytest.approx(np.mean(each), abs=0.003)
    if not prefix:
        assert scores["few_shot_std"] == pytest.approx(np.std(each), abs=0.003)


def test_raw_digits_stand_at_their_known_floor(scores: dict[str, float]) -> None:
    assert 0.84 < scores["few_shot_accuracy"] < 0.88
    assert 0.84 < scores["test_few_shot_accuracy"] < 0.88


def test_clusters_are_scikit_learns(digits, scaled, scores) -> None:
    _, y, part = digits
    x = scaled[part == 1] / np.linalg.norm(scaled[part == 1], axis=1, keepdims=True)
    runs = [KMeans(10, n_init=3, random_state=seed).fit_predict(x) for seed in range(12)]
    for name, score in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
        values = [score(y[part == 1], run) for run in runs]
        assert abs(scores[name] - np.mean(values)) < 4 * np.std(values) + 0.01


def test_clusters_see_directions_alone() -> None:
    features, labels, _ = blobs()
    stretched = features * np.random.default_rng(1).uniform(0.1, 10, (len(features), 1))
    plain = clusters(features, labels, 4, restarts=5, seed=0)
    assert 0.2 < plain["ari"] < 0.95
    assert clusters(stretched, labels, 4, restarts=5, seed=0) == pytest.approx(plain, abs=0.02)


def test_label_free_scores_read_the_train_rows_as_they_are() -> None:
    features, labels, part = blobs()
    scores = probe(features, labels, part, Config(), seed=0)
    assert scores["rankme"] == pytest.approx(rankme(features[part == 0]), rel=1e-5)
    assert scores["uniformity"] == pytest.approx(uniformity(features[part == 0]), abs=1e-5)


def test_separable_classes_are_told_apart() -> None:
    scores = probe(*blobs(apart=30), Config(), seed=0)
    for name in ("few_shot_accuracy", "linear_accuracy", "ridge_accuracy", "knn_accuracy", "nmi", "ari", *TESTED):
        assert scores[name] == pytest.approx(1), name
    assert scores["few_shot_std"] == 0


def test_random_labels_give_chance() -> None:
    features, labels, part = blobs(n=4000, classes=5)
    labels = np.random.default_rng(1).permutation(labels)
    scores = probe(features, labels, part, Config(), seed=0)
    for name in ("few_shot_accuracy", "linear_accuracy", "ridge_accuracy", "knn_accuracy", *TESTED):
        assert abs(scores[name] - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 800), name
    assert scores["nmi"] < 0.02
    assert abs(scores["ari"]) < 0.02


def test_same_input_gives_the_same_scores_and_stays_as_it_was() -> None:
    data = blobs()
    before = [array.copy() for array in data]
    assert probe(*data, Config(), seed=5) == probe(*data, Config(), seed=5)
    for array, old in zip(data, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_the_seed_draws_the_shots() -> None:
    data = blobs()
    some, other = (probe(*data, Config(), seed=seed) for seed in (0, 1))
    assert some["few_shot_accuracy"] != other["few_shot_accuracy"]
    assert some["linear_accuracy"] == other["linear_accuracy"]


def test_without_labels_only_label_free_scores() -> None:
    features, labels, part = blobs()
    full = probe(features, labels, part, Config(), seed=0)
    for known in (np.full_like(labels, -1), np.where(part == 1, -1, labels), np.where(part == 0, -1, labels)):
        scores = probe(features, known, part, Config(), seed=0)
        assert scores == {name: full[name] for name in FREE}


def test_without_labelled_test_rows_only_valid_scores() -> None:
    features, labels, part = blobs()
    full = probe(features, labels, part, Config(), seed=0)
    assert probe(features, np.where(part == 2, -1, labels), part, Config(), seed=0) == {m: full[m] for m in METRICS}


def test_unlabelled_rows_are_neither_fitted_nor_scored() -> None:
    features, labels, part = blobs()
    hidden = np.random.default_rng(2).random(len(labels)) < 0.3
    partly = np.where(hidden, -1, labels)
    scores = probe(features, partly, part, Config(), seed=0)
    vote = KNeighborsClassifier(10, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    x = pareto(features, part == 0).astype(np.float64)
    fit, valid = (part == 0) & ~hidden, (part == 1) & ~hidden
    expected = vote.fit(x[fit], labels[fit]).score(x[valid], labels[valid])
    assert scores["knn_accuracy"] == pytest.approx(expected, abs=1e-9)


def test_labels_need_not_be_contiguous_nor_all_in_train() -> None:
    features, labels, part = blobs(apart=30)
    named = np.array([3, 7, 20, 21])[labels]
    assert probe(features, named, part, Config(), seed=0) == probe(features, labels, part, Config(), seed=0)
    moved = np.where((labels == 3) & (part == 0), 1, part)  # nothing of the last class to learn from
    scores = probe(features, labels, moved, Config(), seed=0)
    assert scores["linear_accuracy"] == pytest.approx(np.mean(labels[moved == 1] != 3))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_few_shot_draws(seed: int) -> None:
    codes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 3, 60]))
    drawn = few_shot_draws(codes, shots=5, draws=30, seed=seed)
    assert drawn.shape == (30, 5 + 3 + 5)
    for draw in drawn:
        assert len(set(draw)) == 13
        assert np.bincount(codes[draw]).tolist() == [5, 3, 5]
        assert set(np.flatnonzero(codes == 1)) <= set(draw)
    counts = np.bincount(drawn.ravel(), minlength=len(codes))[codes == 0]
    assert counts.sum() == 150
    assert counts.max() < 15  # of 3.75 expected: every row has its chance
    np.testing.assert_array_equal(few_shot_draws(codes, shots=5, draws=7, seed=seed), drawn[:7])


def test_a_class_with_few_labels_lends_all_it_has() -> None:
    features, labels, part = blobs(apart=30)
    train = np.flatnonzero((part == 0) & (labels == 2))
    labels[train[2:]] = -1  # two are left
    scores = probe(features, labels, part, Config(), seed=0)
    assert scores["few_shot_accuracy"] > 0.95


@pytest.mark.parametrize(("count", "temperature"), [(1, 0.07), (5, 0.02), (10, 0.07), (40, 1.0)])
def test_votes_are_scikit_learns(count: int, temperature: float) -> None:
    features, labels, _ = blobs()
    fit, queries = features[:240], features[240:]
    exact = KNeighborsClassifier(count, metric="cosine", weights=lambda d: np.exp((1 - d) / temperature))
    votes = nearest(fit, np.eye(4, dtype=np.float32)[labels[:240]], count, temperature)(queries)
    expected = exact.fit(fit.astype(np.float64), labels[:240]).predict_proba(queries.astype(np.float64))
    np.testing.assert_allclose(votes / votes.sum(axis=1, keepdims=True), expected, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.floats(0.01, 1), st.integers(0, 99))
def test_votes_ignore_rotation_and_length(count: int, temperature: float, seed: int) -> None:
    features, labels, _ = blobs(n=80, seed=seed)
    turn = ortho_group.rvs(features.shape[1], random_state=seed).astype(np.float32)
    target, queries = np.eye(4, dtype=np.float32)[labels[:60]], features[60:]
    plain = nearest(features[:60], target, count, temperature)(queries)
    turned = nearest(3 * features[:60] @ turn, target, count, temperature)(5 * queries @ turn)
    np.testing.assert_allclose(turned, plain, rtol=2e-3, atol=1e-5)


def test_more_neighbours_than_rows_all_vote() -> None:
    features, labels, _ = blobs(n=12)
    target = np.eye(4, dtype=np.float32)[labels]
    votes = nearest(features, target, 200, temperature=0.5)
    np.testing.assert_array_equal(votes(features), nearest(features, target, 12, temperature=0.5)(features))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1e-30, 1e-3, 7.0, 1e30]), st.floats(-3, 3), st.integers(0, 99))
def test_shift_and_scale_do_not_matter(scale: float, shift: float, seed: int) -> None:
    features, labels, part = blobs(n=200, seed=seed)
    plain = probe(features, labels, part, Config(), seed=0)
    moved = probe((features.astype(np.float64) + shift) * scale, labels, part, Config(), seed=0)
    for name in ("few_shot_accuracy", "linear_accuracy", "ridge_accuracy", "knn_accuracy", *TESTED):
        assert moved[name] == pytest.approx(plain[name], abs=0.03), name


def test_order_of_features_does_not_matter() -> None:
    features, labels, part = blobs()
    order = np.random.default_rng(4).permutation(features.shape[1])
    plain, mixed = (probe(x, labels, part, Config(), seed=0) for x in (features, features[:, order]))
    assert mixed == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("dim", [1, 40, 500])
def test_any_number_of_features(dim: int) -> None:
    features, labels, part = blobs(n=120, dim=max(dim, 4))
    scores = probe(features[:, :dim], labels, part, Config(), seed=0)
    assert list(scores) == [*METRICS, *TESTED]
    assert np.isfinite(list(scores.values())).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_collapsed_features_score_as_nothing_known(value: float) -> None:
    _, labels, part = blobs(n=400)
    scores = probe(np.full((400, 6), value, np.float32), labels, part, Config(), seed=0)
    largest = max(np.mean(labels[part == 1] == label) for label in range(4))
    for name in ("few_shot_accuracy", "linear_accuracy", "ridge_accuracy", "knn_accuracy"):
        assert scores[name] <= largest, name
    assert scores["nmi"] == pytest.approx(0)
    assert scores["rankme"] <= 1 + 1e-6
    assert scores["uniformity"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_must_be_finite(value: float) -> None:
    features, labels, part = blobs()
    features[[5, 5, 17], [0, 1, 2]] = value
    with pytest.raises(ValueError, match="features are not finite in 2 of 300 rows"):
        probe(features, labels, part, Config(), seed=0)


def test_arrays_must_fit_each_other() -> None:
    features, labels, part = blobs()
    with pytest.raises(ValueError, match=r"features \(300, 10\), labels \(299,\), part \(300,\)"):
        probe(features, labels[1:], part, Config(), seed=0)
    with pytest.raises(ValueError, match=r"features \(300,\)"):
        probe(features[:, 0], labels, part, Config(), seed=0)
    with pytest.raises(ValueError, match="need train rows"):
        probe(features, labels, np.ones_like(part), Config(), seed=0)


def test_pareto_halves_the_way_to_unit_variance() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((500, 3)) * [0.0, 1.0, 16.0] + [4, 5, 6]).astype(np.float32)
    train = np.arange(500) < 400
    scaled = pareto(x, train)[train].astype(np.float64)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(scaled[:, 0], 0)
    ratio = np.sqrt(x[train, 2].std() / x[train, 1].std())
    assert scaled[:, 2].std() / scaled[:, 1].std() == pytest.approx(ratio, rel=1e-4)
    assert np.mean(scaled**2) == pytest.approx(1, rel=1e-5)


def test_naming_a_metric_loads_no_heavy_library() -> None:
    code = "import sys, objectives.probes; print([m for m in ('torch', 'sklearn', 'scipy', 'ray') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
