"""Cluttered polarity digits: a handwritten digit at a random place, bright or dark, in noise.

On clean digits random convolutional features already reach 0.95 under a linear probe, so that pretraining has little
to add. Here an untrained network sees little (0.3 to 0.4 in the pilot): place, sign and strength vary, noise covers
the canvas, and which way is up still shows. An image is s·u·digit + noise on an empty canvas, s = ±1 with even chance,
u uniform; the signed values are mapped to pixels, 0 to 0.5, ±1.5 to 0 and 1.

The digits of scikit-learn (see `digits`) are split first and then drawn, so that all renderings of one digit stand in
one part.

Source: S. Gidaris et al., *Unsupervised Representation Learning by Predicting Image Rotations*, ICLR 2018, arXiv
1803.07728, is whose claim these images are for; the recipe is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.data._drawing import DIGIT, expect_possible, paste, polarities, source_digits, to_pixels
from objectives.images.images import Images
from objectives.images.split import Split, arrange
from spaces.domains import Int, Uniform


@dataclass(frozen=True)
class Config(Split):
    """How the digits are drawn and split. The recipe: side 12, u from 0.5, noise 0.12, two copies."""

    side: Annotated[int, Int(8, 64)] = 12  # of the canvas, in pixels
    copies: Annotated[int, Int(1, 100)] = 2  # renderings of each digit
    weakest: Annotated[float, Uniform(0, 1)] = 0.5  # gain; the strongest is 1
    noise: Annotated[float, Uniform(0, 0.5)] = 0.12  # standard deviation, where a digit's strokes have 1
    seed: int = 0  # of places, gains and noise


def build(config: Config) -> Images:
    """Float pixels, `(copies · 1797, 1, side, side)`, all digits once before any comes again; classes are the digits'.

    Raises:
        ValueError: a knob is out of its range, or all images together are too large.
    """
    source = source_digits(config)
    expect_possible(config, 1, config.side, config.copies * len(source))
    pixels = np.concatenate([_drawn(source.pixels[:, 0], config, copy) for copy in range(config.copies)])
    labels, part = np.tile(source.labels, config.copies), np.tile(source.part, config.copies)
    kept, part = arrange(labels, part, source.classes, config, "cluttered_digits")
    return Images(pixels[kept, None], labels[kept], part, source.classes)


def _drawn(patches: np.ndarray, config: Config, copy: int) -> np.ndarray:
    """Each digit `(N, 8, 8)` once on a canvas `(N, side, side)`; more copies leave the first as they are."""
    rng = np.random.default_rng([config.seed, copy])
    count, side = len(patches), config.side
    canvas = np.zeros((count, side, side))
    gains = polarities(rng, config.weakest, (count, 1, 1))
    paste(canvas, gains * patches, rng.integers(side - DIGIT + 1, size=(count, 2)))
    return to_pixels(canvas + rng.normal(0, config.noise, canvas.shape))
