"""Bayesian linear regression y = Φ w + noise with w ~ N(0, I/α), noise ~ N(0, 1/β) (Bishop 2006, §3.3 and §3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

BOX = (-10.0, 10.0)  # within which log α and log β are sought


@dataclass(frozen=True)
class Posterior:
    """w ~ N(mean, root rootᵀ): mean (D,), root (D, D); observations have a further variance 1/β = `noise`."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]
    noise: float

    def variance(self, features: NDArray) -> NDArray[np.float64]:
        """Var φᵀw of rows of features (B, D), in their precision and without noise: (B,)."""
        spread = features @ self.root.astype(features.dtype)
        return np.einsum("ij,ij->i", spread, spread).astype(np.float64)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Samples of w: (D, count)."""
        return self.mean[:, None] + self.root @ rng.standard_normal((len(self.mean), count))


class Evidence:
    """The marginal likelihood as a function of α and β alone: what it needs of the data are the eigenvalues of ΦᵀΦ."""

    def __init__(self, features: NDArray, targets: NDArray) -> None:
        """Of features Φ (N, D) and targets y (N,)."""
        features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
        self.count, self.width = features.shape
        squares, self.axes = np.linalg.eigh(features.T @ features)
        self.squares = np.maximum(squares, 0.0)
        self.projected = self.axes.T @ (features.T @ targets)
        self.power = float(targets @ targets)

    def log(self, alpha: float, beta: float) -> float:
        """log p(y | α, β)."""
        precision = alpha + beta * self.squares
        misfit = beta * (self.power - beta * np.sum(self.projected**2 / precision))
        volume = self.width * np.log(alpha) + self.count * np.log(beta / (2 * np.pi)) - np.sum(np.log(precision))
        return float(0.5 * (volume - misfit))

    def best(self) -> tuple[float, float]:
        """α and β of the largest marginal likelihood, by the simplex method."""
        start = [0.0, -np.log(np.clip(0.1 * self.power / self.count, np.exp(-9.0), 1.0))]
        found = minimize(lambda x: -self.log(*np.exp(x)), start, method="Nelder-Mead", bounds=[BOX, BOX])
        alpha, beta = np.exp(found.x)
        return float(alpha), float(beta)

    def posterior(self, alpha: float, beta: float) -> Posterior:
        """What is known of w."""
        precision = alpha + beta * self.squares
        mean = self.axes @ (beta * self.projected / precision)
        return Posterior(mean, self.axes / np.sqrt(precision), 1 / beta)
