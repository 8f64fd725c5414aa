"""R2O with the wrong masks: the views of each image are divided by masks that were found in another image of the batch,
where its own views lie.

Masks stay as many, as large and as shaped as they are; what two views pool over no longer belongs together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from objectives.method import Batch, Method, Task

NEEDS = ("masks",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes a method take the masks of the next image of the batch, as the views of that image see them."""

    def add(method: Method, task: Task) -> Method:
        right_loss = method.loss
        right: Callable[[Tensor, torch.Generator], Tensor] = method.masks  # type: ignore[assignment]

        def masks(images: Tensor, generator: torch.Generator) -> Tensor:
            return right(images, generator).roll(1, 0)

        def loss(batch: Batch) -> Tensor | dict[str, Tensor]:
            return right_loss(replace(batch, warps=tuple(warp.roll(1, 0) for warp in batch.warps)))

        method.masks, method.loss = masks, loss  # type: ignore[assignment,method-assign]
        return method

    return add
