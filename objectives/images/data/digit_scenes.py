"""Scenes of two digits: what stands at each place is known, so that representations can be judged cell by cell.

Two handwritten digits lie at even offsets on a canvas, their boxes apart, each bright or dark with a strength of its
own, in noise (as in `cluttered_digits`). `masks` give the 4 × 4 pixels in the middle of each digit's box the digit's
class, 0 to 9, and leave all others unlabelled (-1): on a map of half the resolution these are the four central cells.
`labels` are the classes of the digits further left, of the upper ones where both are in one column.

The digits of scikit-learn (see `digits`) are split before any is drawn, so that each part has its own, and another
`split_seed` makes other scenes.

Source: Z. Xie et al., *Propagate Yourself*, CVPR 2021, arXiv 2011.10043, is whose claim these images are for; the
recipe is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.data._drawing import (
    DIGIT,
    expect_possible,
    part_sizes,
    paste,
    polarities,
    source_digits,
    to_pixels,
)
from objectives.images.images import UNLABELLED, Images
from objectives.images.split import Split, arrange
from spaces.domains import Int, Uniform

MARGIN = 2  # pixels of a digit's box around its labelled middle


@dataclass(frozen=True)
class Config(Split):
    """How scenes are drawn and split. The recipe: side 20, u from 0.5, noise 0.1, 30 % of the digits held out. The
    shares divide the source digits as well as the scenes."""

    valid: Annotated[float, Uniform(0.05, 0.5)] = 0.15
    test: Annotated[float, Uniform(0.05, 0.5)] = 0.15
    side: Annotated[int, Int(16, 64)] = 20  # of the canvas, in pixels
    images: Annotated[int, Int(100, 1_000_000, log=True)] = 2000  # scenes, of all parts together
    weakest: Annotated[float, Uniform(0, 1)] = 0.5  # gain; the strongest is 1
    noise: Annotated[float, Uniform(0, 0.5)] = 0.1  # standard deviation, where a digit's strokes have 1
    seed: int = 0  # of digits, places, gains and noise


def build(config: Config) -> Images:
    """Float pixels `(images, 1, side, side)`, training scenes first; masks `(images, side, side)`.

    Raises:
        ValueError: a knob is out of its range, or all images together are too large.
    """
    expect_possible(config, 1, config.side, config.images)
    source = source_digits(config)
    sizes = part_sizes(config.images, config)
    drawn = [_scenes(source, one, count, config) for one, count in sizes.items()]
    labels, pixels, masks = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    part = np.repeat(np.array(list(sizes), np.int8), list(sizes.values()))
    kept, part = arrange(labels, part, source.classes, config, "digit_scenes")
    return Images(pixels[kept], labels[kept], part, source.classes, masks=masks[kept])


def _scenes(source: Images, part: int, count: int, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels `(count,)` of the scenes of one part, their pixels `(count, 1, side, side)` and masks."""
    rng = np.random.default_rng([config.seed, part])
    rows = rng.choice(np.flatnonzero(source.part == part), (count, 2))
    places = _places(config.side)
    corners = places[rng.integers(len(places), size=count)]
    gains = polarities(rng, config.weakest, (count, 2, 1, 1))
    canvas = rng.normal(0, config.noise, (count, config.side, config.side))
    digits = np.zeros_like(canvas)
    masks = np.full(canvas.shape, UNLABELLED, np.int16)
    middle = np.ones((1, DIGIT - 2 * MARGIN, DIGIT - 2 * MARGIN), np.int16)
    for one in range(2):
        paste(digits, gains[:, one] * source.pixels[rows[:, one], 0], corners[:, one])
        paste(masks, source.labels[rows[:, one], None, None] * middle, corners[:, one] + MARGIN)
    return source.labels[rows[:, 0]], to_pixels(digits + canvas)[:, None], masks


def _places(side: int) -> np.ndarray:
    """Rows and columns `(P, 2, 2)` of the corners of two boxes apart, the first one left of or above the other."""
    steps = np.arange(0, side - DIGIT + 1, 2)
    column, row = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))  # in the order of reading columns
    one, other = np.triu_indices(len(row), 1)
    apart = (abs(row[one] - row[other]) >= DIGIT) | (abs(column[one] - column[other]) >= DIGIT)
    corners = np.stack([row, column], axis=1)
    return np.stack([corners[one[apart]], corners[other[apart]]], axis=1)
