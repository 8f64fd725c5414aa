"""Scores of a representation from augmented views of images, without labels.

All take the features of the same n images: `clean` (n, D) as they are, `views` (V, n, D) augmented, and, for square
images, `turned` (4, n, D) by quarter turns. The augmentation is the same for every trial (`ASSAY`), whatever the trial
itself was trained with, so that trials can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from objectives import linear_probes
from objectives.features import pareto, unit
from objectives.kinds import Metric
from objectives.label_free import effective_rank

IMAGES = 256  # images of the training part that are scored
VIEWS = 3  # augmented views of each
ASSAY = {"crop": {"scale": 0.6}, "jitter": {"strength": 0.5}, "noise": {"std": 0.05, "p": 1.0}}
SHRINKAGE = 1e-4  # of the covariance within images, in units of its mean variance
METRICS = {
    "lidar": Metric("max", False, "effective rank of what tells images apart beyond their augmented views"),
    "alignment": Metric("min", False, "mean square distance of two augmented views of an image on the sphere"),
    "consistency": Metric("max", False, "share of augmented views whose nearest neighbour shows the same image"),
    "rotation_accuracy": Metric("max", False, "accuracy of a ridge probe for the quarter by which images are turned"),
    "label_free": Metric("max", False, "a combination of the scores above that needs no labels, fixed once for all"),
}


@dataclass(frozen=True)
class Assayed:
    """Features of the images that scores are taken from; without `turned` where images are not square."""

    clean: np.ndarray
    views: np.ndarray
    turned: np.ndarray | None


def scores(found: Assayed) -> dict[str, float]:
    """Every score that views allow, by the name of its metric."""
    given = {
        "lidar": lidar(found.views),
        "alignment": alignment(found.views),
        "consistency": consistency(found.views),
    }
    if found.turned is not None:
        given["rotation_accuracy"] = rotation_accuracy(found.turned)
    return given


def lidar(views: np.ndarray) -> float:
    """Effective rank of what tells images apart beyond what augmentation does: 1 to D, more is better.

    The eigenvalues of W^-1/2 B W^-1/2, where B is the covariance of the images' mean features and W that of their views
    around them, shrunk (Thilak et al. 2023, "LiDAR", equations 1 to 4). 0 where all features are equal.
    """
    x = views.astype(np.float64)
    count, images, size = x.shape
    means = x.mean(axis=0)
    inner = (x - means).reshape(-1, size)
    outer = means - means.mean(axis=0)
    within = inner.T @ inner / (images * max(count - 1, 1))
    between = outer.T @ outer / max(images - 1, 1)
    scale = np.trace(within + between) / size
    if scale <= 0:
        return 0.0
    values, axes = np.linalg.eigh(within + SHRINKAGE * scale * np.eye(size))
    whitened = axes / np.sqrt(values)
    return effective_rank(np.linalg.eigvalsh(whitened.T @ between @ whitened))


def alignment(views: np.ndarray) -> float:
    """Mean square distance on the unit sphere between two views of an image: 0 to 4, less is better.

    Wang and Isola 2020, section 4.1.1 with exponent 2, over all pairs of views.
    """
    count, images, size = views.shape
    x = unit(views.reshape(-1, size).astype(np.float64)).reshape(count, images, size)
    total = x.sum(axis=0)
    squares = np.sum(x**2, axis=2)  # 1, or 0 for a zero feature
    pairs = count * squares.sum(axis=0) - np.sum(total**2, axis=1)  # of every two views, once
    return float(np.mean(pairs) / (count * (count - 1) / 2)) if count > 1 else 0.0


def consistency(views: np.ndarray) -> float:
    """Share of views whose nearest neighbour by cosine, among all other views, is of the same image: 0 to 1.

    Instance retrieval as in Wu et al. 2018 (section 3), each view asking for another of its image. A tie counts for
    nobody, so that features that are all equal score 0.
    """
    count, images, size = views.shape
    x = unit(views.reshape(-1, size).astype(np.float64))
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    owner = np.tile(np.arange(images), count)
    same = np.where(owner[:, None] == owner, cosine, -np.inf).max(axis=1)
    other = np.where(owner[:, None] != owner, cosine, -np.inf).max(axis=1)
    return float(np.mean(same > other + 1e-12))


def rotation_accuracy(turned: np.ndarray) -> float:
    """Accuracy of telling by which quarter an image was turned, by ridge regression fitted on every other image.

    Reed et al. 2021, "SelfAugment": of all self-supervised evaluations, the one that follows accuracy best.
    """
    quarters, images, size = turned.shape
    x = turned.transpose(1, 0, 2).reshape(-1, size)  # the turns of an image beside each other
    codes = np.tile(np.arange(quarters), images)
    train = np.repeat(np.arange(images) % 2 == 0, quarters)  # both halves know all classes, also of sorted images
    scaled = pareto(x, train)
    read = linear_probes.ridge(linear_probes.rows(scaled[train], codes[train], quarters))
    return float(np.mean(read(scaled[~train]).argmax(axis=-1) == codes[~train]))


def combined(scores: Mapping[str, float]) -> float:
    """One score of a trial from several, more being better; those that are not there are left out.

    ln(consistency + 0.01) + 0.2 ln(rankme) - 0.3 uniformity - 1.4 alignment + 0.65 rotation_accuracy. The weights are
    those of a non-negative least squares fit to the few-shot accuracy of 80 trials on digits (eight methods, three
    backbones, three rungs), rounded; the others' came out as 0. They were not fitted to anything since.
    """
    total = math.log(scores["consistency"] + 0.01) + 0.2 * math.log(max(scores["rankme"], 1e-9))
    total -= 0.3 * scores["uniformity"] + 1.4 * scores["alignment"]
    return total + 0.65 * scores.get("rotation_accuracy", 0.0)
