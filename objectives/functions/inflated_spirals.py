"""What generated data and augmentation do to a contrastive representation, in closed form: three spirals in the plane.

60 real points of three spiral arms are joined by generated ones, some of which may be rubbish, and each real point
counts as `replicas`. Augmentation is Gaussian noise of width sigma. The minimiser of the spectral contrastive loss is
then the leading eigenvectors of the augmentation graph: with weights w and

    A_ij = w_i w_j exp(-|x_i - x_j|^2 / 4 sigma^2),      d_i = sum_j A_ij,      D^-1/2 A D^-1/2

its top eight, carried on to new points by Nyström's extension and brought to length 1. `value` is the share of 800 new
points that logistic regression on the 60 real points gets wrong. Inflation and augmentation both make neighbours, so
the more is generated, the weaker the best augmentation.

Source: Wang et al., "Do Generated Data Always Help Contrastive Learning?" (ICLR 2024, arXiv 2403.12448), whose theory
this puts to the test; HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive
Loss" (NeurIPS 2021, arXiv 2106.04156), section 3, for the closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.linalg import eigh

from objectives.kinds import Metric
from spaces.domains import Int, Log, Uniform

SEEDED = True
METRICS = {"accuracy": Metric("max", False, "share of new points of the right arm; 1 less the value")}
ARMS, REAL, NEW = 3, 60, 800
NOISE_REAL, NOISE_MADE = 0.02, 0.03  # deviation of points from their arm
WIDTH = 8  # of the representation
INVERSE_PENALTY = 100.0  # of the logistic regression


@dataclass(frozen=True)
class Config:
    """The paper, on CIFAR-10: 20 images generated for each real one, ten replicas."""

    sigma: Annotated[float, Log(0.01, 1.0)] = 0.08  # of the augmentation
    generated: Annotated[int, Int(0, 2000)] = 0  # points
    rubbish: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # share of them that lie anywhere in the square
    replicas: Annotated[int, Int(1, 100, log=True)] = 10  # as how many each real point counts
    draws: Annotated[int, Int(1, 1000)] = 1  # of all points; their mean is given


def build(config: Config) -> Callable[[int], dict[str, float]]:
    """The function of a seed, which draws all points."""

    def evaluate(seed: int) -> dict[str, float]:
        rng = np.random.default_rng(seed)
        accuracy = float(np.mean([drawn(config, rng) for _ in range(config.draws)]))
        return {"value": 1 - accuracy, "accuracy": accuracy}

    return evaluate


def drawn(config: Config, rng: np.random.Generator) -> float:
    """The accuracy on one draw of all points."""
    real, arms = spirals(REAL, NOISE_REAL, rng)
    made, _ = spirals(config.generated, NOISE_MADE, rng)
    spoilt = rng.random(config.generated) < config.rubbish
    made[spoilt] = rng.uniform(-1, 1, (int(spoilt.sum()), 2))
    new, truth = spirals(NEW, NOISE_REAL, rng)
    weights = np.concatenate([np.full(REAL, float(config.replicas)), np.ones(config.generated)])
    known, asked = embedded(np.concatenate([real, made]), weights, new, config.sigma)
    return read(known[:REAL], arms, asked, truth)


def spirals(count: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points `(count, 2)` of the arms in turn, and the arm of each, `(count,)`."""
    arm = np.arange(count) % ARMS
    t = rng.uniform(1.2, 1.2 + 2 * np.pi, count)
    angle = t + 2 * np.pi * arm / ARMS
    points = (t / 8)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + noise * rng.normal(size=(count, 2)), arm


def embedded(x: np.ndarray, weights: np.ndarray, new: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The representation `(n, 8)` of weighted points x `(n, 2)`, and of new ones `(m, 2)`, `(m, 8)`."""
    graph = weights[:, None] * weights * _overlap(x, x, sigma)
    scale = np.sqrt(graph.sum(axis=1))
    values, vectors = eigh(graph / scale[:, None] / scale, subset_by_index=[len(x) - WIDTH, len(x) - 1])
    across = weights * _overlap(new, x, sigma)
    reach = across.sum(axis=1, keepdims=True)  # a new point beyond everybody's reach has none
    extended = across / np.maximum(np.sqrt(reach), 1e-300) / scale @ vectors / values
    return _unit(vectors), _unit(extended)


def read(known: np.ndarray, arms: np.ndarray, asked: np.ndarray, truth: np.ndarray) -> float:
    """The accuracy on rows `asked` of logistic regression on rows `known`."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(known, arms)
    return float(np.mean(model.predict(asked) == truth))


def _overlap(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    squares = np.sum((a[:, None] - b[None]) ** 2, axis=2)
    return np.exp(-squares / (4 * sigma**2))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
