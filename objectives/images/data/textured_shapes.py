"""Two-texture shapes: an object that differs from its background in texture alone, with the mask that tells them apart.

A disc, a square or a cross and what is behind it carry two different textures out of four: vertical stripes, horizontal
stripes, checks, random signs. All are patterns of ±1 with mean 0 and variance 1, and the whole image has one gain and
one offset, so that no statistic of brightness separates the object: what groups pixels by texture does. An image is
gain·texture + offset + noise; signed values are mapped to pixels, 0 to 0.5, ±1.5 to 0 and 1. `masks` are 0 for the
background and 1 for the object, `labels` the shape.

Source: A. Gokul et al., *Refine and Represent: Region-to-Object Representation Learning*, 2022, arXiv 2208.11821, is
whose claim these images are for; the recipe is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.data._drawing import TEXTURES, expect_possible, inside, textured, to_pixels
from objectives.images.images import Images
from objectives.images.split import Split, arrange
from spaces.domains import Int, Uniform

CLASSES = ("disc", "square", "cross")


@dataclass(frozen=True)
class Config(Split):
    """How shapes are drawn and split. The recipe: side 24, radius 5 to 8, gain from 0.5 to 1, offset ±0.2, noise 0.1;
    the width of stripes is ours."""

    side: Annotated[int, Int(12, 128)] = 24  # pixels
    images: Annotated[int, Int(100, 1_000_000, log=True)] = 2000  # of all parts together
    smallest: Annotated[int, Int(2, 60)] = 5  # radius of an object, in pixels
    largest: Annotated[int, Int(2, 60)] = 8
    width: Annotated[int, Int(1, 8)] = 2  # of stripes and of the fields of checks, in pixels
    weakest: Annotated[float, Uniform(0, 1)] = 0.5  # gain; the strongest is 1
    offset: Annotated[float, Uniform(0, 0.5)] = 0.2  # uniform between this and its negative
    noise: Annotated[float, Uniform(0, 0.5)] = 0.1  # standard deviation
    seed: int = 0  # of all that is drawn


def build(config: Config) -> Images:
    """Float pixels `(images, 1, side, side)`; masks `(images, side, side)` of 0 and 1.

    Raises:
        ValueError: a knob is out of its range, the largest object does not fit or is smaller than the smallest one, or
            all images together are too large.
    """
    expect_possible(config, 1, config.side, config.images)
    if not config.smallest <= config.largest <= (config.side - 1) // 2:
        expected = f"smallest <= largest <= {(config.side - 1) // 2}, for a side of {config.side}"
        raise ValueError(f"radii from {config.smallest} to {config.largest} cannot work; expected {expected}")
    rng = np.random.default_rng(config.seed)
    labels, masks = _objects(config, rng)
    pixels = _pixels(config, masks, rng)
    kept, part = arrange(labels, np.zeros(len(labels), np.int8), CLASSES, config, "textured_shapes")
    return Images(pixels[kept, None], labels[kept], part, CLASSES, masks=masks[kept].astype(np.int16))


def _objects(config: Config, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shapes `(N,)` and the pixels `(N, side, side)` that they cover, wholly inside the image."""
    count, side = config.images, config.side
    shapes = rng.integers(len(CLASSES), size=count)
    radii = rng.integers(config.smallest, config.largest, size=count, endpoint=True)
    centres = rng.integers(radii[:, None], side - radii[:, None], size=(count, 2))
    return shapes, inside(shapes, CLASSES, centres, radii, side)


def _pixels(config: Config, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count, side = config.images, config.side
    behind = rng.integers(len(TEXTURES), size=count)
    front = (behind + rng.integers(1, len(TEXTURES), size=count)) % len(TEXTURES)
    signs = np.where(masks, *(textured(kinds, side, config.width, rng) for kinds in (front, behind)))
    gain = rng.uniform(config.weakest, 1, (count, 1, 1))
    offset = rng.uniform(-config.offset, config.offset, (count, 1, 1))
    return to_pixels(gain * signs + offset + rng.normal(0, config.noise, signs.shape))
