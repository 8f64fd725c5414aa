"""SwAV: cluster the batch online, and predict the cluster of one view from the other.

Unit projections z are scored against K unit prototypes C, s = z . C. The scores of a view become a soft code q by
Sinkhorn's iterations, which make the batch use all prototypes equally and so forbid collapse; no gradient passes
through a code. The other view must predict it:

    loss = ( l(s_1, q_2) + l(s_2, q_1) ) / 2,      l(s, q) = -sum_k q_k log softmax(s / t)_k,  mean over the batch

With the plugin `multicrop` further, small views predict the codes of both, and give none: the loss of each code is then
the mean over all views but its own.

Section 3.1, equations 1 to 5, section 3.2, and algorithm 1 of Caron et al., "Unsupervised Learning of Visual Features
by Contrasting Cluster Assignments" (NeurIPS 2020, arXiv 2006.09882). As in the authors' code, prototypes are brought
back to length 1 after each step, stand still for the first steps, and a queue of past projections can fill up
batches that are small beside K.

Codes can be found without a plan, too: by a softmax of the scores less their running mean over past batches, centre c,
q = softmax((s - c) / e), which draws on rare prototypes more (Caron et al., "Emerging Properties in Self-Supervised
Vision Transformers", ICCV 2021, arXiv 2104.14294, section 3.1, with temperatures of 0.04 to 0.07). Their codes come
from a slow teacher; here, where there is none, centring keeps more prototypes in use than no means at all, and far
fewer than a plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.heads import mlp
from objectives.parts.precision import full_precision
from objectives.parts.sinkhorn import sinkhorn
from spaces.domains import Choice, Int, Log, Uniform

OFFERS = ("small",)
METRICS = {
    "prototypes_used": Metric("max", False, "share of prototypes that are nearest to some training image"),
    "prototype_perplexity": Metric("max", False, "perplexity of how often each is nearest, over their number"),
}


@dataclass(frozen=True)
class Config:
    """The paper: 3000 prototypes, 0.1, 0.05, 3 iterations, head 2048 to 128; at batch 256 a queue of 3840."""

    prototypes: Annotated[int, Int(4, 8192, log=True)] = 64  # K; best kept below batch + queue
    temperature: Annotated[float, Log(0.02, 1.0)] = 0.1  # t of the prediction
    epsilon: Annotated[float, Log(0.005, 0.2)] = 0.02  # softness of the codes; too soft and the loss stays at log K
    assigner: Annotated[str, Choice("sinkhorn", "centering")] = "sinkhorn"  # what turns scores into codes
    centre_momentum: Annotated[float, Uniform(0.0, 0.999)] = 0.9  # of the centre, a step
    iterations: Annotated[int, Int(0, 20)] = 3  # of Sinkhorn; 0 lets all images share one prototype
    hard: Annotated[bool, Choice(True, False)] = False  # whether a code is its likeliest prototype alone
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the projector's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 64  # width of the projection
    freeze: Annotated[float, Uniform(0.0, 0.5)] = 0.02  # share of all steps before prototypes move
    queue: Annotated[int, Int(0, 16384)] = 0  # past projections per view that codes take in; 0 is no queue
    queue_start: Annotated[float, Uniform(0.0, 1.0)] = 0.15  # share of all steps before the queue is used


@full_precision
def unit(z: Tensor) -> Tensor:
    """The rows of `(N, D)` at length 1."""
    return F.normalize(z, dim=1)


@full_precision
def prototype_scores(z: Tensor, prototypes: Tensor) -> Tensor:
    """Scores `(..., B, K)` of unit projections `(..., B, D)` against unit prototypes `(K, D)`."""
    return z @ prototypes.T


@full_precision
def swapped_loss(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """The loss of the scores of all views `(V, B, K)` and the codes of the first two, `(2, B, K)`; a scalar."""
    told = (scores / temperature).log_softmax(dim=2)
    others = (told.sum(dim=0) - told[:2]) / (len(scores) - 1)
    return -(codes * others).sum(dim=2).mean()


class SwAV(Method):
    """A backbone, a projector and prototypes; `queue` is `(2, length, D)`, newest first, zero where still empty."""

    views = 2
    step: Tensor
    queue: Tensor
    centre: Tensor

    def __init__(self, config: Config, backbone: Backbone, steps: int) -> None:
        super().__init__()
        self.config = config
        self.freeze = round(config.freeze * steps)
        self.queue_start = round(config.queue_start * steps)
        self.backbone = backbone
        self.projector = mlp([backbone.features, config.hidden, config.out])
        self.prototypes = nn.Parameter(unit(torch.randn(config.prototypes, config.out)))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.register_buffer("queue", torch.zeros(2, config.queue, config.out))
        if config.assigner == "centering":
            self.register_buffer("centre", torch.zeros(config.prototypes))

    def loss(self, batch: Batch) -> Tensor:
        maps = [self.backbone(torch.cat(views)) for views in (batch.views, batch.small) if views]  # a pass a size
        z = unit(self.projector(torch.cat(maps))).unflatten(0, (-1, len(batch.images)))
        codes = self.codes(z[:2])
        self.remember(z[:2])
        prototypes = torch.where(self.step < self.freeze, self.prototypes.detach(), self.prototypes)
        return swapped_loss(prototype_scores(z, prototypes), codes, self.config.temperature)

    @torch.no_grad()
    def codes(self, z: Tensor) -> Tensor:
        """The targets `(2, B, K)` from projections `(2, B, D)`, found among those of the queue once it is full."""
        c, crowd = self.config, z
        if c.queue and self.step >= self.queue_start and self.queue[:, -1].any():
            crowd = torch.cat([z, self.queue], dim=1)
        scores = prototype_scores(crowd, self.prototypes)
        if c.assigner == "sinkhorn":
            codes = sinkhorn(scores, c.epsilon, c.iterations)[:, : z.shape[1]]
        else:
            codes = ((scores[:, : z.shape[1]] - self.centre) / c.epsilon).softmax(dim=2)
            self.centre.lerp_(scores.mean(dim=(0, 1)), 1 - c.centre_momentum)
        return F.one_hot(codes.argmax(dim=2), c.prototypes).to(codes) if c.hard else codes

    @torch.no_grad()
    def remember(self, z: Tensor) -> None:
        """Puts projections `(2, B, D)` at the front of the queue."""
        self.queue.copy_(torch.cat([z, self.queue], dim=1)[:, : self.config.queue])

    @torch.no_grad()
    def after_step(self) -> None:
        self.prototypes.copy_(unit(self.prototypes))
        self.step += 1

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        chosen = [prototype_scores(unit(self.projector(self.backbone(x))), self.prototypes).argmax(1) for x in batches]
        share = torch.bincount(torch.cat(chosen), minlength=len(self.prototypes)).double() / sum(map(len, chosen))
        perplexity = torch.special.entr(share).sum().exp()
        used = (share > 0).double().mean()
        return {"prototypes_used": float(used), "prototype_perplexity": float(perplexity / len(self.prototypes))}


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """SwAV on a backbone, for images of any shape; shares of `task.steps` become numbers of steps."""
    return SwAV(config, backbone, task.steps)
