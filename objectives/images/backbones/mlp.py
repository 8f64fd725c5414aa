"""Multilayer perceptron on the pixels: x ← relu(batch norm(W x)), layer by layer.

The backbone without any idea of what an image is; a floor for the others, and fast on digits.

Source: S. Ioffe, C. Szegedy, *Batch Normalization*, ICML 2015, section 3.2 (where the normalisation stands).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from spaces.domains import Choice, Int

OFFERS = ("layers",)


@dataclass(frozen=True)
class Config:
    """Size of the network."""

    width: Annotated[int, Int(32, 1024, log=True)] = 128  # units of a layer
    depth: Annotated[int, Int(1, 4)] = 2  # layers
    last: Annotated[int, Int(0, 1024)] = 0  # units of the last layer; 0: as many as in the others
    norm: Annotated[str, Choice("batch", "none")] = "batch"  # none: no image sees another


def build(config: Config, shape: tuple[int, int, int]) -> Perceptron:
    """A network for images of `shape` (C, H, W)."""
    return Perceptron(config, shape)


class Perceptron(nn.Module):
    """Images `(B, C, H, W)` to features `(B, width)`, or `(B, last)`."""

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = config.last or config.width
        sizes = [math.prod(shape)] + [config.width] * (config.depth - 1) + [self.features]
        self.layers = nn.Sequential(*(_layer(*pair, config.norm) for pair in pairwise(sizes)))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.flatten(1))


def _layer(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    """Without a bias where a batch norm follows."""
    linear = nn.Linear(inputs, outputs, bias=norm == "none")
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    return nn.Sequential(linear, nn.BatchNorm1d(outputs) if norm == "batch" else nn.Identity(), nn.ReLU())
