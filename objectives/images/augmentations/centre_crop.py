"""Centre-biased crop: a random resized crop whose centre keeps to a box about the middle of the image.

The size of the crop is drawn as in `crop`. Its centre lies in that part of the box where the crop is inside the image,
and on each axis it follows Beta(alpha, alpha) over that part: below 1 it is drawn to the box's corners, so that a crop
shows the middle and yet differs from others of its image; 1 is uniform, above 1 it is drawn to the middle.

Section 3 of Peng et al., "Crafting Better Contrastive Views for Siamese Representation Learning" (CVPR 2022, arXiv
2202.03278), whose box follows the activations; here it stands still, as in the code of Hallucinator (Wu et al., ICCV
2023, arXiv 2307.12168), which crops one of two views so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from objectives.images.augmentations.crop import draw_box
from objectives.images.views import Operation, plane, uniform
from spaces.domains import Log, Uniform

KNOTS = 4097  # of the table of quantiles


@dataclass(frozen=True)
class Config:
    """Hallucinator: scale 0.2, half_width 0.25 (CIFAR, STL), 0.35 (Tiny ImageNet), 0.3 (ImageNet), alpha 0.1 or 0.6."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 1.0  # chance of an image to be cropped
    scale: Annotated[float, Uniform(0.02, 1.0)] = 0.2  # smallest share of the image's area; the largest is 1
    ratio: Annotated[float, Uniform(1.0, 3.0)] = 4 / 3  # largest stretch, width over height or height over width
    half_width: Annotated[float, Uniform(0.0, 0.5)] = 0.25  # of the box, as a share of the side
    alpha: Annotated[float, Log(0.1, 2.0)] = 0.1  # of the centre's distribution over the box


def build(config: Config) -> Operation:
    """The crop as an operation."""
    table = quantiles(config.alpha)

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        width, height, _, _ = draw_box(images, (config.scale, 1.0), config.ratio, generator)
        x, y = looked_up(table.to(images), uniform(images, 0, 1, generator, 2)).unbind(1)
        reach_x, reach_y = ((1 - side).clamp(max=2 * config.half_width) for side in (width, height))
        return plane(images, xx=width, dx=reach_x * x, yy=height, dy=reach_y * y)

    return Operation("warp", config.p, draw)


def quantiles(alpha: float) -> Tensor:
    """Quantiles of Beta(alpha, alpha), stretched to -1..1, at even probabilities from 0 to 1, `(KNOTS,)`."""
    from scipy.special import betaincinv  # here: naming a component should not wait for SciPy

    return torch.from_numpy(2 * betaincinv(alpha, alpha, np.linspace(0, 1, KNOTS)) - 1)


def looked_up(table: Tensor, probability: Tensor) -> Tensor:
    """The values of a table of quantiles at probabilities in 0..1 of any shape, straight lines between its knots."""
    place = probability * (len(table) - 1)
    below = place.long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], place - below)
