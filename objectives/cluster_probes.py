"""How clusters and neighbourhoods that a method found agree with the classes, and how much room classes take.

For methods that sort images into clusters of their own, or that make every class a subspace of the features, as does
MLC (Ding et al. 2023, "Unsupervised Manifold Linearizing and Clustering"), which is judged by these figures.
"""

from __future__ import annotations

import numpy as np

from objectives.features import gram, spread, unit
from objectives.images.images import UNLABELLED
from objectives.kinds import Metric

ENERGY = 0.95  # share of the squared singular values that a rank must hold
MOST = 2048  # rows whose cosines are taken
METRICS = {
    "cluster_accuracy": Metric("max", True, "accuracy of a method's clusters, matched one to one to the classes"),
    "cluster_nmi": Metric("max", True, "normalised mutual information of a method's clusters with the classes"),
    "class_rank": Metric("min", True, "directions that hold 95 % of a class's features, mean of classes"),
    "rank": Metric("max", False, "directions that hold 95 % of all features"),
    "between_cosine": Metric("min", True, "mean absolute cosine of features of different classes"),
    "within_cosine": Metric("max", True, "mean absolute cosine of features of the same class"),
}


def agreement(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Accuracy and normalised mutual information of clusters `(N,)` with labels `(N,)`, -1 where unknown.

    Accuracy is the share of rows whose cluster is matched to their class, by the one-to-one matching of clusters to
    classes that makes it greatest (Xie et al. 2016, section 4.2): rows of clusters that are left over are
    wrong. Mutual information is over the mean of the two entropies. Nothing where no label is known.
    """
    from scipy.optimize import linear_sum_assignment  # here: naming a metric should not wait for SciPy
    from sklearn.metrics import normalized_mutual_info_score

    known = labels != UNLABELLED
    if not known.any():
        return {}
    names, classes = np.unique(labels[known], return_inverse=True)
    groups, found = np.unique(clusters[known], return_inverse=True)
    table = np.bincount(classes * len(groups) + found, minlength=len(names) * len(groups))
    table = table.reshape(len(names), len(groups))
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    return {
        "cluster_accuracy": float(matched / table.sum()),
        "cluster_nmi": float(normalized_mutual_info_score(classes, found)),
    }


def rank_within(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The room that features `(N, D)` take, all together and within their class, rows at unit length.

    `rank` is the function below of all rows, `class_rank` its mean over the classes of labels `(N,)`; `within_cosine`
    and `between_cosine` are means over pairs of two rows of one class and of two, among at most `MOST` evenly spaced
    rows. Labels of -1 are unknown; what no row or pair is there for is left out. Where each class is a subspace of its
    own, orthogonal to the others (Ding et al. 2023), classes have a small rank, all features a large one, and cosines
    between classes are 0.

    Raises:
        ValueError: features that are not finite.
    """
    if not np.isfinite(features).all():
        raise ValueError("ranks need finite features")
    x = unit(features.astype(np.float64)).astype(np.float32)
    found = {"rank": float(rank(x))}
    known = np.flatnonzero(labels != UNLABELLED)
    names, codes = np.unique(labels[known], return_inverse=True)
    if len(names):
        found["class_rank"] = float(np.mean([rank(x[known[codes == code]]) for code in range(len(names))]))
    return found | _cosines(spread(x[known], MOST), spread(codes, MOST))


def rank(x: np.ndarray) -> int:
    """How many singular values of x `(n, D)`, the greatest first, it takes to hold `ENERGY` of their squares' sum.

    The rows are not centred: a subspace goes through the origin. 0 where all rows are zero.
    """
    energy = np.linalg.eigvalsh(gram(x.T if len(x) < x.shape[1] else x))[::-1]
    total = energy.sum()
    return int(np.sum(np.cumsum(energy) < ENERGY * total * (1 - 1e-12)) + 1) if total > 0 else 0


def _cosines(x: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Mean absolute cosine of two rows x `(n, D)` of unit length, of one class and of two."""
    cosine = np.abs(x @ x.T)
    np.fill_diagonal(cosine, 0)
    same = codes[:, None] == codes
    total, within = cosine.sum(dtype=np.float64), cosine.sum(where=same, dtype=np.float64)
    pairs = int(same.sum()) - len(x)
    found = {}
    if others := same.size - len(x) - pairs:
        found["between_cosine"] = float((total - within) / others)
    if pairs:
        found["within_cosine"] = float(within / pairs)
    return found


def purity(pairs: np.ndarray, labels: np.ndarray) -> float | None:
    """The share of pairs of rows `(P, 2)` whose labels `(N,)` are the same, among those whose labels are both known.

    None where there is no such pair. A row that is paired with itself counts like any other pair.
    """
    first, second = labels[pairs[:, 0]], labels[pairs[:, 1]]
    known = (first != UNLABELLED) & (second != UNLABELLED)
    return float(np.mean(first[known] == second[known])) if known.any() else None
