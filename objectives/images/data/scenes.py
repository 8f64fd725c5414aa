"""Scenes of several coloured shapes, one behind another, with the class of every pixel.

Objects (shape, colour, size and place each at random) are laid down from front to back: one further back fills what
those before it leave free, and is tried elsewhere where too little of it would show. `masks` are 0 for the background
and 1 + the shape for what is seen of an object; `factors` count the objects of each shape, or say whether there is one;
`labels` are the shapes of the foremost objects, which nothing hides. Images with one object ask little of methods that
look for objects or regions; these ask which pixels belong together.

Source: the recipe is ours; the idea is that of scenes with known masks as in R. Kabra et al., *Multi-Object Datasets*,
2019 (Multi-dSprites).
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
from spaces.domains import Choice, Int, Uniform

CLASSES = tuple(SHAPES)
TRIES = 8  # places tried for an object before it is left out of its scene


@dataclass(frozen=True)
class Config(Split):
    """How scenes are drawn and split."""

    side: Annotated[int, Int(24, 128)] = 48  # pixels
    images: Annotated[int, Int(100, 1_000_000, log=True)] = 2000  # of all parts together
    fewest: Annotated[int, Int(1, 12)] = 2  # objects in a scene; fewer where no place is left for one
    most: Annotated[int, Int(1, 12)] = 5
    smallest: Annotated[float, Uniform(0.1, 0.4)] = 0.12  # radius of an object, as a share of the side
    largest: Annotated[float, Uniform(0.1, 0.4)] = 0.22
    visible: Annotated[float, Uniform(0.1, 1)] = 0.5  # share of an object that is seen, at least; 1: nothing is hidden
    factors: Annotated[str, Choice("counts", "presence")] = "counts"  # of objects of each shape
    noise: Annotated[float, Uniform(0, 0.5)] = 0.03  # standard deviation, where white is 1
    seed: int = 0  # of all that is drawn


def build(config: Config) -> Images:
    """uint8 pixels `(images, 3, side, side)`; factors `(images, 6)`; masks `(images, side, side)`.

    Raises:
        ValueError: a knob is out of its range, there are fewer objects at most than at least, the largest is smaller
            than the smallest, or all images together are too large.
    """
    expect_possible(config, 3, config.side, config.images)
    for low, high in (("fewest", "most"), ("smallest", "largest")):
        if getattr(config, low) > getattr(config, high):
            found = f"got {getattr(config, low)} and {getattr(config, high)}"
            raise ValueError(f"{low} must not be above {high}, {found}")
    rng = np.random.default_rng(config.seed)
    labels, pixels, masks, counts = _drawn(config, rng)
    kept, part = arrange(labels, np.zeros(len(labels), np.int8), CLASSES, config, "scenes")
    factors = counts if config.factors == "counts" else (counts > 0).astype(np.int64)
    return Images(to_bytes(pixels)[kept], labels[kept], part, CLASSES, factors=factors[kept], masks=masks[kept])


def _drawn(config: Config, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels `(N,)`, pixels `(N, 3, side, side)` in 0..1, masks and counts of shapes `(N, 6)` of all scenes."""
    count, side = config.images, config.side
    pixels = backdrop(count, side, config.noise, rng)
    masks = np.zeros((count, side, side), np.int16)
    counts = np.zeros((count, len(CLASSES)), np.int64)
    objects = rng.integers(config.fewest, config.most, size=count, endpoint=True)
    labels = np.zeros(count, np.int64)
    for layer in range(config.most):
        shapes = rng.integers(len(CLASSES), size=count)
        labels = shapes if layer == 0 else labels
        seen = _seen(shapes, masks == 0, config, rng) & (objects > layer)[:, None, None]
        colours = coloured(rng.integers(len(COLOURS), size=count), rng)
        pixels = np.where(seen[:, None], colours + grain(pixels.shape, config.noise, rng), pixels)
        masks[seen] = np.broadcast_to(1 + shapes[:, None, None], seen.shape)[seen]
        counts[np.arange(count), shapes] += seen.any(axis=(1, 2))
    return labels, pixels, masks, counts


def _seen(shapes: np.ndarray, free: np.ndarray, config: Config, rng: np.random.Generator) -> np.ndarray:
    """The pixels `(N, side, side)` that are seen of one more object a scene; none where it finds no place."""
    side = config.side
    radii = side * rng.uniform(config.smallest, config.largest, len(shapes))
    seen = np.zeros_like(free)
    open_ = np.arange(len(shapes))
    for _ in range(TRIES):
        low = radii[open_, None]
        centres = rng.uniform(low, side - 1 - low, (len(open_), 2))
        whole = inside(shapes[open_], CLASSES, centres, radii[open_], side)
        shown = whole & free[open_]
        fits = shown.sum((1, 2)) >= config.visible * whole.sum((1, 2))
        seen[open_[fits]] = shown[fits]
        open_ = open_[~fits]
    return seen
