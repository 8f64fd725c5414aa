"""R2O: find masks by clustering regions with one's own features, and make both views agree mask by mask; masks coarsen.

Upper step, without gradient: an image is cut into regions; a slow copy (the teacher) sees the plain image, and the mean
of its map over each region, at length 1, is clustered over the whole batch into K(t) clusters; regions of one cluster
are one mask. Lower step, BYOL by masks: each view's masks m, carried to its map by the view's warp, pool its features,

    z_k = sum_i m_k(i) f(i) / max(sum_i m_k(i), 1)
    loss = l(q(p(z_1,k)), p'(z'_2,k)) + l(q(p(z_2,k)), p'(z'_1,k)),   l(a, b) = 2 - 2 cos(a, b)

with projector p and predictor q, a weighted mean over the masks k of all images: w_k = 1 where k is present in both
views, else 0. K falls from many to few, a quarter of a cosine: K(t) = K_1 + (K_0 - K_1) cos(pi t / 2).

Sections 3.1 to 3.3 of Gokul et al., "Refine and Represent: Region-to-Object Representation Learning" (2022, arXiv
2208.11821) and its authors' code, which also multiplies the learning rate by K / 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.images.views import sampling_grid
from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import MapBackbone
from objectives.parts.clusterers import agglomerative, kmeans
from objectives.parts.heads import mlp
from objectives.parts.memories import Queue
from objectives.parts.momentum import Teacher
from objectives.parts.regions import carried, expect_map, grid, mapped, overlap, pooled, rows_and_columns, shared, slic
from objectives.parts.similarity import regression
from spaces.domains import Choice, Int, Uniform

NEEDS = ("maps",)
OFFERS = ("masks",)
METRICS = {"masks_per_image": Metric("min", False, "masks that an image is divided into at the present K, on average")}
ROWS_PER_CLUSTER = 5  # regions of a batch, below which clusters mean nothing: K is kept below their share
MOST_MERGED = 4096  # regions of a batch that agglomerative clustering, quadratic in them, can take


@dataclass(frozen=True)
class Config:
    """The paper: K from 128 to 4, 100 regions of slic, momentum 0.99, heads 4096 to 256, by_k 16; masks by the map of
    the last stage but one. Small images have fewer regions. Felzenszwalb's regions are left out."""

    k_start: Annotated[int, Int(8, 256, log=True)] = 32  # clusters of the batch's regions at first
    k_end: Annotated[int, Int(2, 32, log=True)] = 4  # and at last
    schedule: Annotated[str, Choice("constant", "linear", "cosine", "steps")] = "cosine"  # between; constant: k_start
    reverse: Annotated[bool, Choice(False, True)] = False  # from k_end to k_start
    prior: Annotated[str, Choice("grid", "slic", "none")] = "grid"  # regions; none: each cell of the map is one
    regions: Annotated[int, Int(9, 200)] = 36  # of an image, about
    clustering: Annotated[str, Choice("kmeans", "agglomerative", "none")] = "kmeans"  # none: each region is a mask
    memory: Annotated[int, Int(0, 16384)] = 0  # past regions that are clustered with the batch's; 0 is no memory
    source: Annotated[str, Choice("teacher", "online")] = "teacher"  # whose features make the masks
    back: Annotated[int, Int(0, 2)] = 0  # layers of the backbone that those features come before
    presence: Annotated[float, Uniform(0.0, 0.1)] = 1e-3  # share of a view that a mask must exceed to count
    by_area: Annotated[bool, Choice(False, True)] = False  # whether masks weigh by their area
    by_k: Annotated[float, Uniform(0.0, 64.0)] = 0.0  # K at which the learning rate is as stated; 0: K does not matter
    momentum: Annotated[float, Uniform(0.9, 0.999)] = 0.98  # of the teacher at the start
    hidden: Annotated[int, Int(16, 8192, log=True)] = 128  # width of the projector's and predictor's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 64  # width of the projection and of the prediction


def clusters_at(done: float, config: Config) -> int:
    """K when so large a share of the training, 0 to 1, is done. `steps` goes down in quarters, by equal factors."""
    first, last = config.k_start, config.k_end
    done = 1 - done if config.reverse else done
    match config.schedule:
        case "linear":
            return round(first + (last - first) * done)
        case "cosine":
            return round(last + (first - last) * math.cos(math.pi / 2 * done))
        case "steps":
            return round(first * (last / first) ** (min(int(4 * done), 3) / 3))
    return first


class Student(nn.Module):
    """Views and masks to what is learnt of each: pooled, the rows that count `(B, K)`, projected, `(P, D)`."""

    def __init__(self, backbone: MapBackbone, projector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector

    def forward(self, views: Tensor, masks: Tensor, rows: Tensor) -> Tensor:
        return self.projector(pooled(self.backbone.maps(views), masks)[rows])


class R2O(Method):
    """A backbone with projector and predictor, a teacher without gradient, and the masks that it makes."""

    views = 2
    backbone: MapBackbone

    def __init__(self, config: Config, backbone: MapBackbone, task: Task, cells: tuple[int, int], width: int) -> None:
        super().__init__()
        self.config, self.backbone, self.cells, self.steps = config, backbone, cells, task.steps
        self.split = cells if config.prior == "none" else rows_and_columns(config.regions, *task.shape[1:])
        self.projector = mlp([backbone.features, config.hidden, config.out])
        self.predictor = mlp([config.out, config.hidden, config.out])
        self.teacher = Teacher(self.student(), config.momentum, task.steps)
        self.memory = Queue(config.memory, width)

    @property
    def k(self) -> int:
        """How many clusters there are to be now."""
        return clusters_at(min(int(self.teacher.step) / max(self.steps, 1), 1.0), self.config)

    def student(self) -> Student:
        """What the teacher copies; made on the spot, so that no parameter stands twice in the state."""
        return Student(self.backbone, self.projector)

    def loss(self, batch: Batch) -> Tensor:
        labels, student, teacher = self.masks(batch.images, batch.generator), self.student(), self.teacher.network
        places = [sampling_grid(warp, *self.cells) for warp in batch.warps]
        one, other = (carried(labels, place, int(labels.max()) + 1) for place in places)
        weights = shared(one, other, self.config.presence, self.config.by_area)
        rows = weights > 0
        if rows.sum() < 2:  # too few for batch normalisation: the views show nothing in common
            return 0 * sum(p.sum() for p in self.parameters() if p.requires_grad)  # type: ignore[return-value]
        seen = list(zip(batch.views, (one, other), strict=True))
        guesses = [self.predictor(student(view, masks, rows)) for view, masks in seen]
        with torch.no_grad():
            told = [teacher(view, masks, rows) for view, masks in seen]
        return sum(regression(guesses[k], told[1 - k], weights[rows]) for k in (0, 1))  # type: ignore[return-value]

    @torch.no_grad()
    def masks(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Which mask each pixel of the images is in, `(B, H, W)`; a number means the same in all of them."""
        regions = self.regions(images)
        if self.config.clustering == "none":
            return regions
        overlaps = overlap(regions, math.prod(self.split), *(maps := self.features(images)).shape[2:])
        there = overlaps.sum(2) > 0
        found = torch.zeros_like(there, dtype=torch.long)
        found[there] = self.clustered(F.normalize(pooled(maps, overlaps)[there], dim=1), generator)
        return found.gather(1, regions.flatten(1)).view_as(regions)

    def clustered(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The clusters `(N,)` of the unit features of a batch's regions `(N, D)`, beside those remembered."""
        past = self.memory.rows[: int(self.memory.count)].to(rows)
        everything, k = torch.cat([rows, past]), max(min(self.k, len(rows) // ROWS_PER_CLUSTER), 2)
        if self.training:
            self.memory.push(rows)
        if self.config.clustering == "agglomerative":
            return agglomerative(everything, k)[: len(rows)]
        return kmeans(everything, k, generator)[1][: len(rows)]

    def regions(self, images: Tensor) -> Tensor:
        """The region of each pixel of images, `(B, H, W)`."""
        if self.config.prior == "slic":
            return slic(images, *self.split)
        height, width = images.shape[2:]
        return grid(height, width, *self.split, images.device).expand(len(images), -1, -1)

    def features(self, images: Tensor) -> Tensor:
        """The maps that regions are compared by, `(B, D, h, w)`. In training, normalised over the batch at hand."""
        network = cast(Student, self.teacher.network) if self.config.source == "teacher" else self
        return mapped(network.backbone, images, self.config.back)

    def rates(self) -> Mapping[str, float]:
        return {"": self.k / self.config.by_k} if self.config.by_k else {}

    def after_step(self) -> None:
        self.teacher.follow(self.student())

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        counts: list[int] = []
        for images in batches:
            labels = self.masks(images, torch.Generator(images.device).manual_seed(0))
            counts += [len(one.unique()) for one in labels]
        return {"masks_per_image": sum(counts) / max(len(counts), 1)}


def build(config: Config, backbone: MapBackbone, task: Task) -> Method:
    """R2O on a backbone that gives maps, for images of any shape; momentum and K come to their end after `task.steps`.

    Raises:
        ValueError: K would rise from `k_start` to `k_end`, the map or the batch is too small for them, the batch is too
            large to be merged, the images come in pairs, or the backbone has no such layer.
    """
    if config.k_end > config.k_start:
        raise ValueError(f"k_end ({config.k_end}) must not be above k_start ({config.k_start}); reverse runs upwards")
    if config.back and len(getattr(backbone, "layers", ())) <= config.back:
        raise ValueError(f"back ({config.back}) needs a backbone of more than {config.back} layers, such as resnet")
    _, *cells = expect_map(backbone, task)
    width, *_ = expect_map(backbone, task, config.back)
    method = R2O(config, backbone, task, (cells[0], cells[1]), width)
    rows = task.batch * math.prod(method.split)
    if config.clustering != "none" and rows < ROWS_PER_CLUSTER * config.k_end:
        raise ValueError(f"{rows} regions a batch make no {config.k_end} clusters; {ROWS_PER_CLUSTER} each are needed")
    if config.clustering == "agglomerative" and (rows := rows + config.memory) > MOST_MERGED:
        raise ValueError(f"agglomerative takes {MOST_MERGED} regions, memory included, and there are {rows}")
    return method
