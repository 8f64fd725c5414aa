"""Gaussian blur: `sum_d exp(-d²/2σ²) x_{i+d}` along rows and columns, normalised, σ uniform between 0.1 and sigma.

σ is given in pixels of an image of side 224 and scaled to the images at hand, so that one number means one
blur at every size (Chen et al. 2020, appendix A, and Grill et al. 2020, appendix B: 0.1 to 2.0 at 224). On small
images the default is next to nothing: below a third of a pixel the kernel is a single one. SimCLR leaves the blur
out on CIFAR-10 (appendix B.9). The kernel reaches to three of the largest σ, where the weights have fallen to a
hundredth; the edge is reflected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.images.views import Operation, uniform
from spaces.domains import Log, Uniform

SMALLEST = 0.1
SIDE = 224


@dataclass(frozen=True)
class Config:
    """How often and how much."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # chance of an image to be blurred
    sigma: Annotated[float, Log(0.5, 16.0)] = 2.0  # largest standard deviation, in pixels of a side of 224


def build(config: Config) -> Operation:
    """The blur as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        pixel = min(images.shape[2:]) / SIDE
        sigma = uniform(images, SMALLEST * pixel, config.sigma * pixel, generator)
        return blurred(images, sigma, radius=math.ceil(3 * config.sigma * pixel))

    return Operation("pixels", config.p, draw)


def blurred(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Images `(B, C, H, W)` blurred by standard deviations `(B,)` in pixels, with a kernel of 2 radius + 1."""
    batch, channels, height, width = images.shape
    distance = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-0.5 * (distance / sigma[:, None]).square(), dim=1).repeat_interleave(channels, 0)
    planes = F.pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    # Every channel of every image is a group of its own, so that each has its image's kernel in one convolution.
    planes = F.conv2d(planes, kernel[:, None, None, :], groups=batch * channels)
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=batch * channels)
    return planes.view(batch, channels, height, width)
