"""Scores of a representation that need no labels."""

from __future__ import annotations

import numpy as np

from objectives.features import gram, spread, unit


def rankme(features: np.ndarray, rows: int = 25_600) -> float:
    """Effective rank of features `(N, D)`: exp of the entropy of their normalised singular values.

    Between 1 and min(N, D), or 0 where all features are zero. Garrido et al. 2023, equation 1: the matrix is
    neither centred nor scaled, and 25,600 rows (here evenly spaced) are enough. Singular values below 1e-7 of
    the largest are left out, where the paper adds an epsilon of 1e-7 to every share to keep the logarithm finite.
    """
    x = spread(features, rows)
    energy = np.linalg.eigvalsh(gram(x.T if len(x) < x.shape[1] else x))
    return effective_rank(np.sqrt(energy[energy > 1e-14 * energy[-1]]))


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of values `(r,)` over their sum, those that are not above 0 left out; 0 where none is."""
    share = values[values > 0] / values[values > 0].sum()
    return float(np.exp(-np.sum(share * np.log(share)))) if len(share) else 0.0


def alpha_req(features: np.ndarray, rows: int = 25_600) -> float:
    """How far the decay of the features' spectrum is from the best that is known: 0, or below.

    -|α - 1|, where the eigenvalues of the covariance of features `(N, D)` fall like (rank)^-α: representations that
    serve best have α near 1 (Agrawal et al. 2022, "α-ReQ"). α is the slope of a least squares line through the
    logarithms of the eigenvalues above 1e-10 of the largest, against those of their ranks, ranks weighing alike on
    the logarithmic scale. -10 where fewer than three are left.
    """
    x = spread(features, rows).astype(np.float64)
    x = x - x.mean(axis=0)
    energy = np.linalg.eigvalsh(gram(x.T if len(x) < x.shape[1] else x))[::-1]
    energy = energy[energy > 1e-10 * max(energy[0], 1e-300)]
    if len(energy) < 3 or energy[0] <= 0:
        return -10.0
    rank = np.log(np.arange(1, len(energy) + 1))
    weight = np.sqrt(1 / np.arange(1, len(energy) + 1))
    slope = np.polyfit(rank, np.log(energy), 1, w=weight)[0]
    return -float(abs(-slope - 1))


def uniformity(features: np.ndarray, rows: int = 256) -> float:
    """How evenly features `(N, D)` cover the sphere: log of the mean of exp(-2 d^2) over pairs at distance d.

    Rows are scaled to unit length first; 0 for a collapsed representation, less is more even. Wang and Isola 2020,
    section 4.1.2 with t = 2, over at most `rows` evenly spaced rows.
    """
    x = unit(spread(features, rows).astype(np.float64))
    if len(x) < 2:
        return 0.0
    square = np.sum(x**2, axis=1)  # 1, or 0 for a zero row, which is near to nothing but other zero rows
    distance = np.maximum(square[:, None] + square - 2 * x @ x.T, 0)
    np.fill_diagonal(distance, np.inf)
    return float(np.log(np.exp(-2 * distance).sum() / (len(x) * (len(x) - 1))))
