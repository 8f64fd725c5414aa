"""Few-shot episodes on frozen features: a classifier from a few labels a class, with and without optimal transport.

An episode draws some classes, a few labelled rows of each (the support) and other rows to classify (the queries). With
transport, OpTA of BECLR (Poulakakis-Daktylidis and Jamali-Rad 2024, arXiv 2402.02444), the mean of each class's
support, its prototype, is first moved onto the queries,

    P ← (π / π 1) Q,   π = argmin <π, C> - ε H(π), all prototypes and all queries weighing alike,

C being the squared Euclidean distances of prototypes P from queries Q over the greatest of them. It uses all queries at
once and takes for granted that each class has as many; so they are drawn here, and both figures are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives import linear_probes
from objectives.images.images import TEST, UNLABELLED, VALID
from objectives.kinds import Metric
from spaces.domains import Int, Uniform

PENALTY = 1.0  # of logistic weights: half of it times their sum of squares
ROUNDS = 100  # of Sinkhorn's scaling: queries then get their share to within 5 % of it
TOGETHER = 150  # episodes solved side by side
SHOTS = {"one_shot": 1, "five_shot": 5}
METRICS = {
    "one_shot_accuracy": Metric("max", True, "accuracy in episodes with one label a class"),
    "one_shot_transported": Metric("max", True, "the same, prototypes moved onto the queries by optimal transport"),
    "five_shot_accuracy": Metric("max", True, "accuracy in episodes with five labels a class"),
    "five_shot_transported": Metric("max", True, "the same, prototypes moved onto the queries by optimal transport"),
}


@dataclass(frozen=True)
class Episodes:
    """How episodes are drawn and read. The paper: 5 ways, 15 queries, 2000 to 3000 episodes, epsilon 0.05, 5 passes
    for one shot, 1 pass for more, mix 0.7."""

    ways: Annotated[int, Int(2, 100)] = 5  # classes of an episode
    queries: Annotated[int, Int(1, 100)] = 15  # rows of each that are to be classified
    episodes: Annotated[int, Int(1, 10_000, log=True)] = 150  # that are averaged
    epsilon: Annotated[float, Uniform(0.01, 0.3)] = 0.05  # weight of the plan's entropy; the greatest cost is 1
    passes_one: Annotated[int, Int(0, 8)] = 5  # times that prototypes of one shot are moved
    passes_few: Annotated[int, Int(0, 8)] = 1  # times that prototypes of more shots are
    mix: Annotated[float, Uniform(0, 1)] = 0.7  # share of the moved prototype in that of more shots than one


def episodes(
    features: np.ndarray, labels: np.ndarray, part: np.ndarray, config: Episodes, seed: int
) -> dict[str, float]:
    """Every metric of `METRICS` in episodes from the valid rows, then from the test rows as `test_...`.

    Features are first standardised: each row less its mean, over its standard deviation. What a part has too few
    labelled rows for is not given (see `draw`). The same seed, labels and part mean the same episodes.

    Args:
        features: frozen features, `(N, D)` float.
        labels: class of each row, `(N,)` int, -1 where unknown.
        part: 0 train, 1 valid, 2 test, `(N,)`.
        config: how episodes are drawn and read.
        seed: of the draws.

    Raises:
        ValueError: arrays that do not fit each other, or features that are not finite.
    """
    if features.ndim != 2 or not len(features) == len(labels) == len(part):
        shapes = f"features {features.shape}, labels {labels.shape}, part {part.shape}"
        raise ValueError(f"episodes need features (N, D), labels (N,) and part (N,), got {shapes}")
    if not np.isfinite(features).all():
        raise ValueError("episodes need finite features")
    x = standardised(features)
    found: dict[str, float] = {}
    for where, prefix in ((VALID, ""), (TEST, "test_")):
        rows = np.flatnonzero((part == where) & (labels != UNLABELLED))
        for name, shots in SHOTS.items():
            drawn = draw(labels[rows], shots, config, seed)
            if drawn is not None:
                plain, moved = _accuracies(x[rows], drawn, shots, config)
                found |= {f"{prefix}{name}_accuracy": plain, f"{prefix}{name}_transported": moved}
    return found


def standardised(x: np.ndarray) -> np.ndarray:
    """Rows of x `(N, D)` less their mean, over their standard deviation, float32; rows of equal numbers become 0."""
    x = x.astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    peak = np.abs(x).max(axis=1, keepdims=True)
    x /= np.where(peak > 0, peak, 1)  # so that no square overflows
    deviation = x.std(axis=1, keepdims=True)
    return (x / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def draw(labels: np.ndarray, shots: int, config: Episodes, seed: int) -> np.ndarray | None:
    """Rows `(episodes, ways, shots + queries)` of labels `(n,)`: classes by chance, rows of each by chance.

    Queries are as many for each class of each episode. Classes with too few rows are not drawn where `ways` others
    are large enough; where they are not, all classes give as few queries as the `ways`-th largest can. There are fewer
    ways where fewer classes have a query to give beside the shots, and None where fewer than two have. More episodes
    leave the first ones as they were.
    """
    names, counts = np.unique(labels, return_counts=True)
    ways = min(config.ways, int(np.sum(counts > shots)))
    if ways < 2:
        return None
    size = min(shots + config.queries, int(np.sort(counts)[-ways]))
    groups = [np.flatnonzero(labels == name) for name in names[counts >= size]]
    rng = np.random.default_rng(seed)
    chosen = (rng.choice(len(groups), ways, replace=False) for _ in range(config.episodes))
    return np.array([[rng.choice(groups[g], size, replace=False) for g in some] for some in chosen])


def _accuracies(x: np.ndarray, drawn: np.ndarray, shots: int, config: Episodes) -> tuple[float, float]:
    """Mean accuracy of episodes `drawn` `(E, W, S)`, their first `shots` the support, without and with transport."""
    passes, mix = (config.passes_one, 1.0) if shots == 1 else (config.passes_few, config.mix)
    right = []
    for start in range(0, len(drawn), TOGETHER):
        some = x[drawn[start : start + TOGETHER]]
        prototypes = some[:, :, :shots].mean(axis=2)
        queries = some[:, :, shots:].reshape(len(some), -1, x.shape[1])
        moved = transported(prototypes, queries, config.epsilon, passes)
        right.append([_right(p, queries) for p in (prototypes, mix * moved + (1 - mix) * prototypes)])
    plain, after = np.concatenate(right, axis=1).mean(axis=1)
    return float(plain), float(after)


def _right(prototypes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Share of queries `(E, Q, D)`, sorted by class, that logistic regression on prototypes `(E, W, D)` classifies."""
    ways, each = prototypes.shape[1], queries.shape[1] // prototypes.shape[1]
    codes = np.broadcast_to(np.arange(ways), prototypes.shape[:2])
    fitted = linear_probes.logistic(linear_probes.rows(prototypes, codes, ways), PENALTY)
    return np.mean(fitted(queries).argmax(axis=2) == np.repeat(np.arange(ways), each), axis=1)


def transported(prototypes: np.ndarray, queries: np.ndarray, epsilon: float, passes: int) -> np.ndarray:
    """Prototypes `(E, W, D)` moved onto the queries `(E, Q, D)` of their episode so many times."""
    for _ in range(passes):
        squares = np.sum(prototypes**2, axis=2)[:, :, None] + np.sum(queries**2, axis=2)[:, None, :]
        cost = np.maximum(squares - 2 * prototypes @ queries.mT, 0)
        peak = cost.max(axis=(1, 2), keepdims=True)
        prototypes = plan(cost / np.where(peak > 0, peak, 1), epsilon) @ queries
    return prototypes


def plan(cost: np.ndarray, epsilon: float) -> np.ndarray:
    """Entropic transport plan `(E, W, Q)` for the cost `(E, W, Q)`, uniform marginals, its rows scaled to sum to 1."""
    import torch  # here: naming a metric should not wait for torch

    from objectives.parts.sinkhorn import sinkhorn

    return sinkhorn(torch.from_numpy(-cost), epsilon, ROUNDS).numpy()  # scores: what is near draws more mass
