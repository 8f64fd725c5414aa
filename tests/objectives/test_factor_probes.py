"""Factor probes against scikit-learn and on factors whose share in the features is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from objectives.factor_probes import METRICS, factors
from objectives.features import pareto

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


def mixed(n: int = 600, seen: int = 2, hidden: int = 1, noise: float = 0.5, seed: int = 0) -> Data:
    """Features that mix the first `seen` of all factors of four classes each, in noise."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (n, seen + hidden))
    codes = np.eye(4)[truth[:, :seen]].reshape(n, -1)
    features = codes @ rng.standard_normal((4 * seen, 20)) + noise * rng.standard_normal((n, 20))
    return features.astype(np.float32), truth, rng.choice([0, 0, 0, 1, 2], n).astype(np.int8)


def test_the_mean_is_scikit_learns() -> None:
    features, truth, part = mixed(noise=1.5)
    truth = np.where(np.random.default_rng(1).random(truth.shape) < 0.2, -1, truth)
    x = pareto(features, part == 0).astype(np.float64)
    expected = []
    for where in (1, 2):
        each = []
        for column in truth.T:
            fit, scored = ((part == p) & (column != -1) for p in (0, where))
            fitted = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(x[fit], column[fit])
            each.append(fitted.score(x[scored], column[scored]))
        expected.append(np.mean(each))
    found = factors(features, truth, part, penalty=2.0)
    assert list(found) == ["factor_accuracy", "test_factor_accuracy"]
    assert list(found.values()) == pytest.approx(expected, abs=0.01)


def test_each_factor_weighs_alike_and_hidden_ones_score_chance() -> None:
    alone = factors(*mixed(hidden=0, noise=0.05), penalty=1.0)
    assert alone["factor_accuracy"] == pytest.approx(1)
    half = factors(*mixed(n=4000, seen=2, hidden=2, noise=0.05), penalty=1.0)
    assert half["factor_accuracy"] == pytest.approx((1 + 1 + 0.25 + 0.25) / 4, abs=0.03)
    features, truth, part = mixed(noise=1.5)
    rare = truth.copy()
    rare[np.flatnonzero(part == 1)[10:], 2] = -1  # a factor that few rows know still weighs as the others do
    each = [factors(features, rare[:, [f]], part, 1.0)["factor_accuracy"] for f in range(3)]
    assert factors(features, rare, part, 1.0)["factor_accuracy"] == pytest.approx(np.mean(each))


def test_what_tells_nothing_is_left_out() -> None:
    features, truth, part = mixed(noise=1.5)
    plain = factors(features, truth, part, 1.0)
    constant, unknown = np.zeros((600, 1), int), np.full((600, 1), -1)
    assert factors(features, np.hstack([truth, constant, unknown]), part, 1.0) == plain
    assert factors(features, np.hstack([constant, unknown]), part, 1.0) == {}
    untested = np.where((part == 2)[:, None], -1, truth)
    assert factors(features, untested, part, 1.0) == {name: plain[name] for name in METRICS}
    assert factors(features, truth[:, :0], part, 1.0) == {}


def test_classes_need_not_be_contiguous_nor_all_in_train() -> None:
    features, truth, part = mixed(seen=1, hidden=0, noise=0.05)
    plain = factors(features, truth, part, 1.0)
    assert factors(features, np.array([3, 7, 20, 21])[truth], part, 1.0) == plain
    moved = np.where((truth[:, 0] == 3) & (part == 0), 1, part)
    found = factors(features, truth, moved, 1.0)["factor_accuracy"]
    assert found == pytest.approx(np.mean(truth[moved == 1, 0] != 3))


def test_arrays_must_fit_and_be_finite() -> None:
    features, truth, part = mixed()
    with pytest.raises(ValueError, match=r"factors \(600,\)"):
        factors(features, truth[:, 0], part, 1.0)
    with pytest.raises(ValueError, match="train rows"):
        factors(features, truth, np.ones_like(part), 1.0)
    features[0, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        factors(features, truth, part, 1.0)
