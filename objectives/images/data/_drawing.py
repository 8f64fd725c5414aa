"""What the generators draw with: shapes, textures and digits, and how signed values become pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from objectives.images.data import digits
from objectives.images.images import TEST, TRAIN, VALID, Images
from objectives.images.split import Split
from spaces.components import fields

MOST_BYTES = 2**30  # of all images as float32; drawing them takes a few times as much
REACH = 1.5  # signed values from -REACH to REACH are pixels from 0 to 1
DIGIT = 8  # pixels a side

# Shapes in a box from -1 to 1, as functions of the place: u to the right, v downwards.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.85,
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.35) & (np.maximum(abs(u), abs(v)) <= 1),
    "triangle": lambda u, v: (v <= 0.75) & (abs(u) <= 0.57 * (v + 1)),
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.3),
    "bar": lambda u, v: (abs(u) <= 1) & (abs(v) <= 0.4),
}
TEXTURES = ("vertical stripes", "horizontal stripes", "checks", "random signs")
COLOURS = np.array(  # red, green and blue; no two differ in brightness alone
    [(1, 0.1, 0.1), (0.1, 0.9, 0.1), (0.2, 0.3, 1), (1, 0.9, 0.1), (0.1, 0.9, 0.9), (0.95, 0.2, 0.9)], np.float32
)


def expect_possible(config: Any, channels: int, side: int, count: int) -> None:
    """Refuses knobs outside the ranges that they declare, which studies hold anyway, and images beyond `MOST_BYTES`.

    Raises:
        ValueError: which knob it is, or how large the images are together.
    """
    for field in fields(type(config)):
        value = getattr(config, field.name)
        value = float(value) if field.type is float else value
        if field.domain is not None and not field.domain.contains(value):
            raise ValueError(f"{field.name} must be in {field.domain}, got {value}")
    if config.seed < 0:
        raise ValueError(f"seed must not be negative, got {config.seed}")
    if (size := 4 * count * channels * side**2) > MOST_BYTES:
        what = f"{count:,} images of {side} × {side} pixels have {size:,} bytes"
        raise ValueError(f"{what}; expected at most {MOST_BYTES:,}")


def source_digits(split: Split) -> Images:
    """The digits, `(1797, 1, 8, 8)` in 0..1, divided by the shares of a split, its limits apart."""
    return digits.build(digits.Config(valid=split.valid, test=split.test, split_seed=split.split_seed))


def part_sizes(count: int, split: Split) -> dict[int, int]:
    """How many of `count` images stand in each part, if all are divided by the shares of a split."""
    test, valid = (max(1, int(share * count)) for share in (split.test, split.valid))
    return {TRAIN: count - valid - test, VALID: valid, TEST: test}


def to_pixels(signed: np.ndarray) -> np.ndarray:
    """Signed values as float32 pixels: 0 becomes 0.5, -1.5 and 1.5 become 0 and 1, what lies beyond is clipped."""
    return np.clip(0.5 + signed / (2 * REACH), 0, 1).astype(np.float32)


def polarities(rng: np.random.Generator, weakest: float, size: tuple[int, ...]) -> np.ndarray:
    """Gains s·u: the sign s is even, u uniform from `weakest` to 1."""
    return rng.choice([-1.0, 1.0], size) * rng.uniform(weakest, 1, size)


def paste(canvas: np.ndarray, patches: np.ndarray, corners: np.ndarray) -> None:
    """Puts a patch `(N, h, w)` on each canvas `(N, H, W)`, in place; `corners` `(N, 2)` are row and column."""
    _, height, width = patches.shape
    rows = corners[:, 0, None, None] + np.arange(height)[:, None]
    columns = corners[:, 1, None, None] + np.arange(width)
    canvas[np.arange(len(canvas))[:, None, None], rows, columns] = patches


def inside(shapes: np.ndarray, names: tuple[str, ...], centres: np.ndarray, radii: np.ndarray, side: int) -> np.ndarray:
    """Which pixels `(N, side, side)` a shape covers; `shapes` `(N,)` are indices into `names`.

    Args:
        centres: `(N, 2)`, row and column in pixels; the first pixel's centre is at 0.
        radii: `(N,)`, half the side of the box that a shape fills, in pixels.
    """
    place = np.arange(side)
    v = (place[:, None] - centres[:, 0, None, None]) / radii[:, None, None]
    u = (place - centres[:, 1, None, None]) / radii[:, None, None]
    covered = np.zeros((len(shapes), side, side), bool)
    for index, name in enumerate(names):
        rows = shapes == index
        covered[rows] = SHAPES[name](u[rows], v[rows])
    return covered


def textured(kinds: np.ndarray, side: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Textures `(N, side, side)` of the signs ±1; `kinds` `(N,)` are indices into `TEXTURES`.

    Stripes and checks are `width` pixels wide and begin at a random phase. In each texture both signs are equally
    frequent, exactly where `side` is a multiple of twice the width, so that all have mean 0 and variance 1.
    """
    phase = rng.integers(2 * width, size=(len(kinds), 2, 1))
    rows, columns = np.moveaxis((np.arange(side) + phase) // width, 1, 0)
    rows, columns = rows[:, :, None], columns[:, None]
    drawn = rng.permuted(np.broadcast_to(np.arange(side * side) % 2, (len(kinds), side * side)), axis=1)
    steps = (columns + 0 * rows, rows + 0 * columns, rows + columns, drawn.reshape(-1, side, side))
    return 1.0 - 2.0 * (np.choose(kinds[:, None, None], steps) % 2)


def backdrop(count: int, side: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Grey backgrounds `(N, 3, side, side)`: a level a picture in 0.1..0.4, and noise a pixel and channel."""
    level = rng.uniform(0.1, 0.4, (count, 1, 1, 1)).astype(np.float32)
    return level + grain((count, 3, side, side), noise, rng)


def coloured(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The colours `(N, 3, 1, 1)` of objects, indices into `COLOURS`, each at a brightness in 0.7..1."""
    return (COLOURS[colours] * rng.uniform(0.7, 1, (len(colours), 1)).astype(np.float32))[:, :, None, None]


def grain(shape: tuple[int, ...], noise: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise in float32, of the standard deviation `noise`."""
    return np.float32(noise) * rng.standard_normal(shape, np.float32)


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Values in 0..1 as uint8, what lies beyond clipped."""
    return np.round(255 * pixels.clip(0, 1)).astype(np.uint8)
