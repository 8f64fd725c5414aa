"""Rotation about the image's centre, by an angle uniform in ±degrees; what comes in from outside is black.

The default range is the largest rotation of AutoAugment (Cubuk et al. 2019, appendix, table of operations).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.views import Operation, plane, uniform
from spaces.domains import Uniform


@dataclass(frozen=True)
class Config:
    """How often and how far."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # chance of an image to be rotated
    degrees: Annotated[float, Uniform(0.0, 180.0)] = 30.0  # largest angle either way


def build(config: Config) -> Operation:
    """The rotation as an operation."""
    largest = math.radians(config.degrees)

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        return turned(images, uniform(images, -largest, largest, generator))

    return Operation("warp", config.p, draw, outside=True)


def turned(images: Tensor, angle: Tensor) -> Tensor:
    """The warps `(B, 3, 3)` that turn images counter-clockwise by angles `(B,)` in radians.

    A circle of pixels is an ellipse in -1..1 where the image is not square, hence the sides' ratio.
    """
    height, width = images.shape[2:]
    cos, sin = angle.cos(), angle.sin()
    return plane(images, xx=cos, xy=-sin * height / width, yx=sin * width / height, yy=cos)
