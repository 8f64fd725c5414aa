"""RotNet: tell by how much an image was turned.

Every image x is turned by each of K angles y, all copies stand in one batch, and a linear head on the
representation names the angle:

    loss = -1 / (B K) sum_x sum_y log softmax(head(f(turn(x, y))))_y

Section 2 of Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations" (ICLR 2018, arXiv
1803.07728), with quarter turns, which move pixels but never blend them, so that no trace of interpolation gives
the angle away. It needs images that have an upright position, and augmentations that do not turn them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.precision import full_precision
from spaces.domains import Choice

TURNS = {"all": (0, 1, 2, 3), "half": (0, 2), "sides": (1, 3)}  # quarter turns, anticlockwise


@dataclass(frozen=True)
class Config:
    """The paper: all four rotations, the best of those it tried."""

    rotations: Annotated[str, Choice(*TURNS)] = "all"  # 0, 90, 180, 270; half: 0, 180; sides: 90, 270 degrees


def turned(images: Tensor, turns: tuple[int, ...]) -> Tensor:
    """All images `(B, C, H, W)`, turned by each of K numbers of quarter turns: `(K B, C, H, W)`, turn by turn."""
    return torch.cat([torch.rot90(images, turn, dims=(2, 3)) for turn in turns])


@full_precision
def rotation_loss(logits: Tensor) -> Tensor:
    """The cross-entropy of logits `(K B, K)` of copies that stand turn by turn; a scalar."""
    copies, turns = logits.shape
    truth = torch.arange(turns, device=logits.device).repeat_interleave(copies // turns)
    return F.cross_entropy(logits, truth)


class RotNet(Method):
    """A backbone and a linear head over rotations."""

    views = 1

    def __init__(self, turns: tuple[int, ...], backbone: Backbone) -> None:
        super().__init__()
        self.turns = turns
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, len(turns))

    def loss(self, batch: Batch) -> Tensor:
        return rotation_loss(self.head(self.backbone(turned(batch.views[0], self.turns))))


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """RotNet on a backbone.

    Raises:
        ValueError: the images are not square, and a quarter turn would change their shape.
    """
    _, height, width = task.shape
    turns = TURNS[config.rotations]
    if height != width and any(turn % 2 for turn in turns):
        raise ValueError(
            f"rotations '{config.rotations}' need square images, got {height} by {width} pixels; 'half' does not"
        )
    return RotNet(turns, backbone)
