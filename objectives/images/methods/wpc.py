"""WPC: predict the partner of an image by a critic that is nearly 1-Lipschitz, so that it must use all they share.

A contrastive loss over B pairs is satisfied once the log B nats that tell a partner from B - 1 others are found, and a
few sharp factors give these. Where the slope of the critic f is held at 1, no factor can be made sharp, and every
further one adds to the score:

    loss = mean_i -log( e^{f(x_i, y_i)} / sum_j e^{f(x_i, y_j)} ) + lam * mean ( |grad f(x^, y^)| - 1 )^2
    f(x, y) = phi(x) . psi(y)

x^, y^ lie between a pair and one that does not belong together; the gradient is that of a pair's own score, in both of
its images. f is no cosine and knows no temperature: either would undo the slope. `dual` is the Wasserstein dependency
itself, the mean score of pairs less that of others, without a softmax; `cpc` leaves the penalty out; `wpc_sn` has
instead of it no linear map of the critic lengthen anything. The better representation has the higher contrastive loss.

Sections 3 and 4 of Ozair et al., "Wasserstein Dependency Measure for Representation Learning" (NeurIPS 2019, arXiv
1903.11780); the penalty is that of Gulrajani et al. (NeurIPS 2017), see `objectives.parts.gradient_penalty`. phi is
the backbone with a linear map behind it, psi another of the same shape; probes read the backbone. Data with partner
images (`digit_grids`) pair them, other data pair two views of an image. Slopes are those on normalised images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.contrastive import scores
from objectives.parts.gradient_penalty import gradient_norms, gradient_penalty, interpolates
from objectives.parts.precision import full_precision
from spaces.domains import Choice, Int, Log

OFFERS = ("gradient_penalty",)
METRICS = {
    "critic_slope": Metric("min", False, "length of the critic's gradient at pairs of different images, the mean"),
}
PENALISED = ("wpc_gp", "dual")


@dataclass(frozen=True)
class Config:
    """The paper: the penalty in both inputs, two-sided; its lam and sizes were not found."""

    estimator: Annotated[str, Choice("wpc_gp", "wpc_sn", "cpc", "dual")] = "wpc_gp"
    penalty: Annotated[float, Log(0.01, 30.0)] = 1.0  # lam, of wpc_gp and dual
    side: Annotated[str, Choice("two", "one")] = "two"  # one: a slope below 1 costs nothing
    inputs: Annotated[str, Choice("both", "one", "features")] = "both"  # in which the slope is taken; one: x
    towards: Annotated[str, Choice("shuffled_y", "shuffled_pair", "noise")] = (
        "shuffled_y"  # where x^, y^ lie, from a pair
    )
    critic: Annotated[str, Choice("separable", "bilinear", "mlp")] = "separable"  # mlp: of both features, one layer
    symmetric: Annotated[bool, Choice(False, True)] = False  # whether partners predict their images, too
    out: Annotated[int, Int(16, 1024, log=True)] = 64  # width of phi and psi, or of the critic's layer


@full_precision
def dual(matrix: Tensor) -> Tensor:
    """The mean score of pairs that do not belong together less that of those that do; scores `(B, B)`, a scalar."""
    count, own = len(matrix), matrix.diagonal().sum()
    return (matrix.sum() - own) / (count * (count - 1)) - own / count


class Critic(nn.Module):
    """The score of features `(..., F)` of x and of y, which broadcast against each other: `(...)`."""

    def __init__(self, kind: str, features: int, out: int, clipped: bool) -> None:
        super().__init__()
        self.kind = kind
        width = features if kind == "bilinear" else out
        self.x = nn.Linear(features, width, bias=kind == "mlp")
        self.y = nn.Identity() if kind == "bilinear" else nn.Linear(features, width, bias=False)
        self.last = nn.Linear(width, 1, bias=False) if kind == "mlp" else nn.Identity()
        for part in (self.x, self.y, self.last):
            if clipped and isinstance(part, nn.Linear):
                register_parametrization(part, "weight", Clipped())

    @full_precision
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = self.x(x), self.y(y)
        if self.kind == "mlp":
            return self.last((x + y).relu()).squeeze(-1)
        return (x * y).sum(-1)

    @full_precision
    def every(self, x: Tensor, y: Tensor) -> Tensor:
        """The scores of every x with every y, `(B, F)` each: `(B, B)`."""
        return self(x[:, None], y[None]) if self.kind == "mlp" else self.x(x) @ self.y(y).T


class Clipped(nn.Module):
    """A matrix divided by its largest singular value, where that is above 1 (Miyato et al., ICLR 2018, but clipped)."""

    @full_precision
    def forward(self, weight: Tensor) -> Tensor:
        return weight / torch.linalg.matrix_norm(weight, 2).clamp(min=1)


class WPC(Method):
    """Two backbones and a critic; the first is what is kept."""

    views = 2

    def __init__(self, config: Config, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.other = copy.deepcopy(backbone)
        self.critic = Critic(config.critic, backbone.features, config.out, config.estimator == "wpc_sn")

    def score(self, x: Tensor, y: Tensor) -> Tensor:
        """f of pairs of images `(B, C, H, W)`, `(B,)`."""
        return self.critic(self.backbone(x), self.other(y))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        c, (x, y) = self.config, batch.views
        seen = self.backbone(x), self.other(y)
        matrix = self.critic.every(*seen)
        parts = {"scores": dual(matrix) if c.estimator == "dual" else scores(matrix, symmetric=c.symmetric)}
        if c.estimator in PENALISED:
            x, y = seen if c.inputs == "features" else (x, y)
            parts["penalty"] = c.penalty * self.penalty(x, y, batch.generator)
        return parts

    def penalty(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty between pairs `(B, ...)` of images, or of features, and others; a scalar."""
        c = self.config
        points = interpolates((x, y), away(x, y, c.towards, generator), generator)
        one_sided = c.side == "one"
        with each_alone(self):
            if c.inputs == "one":
                return gradient_penalty(lambda x: self.score(x, points[1]), points[:1], one_sided)
            return gradient_penalty(self.critic if c.inputs == "features" else self.score, points, one_sided)

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        total, count = 0.0, 0
        for images in batches:
            total += float(gradient_norms(self.score, (images, images.roll(1, 0))).detach().sum())
            count += len(images)
        return {"critic_slope": total / max(count, 1)}


def away(x: Tensor, y: Tensor, towards: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each pair of x and y `(B, ...)`, another that does not belong together, or normal noise."""
    if towards == "noise":
        draw = [torch.randn(t.shape, generator=generator, device=generator.device) for t in (x, y)]
        return draw[0].to(x), draw[1].to(y)
    return (x, y.roll(1, 0)) if towards == "shuffled_y" else (x.roll(1, 0), y.roll(2, 0))


@contextmanager
def each_alone(module: nn.Module) -> Iterator[None]:
    """Batch norms go by their running statistics meanwhile, so that a row's score is a function of that row."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """WPC on a backbone, best one without batch normalisation, for images of any shape.

    Raises:
        ValueError: a batch has one image, and so no pair that does not belong together.
    """
    if task.batch < 2:
        raise ValueError("it compares pairs of a batch, so a batch needs two images")
    return WPC(config, backbone)
