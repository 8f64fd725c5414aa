"""PixPro: cells of two views' maps that lie at one place in the image agree, each smoothed by those that are like it.

With x = projector(maps(view)), `(D, h, w)`, and x' what a teacher, a slow copy, makes of the other view, of cells i, j:

    y_i = sum_j max(cos(x_i, x_j), 0)^gamma g(x_j) / |g(x_j)|              propagation, over all cells of one map
    loss = - mean of cos(y_i, x'_j) over positives - the same with the views exchanged
    positives: |place of i - place of j| <= T · the longer diagonal of the two views' cells, all in pixels of the image

Section 3.2, equations 1, 3 and 4 of Xie et al., "Propagate Yourself" (CVPR 2021, arXiv 2011.10043); bringing g to
length 1, and 0 for views that do not overlap, are the authors' code's. PixContrast (equation 2) has negatives instead
of propagation: over cells i that have a positive,

    loss = mean of -log( sum_{j positive} e^{cos(x_i, x'_j) / t} / sum_{all j} e^{cos(x_i, x'_j) / t} )

Where a cell lies, its view's warp says: in a flipped view the axis runs the other way, without a case of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.images.views import sampling_grid
from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import MapBackbone
from objectives.parts.heads import map_head, mlp
from objectives.parts.momentum import Teacher
from objectives.parts.precision import full_precision
from objectives.parts.regions import expect_map
from objectives.parts.similarity import regression
from spaces.domains import Choice, Int, Log, Uniform

NEEDS = ("maps",)
OFFERS = ("cells",)
METRICS = {
    "cell_spread": Metric("max", False, "distance of projected cells from their mean, 0 (collapsed) to 1 (all around)")
}


@dataclass(frozen=True)
class Config:
    """The paper: gamma 2, g one layer, T 0.7, momentum 0.99, head 4096 to 256, no instance branch; t 0.3.

    Short trainings want a faster teacher. The instance branch, BYOL's on the maps' means, has weight 1 in the paper's
    best rows on COCO.
    """

    variant: Annotated[str, Choice("pixpro", "pixcontrast", "plain")] = "pixpro"  # plain: without propagation, y = g(x)
    gamma: Annotated[float, Uniform(0.5, 4.0)] = 2.0  # the larger, the fewer cells a cell listens to
    depth: Annotated[int, Int(0, 2)] = 1  # layers of g; 0 is the identity
    threshold: Annotated[float, Uniform(0.3, 1.4)] = 0.7  # T; 0.71 and more take in a cell's neighbours
    clamp: Annotated[float, Uniform(0.0, 0.3)] = 0.0  # smallest weight, before the power, in the propagation
    momentum: Annotated[float, Uniform(0.9, 0.999)] = 0.98  # of the teacher at the start
    instance: Annotated[float, Uniform(0.0, 2.0)] = 0.0  # weight of the instance branch; 0 is none
    temperature: Annotated[float, Log(0.05, 0.5)] = 0.3  # t, of pixcontrast
    hidden: Annotated[int, Int(16, 8192, log=True)] = 128  # width of every head's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 64  # width of the projection


@full_precision
def positives(one: Tensor, other: Tensor, cells: tuple[int, int], image: tuple[int, int], threshold: float) -> Tensor:
    """Which cells of two views lie at one place: `(B, h·w, h·w)` booleans, cells row by row.

    Args:
        one, other: the views' warps, `(B, 3, 3)`.
        cells: (h, w) of the maps.
        image: (H, W), in whose pixels distances are measured.
        threshold: the largest distance, in diagonals of the larger cell.
    """
    (height, width), half = cells, one.new_tensor([image[1] / 2, image[0] / 2])  # of x and y
    places = [sampling_grid(warp, height, width).flatten(1, 2) * half for warp in (one, other)]
    sides = [warp[:, :2, :2] * half[:, None] * 2 / half.new_tensor([width, height]) for warp in (one, other)]
    diagonals = torch.stack([side.square().sum((1, 2)).sqrt() for side in sides]).amax(0)
    # By way of products, a distance would lose the digits that T is about.
    distance = torch.cdist(places[0], places[1], compute_mode="donot_use_mm_for_euclid_dist")
    return distance <= threshold * diagonals[:, None, None]


@full_precision
def propagated(x: Tensor, transformed: Tensor, gamma: float, clamp: float) -> Tensor:
    """Cells `(B, N, D)` as sums of the `transformed` ones, weighted by their likeness in x; `(B, N, D)` each."""
    x = F.normalize(x, dim=2)
    likeness = (x @ x.mT).clamp(min=clamp)
    likeness = likeness + 1e-6 if gamma < 1 else likeness  # a root is infinitely steep at 0
    return likeness**gamma @ F.normalize(transformed, dim=2)


@full_precision
def consistency(y: Tensor, target: Tensor, positive: Tensor) -> Tensor:
    """Minus the mean cosine of cells y and target `(B, N, D)` over positives `(B, N, N)`; the mean of images."""
    cosines = F.normalize(y, dim=2) @ F.normalize(target, dim=2).mT
    return -((cosines * positive).sum((1, 2)) / positive.sum((1, 2)).clamp(min=1)).mean()


@full_precision
def contrast(x: Tensor, target: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """PixContrast's loss of cells x against a teacher's, both `(B, N, D)`, one way; the mean of images."""
    scores = F.normalize(x, dim=2) @ F.normalize(target, dim=2).mT / temperature
    belong = scores.masked_fill(~positive, torch.finfo(scores.dtype).min)
    each, met = scores.logsumexp(2) - belong.logsumexp(2), positive.any(2)
    return (each.where(met, 0).sum(1) / met.sum(1).clamp(min=1)).mean()


class Student(nn.Module):
    """Images to projected cells `(B, N, D)` and, of their mean, an instance's projection `(B, D)`, or None."""

    def __init__(self, backbone: MapBackbone, projector: nn.Module, instance: nn.Module | None) -> None:
        super().__init__()
        self.backbone, self.projector, self.instance = backbone, projector, instance

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        maps = self.backbone.maps(images)
        whole = None if self.instance is None else self.instance(maps.mean((2, 3)))
        return self.projector(maps).flatten(2).mT, whole


class PixPro(Method):
    """A backbone with a projector of cells, their propagation, and a teacher without gradient."""

    views = 2
    backbone: MapBackbone

    def __init__(self, config: Config, backbone: MapBackbone, task: Task, cells: tuple[int, int]) -> None:
        super().__init__()
        c, self.config, self.cells, self.image = config, config, cells, task.shape[1:]
        self.backbone = backbone
        self.projector = map_head([backbone.features, c.hidden, c.out])
        propagates = c.variant != "pixcontrast" and c.depth
        self.g = map_head([c.out] * (c.depth + 1)) if propagates else nn.Identity()
        self.instance = mlp([backbone.features, c.hidden, c.out]) if c.instance else None
        self.predictor = mlp([c.out, c.hidden, c.out]) if c.instance else None
        self.teacher = Teacher(self.student(), c.momentum, task.steps)

    def student(self) -> Student:
        """What the teacher copies; made on the spot, so that no parameter stands twice in the state."""
        return Student(self.backbone, self.projector, self.instance)

    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        student, (one, other) = self.student(), batch.warps
        positive = positives(one, other, self.cells, self.image, self.config.threshold)
        seen = [student(view) for view in batch.views]
        told = [self.teacher(view) for view in batch.views]
        cells = self.agree(seen[0][0], told[1][0], positive) + self.agree(seen[1][0], told[0][0], positive.mT)
        if self.predictor is None:
            return cells
        guesses = [self.predictor(whole) for _, whole in seen]
        whole = regression(guesses[0], told[1][1]) + regression(guesses[1], told[0][1])
        return {"cells": cells, "instance": self.config.instance * whole}

    def agree(self, x: Tensor, target: Tensor, positive: Tensor) -> Tensor:
        """The loss of one view's cells against what the teacher makes of the other view's."""
        c = self.config
        if c.variant == "pixcontrast":
            return contrast(x, target, positive, c.temperature)
        y = self.g(x.mT.unflatten(2, self.cells)).flatten(2).mT
        return consistency(propagated(x, y, c.gamma, c.clamp) if c.variant == "pixpro" else y, target, positive)

    def after_step(self) -> None:
        self.teacher.follow(self.student())

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        mean, count = torch.zeros(self.config.out, dtype=torch.float64), 0
        for images in batches:
            cells = F.normalize(self.student()(images)[0].float(), dim=2)
            mean, count = mean + cells.sum((0, 1)).double().cpu(), count + cells.shape[0] * cells.shape[1]
        return {"cell_spread": float((1 - (mean / max(count, 1)).square().sum()).clamp(min=0).sqrt())}


def build(config: Config, backbone: MapBackbone, task: Task) -> Method:
    """PixPro on a backbone that gives maps, for images of any shape; the momentum reaches 1 after `task.steps`.

    Raises:
        ValueError: the map has fewer than 4 cells, among which there is nothing to match; or the images come in pairs.
    """
    _, height, width = expect_map(backbone, task)
    return PixPro(config, backbone, task, (height, width))
