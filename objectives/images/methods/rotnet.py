"""RotNet: tell by how much an image was turned.

Every image x is turned by each of K angles y, all copies stand in one batch, and a linear head on the
representation names the angle:

    loss = -1 / (B K) sum_x sum_y log softmax(head(f(turn(x, y))))_y

Section 2 of Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations" (ICLR 2018, arXiv
1803.07728), with quarter turns, which move pixels but never blend them, so that no trace of interpolation gives
the angle away. `eighths`, of its table 2, cannot do without: what tells them from quarter turns is in part a trace;
their corners, at least, are cut off every copy alike. It needs images that have an upright position, and augmentations
that do not turn them. Layers before the last may be the better representation (`readout` of resnet).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.images.augmentations.rotation import turned as warps
from objectives.images.views import centres, sampling_grid
from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.precision import full_precision
from spaces.domains import Choice, Uniform

OFFERS = ("turns",)
METRICS = {
    "turns_told": Metric("max", False, "share of turned images whose angle the method's own head names"),
}
TURNS = {"all": (0, 2, 4, 6), "half": (0, 4), "sides": (2, 6), "eighths": tuple(range(8))}  # of a circle, anticlockwise


@dataclass(frozen=True)
class Config:
    """The paper: all four rotations, the best of those it tried, of each image, and true labels."""

    rotations: Annotated[str, Choice(*TURNS)] = "all"  # 0, 90, 180, 270; half: 0, 180; sides: 90, 270 degrees
    copies: Annotated[str, Choice("all", "one")] = "all"  # of an image in a batch; one: turned at random
    label_noise: Annotated[float, Uniform(0.0, 0.2)] = 0.0  # share of copies whose label is drawn at random


def turned(images: Tensor, turns: tuple[int, ...]) -> Tensor:
    """All images `(B, C, H, W)`, turned by each of K numbers of eighths of a circle: `(K B, C, H, W)`, turn by turn.

    Quarters move pixels. Odd eighths blend them, and want square images; if there are any, all copies are the
    inscribed disc alone, the rest being 0.
    """
    odd = images
    if any(turn % 2 for turn in turns):
        images = images * disc(images)
        odd = disc(images) * eighth(images)
    return torch.cat([torch.rot90(odd if turn % 2 else images, turn // 2, dims=(2, 3)) for turn in turns])


def disc(images: Tensor) -> Tensor:
    """1 for pixels whose centres lie in the inscribed disc, 0 for others, `(H, W)`."""
    places = centres(images.shape[2], images)
    return ((places**2 + places[:, None] ** 2) <= 1).to(images.dtype)


def eighth(images: Tensor) -> Tensor:
    """Square images `(B, C, H, H)` turned by an eighth of a circle, anticlockwise; bilinear, 0 from outside."""
    with torch.autocast(images.device.type, enabled=False):
        matrix = warps(images, images.new_full((len(images),), math.pi / 4))
        return F.grid_sample(images, sampling_grid(matrix, *images.shape[2:]), align_corners=False)


@full_precision
def rotation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """The cross-entropy of logits `(N, K)` of copies whose turns are the `truth`, `(N,)`; a scalar."""
    return F.cross_entropy(logits, truth)


def uniform(size: int, generator: torch.Generator, count: int) -> Tensor:
    """Draws from 0 to count - 1, `(size,)`, on the generator's device."""
    return torch.randint(count, (size,), generator=generator, device=generator.device)


class RotNet(Method):
    """A backbone and a linear head over rotations."""

    views = 1

    def __init__(self, config: Config, backbone: Backbone) -> None:
        super().__init__()
        self.config, self.turns = config, TURNS[config.rotations]
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, len(self.turns))

    def loss(self, batch: Batch) -> Tensor:
        copies, truth = self.copies(batch.views[0], batch.generator)
        return rotation_loss(self.head(self.backbone(copies)), truth)

    def copies(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turned images `(N, C, H, W)` and the labels of their turns, `(N,)`."""
        copies, truth, count = turned(images, self.turns), self.truth(images), len(self.turns)
        if self.config.copies == "one":
            kept = uniform(len(images), generator, count).to(images.device) * len(images)
            kept = kept + torch.arange(len(images), device=images.device)
            copies, truth = copies[kept], truth[kept]
        if self.config.label_noise:
            wrong = torch.rand(len(truth), generator=generator, device=generator.device) < self.config.label_noise
            other = uniform(len(truth), generator, count)
            truth = torch.where(wrong.to(truth.device), other.to(truth.device), truth)
        return copies, truth

    def truth(self, images: Tensor) -> Tensor:
        """The labels of all copies, turn by turn, `(K B,)`."""
        return torch.arange(len(self.turns), device=images.device).repeat_interleave(len(images))

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        told, count = 0, 0
        for images in batches:
            named = self.head(self.backbone(turned(images, self.turns))).argmax(1)
            told += int((named == self.truth(images)).sum())
            count += len(named)
        return {"turns_told": told / max(count, 1)}


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """RotNet on a backbone.

    Raises:
        ValueError: the images are not square, and a quarter turn would change their shape.
    """
    _, height, width = task.shape
    if height != width and any(turn % 4 for turn in TURNS[config.rotations]):
        raise ValueError(
            f"rotations '{config.rotations}' need square images, got {height} by {width} pixels; 'half' does not"
        )
    return RotNet(config, backbone)
