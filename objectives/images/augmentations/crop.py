"""Random resized crop: a random box of the image, enlarged to the image's size.

The box covers a share of the area uniform in scale..1, stretched by a factor whose logarithm is uniform in
±log(ratio); of ten such boxes the first that fits is taken, at a place uniform over the image (Szegedy et al.
2015, "Going deeper with convolutions", section 6; the defaults are SimCLR's, Chen et al. 2020, appendix A).
The view keeps the image's shape, hence the stretch is relative to the image's own proportions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.views import Operation, plane, uniform
from spaces.domains import Uniform

TRIES = 10


@dataclass(frozen=True)
class Config:
    """How much of the image a crop keeps."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 1.0  # chance of an image to be cropped
    scale: Annotated[float, Uniform(0.02, 1.0)] = 0.08  # smallest share of the image's area; the largest is 1
    ratio: Annotated[float, Uniform(1.0, 3.0)] = 4 / 3  # largest stretch, width over height or height over width


def build(config: Config) -> Operation:
    """The crop as an operation."""
    return crop((config.scale, 1.0), config.ratio, config.p)


def crop(area: tuple[float, float], ratio: float, p: float) -> Operation:
    """A crop of a share of the image within `area`, of each image with chance p."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        width, height, x, y = draw_box(images, area, ratio, generator)
        return plane(images, xx=width, dx=x, yy=height, dy=y)

    return Operation("warp", p, draw)


def draw_box(
    images: Tensor, area: tuple[float, float], ratio: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A box in every image: width and height as shares of the sides, and its centre in -1..1, `(B,)` each.

    Where none of the ten candidates fits, the first keeps its area and takes the nearest stretch that does.
    """
    areas = uniform(images, *area, generator, TRIES)
    stretches = uniform(images, -math.log(ratio), math.log(ratio), generator, TRIES).exp()
    fits = areas * torch.maximum(stretches, 1 / stretches) <= 1
    first = fits.int().argmax(1, keepdim=True)
    size, stretch = areas.gather(1, first).squeeze(1), stretches.gather(1, first).squeeze(1)
    stretch = stretch.clamp(size, 1 / size)
    width, height = (size * stretch).sqrt(), (size / stretch).sqrt()
    x, y = uniform(images, -1, 1, generator, 2).unbind(1)
    return width, height, (1 - width) * x, (1 - height) * y
