"""Flip: the image mirrored, left and right exchanged.

Every second image in SimCLR (Chen et al. 2020, appendix A). Images without an up, such as those from above or
through a microscope, may also be mirrored top to bottom; then p = 3/4 makes all four positions equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.views import Operation, plane, uniform
from spaces.domains import Choice, Uniform


@dataclass(frozen=True)
class Config:
    """How often and which way."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # chance of an image to be mirrored
    vertical: Annotated[bool, Choice(False, True)] = False  # whether upside down too: either way or both, a third each


def build(config: Config) -> Operation:
    """The flip as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        if not config.vertical:
            return plane(images, xx=-1.0)
        third = uniform(images, 0, 3, generator)
        return plane(images, xx=mirrored(third < 2), yy=mirrored(third >= 1))

    return Operation("warp", config.p, draw)


def mirrored(which: Tensor) -> Tensor:
    """The sign of an axis, `(B,)`: -1 where it is mirrored, 1 elsewhere."""
    return 1 - 2 * which.float()
