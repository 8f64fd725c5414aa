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
    values = np.sqrt(energy[energy > 1e-14 * energy[-1]])
    if not len(values):
        return 0.0
    share = values / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


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
