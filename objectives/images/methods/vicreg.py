"""VICReg: views agree (invariance), features stay alive (variance) and differ from each other (covariance).

For embeddings Z, Z' of the two views, n samples of d features:

    s = mean squared difference of Z and Z'                                   invariance
    v = 1/d sum_j max(0, 1 - sqrt(Var(z^j) + 0.0001))                         variance, a hinge on each feature
    c = 1/d sum_{i != j} C_ij^2,   C the covariance matrix, over n - 1        covariance
    loss = invariance * s(Z, Z') + variance * (v(Z) + v(Z')) + covariance * (c(Z) + c(Z'))

Section 4.1, equations 1 to 6, and algorithm 1 of Bardes et al., "VICReg: Variance-Invariance-Covariance
Regularization" (ICLR 2022, arXiv 2105.04906). Equation 5 sums s over features where algorithm 1 takes the mean;
this is the mean. The authors' code halves v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.heads import mlp
from objectives.parts.precision import full_precision
from spaces.domains import Int, Log


@dataclass(frozen=True)
class Config:
    """The paper: weights 25, 25 and 1, expander 8192 wide throughout."""

    invariance: Annotated[float, Log(0.01, 100.0)] = 25.0  # weight of s
    variance: Annotated[float, Log(0.01, 100.0)] = 25.0  # weight of v; too little lets all features collapse
    covariance: Annotated[float, Log(0.001, 100.0)] = 1.0  # weight of c; too little lets features repeat each other
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the expander's two hidden layers
    out: Annotated[int, Int(4, 8192, log=True)] = 256  # d, width of the embedding


@full_precision
def invariance_loss(one: Tensor, two: Tensor) -> Tensor:
    """s of the embeddings `(B, D)` of two views; a scalar."""
    return F.mse_loss(one, two)


@full_precision
def variance_loss(z: Tensor) -> Tensor:
    """v of embeddings `(B, D)`, B at least 2; a scalar in 0..1, and 0 once each feature's deviation reaches 1."""
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


@full_precision
def covariance_loss(z: Tensor) -> Tensor:
    """c of embeddings `(B, D)`, B at least 2; a scalar, and 0 where no two features are correlated."""
    samples, features = z.shape
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (samples - 1)
    return (covariance - torch.diag(covariance.diagonal())).square().sum() / features


def losses(one: Tensor, two: Tensor, config: Config) -> dict[str, Tensor]:
    """The three parts of the loss of the embeddings `(B, D)` of two views, with their weights."""
    return {
        "invariance": config.invariance * invariance_loss(one, two),
        "variance": config.variance * (variance_loss(one) + variance_loss(two)),
        "covariance": config.covariance * (covariance_loss(one) + covariance_loss(two)),
    }


class VICReg(Method):
    """A backbone, an expander that is thrown away after training, and the three losses."""

    views = 2

    def __init__(self, config: Config, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.expander = mlp([backbone.features, config.hidden, config.hidden, config.out])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        one, two = (self.expander(self.backbone(view)) for view in batch.views)
        return losses(one, two, self.config)


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """VICReg on a backbone, for images of any shape."""
    return VICReg(config, backbone)
