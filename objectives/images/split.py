"""Which images a study uses, and for what: seeded, stratified, the same on every machine.

A part that the data does not bring itself is a share of its training images, drawn class by class: rounded down,
but at least one. Every draw is a prefix of one random order of each class, so that a larger share or limit only adds
to a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID, DataError
from spaces.domains import Uniform


@dataclass(frozen=True)
class Split:
    """What every reader lets a study say about the parts; the readers' configs extend it.

    Raises:
        ValueError: a limit is negative.
    """

    valid: Annotated[float, Uniform(0.05, 0.5)] = 0.2  # share of the training images, if the data has no such part
    test: Annotated[float, Uniform(0.05, 0.5)] = 0.2  # likewise
    split_seed: int = 0  # of all draws; keep it over a study, so that its trials see the same parts
    limit: int = 0  # at most so many training images, evenly over the classes; 0 for all
    limit_test: int = 0  # at most so many validation images, and as many test images; 0 for all

    def __post_init__(self) -> None:
        if min(self.limit, self.limit_test, self.split_seed) < 0:
            raise ValueError("limit, limit_test and split_seed must not be negative")


def arrange(
    labels: np.ndarray, part: np.ndarray, classes: tuple[str, ...], split: Split, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the missing parts, then applies the limits. Looks at labels alone, so it can run before images are read.

    Args:
        labels: `(N,)`, indices into `classes`, or -1; where some have labels, those without only train.
        part: `(N,)`, the parts that the data brings; all `TRAIN` where it brings none.
        source: what the data is called in an error.

    Returns:
        The images to keep, `(K,)`, ascending; and the part of each, `(K,)` int8.

    Raises:
        DataError: a class is too small to stand in every part, or a limit is below the number of classes.
    """
    rng = np.random.default_rng(split.split_seed)
    # Without any label all images are one class, so that label-free scores have their parts too.
    group = labels if (labels != UNLABELLED).any() else np.zeros_like(labels)
    names = classes or ("of images without a label",)
    part = _divide(group, part.astype(np.int8), names, split, rng, source)
    place = _places(group + (len(names) + 1) * part.astype(np.int64), rng)
    kept = np.zeros(len(part), bool)
    for one, limit in ((TRAIN, split.limit), (VALID, split.limit_test), (TEST, split.limit_test)):
        index = np.flatnonzero(part == one)
        if limit and len(index) > limit:
            index = index[_evenly(group[index], place[index], limit, len(classes), source)]
        kept[index] = True
    return np.flatnonzero(kept), part[kept]


def _divide(
    group: np.ndarray, part: np.ndarray, names: tuple[str, ...], split: Split, rng: np.random.Generator, source: str
) -> np.ndarray:
    """The parts, with those that are missing made of the first training images of each class: test, then valid."""
    pool = np.flatnonzero((part == TRAIN) & (group != UNLABELLED))
    group = group[pool]
    place = _places(group, rng)
    size, taken = np.bincount(group, minlength=len(names)), np.zeros(len(names), np.int64)
    divided = part.copy()
    missing = [(one, share) for one, share in ((TEST, split.test), (VALID, split.valid)) if not (part == one).any()]
    for one, share in missing:
        upto = taken + np.maximum(1, np.floor(share * size).astype(np.int64))
        divided[pool[(taken[group] <= place) & (place < upto[group])]] = one
        taken = upto
    for name, have, need in zip(names, size, taken + 1, strict=True):
        if have < need:
            why = f" ({' and '.join(f'{share:g}' for _, share in missing)} of them are split off)" if missing else ""
            raise DataError(f"{source}: class {name!r} has {have} training images; expected at least {need}{why}")
    return divided


def _places(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The place of each element in a random order of its group, `(N,)`, counted from 0."""
    order = rng.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    ordered = group[order]
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return place


def _evenly(group: np.ndarray, place: np.ndarray, limit: int, classes: int, source: str) -> np.ndarray:
    """`limit` elements: as large a share of labelled ones as there is, and those evenly over the classes."""
    if limit < classes:
        raise DataError(f"{source}: a limit of {limit} images leaves none of some class; expected at least {classes}")
    known = group != UNLABELLED
    labelled = min(int(known.sum()), max(classes, round(limit * float(known.mean()))))
    order = np.lexsort((group, place))
    return np.concatenate([order[known[order]][:labelled], order[~known[order]][: limit - labelled]])
