"""Linear read-outs of frozen features: ridge regression and multinomial logistic regression.

Both depend on the fitted rows through their span alone, so both work in the rows' principal axes: one
eigendecomposition of the smaller Gram matrix serves any number of features, more than rows included. In these
axes ridge is closed form for every strength at once, and logistic regression is well conditioned. Large products
are taken in float32, sums and decompositions in float64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from objectives.features import gram

RIDGE_STRENGTHS = np.logspace(-5, 1, 13)  # per row, for features of unit variance


@dataclass(frozen=True)
class Rows:
    """Labelled rows to fit; leading dimensions `...` are independent problems, solved side by side.

    Attributes:
        x: the rows less their mean, `(..., n, D)` float32.
        mean: `(..., 1, D)` float32.
        target: class of each row as one-hot, `(..., n, K)` float32.
        axes: principal axes in the columns, `(..., D, r)` float64 with r = min(n, D); null ones are zero.
        energy: sum of squares of the rows along each axis, `(..., r)` float64.
    """

    x: np.ndarray
    mean: np.ndarray
    target: np.ndarray
    axes: np.ndarray
    energy: np.ndarray


@dataclass(frozen=True)
class Linear:
    """The fitted map `scores = x @ weights + bias`, `(..., D, K)` and `(..., 1, K)` float32."""

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scores `(..., N, K)` of rows `(N, D)`."""
        return x @ self.weights + self.bias


def rows(x: np.ndarray, codes: np.ndarray, classes: int) -> Rows:
    """Prepares features `(..., n, D)` and class codes `(..., n)` in 0..classes-1 for any number of fits."""
    mean = x.mean(axis=-2, keepdims=True, dtype=np.float64).astype(np.float32)
    centred = x.astype(np.float32, copy=False) - mean
    target = (codes[..., None] == np.arange(classes)).astype(np.float32)
    return Rows(centred, mean, target, *_principal(centred))


def _principal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes `(..., D, r)` and energies `(..., r)` of the rows of x, from its smaller Gram matrix."""
    n, dim = x.shape[-2:]
    wide = n < dim
    energy, vectors = np.linalg.eigh(gram(x.mT if wide else x))
    seen = energy > 1e-12 * energy[..., -1:]
    energy = np.where(seen, energy, 0)
    if not wide:
        return vectors * seen[..., None, :], energy
    lengths = np.sqrt(np.where(seen, energy, 1))
    return x.mT @ (vectors * (seen / lengths)[..., None, :]), energy


def ridge(fit: Rows) -> Linear:
    """Least squares on one-hot targets with squared weights penalised, the intercept free; one problem only.

    The strength is the one of `RIDGE_STRENGTHS`, times n, of least generalised cross-validation error
    `(RSS / n) / (1 - df / n)^2` (Golub, Heath and Wahba 1979), df counting the intercept.
    """
    n, seen = len(fit.x), fit.energy > 0
    share = fit.target.mean(axis=0, keepdims=True, dtype=np.float64)
    along = fit.axes.T @ (fit.x.T @ (fit.target - share.astype(np.float32)))  # (r, K)
    power = np.sum(along**2, axis=1) / np.where(seen, fit.energy, 1)  # squared targets along each axis of the rows
    spare = n - 1 - int(seen.sum())  # where it is 0 the rows span all targets, and rounding must not say otherwise
    outside = max(n * float(np.sum(share * (1 - share))) - power.sum(), 0) if spare > 0 else 0
    strengths = n * RIDGE_STRENGTHS[:, None]
    lost = np.where(seen, strengths / (fit.energy + strengths), 0)  # (strengths, r): of the fit along each axis
    best = np.argmin((lost**2 @ power + outside) / np.maximum(spare + lost.sum(axis=1), 1e-12) ** 2)
    weights = (fit.axes / (fit.energy + strengths[best])) @ along
    return _affine(weights, share, fit.mean)


def logistic(fit: Rows, penalty: float, tolerance: float = 3e-5) -> Linear:
    """Multinomial logistic regression: summed cross-entropy plus `penalty / 2` times the squared weights.

    The intercept is free. L-BFGS from zero, in the principal axes scaled so that the Hessian at zero is the
    identity, until a step lowers the loss by less than `tolerance` of itself. Independent problems are one sum,
    minimised together.
    """
    n, classes = fit.target.shape[-2:]
    scale = 1 / np.sqrt(fit.energy / classes + penalty)[..., None, :]  # (..., 1, r)
    axes = fit.axes * scale
    level = np.sqrt(classes / n)  # the intercept's scale
    z = fit.x @ axes.astype(np.float32)
    z = np.concatenate([z, np.full_like(z[..., :1], level)], axis=-1)
    decay = penalty * np.concatenate([scale**2, np.zeros_like(scale[..., :1])], axis=-1)
    target = np.ascontiguousarray(fit.target.mT)  # classes first: sums over them then run along the rows

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = w.astype(np.float32) @ z.mT  # (..., K, n)
        scores -= scores.max(axis=-2, keepdims=True)
        value = -np.sum(scores * target, dtype=np.float64) + 0.5 * np.sum(decay * w**2)
        chance = np.exp(scores, out=scores)
        total = chance.sum(axis=-2, keepdims=True)
        value += np.sum(np.log(total), dtype=np.float64)
        chance /= total
        chance -= target
        return value, chance @ z + decay * w

    w = _minimum(loss, np.zeros((*z.shape[:-2], classes, z.shape[-1])), tolerance)
    return _affine(axes @ w[..., :-1].mT, level * w[..., None, :, -1], fit.mean)


def _minimum(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], w: np.ndarray, tolerance: float, steps: int = 500
) -> np.ndarray:
    """Where a smooth convex function is least: L-BFGS from w, ten pairs deep, halving steps that do not descend.

    `function` gives its value and its slope; the search ends with a step that lowers the value by no more than
    `tolerance` of itself. Nocedal and Wright 2006, algorithms 7.4 and 7.5.
    """
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=10)  # (step, change of slope, their product)
    value, slope = function(w)
    for _ in range(steps):
        way = _downhill(slope, pairs)
        size, least = 1.0, 1e-4 * np.vdot(slope, way)
        ahead, next_slope = function(w + way)
        while ahead > value + size * least and size > 1e-6:
            size /= 2
            ahead, next_slope = function(w + size * way)
        step, turn = size * way, next_slope - slope
        curve = float(np.vdot(step, turn))
        if curve > 0:
            pairs.append((step, turn, curve))
        fall, w, value, slope = value - ahead, w + step, ahead, next_slope
        if fall <= tolerance * abs(value):
            break
    return w


def _downhill(slope: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """Minus the slope times the inverse Hessian that the pairs tell of: the two-loop recursion."""
    way = -slope
    shares = []
    for step, turn, curve in reversed(pairs):
        shares.append(np.vdot(step, way) / curve)
        way -= shares[-1] * turn
    if pairs:
        _, turn, curve = pairs[-1]
        way *= curve / np.vdot(turn, turn)
    for (step, turn, curve), share in zip(pairs, reversed(shares), strict=True):
        way += (share - np.vdot(turn, way) / curve) * step
    return way


def _affine(weights: np.ndarray, offset: np.ndarray, mean: np.ndarray) -> Linear:
    """The map `(x - mean) @ weights + offset`."""
    return Linear(weights.astype(np.float32), (offset - mean @ weights).astype(np.float32))
