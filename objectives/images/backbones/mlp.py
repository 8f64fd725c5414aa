"""Multilayer perceptron on the pixels: x ← relu(batch norm(W x)), layer by layer.

The backbone without any idea of what an image is; a floor for the others, and fast on digits.

Source: S. Ioffe, C. Szegedy, *Batch Normalization*, ICML 2015, section 3.2 (where the normalisation stands).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from spaces.domains import Int


@dataclass(frozen=True)
class Config:
    """Size of the network."""

    width: Annotated[int, Int(32, 1024, log=True)] = 128  # units of a layer
    depth: Annotated[int, Int(1, 4)] = 2  # layers


def build(config: Config, shape: tuple[int, int, int]) -> Perceptron:
    """A network for images of `shape` (C, H, W)."""
    return Perceptron(config, shape)


class Perceptron(nn.Module):
    """Images `(B, C, H, W)` to features `(B, width)`."""

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = config.width
        channels, height, width = shape
        sizes = [channels * height * width] + [config.width] * config.depth
        self.layers = nn.Sequential(*(_layer(*pair) for pair in pairwise(sizes)))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.flatten(1))


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    """Without a bias, since a batch norm follows."""
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    return nn.Sequential(linear, nn.BatchNorm1d(outputs), nn.ReLU())
