"""MLC: manifolds are made linear subspaces, orthogonal to each other, while they are found.

Z and C are what two heads make of n images, rows at length 1, d wide; Gamma says how far two images belong together:

    Gamma = Sinkhorn_eta(kernel(C Cᵀ)),   rows sum to 1
    R(Z) = log det(I + d / (n eps²) Zᵀ Z),   R_c(Z, Gamma) = 1/n sum_j log det(I + d / eps² Zᵀ diag(Gamma_j) Z)
    stage 1:  loss = -R(mean of an image's Z) + invariance * (1 - mean cosine of its views)
    stage 2:  loss = -R(Z) + gamma * R_c(Z, Gamma) + affinity_norm * |Gamma|² / 2

Before stage 2 the feature head is copied into the cluster head, so that Gamma starts from what stage 1 has learnt. In
stage 2, Z is the mean of the views brought back to length 1, and Gamma the mean of theirs. Images are sorted by
spectral clustering of Gamma. Features end up as subspaces, not as blobs: k-means on them is no measure.

Section 3 of Ding et al., "Unsupervised Manifold Linearizing and Clustering" (ICCV 2023, arXiv 2301.01805), whose rates
have no factor 1/2. It rewards |z z'|; the cosine is that of Li et al., "Neural Manifold Clustering and Embedding"
(arXiv 2201.10000), since R of the mean of opposite rows vanishes. The norm of Gamma is from Chu et al., "Image
Clustering via the Principle of Rate Reduction in the Age of Pretrained Models" (arXiv 2306.05272).
Other losses of stage 1 are those of SimCLR, VICReg (at its weights) and MoCo v2 (Chen et al., arXiv 2003.04297).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.images.methods import vicreg
from objectives.method import Batch, Method, Task
from objectives.parts import contrastive
from objectives.parts.backbone import Backbone
from objectives.parts.clusterers import spectral
from objectives.parts.coding_rate import coding_rate, rate_of_parts
from objectives.parts.heads import mlp
from objectives.parts.memories import Queue
from objectives.parts.momentum import Teacher
from objectives.parts.precision import full_precision
from objectives.parts.sinkhorn import Kernel, affinity
from spaces.domains import Choice, Int, Log, Uniform

OFFERS = ("affinity",)
SEED = 0  # of spectral clustering


@dataclass(frozen=True)
class Config:
    """The paper: d = 128 on a ResNet-18, two views, the inner product; its hyper-parameters are in an appendix.

    Code of the same group: eps2 0.1 or 0.2, eta 0.175 (CIFAR-10) or 0.12 (ImageNet), 5 iterations, absolute cosines,
    invariance 30, heads of 2 layers 4096 wide, affinity_norm 0.05 or none, batches of 1024.
    """

    first: Annotated[str, Choice("tcr", "simclr", "mocov2", "vicreg")] = "tcr"  # loss of stage 1; tcr: that above
    temperature: Annotated[float, Log(0.02, 2.0)] = 0.2  # of simclr and mocov2
    queue: Annotated[int, Int(64, 65536, log=True)] = 1024  # past keys of mocov2
    momentum: Annotated[float, Uniform(0.9, 0.9999)] = 0.99  # that the teacher of mocov2 starts with; 1 at the end
    eps2: Annotated[float, Log(0.05, 2.0)] = 0.5  # eps², the precision to which rows are coded
    eta: Annotated[float, Log(0.02, 1.0)] = 0.175  # softness of Gamma; too hard and every image stands alone
    iterations: Annotated[int, Int(3, 20)] = 5  # of Sinkhorn
    kernel: Annotated[str, Choice("absolute", "inner", "positive")] = "absolute"  # of cosines
    invariance: Annotated[float, Log(1.0, 200.0)] = 20.0  # weight of the views' cosine in stage 1
    gamma: Annotated[float, Uniform(0.5, 2.0)] = 1.0  # weight of R_c
    affinity_norm: Annotated[float, Uniform(0.0, 0.2)] = 0.0  # weight of |Gamma|²
    copy: Annotated[bool, Choice(True, False)] = True  # whether the cluster head starts as the feature head
    share: Annotated[float, Uniform(0.0, 0.5)] = 0.4  # of all steps that are of stage 2; 0: Gamma is that of stage 1
    views: Annotated[int, Int(1, 4)] = 2  # of an image
    depth: Annotated[int, Int(1, 3)] = 1  # layers of a head
    hidden: Annotated[int, Int(64, 4096, log=True)] = 256  # width of a head's hidden layers
    out: Annotated[int, Int(8, 256, log=True)] = 32  # d


@full_precision
def total_rate_loss(z: Tensor, eps2: float, invariance: float) -> dict[str, Tensor]:
    """The parts of stage 1's loss on features of views `(A, n, d)`, rows of length 1; scalars."""
    cosines = [(one * two).sum(dim=1).mean() for one, two in combinations(z, 2)]
    agree = invariance * (1 - torch.stack(cosines).mean()) if cosines else 0 * z.sum()
    return {"expand": -coding_rate(z.mean(dim=0), eps2), "agree": agree}


@full_precision
def rate_reduction_loss(
    z: Tensor, affinity: Tensor, eps2: float, gamma: float, affinity_norm: float
) -> dict[str, Tensor]:
    """The parts of stage 2's loss on features `(n, d)`, rows of length 1, and Gamma `(n, n)`; scalars."""
    return {
        "expand": -coding_rate(z, eps2),
        "compress": gamma * rate_of_parts(z, affinity, eps2),
        "norm": affinity_norm * affinity.square().sum() / 2,
    }


class MLC(Method):
    """A backbone with a head for features and one for clusters; `step` says which stage it is in."""

    step: Tensor

    def __init__(self, config: Config, backbone: Backbone, steps: int) -> None:
        super().__init__()
        self.config, self.views = config, config.views
        self.first = steps - round(config.share * steps)  # steps of stage 1
        self.backbone = backbone
        sizes = [backbone.features, *[config.hidden] * (config.depth - 1), config.out]
        self.feature_head, self.cluster_head = mlp(sizes), mlp(sizes)
        if config.first == "mocov2":
            self.queue = Queue(config.queue, config.out)
            self.teacher = Teacher(nn.Sequential(backbone, self.feature_head), config.momentum, self.first)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        c, codes = self.config, self.backbone(torch.cat(batch.views))
        z = self.feature_head(codes).unflatten(0, (self.views, -1))
        if self.step < self.first:
            return self.first_loss(z, batch)
        clusters = self.cluster_head(codes).unflatten(0, (self.views, -1))
        gamma = torch.stack([self.affinity(view) for view in clusters]).mean(dim=0)
        return rate_reduction_loss(unit(unit(z).mean(dim=0)), gamma, c.eps2, c.gamma, c.affinity_norm)

    def first_loss(self, z: Tensor, batch: Batch) -> Tensor | dict[str, Tensor]:
        """The loss of stage 1 on the feature head's rows `(A, n, d)`, not yet at length 1."""
        c = self.config
        if c.first == "tcr":
            return total_rate_loss(unit(z), c.eps2, c.invariance)
        if c.first == "vicreg":
            return vicreg.losses(z[0], z[1], vicreg.Config())
        if c.first == "simclr":
            return contrastive.pairwise(z.flatten(0, 1), c.temperature)
        keys = unit(self.teacher(batch.views[1]))
        loss = contrastive.queue(z[0], keys, self.queue.rows[: int(self.queue.count)], c.temperature)
        self.queue.push(keys)
        return loss

    def affinity(self, clusters: Tensor) -> Tensor:
        """Gamma `(n, n)` by the cluster head's rows `(n, d)`."""
        c = self.config
        return affinity(clusters, c.eta, c.iterations, cast(Kernel, c.kernel))

    @torch.no_grad()
    def after_step(self) -> None:
        self.step += 1
        if self.config.first == "mocov2":
            self.teacher.follow(nn.Sequential(self.backbone, self.feature_head))
        if self.config.copy and self.step == self.first:
            self.cluster_head.load_state_dict(self.feature_head.state_dict())

    def clusters(self, images: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
        """By spectral clustering of Gamma, which in stage 1 is that of the features."""
        codes = self.backbone(images)
        features = unit(self.feature_head(codes))
        told = features if self.step <= self.first else self.cluster_head(codes)
        return spectral(self.affinity(told), count, SEED), features


@full_precision
def unit(z: Tensor) -> Tensor:
    """Rows `(..., d)` at length 1."""
    return F.normalize(z, dim=-1)


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """MLC on a backbone, for images of any shape.

    Raises:
        ValueError: a stage 1 of pairs without two views, or a batch that has no two images to put together.
    """
    if config.first != "tcr" and config.views != 2:
        raise ValueError(f"stage 1 by {config.first} takes two views of an image, and 'views' is {config.views}")
    if task.batch < 2:
        raise ValueError("an affinity needs two images a batch")
    return MLC(config, backbone, task.steps)
