"""Random erasing: a random box of the image is filled with noise, or blackened (Zhong et al. 2020, section 3.2).

The box covers a share of the area uniform in 0.02..area, and is drawn as a crop is. The paper draws its stretch
uniformly, here its logarithm is uniform, so that wide boxes are as likely as high ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.augmentations.crop import draw_box
from objectives.images.views import Operation, centres
from spaces.domains import Choice, Uniform

SMALLEST = 0.02


@dataclass(frozen=True)
class Config:
    """How often, how much, and what is put in its place."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # chance of an image to lose a box
    area: Annotated[float, Uniform(0.02, 0.8)] = 0.4  # largest share of the image's area
    ratio: Annotated[float, Uniform(1.0, 5.0)] = 10 / 3  # largest stretch, width over height or height over width
    fill: Annotated[str, Choice("noise", "zero")] = "noise"  # uniform in 0..1 for every pixel and channel, or black


def build(config: Config) -> Operation:
    """The erasing as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        box = inside(images, *draw_box(images, (SMALLEST, config.area), config.ratio, generator))
        if config.fill == "zero":
            return images.masked_fill(box, 0)
        noise = torch.rand(images.shape, generator=generator, dtype=images.dtype, device=images.device)
        return torch.where(box, noise, images)

    return Operation("pixels", config.p, draw)


def inside(images: Tensor, width: Tensor, height: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Which pixels have their centre in the box of each image, `(B, 1, H, W)`; the box as `draw_box` gives it."""
    column, row = centres(images.shape[3], images), centres(images.shape[2], images)
    across = (column - x[:, None]).abs() < width[:, None]
    down = (row - y[:, None]).abs() < height[:, None]
    return across[:, None, None, :] & down[:, None, :, None]
