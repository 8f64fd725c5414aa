"""SimCLR: two views of an image attract each other and repel all other images of the batch.

For the 2B projections of a batch, each normalised to length 1, with j the other view of i:

    loss = mean over i of  -log( exp(z_i . z_j / t) / sum_{k != i} exp(z_i . z_k / t) )

This is NT-Xent, equation 1 and algorithm 1 of Chen et al., "A Simple Framework for Contrastive Learning of Visual
Representations" (ICML 2020, arXiv 2002.05709). Both views pass through the network together, as in the authors'
code, so that batch normalisation sees 2B images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.contrastive import pairwise
from objectives.parts.heads import mlp
from objectives.parts.paired import Paired
from spaces.domains import Int, Log

OFFERS = ("pairs",)


@dataclass(frozen=True)
class Config:
    """The paper: temperature 0.1 to 0.5 (0.5 on CIFAR-10), projector 2048 to 2048 to 128 on a ResNet-50."""

    temperature: Annotated[float, Log(0.02, 2.0)] = 0.2  # t: small looks at the nearest negatives only
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the projector's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 64  # width of the projection


class SimCLR(Paired):
    """A backbone, a projector that is thrown away after training, and NT-Xent."""

    views = 2

    def __init__(self, config: Config, backbone: Backbone) -> None:
        super().__init__()
        self.temperature, self.width = config.temperature, config.out
        self.backbone = backbone
        self.projector = mlp([backbone.features, config.hidden, config.out])

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        one, two = self.projector(self.backbone(torch.cat(batch.views))).chunk(2)
        return [(one, two)]

    def contrast(self, q: Tensor, k: Tensor) -> Tensor:
        return pairwise(torch.cat([q, k]), self.temperature)


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """SimCLR on a backbone, for images of any shape."""
    return SimCLR(config, backbone)
