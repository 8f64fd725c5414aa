"""BECLR: what a batch is compared with is enhanced by neighbours from a memory that is kept sorted into clusters.

A student (backbone, projector, predictor) sees two views, of which blocks may be blanked; a teacher, its moving average
without the predictor, sees them whole. p are the student's predictions, s its and t the teacher's projections:

    loss = attract + lam unif,   unif = log mean_i mean_j e^{s_i . s_j / tau}, j neither i nor i's other view
    attract = mean over i, k of  1 - cos(p_i, y_ik),  y_i0 = t of i's other view

Neighbours come from a memory (DyCE) of past projections with clusters: that of the nearest prototype is looked up, and
of its members the k nearest are taken, or of all where it has no more than k. Rows that come in are given to
prototypes at least distance, so that each gets equally many (`balanced`); prototypes follow the means of their members,
and now and then k-means sorts all of it anew. `pairs` says what neighbours do:

    cross      y_i1 .. y_ik are the neighbours of the teacher's projection of i's other view
    neighbour  neighbours of s are further points of unif, each paired with the one at its place in the other view

Section 3 of Poulakakis-Daktylidis and Jamali-Rad, "BECLR: Batch Enhanced Contrastive Few-Shot Learning" (ICLR 2024,
arXiv 2402.02444). The authors' code draws neighbours of p to neighbours of t besides, all constants: such terms have no
gradient and divide that of the others by 1 + k. They are left out, with the memories that only they read; `neighbour`
is what remains, `cross` a pairing through which neighbours teach. That code also assigns rows to what is far. Other
views of the same image are no neighbours here. OpTA, the other half of BECLR, is in `objectives.episodes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.clustered_memory import ClusteredMemory
from objectives.parts.heads import mlp
from objectives.parts.masks import blank, patch_mask
from objectives.parts.momentum import Teacher
from objectives.parts.similarity import partners, regression, uniformity
from spaces.domains import Choice, Int, Log, Uniform

OFFERS = ("clustered_memory",)


@dataclass(frozen=True)
class Config:
    """The paper: 200 clusters of 40, k 5 (ResNet-18) or 3 (ResNet-50), start and period 60 of 400 epochs, prototypes
    without momentum, epsilon about 0.1 in effect, lam 0.1, tau 2, teacher from 0.995, hide 0.15 ± 0.1 in patches of 16
    on images of 224, heads 512 wide and 128 in the predictor."""

    clusters: Annotated[int, Int(10, 500, log=True)] = 40
    scale: Annotated[int, Int(5, 60)] = 32  # rows of the memory for each cluster; without neighbours until it is full
    neighbours: Annotated[int, Int(0, 10)] = 3  # k
    pairs: Annotated[str, Choice("cross", "neighbour")] = "cross"
    start: Annotated[float, Uniform(0.05, 0.5)] = 0.33  # share of all steps without neighbours
    period: Annotated[float, Uniform(0.0, 0.5)] = 0.15  # share of all steps from one k-means to the next; 0: once
    prototype_momentum: Annotated[float, Uniform(0.0, 0.99)] = 0.0  # of the old prototype
    epsilon: Annotated[float, Uniform(0.01, 0.5)] = 0.1  # softness of the assignment
    iterations: Annotated[int, Int(1, 20)] = 10  # of Sinkhorn
    spread: Annotated[float, Log(0.01, 1.0)] = 0.1  # lam
    temperature: Annotated[float, Log(0.2, 4.0)] = 2.0  # tau
    between: Annotated[str, Choice("students", "both")] = "students"  # both: s_i . t_j instead of s_i . s_j
    momentum: Annotated[float, Uniform(0.9, 0.999)] = 0.95  # of the teacher at the start
    hide: Annotated[float, Uniform(0.0, 0.4)] = 0.0  # share of patches that the student does not see
    hide_spread: Annotated[float, Uniform(0.0, 0.2)] = 0.1  # how far the share of an image may be off, if any is hidden
    patch: Annotated[int, Int(1, 32)] = 2  # side of a patch, in pixels
    hidden: Annotated[int, Int(16, 8192, log=True)] = 64  # width of the projector's hidden layer
    narrow: Annotated[int, Int(4, 2048, log=True)] = 16  # width of the predictor's
    out: Annotated[int, Int(4, 8192, log=True)] = 32  # width of a projection


def attraction(p: Tensor, targets: Tensor, neighbours: Tensor) -> Tensor:
    """The mean of 1 - cos over predictions `(n, D)`, each with its target `(n, D)` and neighbours `(n, k, D)`."""
    return regression(p.unsqueeze(1), torch.cat([targets.unsqueeze(1), neighbours.to(targets)], dim=1)) / 2


def spreading(s: Tensor, t: Tensor | None, neighbours: Tensor, temperature: float) -> Tensor:
    """unif of projections `(2B, D)`, view after view, each view followed by its rows' neighbours `(2B, k, D)`.

    With t `(2B, D)`, that of pairs of an s and a t.
    """

    def enhanced(z: Tensor) -> Tensor:
        copies = neighbours.to(z).flatten(0, 1).unflatten(0, (2, -1))
        return torch.cat([z.unflatten(0, (2, -1)), copies], dim=1).flatten(0, 1)

    rows = enhanced(s)
    same = partners(len(rows), s.device)
    if t is None:
        return uniformity(rows, temperature, exclude=same)
    never = torch.ones_like(same)
    both = torch.cat([torch.cat([never, same], dim=1), torch.cat([same, never], dim=1)])
    return uniformity(torch.cat([rows, enhanced(t)]), temperature, exclude=both)


class BECLR(Method):
    """A student with projector and predictor, its teacher, and a memory: of t for `cross`, of s for `neighbour`."""

    views = 2
    step: Tensor

    def __init__(self, config: Config, backbone: Backbone, steps: int) -> None:
        super().__init__()
        self.config = config
        self.first, self.period = round(config.start * steps), round(config.period * steps)
        self.backbone = backbone
        sizes = [backbone.features, config.hidden, config.hidden, config.out]
        self.projector = nn.Sequential(*mlp(sizes), nn.BatchNorm1d(config.out))
        self.predictor = mlp([config.out, config.narrow, config.out])
        self.teacher = Teacher(self.student(), config.momentum, steps)
        self.memory = ClusteredMemory(
            config.clusters,
            config.clusters * config.scale,
            config.out,
            epsilon=config.epsilon,
            iterations=config.iterations,
            momentum=config.prototype_momentum,
        )
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def student(self) -> nn.Module:
        """What the teacher copies; made on the spot, so that no parameter stands twice in the state."""
        return nn.Sequential(self.backbone, self.projector)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        c, cross = self.config, self.config.pairs == "cross"
        views = torch.cat(batch.views)
        s = self.projector(self.backbone(self.partly(views, batch.generator)))
        t = self.teacher(views)
        index = batch.index.repeat(2)
        near = self.neighbours(t if cross else s, index)
        none = near[:, :0]
        self.remember((t if cross else s).detach(), index, batch.generator)
        half = len(views) // 2
        targets, beside = t.roll(half, 0), near.roll(half, 0) if cross else none
        unif = spreading(s, t if c.between == "both" else None, none if cross else near, c.temperature)
        return {"attract": attraction(self.predictor(s), targets, beside), "spread": c.spread * unif}

    def partly(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """Views `(2B, C, H, W)` as the student sees them, blocks of each blanked."""
        c = self.config
        if c.hide == 0:
            return views
        grid = patches(views.shape[2:], c.patch)
        mask = patch_mask("block", len(views), grid, c.hide, generator, c.hide_spread)
        return blank(views, mask.unflatten(1, grid).to(views.device))

    def neighbours(self, rows: Tensor, index: Tensor) -> Tensor:
        """The neighbours `(n, k, D)` of rows `(n, D)` of images `(n,)`; without any, `(n, 0, D)`, before they count."""
        k = self.config.neighbours
        if k == 0 or self.step < self.first or not self.memory.sorted:
            return rows.detach().new_zeros(len(rows), 0, rows.shape[1])
        places = self.memory.nearest(rows, index, k)
        self.positives = torch.stack([index.repeat_interleave(k), self.memory.queue.index[places].flatten()], dim=1)
        return self.memory.queue.rows[places]

    def remember(self, rows: Tensor, index: Tensor, generator: torch.Generator) -> None:
        """Takes rows `(n, D)` of images `(n,)` into the memory, and sorts it where that is due."""
        self.memory.push(rows, index)
        due = self.period > 0 and int(self.step) % self.period == 0
        if self.memory.queue.full and (due or not self.memory.sorted):
            self.memory.sort(generator)

    def after_step(self) -> None:
        self.step += 1
        self.teacher.follow(self.student())


def patches(size: torch.Size, side: int) -> tuple[int, int]:
    """Rows and columns of patches of a side that cover images of a size (H, W)."""
    return -(-size[0] // side), -(-size[1] // side)


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """BECLR on a backbone, for images of any shape; shares of `task.steps` become numbers of steps.

    Raises:
        ValueError: blocks are to be hidden of images that are a single patch.
    """
    rows, columns = patches(torch.Size(task.shape[1:]), config.patch)
    if config.hide > 0 and rows * columns < 2:
        raise ValueError(f"images of a single patch, {config.patch} pixels a side, have nothing to hide")
    return BECLR(config, backbone, task.steps)
