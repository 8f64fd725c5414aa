"""Translation: the image shifted along both sides, each shift uniform in ±shift; what comes in is black.

The default is the shift of He et al. 2016 ("Deep residual learning", section 4.2): 4 of CIFAR's 32 pixels, of
every image. Shifts are not rounded to whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.views import Operation, plane, uniform
from spaces.domains import Uniform


@dataclass(frozen=True)
class Config:
    """How often and how far."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 1.0  # chance of an image to be shifted
    shift: Annotated[float, Uniform(0.0, 0.5)] = 0.125  # largest shift either way, as a share of the side


def build(config: Config) -> Operation:
    """The translation as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        x, y = uniform(images, -config.shift, config.shift, generator, 2).unbind(1)
        return shifted(images, x, y)

    return Operation("warp", config.p, draw, outside=True)


def shifted(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The warps `(B, 3, 3)` that move images right by `x` and down by `y`, `(B,)` shares of their sides."""
    return plane(images, dx=-2 * x, dy=-2 * y)  # a side is 2 long, and the output looks back to where it came from
