"""What the cells of frozen feature maps tell of what is to be seen at their place in the image.

For methods that learn from places rather than whole images: a read-out of each cell's class, as of PixPro (Xie et al.
2021, arXiv 2011.10043), whose transfer to segmentation it stands for at a small scale; and whether two clusters of
an image's cells part its objects from the background without labels, as R2O is judged by (Gokul et al. 2022, arXiv
2208.11821, "Refine and Represent"; there with k-means on CUB-200).
"""

from __future__ import annotations

import numpy as np

from objectives import linear_probes
from objectives.features import pareto, spread
from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID
from objectives.kinds import Metric

IMAGES = 200  # of a part, evenly spaced, whose cells are clustered
TOGETHER = 4  # images whose cells are clustered at a time, so that they stay in the processor's cache
STARTS = 6  # runs of k-means, of which the tightest counts
STEPS = 50  # of a run at most
METRICS = {
    "cell_accuracy": Metric("max", True, "accuracy of logistic regression for the class of each cell of a map"),
    "cell_miou": Metric("max", True, "its intersection over union with the true cells of a class, mean of classes"),
    "foreground_iou": Metric("max", True, "overlap of objects with the better of two clusters of an image's cells"),
}


def cells(
    maps: np.ndarray, masks: np.ndarray, part: np.ndarray, penalty: float, seed: int, most: int
) -> dict[str, float]:
    """Every metric of `METRICS` on valid images, then on test images as `test_...`; see `read` and `foreground`.

    Args:
        maps: frozen feature maps, `(N, D, h, w)` float.
        masks: class of each pixel, `(N, H, W)` int, 0 background, -1 not labelled.
        part: 0 train, 1 valid, 2 test, `(N,)`.
        penalty: of logistic weights, half of it times their sum of squares.
        seed: of the draw of cells; the same one, masks and part mean the same cells, whatever the features.
        most: labelled cells of a part that are drawn to fit on, or to score.

    Raises:
        ValueError: arrays that do not fit each other, or maps that are not finite.
    """
    if maps.ndim != 4 or masks.ndim != 3 or not len(maps) == len(masks) == len(part):
        shapes = f"maps {maps.shape}, masks {masks.shape}, part {part.shape}"
        raise ValueError(f"cell probes need maps (N, D, h, w), masks (N, H, W) and part (N,), got {shapes}")
    if not np.isfinite(maps).all():
        raise ValueError("cell probes need finite maps")
    truth = cell_labels(masks, *maps.shape[2:])
    rng = np.random.default_rng(seed)
    drawn = {p: _drawn(truth, part == p, most, rng) for p in (TRAIN, VALID, TEST)}
    found: dict[str, float] = {}
    for where, prefix in ((VALID, ""), (TEST, "test_")):
        some = spread(np.flatnonzero(part == where), IMAGES)
        values = read(maps, truth, drawn[TRAIN], drawn[where], penalty) | foreground(maps[some], truth[some])
        found |= {f"{prefix}{name}": value for name, value in values.items()}
    return found


def cell_labels(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Classes `(N, height, width)` of the cells that cover images with pixel classes `masks` `(N, H, W)`.

    A pixel belongs to the cell in which its centre falls (the lower and right one on an edge), and a cell to the class
    of most of its labelled pixels, the smallest of those that tie, hence the background before an object. A cell is
    unlabelled, -1, where more than half of its pixels are, or where it has none.
    """
    down, across = _covered(masks.shape[1], height), _covered(masks.shape[2], width)
    found = np.full((len(masks), height, width), UNLABELLED, masks.dtype)
    most = np.zeros(found.shape, np.float32)
    known = np.zeros(found.shape, np.float32)
    for label in np.flatnonzero(np.bincount(masks[masks != UNLABELLED])) if masks.size else ():
        votes = down @ (masks == label).astype(np.float32) @ across.T
        known += votes
        found[votes > most] = label
        most = np.maximum(most, votes)
    pixels = np.outer(down.sum(axis=1), across.sum(axis=1))
    found[known < pixels / 2] = UNLABELLED
    return found


def _covered(pixels: int, cells: int) -> np.ndarray:
    """Whether a cell `(cells, pixels)` of a line has a pixel's centre, as 0 and 1."""
    cell = (2 * np.arange(pixels) + 1) * cells // (2 * pixels)
    return (cell == np.arange(cells)[:, None]).astype(np.float32)


def _drawn(truth: np.ndarray, images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Image, row and column `(3, M)` of at most `most` labelled cells of the images `(N,)`, by chance and in order."""
    places = np.flatnonzero(images[:, None, None] & (truth != UNLABELLED))
    if len(places) > most:
        places = np.sort(rng.choice(places, most, replace=False))
    return np.stack(np.unravel_index(places, truth.shape))


def read(
    maps: np.ndarray, truth: np.ndarray, train: np.ndarray, scored: np.ndarray, penalty: float
) -> dict[str, float]:
    """How well logistic regression, fitted on the train cells, gives the class of the scored ones, `(3, M)` both.

    `cell_accuracy` is the share of scored cells that get their class of truth `(N, h, w)`; `cell_miou` the mean, over
    classes that scored cells have, of the cells that rightly get a class over those that get it or have it. Features
    are scaled as for `probes.probe`. Nothing where no cell is to be scored, or the train cells have fewer than two
    classes.
    """
    names, codes = np.unique(truth[tuple(train)], return_inverse=True)
    if len(names) < 2 or not scored.size:
        return {}
    n, rows, columns = np.concatenate([train, scored], axis=1)
    x = pareto(maps[n, :, rows, columns], np.arange(len(n)) < len(codes))
    fitted = linear_probes.logistic(linear_probes.rows(x[: len(codes)], codes, len(names)), penalty)
    given, true = names[fitted(x[len(codes) :]).argmax(axis=1)], truth[tuple(scored)]
    each = [np.sum((given == c) & (true == c)) / np.sum((given == c) | (true == c)) for c in np.unique(true)]
    return {"cell_accuracy": float(np.mean(given == true)), "cell_miou": float(np.mean(each))}


def foreground(maps: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`foreground_iou`: how well the better one of two clusters of an image's cells covers its objects, without labels.

    Cells of maps `(N, D, h, w)` are averaged with their neighbours, 3 × 3 as far as the map goes, and brought to unit
    length; two clusters are found in each image by itself (`halves`). The better one's intersection over union with
    the cells whose class in truth `(N, h, w)` is above 0, among labelled cells, is averaged over images. An image
    counts that has both objects and background (0), and at least half of its cells labelled; without one, nothing.
    """
    known, objects = truth != UNLABELLED, truth > 0
    fit = objects.any(axis=(1, 2)) & (truth == 0).any(axis=(1, 2)) & (known.mean(axis=(1, 2)) >= 0.5)
    if not fit.any():
        return {}
    smooth = _smoothed(maps[fit].astype(np.float32, copy=False))
    x = smooth.reshape(*smooth.shape[:2], -1).mT
    length = np.linalg.norm(x, axis=2, keepdims=True)
    x = x / np.where(length > 0, length, 1)
    one = np.concatenate([halves(x[start : start + TOGETHER]) for start in range(0, len(x), TOGETHER)])
    known, objects = (array[fit].reshape(len(x), -1) for array in (known, objects))
    both = [(half & objects).sum(axis=1) / ((half | objects) & known).sum(axis=1) for half in (one, ~one)]
    return {"foreground_iou": float(np.mean(np.maximum(*both)))}


def _smoothed(maps: np.ndarray) -> np.ndarray:
    """Sums of each cell of maps `(N, D, h, w)` with its up to eight neighbours over their number."""
    for axis in (2, 3):
        lines = np.moveaxis(maps, axis, 0)
        total, count = lines.copy(), np.ones((len(lines), 1, 1, 1), np.float32)
        total[1:] += lines[:-1]
        total[:-1] += lines[1:]
        count[1:] += 1
        count[:-1] += 1
        maps = np.moveaxis(total / count, 0, axis)
    return maps


def halves(x: np.ndarray) -> np.ndarray:
    """One of two k-means clusters, `(N, M)` bool, of the M points of each problem x `(N, M, D)`, all side by side.

    The tightest of `STARTS` runs of Lloyd's steps. A run starts from two points, the second one drawn with a chance
    that grows as its squared distance from the first (Arthur and Vassilvitskii 2007); the draws are the same for every
    problem and every call. Where all points are equal, one cluster is empty.
    """
    rng = np.random.default_rng(0)
    points = x.shape[1]
    x = x - x.mean(axis=1, keepdims=True)
    near = x[:, rng.integers(points, size=STARTS)]  # (N, STARTS, D), as all centres here
    distance = np.sum(x**2, axis=2)[:, None] + np.sum(near**2, axis=2)[:, :, None] - 2 * near @ x.mT
    chance = np.log(np.maximum(distance, 1e-30)) + rng.gumbel(size=(STARTS, points))
    far = np.take_along_axis(x, chance.argmax(axis=2)[:, :, None], axis=1)
    one = np.zeros(chance.shape, bool)
    for _ in range(STEPS):
        middle = (np.sum(near**2, axis=2) - np.sum(far**2, axis=2)) / 2
        last, one = one, (near - far) @ x.mT > middle[:, :, None]
        if np.array_equal(one, last):
            break
        count = one.sum(axis=2, keepdims=True)
        total = one.astype(np.float32) @ x  # minus that of the other points, as the mean is 0
        near, far = total / np.maximum(count, 1), -total / np.maximum(points - count, 1)
    count = one.sum(axis=2)
    between = count * np.sum(near**2, axis=2) + (points - count) * np.sum(far**2, axis=2)
    return one[np.arange(len(x)), between.argmax(axis=1)]
