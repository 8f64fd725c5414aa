"""Batches of images that are unlike each other, so that fewer negatives of a contrastive loss are of one's own class.

Images are clustered without labels, and a batch takes `quota` images from one cluster after the other, in an order of
clusters that is fresh for every batch; a cluster that has given all its images begins anew. Images of small clusters
are so seen more often than others; `balanced` clusters are about as large.

Source: Chakraborty, Gosthipaty and Paul, "G-SimCLR: Self-Supervised Contrastive Learning with Guided Projection via
Pseudo Labelling" (ICDM workshops 2020, arXiv 2009.12007), with as many clusters as a batch has images, found by k-means
on the codes of a denoising autoencoder. Its batches are the same in every epoch, as `fixed` are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import Tensor

from objectives.images.backbones import mlp, resnet
from objectives.images.encoder import prepare
from objectives.images.methods import dae
from objectives.images.pools import Pool
from objectives.images.samplers import Encode, Start
from objectives.method import Batch, Task
from objectives.parts.backbone import Backbone
from objectives.parts.clusterers import balanced, kmeans
from spaces.domains import Choice, Int, Log

AXES = 32  # principal axes of `pca`
CONVOLVED = 16  # pixels; autoencoders of images with sides of at least so many are convolutional
STEP = 64  # images a step of the autoencoder, at a rate of 1e-3 (the paper's)
EPSILON, ROUNDS = 0.05, 10  # of the assignment to balanced clusters


@dataclass(frozen=True)
class Config:
    """The paper: as many clusters as a batch has images (64), codes of 128 numbers, noise 0.01, fixed batches."""

    features: Annotated[str, Choice("autoencoder", "pca", "pixels", "encoder")] = "autoencoder"  # encoder: in training
    clusters: Annotated[int, Int(0, 1024)] = 0  # 0: as many as a batch has images
    clusterer: Annotated[str, Choice("kmeans", "balanced")] = "kmeans"
    quota: Annotated[int, Int(1, 4)] = 1  # images of a cluster that follow each other in a batch
    refresh: Annotated[int, Int(0, 1000)] = 0  # epochs after which `encoder` features are clustered again; 0: never
    order: Annotated[str, Choice("fresh", "fixed")] = "fresh"  # fixed: every epoch has the first one's batches
    noise: Annotated[float, Log(0.005, 0.5)] = 0.1  # of the autoencoder's input, in deviations of the pixels
    steps: Annotated[int, Int(10, 100_000, log=True)] = 250  # of the autoencoder's training


def build(config: Config) -> Start:
    """What starts the sampler."""
    return lambda pool, batch, steps, seed: Clustered(config, pool, batch, steps, seed)


class Clustered:
    """Batches across clusters; `labels` is the cluster of each different image, `(K,)`.

    Raises:
        ValueError: there are more clusters than images.
    """

    def __init__(self, config: Config, pool: Pool, batch: int, steps: int, seed: int) -> None:
        self.config, self.pool, self.batch, self.steps, self.seed = config, pool, batch, steps, seed
        self.count = config.clusters or batch
        if self.count > len(pool.images):
            raise ValueError(f"{self.count} clusters of {len(pool.images)} images would leave some empty")
        self.labels = torch.empty(0, dtype=torch.long)

    def epoch(self, number: int, encode: Encode, generator: torch.Generator) -> Tensor:
        again = self.config.features == "encoder" and self.config.refresh and number % self.config.refresh == 0
        if again or not len(self.labels):
            self.labels = self._clusters(encode)
        if self.config.order == "fixed":
            generator = torch.Generator().manual_seed(self.seed)
        return drawn(self.labels, self.pool.rows, self.batch, self.steps, self.config.quota, generator)

    def _clusters(self, encode: Encode) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        x = self._features(encode)
        centroids, labels = kmeans(x, self.count, generator)
        return balanced(x, centroids, EPSILON, ROUNDS) if self.config.clusterer == "balanced" else labels

    def _features(self, encode: Encode) -> Tensor:
        """What images are clustered by, `(K, D)` on the CPU, each column of mean 0 and all of them of deviation 1."""
        if self.config.features == "encoder":
            x = encode(self.pool.images)
        else:
            pixels = prepare(self.pool.images).float().cpu()
            pixels = (pixels - pixels.mean()) / pixels.std().clamp(min=1e-6)
            x = pixels.flatten(1)
            if self.config.features == "autoencoder":
                x = codes(pixels, self.config.noise, self.config.steps, self.seed)
            elif self.config.features == "pca":
                x = x - x.mean(dim=0)
                x = x @ torch.linalg.svd(x, full_matrices=False).Vh[:AXES].T
        x = x - x.mean(dim=0)
        return x / x.std().clamp(min=1e-6)

    def state_dict(self) -> dict[str, Tensor]:
        return {"labels": self.labels}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.labels = state["labels"]


def drawn(labels: Tensor, rows: Tensor, batch: int, steps: int, quota: int, generator: torch.Generator) -> Tensor:
    """Batches `(steps, batch)` of the images `rows`, whose clusters `labels` gives, across clusters."""
    members = [rows[labels[rows] == cluster] for cluster in labels.unique()]
    queues = [_Queue(some, generator) for some in members if len(some)]
    found = torch.empty(steps, batch, dtype=torch.long)
    for row in found:
        order = torch.cat([torch.randperm(len(queues), generator=generator) for _ in range(-(-batch // len(queues)))])
        for place, cluster in enumerate(order.repeat_interleave(quota)[:batch].tolist()):
            row[place] = queues[cluster].next()
    return found


class _Queue:
    """Images in a random order, and in another once all have had their turn."""

    def __init__(self, members: Tensor, generator: torch.Generator) -> None:
        self.members, self.generator = members, generator
        self.left: list[int] = []

    def next(self) -> int:
        if not self.left:
            self.left = self.members[torch.randperm(len(self.members), generator=self.generator)].tolist()
        return self.left.pop()


def codes(pixels: Tensor, noise: float, steps: int, seed: int) -> Tensor:
    """Codes `(N, D)` of images `(N, C, H, W)` by a small denoising autoencoder that is trained here on them."""
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        large = min(shape[1:]) >= CONVOLVED
        body = resnet.build(resnet.Config(), shape) if large else mlp.build(mlp.Config(width=64, last=16), shape)
        task = Task(shape, len(pixels), STEP, steps)
        method = dae.build(dae.Config(noise=noise, blank=0.0), cast(Backbone, body), task)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        index = torch.randint(len(pixels), (min(STEP, len(pixels)),), generator=generator)
        view = pixels[index]
        loss = method.loss(Batch(view, (view,), generator, index, ()))
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    method.eval()
    with torch.no_grad():
        return torch.cat([method.encode(some) for some in pixels.split(512)])
