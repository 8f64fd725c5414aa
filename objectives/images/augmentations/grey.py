"""Grey: a colour image loses its colours and keeps its luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

One image in five in SimCLR (Chen et al. 2020, appendix A). Images that have not three channels stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.images.views import Operation, same_colour
from spaces.domains import Uniform

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Config:
    """How often."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.2  # chance of an image to lose its colours


def build(config: Config) -> Operation:
    """The loss of colour as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        return to_grey(images) if images.shape[1] == 3 else same_colour(images)

    return Operation("colour", config.p, draw)


def to_grey(images: Tensor) -> Tensor:
    """The colour map `(1, C, C + 1)` that puts an image's grey in every channel."""
    channels = images.shape[1]
    return F.pad(grey_weights(images).expand(1, channels, channels), (0, 1))


def grey_weights(images: Tensor) -> Tensor:
    """Each channel's part in the grey, `(C,)`: the luma of three channels, the mean of any other number."""
    channels = images.shape[1]
    return images.new_tensor(LUMA if channels == 3 else (1 / channels,) * channels)
