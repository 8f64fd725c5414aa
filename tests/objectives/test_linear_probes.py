"""Ridge and logistic read-outs against scikit-learn and explicit formulas."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from objectives import linear_probes

SHAPES = [(240, 12), (40, 90)]  # more rows than features, and fewer


def clouds(n: int, dim: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian classes, stretched, rotated and away from the origin."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    x = rng.standard_normal((classes, dim))[codes] + 1.5 * rng.standard_normal((n, dim))
    return (x * np.geomspace(0.1, 2, dim) + 3).astype(np.float32), codes


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def loss(fitted: linear_probes.Linear, x: np.ndarray, codes: np.ndarray, penalty: float) -> float:
    chance = softmax(fitted(x).astype(np.float64))[np.arange(len(x)), codes]
    return float(-np.log(chance).sum() + penalty / 2 * np.sum(fitted.weights.astype(np.float64) ** 2))


def gcv(x: np.ndarray, target: np.ndarray, strength: float) -> float:
    """Golub, Heath and Wahba 1979 by the hat matrix, float64."""
    n = len(x)
    x = x - x.mean(axis=0)
    hat = x @ np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T) + 1 / n
    return np.mean((target - hat @ target) ** 2) / (1 - np.trace(hat) / n) ** 2


@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_ridge_is_the_one_of_least_gcv(n: int, dim: int) -> None:
    x, codes = clouds(n, dim)
    fitted = linear_probes.ridge(linear_probes.rows(x, codes, 4))
    exact, target = x.astype(np.float64), np.eye(4)[codes]
    strengths = n * linear_probes.RIDGE_STRENGTHS
    best = min(strengths, key=lambda s: gcv(exact, target, s))
    assert strengths[0] < best < strengths[-1]  # or the choice would prove nothing
    reference = Ridge(alpha=best).fit(exact, target)
    np.testing.assert_allclose(fitted.weights, reference.coef_.T, atol=1e-5)
    np.testing.assert_allclose(fitted.bias[0], reference.intercept_, atol=1e-4)
    fresh, _ = clouds(500, dim, seed=1)
    given = RidgeClassifier(alpha=best).fit(exact, codes).predict(fresh)
    assert np.mean(fitted(fresh).argmax(axis=1) == given) >= 0.998


@pytest.mark.parametrize("seed", range(6))
def test_ridge_takes_the_least_strength_where_rows_span_all_and_classes_the_strongest_axes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.arange(40) % 4
    target = np.eye(4)[codes]
    basis = np.concatenate([np.ones((40, 1)), target[:, :3], rng.standard_normal((40, 36))], axis=1)
    left = np.linalg.qr(basis)[0][:, 1:]  # centred, the classes in its first three columns
    right = np.linalg.qr(rng.standard_normal((90, 39)))[0]
    x = ((left * np.where(np.arange(39) < 3, 2, 1)) @ right.T).astype(np.float32)
    strengths = 40 * linear_probes.RIDGE_STRENGTHS
    assert min(strengths, key=lambda s: gcv(x.astype(np.float64), target, s)) == strengths[0]
    fitted = linear_probes.ridge(linear_probes.rows(x, codes, 4))
    np.testing.assert_allclose(fitted.weights, Ridge(alpha=strengths[0]).fit(x, target).coef_.T, atol=1e-5)


@pytest.mark.parametrize(("n", "dim"), SHAPES)
@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_logistic_is_scikit_learns(n: int, dim: int, penalty: float) -> None:
    x, codes = clouds(n, dim)
    exact = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000).fit(x.astype(np.float64), codes)
    reference = linear_probes.Linear(exact.coef_.T, exact.intercept_[None])
    fit = linear_probes.rows(x, codes, 4)
    fresh, _ = clouds(500, dim, seed=1)

    tight = linear_probes.logistic(fit, penalty, tolerance=1e-8)
    assert loss(tight, x, codes, penalty) == pytest.approx(loss(reference, x, codes, penalty), rel=1e-5)
    assert np.abs(softmax(tight(fresh)) - exact.predict_proba(fresh)).max() < 0.01

    default = linear_probes.logistic(fit, penalty)
    assert loss(default, x, codes, penalty) == pytest.approx(loss(reference, x, codes, penalty), rel=1e-3)
    assert np.mean(default(fresh).argmax(axis=1) == exact.predict(fresh)) >= 0.98


@pytest.mark.parametrize("dim", [8, 60])
def test_problems_solved_side_by_side_are_those_solved_alone(dim: int) -> None:
    problems = [clouds(24, dim, seed=seed) for seed in range(3)]
    x, codes = (np.stack(arrays) for arrays in zip(*problems, strict=True))
    together = linear_probes.logistic(linear_probes.rows(x, codes, 4), 1.0, tolerance=1e-8)
    fresh, _ = clouds(200, dim, seed=9)
    scores = together(fresh)
    assert scores.shape == (3, 200, 4)
    for i, (own, labels) in enumerate(problems):
        alone = linear_probes.logistic(linear_probes.rows(own, labels, 4), 1.0, tolerance=1e-8)
        np.testing.assert_allclose(softmax(scores[i]), softmax(alone(fresh)), atol=0.01)


@pytest.mark.parametrize("fit", [linear_probes.ridge, lambda rows: linear_probes.logistic(rows, 1.0)])
def test_null_directions_change_nothing(fit) -> None:
    x, codes = clouds(60, 6)
    padded = np.concatenate([x, np.full((60, 80), 5, np.float32)], axis=1)  # wide now, of rank 6
    plain, more = (fit(linear_probes.rows(rows, codes, 4)) for rows in (x, padded))
    np.testing.assert_allclose(more(padded), plain(x), atol=2e-3)
    np.testing.assert_array_equal(np.abs(more.weights[6:]) < 1e-6, True)


@pytest.mark.parametrize("fit", [linear_probes.ridge, lambda rows: linear_probes.logistic(rows, 1.0)])
@pytest.mark.parametrize("dim", [3, 40])
def test_constant_features_give_the_shares_of_the_classes(fit, dim: int) -> None:
    codes = np.array([0] * 5 + [1] * 11 + [2] * 4)
    fitted = fit(linear_probes.rows(np.ones((20, dim), np.float32), codes, 3))
    scores = fitted(np.ones((2, dim), np.float32))
    shares = scores if fit is linear_probes.ridge else softmax(scores)
    np.testing.assert_allclose(shares, np.tile([0.25, 0.55, 0.2], (2, 1)), atol=0.01)


def test_one_class_and_one_row() -> None:
    x = np.ones((1, 4), np.float32)
    rows = linear_probes.rows(x, np.array([0]), 1)
    for fitted in (linear_probes.ridge(rows), linear_probes.logistic(rows, 1.0)):
        assert np.isfinite(fitted(x)).all()
