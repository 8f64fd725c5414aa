"""Barlow Twins: the features of two views correlate each with its twin and with no other.

With C the cross-correlation of the two views' projections over the batch, d features:

    loss = 1/d ( sum_i (1 - C_ii)^2  +  redundancy * sum_{i != j} C_ij^2 )
    C_ij = mean over b of  z_bi z'_bj,    each feature of z and z' with mean 0 and deviation 1 over the batch

Equations 1 and 2 and algorithm 1 of Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy
Reduction" (ICML 2021, arXiv 2103.03230). The paper's sum grows with d; 1/d keeps it near 1. Of unrelated features
C_ij^2 is about 1 / batch, so that the second sum weighs redundancy * d / batch beside the first: 0.02 in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.heads import mlp
from objectives.parts.precision import full_precision
from spaces.domains import Int, Log


@dataclass(frozen=True)
class Config:
    """The paper: redundancy 0.005 at batch 2048, projector 8192 wide throughout."""

    redundancy: Annotated[float, Log(1e-4, 1.0)] = 0.02  # weight of the correlations between different features
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the projector's two hidden layers
    out: Annotated[int, Int(4, 8192, log=True)] = 256  # d, width of the projection


@full_precision
def cross_correlation(one: Tensor, two: Tensor) -> Tensor:
    """C `(D, D)` of projections `(B, D)` of two views; a feature that is constant correlates with nothing."""
    return _standardise(one).T @ _standardise(two) / len(one)


def _standardise(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    return centred * centred.square().mean(dim=0).clamp(min=1e-8).rsqrt()


@full_precision
def twin_losses(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Both sums of the loss, over d, of a correlation matrix `(D, D)`, without weights; scalars."""
    diagonal = correlation.diagonal()
    others = correlation - torch.diag(diagonal)
    return (1 - diagonal).square().mean(), others.square().sum() / len(diagonal)


class BarlowTwins(Method):
    """A backbone, a projector that is thrown away after training, and the two sums."""

    views = 2

    def __init__(self, config: Config, backbone: Backbone) -> None:
        super().__init__()
        self.redundancy = config.redundancy
        self.backbone = backbone
        self.projector = mlp([backbone.features, config.hidden, config.hidden, config.out])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        one, two = (self.projector(self.backbone(view)) for view in batch.views)
        invariance, redundancy = twin_losses(cross_correlation(one, two))
        return {"invariance": invariance, "redundancy": self.redundancy * redundancy}


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """Barlow Twins on a backbone, for images of any shape."""
    return BarlowTwins(config, backbone)
