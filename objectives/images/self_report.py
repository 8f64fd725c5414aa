"""What a method tells of itself at a rung, and how far what it put together belongs together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from objectives import cluster_probes
from objectives.features import spread
from objectives.images.encoder import Encoder, prepare
from objectives.images.images import TRAIN, UNLABELLED, VALID, Images
from objectives.kinds import Metric, Metrics
from objectives.method import Method

MOST = 2048  # images of a part that a method is asked about
SORTED = 512  # training images that it sorts into clusters
CHUNK = 256
METRICS = {
    "batch_purity": Metric("min", True, "share of pairs of images in a batch that are of one class"),
    "positive_purity": Metric("max", True, "share of pairs of images that the method took to belong together that do"),
}


@torch.no_grad()
def told(method: Method, encoder: Encoder, pixels: Tensor, data: Images) -> Metrics:
    """What a method measures of itself, on images of the training part and, as `valid_...`, of the validation part;
    and how its clusters of training images agree with their labels, where it has clusters and they have labels.
    """
    training = method.training
    method.eval()
    found: Metrics = {}
    for part, prefix in ((TRAIN, ""), (VALID, "valid_")):
        some = spread(pixels[torch.from_numpy(data.part == part)], MOST)
        found |= {f"{prefix}{name}": value for name, value in method.measure(_batches(encoder, some)).items()}
    known = np.flatnonzero((data.part == TRAIN) & (data.labels != UNLABELLED))
    if len(known) and sorts(method):
        rows = spread(torch.from_numpy(known), SORTED)
        sorted_into = method.clusters(torch.cat(list(_batches(encoder, pixels[rows]))), len(data.classes))
        if sorted_into is not None:
            labels = data.labels[rows.numpy()]
            clusters, features = (given.cpu().numpy() for given in sorted_into)
            found |= cluster_probes.agreement(labels, clusters) | cluster_probes.rank_within(features, labels)
    method.train(training)
    return found


def sorts(method: Method) -> bool:
    """Whether a method has clusters of its own."""
    return type(method).clusters is not Method.clusters


def belonging(method: Method, met: np.ndarray, labels: np.ndarray) -> Metrics:
    """How often images `met` in a batch `(steps, B)`, and pairs that the method held for positives, are of one class,
    by the labels `(K,)` of the pool's images, -1 where unknown."""
    found = {"batch_purity": batch_purity(met, labels)}
    if method.positives is not None:
        found["positive_purity"] = cluster_probes.purity(method.positives.cpu().numpy(), labels)
    return {name: value for name, value in found.items() if value is not None}


def batch_purity(met: np.ndarray, labels: np.ndarray) -> float | None:
    """The share of pairs of rows of a batch, over all batches `(steps, B)`, whose labels are the same; None where no
    pair has labels."""
    same = pairs = 0
    for row in labels[met]:
        counts = np.bincount(row[row != UNLABELLED])
        same += int((counts * (counts - 1)).sum())
        pairs += int(counts.sum() * (counts.sum() - 1))
    return same / pairs if pairs else None


def _batches(encoder: Encoder, pixels: Tensor) -> Iterator[Tensor]:
    for some in pixels.split(CHUNK):
        yield encoder.normalise(prepare(some)).contiguous(memory_format=torch.channels_last)
