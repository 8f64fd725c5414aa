"""Acquisition functions: what is to be hoped of circuits whose reward is believed to be normal; larger is better.

And which circuits those are of which most is to be hoped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

FAR = -1e4  # standard deviations; beyond, the leading term of log EI is exact to 3e-8


def published_improvement(mean: NDArray, variance: NDArray, target: float) -> NDArray[np.float64]:
    """v (φ(u) + u Φ(u)) with u = (m - τ) / v: the expected improvement over a fixed target as the paper's code has it,
    with the predictive *variance* v in the place of the deviation (Sun et al., Quantum 10, 1994). All (B,)."""
    return expected_improvement(mean, variance, target)


def expected_improvement(mean: NDArray, deviation: NDArray, best: float) -> NDArray[np.float64]:
    """E max(f - best, 0) = σ (φ(u) + u Φ(u)) with u = (m - best) / σ, of f ~ N(m, σ²), σ > 0 (Jones et al. 1998)."""
    u = (np.asarray(mean, np.float64) - best) / deviation
    return np.maximum(deviation * (np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi) + u * ndtr(u)), 0.0)


def log_expected_improvement(mean: NDArray, deviation: NDArray, best: float) -> NDArray[np.float64]:
    """log E max(f - best, 0), which ranks also where the improvement itself rounds to 0 (Ament et al. 2023, §4.1)."""
    u = (np.asarray(mean, np.float64) - best) / deviation
    near, low = np.maximum(u, -1.0), np.clip(u, FAR, -1.0)
    plain = np.log(np.exp(-0.5 * near * near) / np.sqrt(2 * np.pi) + near * ndtr(near))
    tail = np.log1p(low * np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2)))  # log of 1 + u Φ(u) / φ(u)
    tail = np.where(u < FAR, -2 * np.log(np.maximum(-u, 1.0)), tail) - 0.5 * u * u - 0.5 * np.log(2 * np.pi)
    return np.log(deviation) + np.where(u > -1.0, plain, tail)


def upper_bound(mean: NDArray, deviation: NDArray, kappa: float) -> NDArray[np.float64]:
    """m + κ σ (Srinivas et al. 2010)."""
    return np.asarray(mean, np.float64) + kappa * deviation


def highest(scores: NDArray, number: int) -> NDArray[np.int64]:
    """Where the highest scores stand, the highest first; of equal ones, the first: (number,)."""
    losses = -scores  # many scores tie at 0, and NumPy is slow to part those from below
    kept = np.flatnonzero(losses <= np.partition(losses, number - 1)[number - 1])
    return kept[np.argsort(losses[kept], kind="stable")[:number]]
