"""What frozen features are worth: one pass over the data serves every probe.

Probes with labels are fitted on the labelled train rows and scored on the labelled valid rows, to choose by, and
on the labelled test rows, for the last word. All of them see the features Pareto-scaled with the train rows' mean
and standard deviation (`features.pareto`), neighbours and clusters besides at unit length; label-free scores see
the train rows as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives import linear_probes
from objectives.features import pareto, unit
from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID
from objectives.kinds import Metric
from objectives.label_free import alpha_req, rankme, uniformity
from spaces.domains import Choice, Int, Log

CHUNK = 256  # rows scored at a time, so that cosines with all train rows fit in memory


@dataclass(frozen=True)
class Config:
    """How the probes read the features; the same for every trial of a study."""

    shots: Annotated[int, Int(1, 100)] = 5  # labelled images per class in a few-shot draw
    draws: Annotated[int, Int(1, 100)] = 10  # independent few-shot draws averaged
    penalty: Annotated[float, Log(1e-4, 1e4)] = 1.0  # of logistic weights: half of it times their sum of squares
    neighbours: Annotated[int, Int(1, 200, log=True)] = 10  # train images that vote for the class of an image
    temperature: Annotated[float, Log(0.01, 1)] = 0.07  # cosine that divides a vote by e
    restarts: Annotated[int, Int(1, 20)] = 3  # k-means runs, of which the tightest counts
    watch: Annotated[bool, Choice(True, False)] = True  # whether a trial stops early whose representation collapses


METRICS = {
    "few_shot_accuracy": Metric("max", True, "accuracy of logistic regression on a few labels a class, mean of draws"),
    "few_shot_std": Metric("min", True, "standard deviation of few_shot_accuracy over draws; not to choose by"),
    "linear_accuracy": Metric("max", True, "accuracy of multinomial logistic regression on all train labels"),
    "ridge_accuracy": Metric("max", True, "accuracy of ridge regression on one-hot labels, its strength by GCV"),
    "knn_accuracy": Metric("max", True, "accuracy of a vote of the nearest train images, weighted by cosine"),
    "nmi": Metric("max", True, "normalised mutual information of k-means clusters with the classes"),
    "ari": Metric("max", True, "adjusted Rand index of k-means clusters with the classes"),
    "rankme": Metric("max", False, "effective rank of the train features"),
    "uniformity": Metric("min", False, "log mean Gaussian potential of the train features on the sphere"),
    "alpha_req": Metric("max", False, "how near the decay of the train features' spectrum is to the best known"),
}

Reader = Callable[[np.ndarray], np.ndarray]  # scores `(..., N, K)` of rows `(N, D)`, the best one wins


def probe(features: np.ndarray, labels: np.ndarray, part: np.ndarray, config: Config, seed: int) -> dict[str, float]:
    """Every metric of `METRICS` on the valid rows, then the accuracies on the test rows as `test_...`.

    Without labelled train and valid rows only the label-free metrics are given, without labelled test rows no
    `test_...`. The same seed, labels and part mean the same few-shot draws, whatever the features.

    Args:
        features: frozen features, `(N, D)` float.
        labels: class of each row, `(N,)` int, -1 where unknown.
        part: 0 train, 1 valid, 2 test, `(N,)`.
        config: how the probes read the features.
        seed: of the few-shot draws and of k-means.

    Raises:
        ValueError: arrays that do not fit each other, no train row, or features that are not finite.
    """
    features = _bounded(features, labels, part)
    train = part == TRAIN
    found = {
        "rankme": rankme(features[train]),
        "uniformity": uniformity(features[train]),
        "alpha_req": alpha_req(features[train]),
    }
    groups = {p: np.flatnonzero((part == p) & (labels != UNLABELLED)) for p in (TRAIN, VALID, TEST)}
    if not (len(groups[TRAIN]) and len(groups[VALID])):
        return found
    x = pareto(features, train)
    names, codes = np.unique(labels[groups[TRAIN]], return_inverse=True)
    readers = _readers(x[groups[TRAIN]], codes, config, seed)
    valid, test = (_accuracies(readers, names, x[groups[p]], labels[groups[p]]) for p in (VALID, TEST))
    classes = len(np.unique(labels[labels != UNLABELLED]))
    found |= valid | clusters(x[groups[VALID]], labels[groups[VALID]], classes, config.restarts, seed)
    ordered = {name: found[name] for name in METRICS}
    return ordered | {f"test_{name}": value for name, value in test.items() if name != "few_shot_std"}


def few_shot_draws(codes: np.ndarray, shots: int, draws: int, seed: int) -> np.ndarray:
    """Row indices `(draws, M)`: `shots` random rows of each class a draw, or all where a class has fewer.

    Args:
        codes: class of each row, `(n,)` in 0..K-1.
        shots: rows per class.
        draws: independent draws; more of them leave the first ones as they were.
        seed: the only source of chance.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(codes)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)  # within the class, rows sorted by it
    orders = (rng.permutation(len(codes)) for _ in range(draws))
    return np.stack([order[np.argsort(codes[order], kind="stable")][rank < shots] for order in orders])


def _bounded(features: np.ndarray, labels: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The features, checked, as float32 in -1..1: no score depends on their scale, and no square overflows."""
    if features.ndim != 2 or labels.shape != part.shape or labels.shape != features.shape[:1]:
        shapes = f"features {features.shape}, labels {labels.shape}, part {part.shape}"
        raise ValueError(f"probes need features (N, D), labels (N,) and part (N,), got {shapes}")
    if not np.any(part == TRAIN):
        raise ValueError("probes need train rows, got none")
    bad = int(np.sum(~np.isfinite(features).all(axis=1)))
    if bad:
        raise ValueError(f"features are not finite in {bad} of {len(features)} rows")
    peak = np.abs(features).max()
    return (features / (peak if peak > 0 else 1)).astype(np.float32)


def _readers(x: np.ndarray, codes: np.ndarray, config: Config, seed: int) -> dict[str, Reader]:
    """The probes of train rows x `(n, D)` with class codes `(n,)`, by the name of their metric."""
    classes = int(codes.max()) + 1
    fit = linear_probes.rows(x, codes, classes)
    draws = few_shot_draws(codes, config.shots, config.draws, seed)
    few = linear_probes.rows(x[draws], codes[draws], classes)
    return {
        "few_shot_accuracy": linear_probes.logistic(few, config.penalty),
        "linear_accuracy": linear_probes.logistic(fit, config.penalty),
        "ridge_accuracy": linear_probes.ridge(fit),
        "knn_accuracy": nearest(x, fit.target, config.neighbours, config.temperature),
    }


def nearest(x: np.ndarray, target: np.ndarray, neighbours: int, temperature: float) -> Reader:
    """Votes of the nearest rows of x `(n, D)` for their one-hot classes `(n, K)`.

    The `neighbours` rows of greatest cosine with a query vote with weight exp(cosine / temperature), up to a
    common factor: Wu et al. 2018, section 3.4.
    """
    towards, count = unit(x), min(neighbours, len(x))

    def votes(queries: np.ndarray) -> np.ndarray:
        cosine = unit(queries) @ towards.T
        chosen = np.argpartition(cosine, -count, axis=1)[:, -count:]
        near = np.take_along_axis(cosine, chosen, axis=1)
        weight = np.exp((near - near.max(axis=1, keepdims=True)) / temperature)
        return np.einsum("nk,nkc->nc", weight, target[chosen])

    return votes


def _accuracies(readers: Mapping[str, Reader], names: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Share of rows x `(N, D)` whose label y `(N,)` each reader gives; nothing where there are no rows."""
    if not len(x):
        return {}
    starts = range(0, len(x), CHUNK)
    found = {}
    for name, read in readers.items():
        given = np.concatenate([names[read(x[i : i + CHUNK]).argmax(axis=-1)] for i in starts], axis=-1)
        found[name] = np.mean(given == y, axis=-1)
    found["few_shot_std"] = found["few_shot_accuracy"].std()
    return {name: float(np.mean(value)) for name, value in found.items()}


def clusters(x: np.ndarray, y: np.ndarray, count: int, restarts: int, seed: int) -> dict[str, float]:
    """Agreement of labels y `(N,)` with k-means clusters of rows x `(N, D)` at unit length."""
    from sklearn.cluster import KMeans  # here: naming a metric should not wait for scikit-learn
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    means = KMeans(min(count, len(x)), n_init=restarts, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # collapsed features: fewer distinct points than clusters
        found = means.fit_predict(unit(x))
    return {"nmi": float(normalized_mutual_info_score(y, found)), "ari": float(adjusted_rand_score(y, found))}
