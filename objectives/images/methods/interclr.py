"""InterCLR: an image is drawn not only to its other view but to another image that is thought to be of its kind.

Beside the loss of a base method on two views, `intra`, a query q_i meets a bank with one row b_j and one label for each
training image. One row of its own label is its positive; its negatives are N rows of other labels, drawn among the M
that are most like it:

    inter = mean over i of  -log( e^{(q_i . b_pos - m)/t} / (e^{(q_i . b_pos - m)/t} + sum over N  e^{q_i . b_j/t}) )
    loss  = (1 - w) intra + w inter

m below 0 lets the positive off, since it may be wrong. After each step b_i <- unit((1 - mu) b_i + mu q_i) takes the
label of its nearest centroid; centroids are the means of their members, computed anew every few steps, and small
clusters are dissolved and refilled by halving the largest (`objectives.parts.clusterers.Centroids`). All begins, with
k-means of the bank, once the warm-up is over and an epoch has filled the bank: labels of an untrained network mean
nothing.

Section 3 of Xie et al., "Delving into Inter-Image Invariance for Unsupervised Visual Representations" (IJCV 2022, arXiv
2008.11702). Unlike in the code (open-mmlab/mmselfsup 0.x), an image is its own positive only where its cluster has no
other, the M are of other labels from the outset, and the teacher's momentum rises to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.clusterers import Centroids
from objectives.parts.contrastive import arc_margin, bank, pairwise, queue
from objectives.parts.heads import mlp
from objectives.parts.memories import UNKNOWN, Bank, Queue
from objectives.parts.momentum import Teacher
from objectives.parts.precision import full_precision
from objectives.parts.similarity import regression
from spaces.domains import Choice, Int, Log, Uniform

OFFERS = ("bank_labels",)


@dataclass(frozen=True)
class Config:
    """The paper, on ImageNet: MoCo v2 (temperature 0.2, queue 65,536, momentum 0.999), 10,000 clusters of at least 20,
    N 16,384 of M 10 % of the images, w 0.25 without warm-up, heads 2048 and 128 wide."""

    base: Annotated[str, Choice("moco", "simclr", "byol")] = "moco"  # of the loss on two views
    temperature: Annotated[float, Log(0.02, 2.0)] = 0.2  # t, of both losses
    queue: Annotated[int, Int(64, 65_536, log=True)] = 512  # past keys, of moco
    momentum: Annotated[float, Uniform(0.9, 1.0)] = 0.99  # of the teacher at the start, of moco and byol
    inter: Annotated[float, Uniform(0.0, 0.75)] = 0.25  # w; 0: the base alone
    warmup: Annotated[float, Uniform(0.0, 0.4)] = 0.25  # share of all steps with the base alone
    clusters: Annotated[int, Int(5, 10_000, log=True)] = 40
    labels: Annotated[str, Choice("online", "offline")] = "online"  # offline: k-means anew every epoch, nothing between
    bank_momentum: Annotated[float, Uniform(0.3, 1.0)] = 1.0  # mu
    interval: Annotated[int, Int(1, 100, log=True)] = 10  # steps from one computation of the centroids to the next
    smallest: Annotated[int, Int(1, 50)] = 1  # members that a cluster needs
    sampling: Annotated[str, Choice("random", "semi_easy", "semi_hard", "hard")] = "semi_hard"  # of negatives
    pool: Annotated[float, Uniform(0.05, 0.5)] = (
        0.5  # M, as a share of the images; of semi_easy (least alike) and _hard
    )
    negatives: Annotated[int, Int(64, 16_384, log=True)] = 256  # N, at most M
    margin: Annotated[float, Uniform(-0.8, 0.35)] = -0.5  # m
    margin_on: Annotated[str, Choice("cosine", "arc")] = "cosine"  # arc: cos(angle + m) instead
    share_head: Annotated[bool, Choice(True, False)] = True  # whether both losses are of the same projection
    hidden: Annotated[int, Int(16, 8192, log=True)] = 64  # width of a head's hidden layer
    out: Annotated[int, Int(4, 8192, log=True)] = 32  # width of a projection


def draw_positives(own: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """For images `own` `(B,)`, another of the same label each, out of all with labels `(N,)`; itself where none is."""
    lots = torch.rand(len(own), len(labels), generator=generator, device=generator.device).to(labels.device)
    lots = lots.masked_fill(labels[own].unsqueeze(1) != labels, -2).scatter(1, own.unsqueeze(1), -1)
    return lots.argmax(dim=1)


@full_precision
def draw_negatives(
    similar: Tensor, barred: Tensor, sampling: str, pool: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Which of N rows are the negatives of each query, `(B, count)` at most, and where they are none, booleans alike.

    `similar` `(B, N)` says how alike they are, `barred` `(B, N)` which may not be taken: they come last, if at all.
    """
    chance = torch.rand(similar.shape, generator=generator, device=generator.device).to(similar)
    wanted = {"random": chance, "semi_easy": -similar}.get(sampling, similar).masked_fill(barred, -torch.inf)
    size = pool if sampling.startswith("semi") else count
    best = wanted.topk(min(size, wanted.shape[1]), dim=1).indices
    lots = chance.masked_fill(barred, -1).gather(1, best)
    rows = best.gather(1, lots.topk(min(count, best.shape[1]), dim=1).indices)
    return rows, barred.gather(1, rows)


class InterCLR(Method):
    """A base method, and a bank whose labels say which images belong together; `bank.labels` are -1 before they do."""

    views = 2
    step: Tensor

    def __init__(self, config: Config, backbone: Backbone, task: Task) -> None:
        super().__init__()
        self.config = config
        self.an_epoch = max(task.images // task.batch, 1)  # in steps
        self.first = max(round(config.warmup * task.steps), self.an_epoch)
        self.pool = max(round(config.pool * task.images), 1)
        self.backbone = backbone
        sizes = [backbone.features, config.hidden, config.out]
        self.projector = mlp(sizes)
        self.inter_projector = None if config.share_head else mlp(sizes)
        self.predictor = mlp([config.out, config.hidden, config.out]) if config.base == "byol" else None
        self.teacher = None if config.base == "simclr" else Teacher(self.student(), config.momentum, task.steps)
        self.queue = Queue(config.queue if config.base == "moco" else 0, config.out)
        self.bank = Bank(task.images, config.out)
        self.centroids = Centroids(config.clusters, config.out)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def student(self) -> nn.Module:
        """What the teacher copies; made on the spot, so that no parameter stands twice in the state."""
        return nn.Sequential(self.backbone, self.projector)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        codes = self.backbone(batch.views[0] if c.base == "moco" else torch.cat(batch.views))
        projected = self.projector(codes)
        intra = self.intra(projected, batch)
        if c.inter == 0:
            return {"intra": intra}
        queries = (projected if self.inter_projector is None else self.inter_projector(codes))[: len(batch.index)]
        inter = self.inter(queries, batch)
        self.remember(queries.detach(), batch)
        if inter is None:
            return {"intra": intra, "inter": intra.new_zeros(())}
        return {"intra": (1 - c.inter) * intra, "inter": c.inter * inter}

    def intra(self, projected: Tensor, batch: Batch) -> Tensor:
        """The base's loss of its projections: of both views `(2B, D)`, of the first `(B, D)` for moco; a scalar."""
        t, (one, two) = self.config.temperature, batch.views
        if self.teacher is None:
            return pairwise(projected, t)
        if self.predictor is not None:
            return 2 * regression(self.predictor(projected), torch.cat([self.teacher(two), self.teacher(one)]))
        keys = F.normalize(self.teacher(two), dim=1)
        for _ in range(0 if self.queue.full else -(-len(self.queue.rows) // len(keys))):
            self.queue.push(keys, batch.index)  # at first, again and again: noise would be too easily told from a key
        same = batch.index.unsqueeze(1) == self.queue.index
        found = queue(projected, keys, self.queue.rows, t, exclude=same)
        self.queue.push(keys, batch.index)
        return found

    def inter(self, queries: Tensor, batch: Batch) -> Tensor | None:
        """The loss of queries `(B, D)` among the rows of the bank; a scalar, or None where no query has a label yet."""
        c, labels, rows = self.config, self.bank.labels, self.bank.features
        known = labels[batch.index] != UNKNOWN
        queries, own = queries[known], batch.index[known]
        if not len(own):
            return None
        chosen = draw_positives(own, labels, batch.generator)
        other = chosen != own
        self.positives = torch.stack([own[other], chosen[other]], dim=1)
        barred = (labels[own].unsqueeze(1) == labels) | (labels == UNKNOWN)
        similar = F.normalize(queries.detach().to(rows), dim=1) @ rows.T
        away, none = draw_negatives(similar, barred, c.sampling, self.pool, c.negatives, batch.generator)
        margin = c.margin if c.margin_on == "cosine" else arc_margin(queries, rows[chosen], c.margin)
        return bank(queries, rows[chosen], rows[away], c.temperature, margin=margin, exclude=none)

    @torch.no_grad()
    def remember(self, queries: Tensor, batch: Batch) -> None:
        """Writes queries `(B, D)` into the bank, and keeps labels and centroids up."""
        c, labels = self.config, self.bank.labels
        self.bank.write(batch.index, queries, c.bank_momentum)
        seen, rows = self.bank.visited, self.bank.features[self.bank.visited]
        started, done = bool((labels != UNKNOWN).any()), int(self.step) + 1
        if not started or c.labels == "offline":
            due = (done - self.first) % self.an_epoch == 0 if started else done >= self.first
            if due and len(rows) >= c.clusters:
                labels[seen] = self.centroids.start(rows, batch.generator)
            return
        labels[batch.index] = self.centroids.assign(self.bank.features[batch.index])
        if done % c.interval == 0:
            self.centroids.recompute(rows, labels[seen])
        labels[seen] = self.centroids.tidy(rows, labels[seen], c.smallest, batch.generator)

    def after_step(self) -> None:
        self.step += 1
        if self.teacher is not None:
            self.teacher.follow(self.student())


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """InterCLR on a backbone, for images of any shape.

    Raises:
        ValueError: there are more clusters than images.
    """
    if config.clusters > task.images:
        raise ValueError(f"{task.images} images cannot make {config.clusters} clusters")
    return InterCLR(config, backbone, task)
