"""Noise: `x + std ε`, ε normal and independent for every pixel and channel, clamped to 0..1.

One of the operations that SimCLR compares (Chen et al. 2020, figure 4), without a figure for std or p; the
defaults are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.images.views import Operation
from spaces.domains import Uniform


@dataclass(frozen=True)
class Config:
    """How often and how much."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # chance of an image to be disturbed
    std: Annotated[float, Uniform(0.0, 0.5)] = 0.1  # standard deviation of the noise; white is 1


def build(config: Config) -> Operation:
    """The noise as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        normal = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
        return images + config.std * normal

    return Operation("pixels", config.p, draw)
