"""RotNet with the labels of the turns shuffled in each batch: the mistake of labels out of order with the copies.

Every turn is as frequent as it was; which copy has which label no longer means anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.images.methods.rotnet import RotNet
from objectives.method import Method, Task

NEEDS = ("turns",)


@dataclass(frozen=True)
class Config:
    """It has no knobs."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What shuffles the labels of a built method."""

    def add(method: Method, task: Task) -> Method:
        assert isinstance(method, RotNet)
        right = method.copies

        def copies(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            found, truth = right(images, generator)
            order = torch.randperm(len(truth), generator=generator, device=generator.device)
            return found, truth[order.to(truth.device)]

        method.copies = copies  # type: ignore[method-assign]
        return method

    return add
