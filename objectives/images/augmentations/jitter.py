"""Colour jitter: brightness, contrast, saturation and hue, each changed by a random amount.

The first three blend a colour x with another one, `f x + (1 - f) y`, f uniform in 1 ± strength·amount, never
below 0: y is black for brightness, the image's mean grey for contrast and the pixel's own grey for saturation.
The hue turns by an angle uniform in ± strength·amount of the whole circle. Amounts, strength and p are SimCLR's
(Chen et al. 2020, appendix A; strength 0.5 for CIFAR-10 in appendix B.9); the order is the one of its listing.
The first three commute, so an order drawn at random would only change the hue's place.

Two departures keep all four in one affine map. Clamping waits for the end. The hue turns about the grey axis of
RGB instead of around HSV's hexagon: the same at thirds of the circle, and in between as near to it as a linear map
can come, which on uniformly random colours is 0.05 away (root mean square) at a turn of 0.05 and 0.1 at 0.2.
Saturation and hue are of three channels; any other number of them has brightness and contrast alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.images.augmentations.grey import grey_weights, to_grey
from objectives.images.views import Operation, compose, recoloured, same_colour, uniform
from spaces.domains import Uniform


@dataclass(frozen=True)
class Config:
    """How often and how much of each."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.8  # chance of an image to be changed
    strength: Annotated[float, Uniform(0.0, 2.0)] = 1.0  # multiplies the four amounts
    brightness: Annotated[float, Uniform(0.0, 1.0)] = 0.8  # largest change of the factor on the colours
    contrast: Annotated[float, Uniform(0.0, 1.0)] = 0.8  # largest change of the factor about the image's mean grey
    saturation: Annotated[float, Uniform(0.0, 1.0)] = 0.8  # largest change of the factor about the pixel's grey
    hue: Annotated[float, Uniform(0.0, 0.5)] = 0.2  # largest turn either way, as a share of the circle


def build(config: Config) -> Operation:
    """The jitter as an operation."""

    def factor(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        spread = config.strength * amount
        return uniform(images, max(0.0, 1 - spread), 1 + spread, generator)

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        colour = brightened(images, factor(images, config.brightness, generator))
        colour = compose(contrasted(recoloured(images, colour), factor(images, config.contrast, generator)), colour)
        if images.shape[1] == 3:
            colour = compose(saturated(images, factor(images, config.saturation, generator)), colour)
            turn = config.strength * config.hue
            colour = compose(hue_turned(images, uniform(images, -turn, turn, generator)), colour)
        return colour

    return Operation("colour", config.p, draw)


def brightened(images: Tensor, factor: Tensor) -> Tensor:
    """The colour maps `(B, C, C + 1)` that blend with black by factors `(B,)`."""
    return factor[:, None, None] * same_colour(images)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """The colour maps `(B, C, C + 1)` that blend with the mean grey of each image by factors `(B,)`."""
    mean = (images.mean((2, 3)) @ grey_weights(images))[:, None, None]
    mean_grey = F.pad(mean.expand(-1, images.shape[1], -1), (images.shape[1], 0))
    return torch.lerp(mean_grey, same_colour(images), factor[:, None, None])


def saturated(images: Tensor, factor: Tensor) -> Tensor:
    """The colour maps `(B, 3, 4)` that blend every pixel with its own grey by factors `(B,)`."""
    return torch.lerp(to_grey(images), same_colour(images), factor[:, None, None])


def hue_turned(images: Tensor, turn: Tensor) -> Tensor:
    """The colour maps `(B, 3, 4)` that turn colours about the grey axis by `(B,)` parts of the circle, red to green."""
    cos, sin = (2 * math.pi * turn)[:, None, None].cos(), (2 * math.pi * turn)[:, None, None].sin()
    along = images.new_full((3, 3), 1 / 3)  # the part of a colour on the axis, which stays
    across = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # the axis' cross product
    rotation = cos * (torch.eye(3, dtype=images.dtype, device=images.device) - along) + along + sin * across
    return F.pad(rotation, (0, 1))
