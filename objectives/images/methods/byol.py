"""BYOL: predict what a slow copy of oneself makes of the other view; no negatives.

An online network (backbone, projector, predictor q) sees one view, a teacher (backbone, projector) the other. The
prediction is drawn to the teacher's projection z', both at length 1, and both ways round:

    loss = l(q(z_1), z'_2) + l(q(z_2), z'_1),      l(p, z') = |p/|p| - z'/|z'||^2 = 2 - 2 cos(p, z'),  batch mean
    teacher <- m teacher + (1 - m) online,         m from its base to 1 by half a cosine over the training

With the plugin `multicrop` small views are predicted from, too, as in SwAV: each of z'_1 and z'_2 is then predicted
from all views but its own, and l is the mean over them; the teacher sees full views alone.

Section 3.1, equations 1 and 2, and section 3.2 (the schedule) of Grill et al., "Bootstrap Your Own Latent" (NeurIPS
2020, arXiv 2006.07733). The teacher runs in training mode, as in the authors' code: see `parts/momentum.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.heads import mlp
from objectives.parts.momentum import Teacher
from objectives.parts.paired import Paired
from objectives.parts.similarity import regression
from spaces.domains import Int, Uniform

OFFERS = ("pairs", "small")


@dataclass(frozen=True)
class Config:
    """The paper: momentum 0.996 over 1000 epochs of ImageNet, hidden 4096, out 256. Short trainings want less."""

    momentum: Annotated[float, Uniform(0.0, 1.0)] = 0.98  # m at the start; 1 never moves the teacher
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the projector's and predictor's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 64  # width of the projection and of the prediction


class BYOL(Paired):
    """A backbone with projector and predictor, and a teacher without gradient."""

    views = 2

    def __init__(self, config: Config, backbone: Backbone, steps: int) -> None:
        super().__init__()
        self.width = config.out
        self.backbone = backbone
        self.projector = mlp([backbone.features, config.hidden, config.out])
        self.predictor = mlp([config.out, config.hidden, config.out])
        self.teacher = Teacher(self.student(), config.momentum, steps)

    def student(self) -> nn.Module:
        """What the teacher copies; made on the spot, so that no parameter stands twice in the state."""
        return nn.Sequential(self.backbone, self.projector)

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        one, two = batch.views
        guess_one, guess_two = self.predict(one), self.predict(two)
        small = [self.predict(torch.cat(batch.small))] if batch.small else []  # one pass: they are of one size
        copies = 1 + len(batch.small)
        return [
            (torch.cat([guess_one, *small]), self.teacher(two).repeat(copies, 1)),
            (torch.cat([guess_two, *small]), self.teacher(one).repeat(copies, 1)),
        ]

    def predict(self, views: Tensor) -> Tensor:
        """What the online network expects the teacher to make of the other view, `(N, out)`."""
        return self.predictor(self.projector(self.backbone(views)))

    def contrast(self, q: Tensor, k: Tensor) -> Tensor:
        return regression(q, k)

    def after_step(self) -> None:
        self.teacher.follow(self.student())


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """BYOL on a backbone, for images of any shape; the momentum reaches 1 after `task.steps`."""
    return BYOL(config, backbone, task.steps)
