"""Grids of digits in pairs: two images that share n independent factors and nothing else.

Cell i of an image holds a handwritten digit of class z_i, uniform in 0..9; cell i of its partner holds another one, of
class (z_i + 1) mod 10. So an image and its partner have n·ln 10 nats in common, in n factors of equal weight, which is
more than a contrastive loss over a small batch can certify: a representation may be good at that loss and lack most
factors. `factors` are the z_i, `labels` the first of them.

Cells fill the smallest square grid row by row: 8 × 8 pixels for one, 16 × 16 for four, 24 × 24 for nine; what remains
is black. The digits of scikit-learn (see `digits`) are split before any is drawn, so that each part has its own, and
another `split_seed` makes other images.

Source: S. Ozair et al., *Wasserstein Dependency Measure for Representation Learning*, NeurIPS 2019, arXiv 1903.11780,
whose SpatialMultiOmniglot has this structure with characters; the recipe with digits is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from objectives.images.data._drawing import DIGIT, expect_possible, part_sizes, source_digits
from objectives.images.images import Images
from objectives.images.split import Split, arrange
from spaces.domains import Int, Uniform


@dataclass(frozen=True)
class Config(Split):
    """How many cells and pairs. The paper: 1 to 9 characters; 50,000, 10,000 and 10,000 pairs. The shares divide the
    source digits as well as the pairs; the recipe holds 30 % of the digits out."""

    valid: Annotated[float, Uniform(0.05, 0.5)] = 0.15
    test: Annotated[float, Uniform(0.05, 0.5)] = 0.15
    cells: Annotated[int, Int(1, 25)] = 4  # digits in an image
    images: Annotated[int, Int(100, 1_000_000, log=True)] = 10_000  # pairs, of all parts together
    seed: int = 0  # of classes and digits


def build(config: Config) -> Images:
    """Float pixels in 0..1 and partners, `(images, 1, H, H)`, training pairs first; factors `(images, cells)`.

    Raises:
        ValueError: a knob is out of its range, or all images together are too large.
    """
    side = DIGIT * math.isqrt(config.cells - 1) + DIGIT if config.cells > 0 else DIGIT
    expect_possible(config, 2, side, config.images)
    source = source_digits(config)
    sizes = part_sizes(config.images, config)
    drawn = [_pairs(source, one, count, config) for one, count in sizes.items()]
    factors, pixels, partner = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    part = np.repeat(np.array(list(sizes), np.int8), list(sizes.values()))
    kept, part = arrange(factors[:, 0], part, source.classes, config, "digit_grids")
    factors = factors[kept]
    return Images(pixels[kept], factors[:, 0].copy(), part, source.classes, partner=partner[kept], factors=factors)


def _pairs(source: Images, part: int, count: int, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors `(count, cells)` of the pairs of one part, their images and the partners `(count, 1, H, H)`."""
    rng = np.random.default_rng([config.seed, part])
    factors = rng.integers(10, size=(count, config.cells))
    by_class = [np.flatnonzero((source.part == part) & (source.labels == one)) for one in range(10)]
    sizes = np.array([len(rows) for rows in by_class])
    first = np.cumsum(sizes) - sizes
    ordered = np.concatenate(by_class)

    def grid(classes: np.ndarray) -> np.ndarray:
        rows = ordered[first[classes] + rng.integers(sizes[classes])]
        return laid_out(source.pixels[rows, 0])[:, None]

    return factors, grid(factors), grid((factors + 1) % 10)


def laid_out(patches: np.ndarray) -> np.ndarray:
    """Patches `(N, n, h, h)` on the smallest square grid `(N, s·h, s·h)`, row by row, what remains black."""
    count, cells, side, _ = patches.shape
    across = math.isqrt(cells - 1) + 1
    grid = np.zeros((count, across**2, side, side), patches.dtype)
    grid[:, :cells] = patches
    grid = grid.reshape(count, across, across, side, side).transpose(0, 1, 3, 2, 4)
    return grid.reshape(count, across * side, across * side)
