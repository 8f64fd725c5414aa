"""What a pretraining method is: a module with a loss on batches and an encoding for probes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from objectives.parts.backbone import read_out


@dataclass(frozen=True)
class Task:
    """What a method is to be trained on.

    Attributes:
        shape: (C, H, W) of the images.
        images: how many different training images there are.
        batch: how many of them a step sees.
        steps: optimiser steps in all.
        pairs: whether the two views of an image are drawn from two images, which belong together.
    """

    shape: tuple[int, int, int]
    images: int
    batch: int
    steps: int
    pairs: bool = False


@dataclass(frozen=True)
class Small:
    """Further, small views of each image, which a method asks for.

    Attributes:
        count: how many.
        side: of each, in pixels: (height, width).
        area: the smallest and the largest share of the image that one shows.
    """

    count: int
    side: tuple[int, int]
    area: tuple[float, float]


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        images: the plain images, normalised, `(B, C, H, W)`.
        views: `Method.views` independent augmentations of them, each `(B, C, H, W)`.
        generator: the source of every random draw that a method makes on this batch (masks, noise).
        index: which of the training images each row is, `(B,)`, 0 to `Task.images - 1`.
        warps: for each view `(B, 3, 3)`, where in the image its positions lie: x, y and 1, both in -1..1 from edge to
            edge (`grid_sample`'s, `align_corners=False`).
        small: further views as `Method.small` asks for, each `(B, C, h, w)`.
    """

    images: Tensor
    views: tuple[Tensor, ...]
    generator: torch.Generator
    index: Tensor
    warps: tuple[Tensor, ...]
    small: tuple[Tensor, ...] = ()


class Method(nn.Module):
    """A way to learn a representation from batches without labels.

    The life of a method: built by `build(config, backbone, task)`, then, each step, `loss(batch)`, the gradients of its
    trainable parameters, `after_backward()`, an optimiser step, and `after_step()`. All that it remembers between steps
    is in parameters and buffers, so that `state_dict()` is complete.

    Attributes:
        views: how many augmented views of each image `loss` wants in a batch.
        small: the small views that it wants besides, or None.
        backbone: the network whose pooled output is the representation.
        positives: `(P, 2)` training images that the last step held to belong together, or None; their labels, where
            there are any, tell how often that was right.
    """

    views: int = 2
    small: Small | None = None
    backbone: nn.Module
    positives: Tensor | None = None

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        """The scalar to minimise, or its named parts, whose sum is minimised."""

    def encode(self, images: Tensor) -> Tensor:
        """The representation `(B, D)` of normalised images `(B, C, H, W)`."""
        return read_out(self.backbone, images)

    def rates(self) -> Mapping[str, float]:
        """By how much the learning rate of parameters is multiplied now, by the beginning of their names."""
        return {}

    def after_backward(self) -> None:
        """What is done to the gradients before they are clipped; by default nothing."""

    def after_step(self) -> None:
        """What follows an optimiser step: a momentum update, a queue; by default nothing."""

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """What the method can tell of itself by batches of normalised images `(B, C, H, W)`, without labels.

        It is asked in evaluation mode, without gradients, at every rung.
        """
        return {}

    def clusters(self, images: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
        """Into which of `count` clusters the method sorts normalised images `(N, C, H, W)`, `(N,)`, and the features by
        which it does so, `(N, D)`; None where it does not sort."""
        return None
