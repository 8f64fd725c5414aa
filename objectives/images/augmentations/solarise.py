"""Solarisation: what is at least as bright as the threshold is inverted, `x -> 1 - x`.

BYOL applies it to one image in five of its second view only, at one half (Grill et al. 2020, appendix B).
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
    """How often and from where."""

    p: Annotated[float, Uniform(0.0, 1.0)] = 0.2  # chance of an image to be solarised
    threshold: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # the darkest value that is inverted


def build(config: Config) -> Operation:
    """The solarisation as an operation."""

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(images < config.threshold, images, 1 - images)

    return Operation("pixels", config.p, draw)
