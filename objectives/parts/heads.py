"""Small networks between a representation and a loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """A network `(B, sizes[0]) -> (B, sizes[-1])`: batch-normalised ReLU layers, and a linear one at the end."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def map_head(sizes: Sequence[int]) -> nn.Sequential:
    """The same for each place of a map, `(B, sizes[0], h, w) -> (B, sizes[-1], h, w)`: 1 × 1 convolutions.

    Hidden layers are normalised over batch and places; the last is linear, without normalisation.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-2], sizes[-1], 1))
