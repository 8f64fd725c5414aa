"""What a pretraining method is: a module with a loss on batches and an encoding for probes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        images: the plain images, normalised, `(B, C, H, W)`.
        views: `Method.views` independent augmentations of them, each `(B, C, H, W)`.
        generator: the source of every random draw that a method makes on this batch (masks, noise).
    """

    images: Tensor
    views: tuple[Tensor, ...]
    generator: torch.Generator


class Method(nn.Module):
    """A way to learn a representation from batches without labels.

    The life of a method: built by `build(config, backbone, shape, steps)`, then, each step, `loss(batch)`,
    an optimiser step on its trainable parameters, and `after_step()`. All that it remembers between steps
    is in parameters and buffers, so that `state_dict()` is complete.

    Attributes:
        views: how many augmented views of each image `loss` wants in a batch.
        backbone: the network whose pooled output is the representation.
    """

    views: int = 2
    backbone: nn.Module

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        """The scalar to minimise, or its named parts, whose sum is minimised."""

    def encode(self, images: Tensor) -> Tensor:
        """The representation `(B, D)` of normalised images `(B, C, H, W)`."""
        return self.backbone(images)

    def after_step(self) -> None:
        """What follows an optimiser step: a momentum update, a queue; by default nothing."""
