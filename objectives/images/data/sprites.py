"""Sprites: one coloured shape on grey, of which five independent factors are known.

Each image shows one object; its factors are drawn evenly and independently of each other: shape (6), colour (6), size
(3), column (4) and row (4). Within their classes, place and brightness vary freely, and the background has a grey level
of its own and noise, so that no two images are alike. `factors` have these five in this order, `labels` are the shapes,
and `masks` are 0 for the background and 1 + the shape for the object: what a representation keeps, and what it
throws away, can be read off factor by factor.

Source: the recipe is ours; the idea of images made of a few known factors is that of L. Matthey et al., *dSprites*,
2017, and C. Burgess and H. Kim, *3D Shapes*, 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.data._drawing import (
    COLOURS,
    SHAPES,
    backdrop,
    coloured,
    expect_possible,
    grain,
    inside,
    to_bytes,
)
from objectives.images.images import Images
from objectives.images.split import Split, arrange
from spaces.domains import Int, Uniform

CLASSES = tuple(SHAPES)
RADII = (0.14, 0.19, 0.25)  # of the side, one a size
CELLS = 4  # classes of columns, and of rows


@dataclass(frozen=True)
class Config(Split):
    """How sprites are drawn and split."""

    side: Annotated[int, Int(16, 128)] = 32  # pixels
    images: Annotated[int, Int(100, 1_000_000, log=True)] = 3000  # of all parts together
    noise: Annotated[float, Uniform(0, 0.5)] = 0.03  # standard deviation, where white is 1
    seed: int = 0  # of all that is drawn


def build(config: Config) -> Images:
    """uint8 pixels `(images, 3, side, side)`; factors `(images, 5)`; masks `(images, side, side)`.

    Raises:
        ValueError: a knob is out of its range, or all images together are too large.
    """
    expect_possible(config, 3, config.side, config.images)
    rng = np.random.default_rng(config.seed)
    sizes = (len(CLASSES), len(COLOURS), len(RADII), CELLS, CELLS)
    factors = np.stack([rng.integers(size, size=config.images) for size in sizes], axis=1)
    labels = factors[:, 0].copy()
    covered = _covered(factors, config.side, rng)
    pixels = backdrop(config.images, config.side, config.noise, rng)
    colour = coloured(factors[:, 1], rng) + grain(pixels.shape, config.noise, rng)
    pixels = to_bytes(np.where(covered[:, None], colour, pixels))
    masks = (covered * (1 + labels[:, None, None])).astype(np.int16)
    kept, part = arrange(labels, np.zeros(len(labels), np.int8), CLASSES, config, "sprites")
    return Images(pixels[kept], labels[kept], part, CLASSES, factors=factors[kept], masks=masks[kept])


def _covered(factors: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The pixels `(N, side, side)` of the objects; a centre lies anywhere in its cell, whatever the size."""
    low, high = max(RADII) * side, (1 - max(RADII)) * side - 1  # so that the largest is whole
    cells = factors[:, [4, 3]]  # row and column
    centres = low + (high - low) * (cells + rng.random(cells.shape)) / CELLS
    return inside(factors[:, 0], CLASSES, centres, np.array(RADII)[factors[:, 2]] * side, side)
