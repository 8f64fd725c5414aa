"""PixPro with the wrong boxes: cells are matched by where the views of another image of the batch lie.

The masks of positives stay as frequent and as shaped as they are; what they match no longer belongs together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from objectives.method import Batch, Method, Task

NEEDS = ("cells",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes a method read each pair of boxes from the next image of the batch."""

    def add(method: Method, task: Task) -> Method:
        right = method.loss

        def loss(batch: Batch) -> Tensor | dict[str, Tensor]:
            return right(replace(batch, warps=tuple(warp.roll(1, 0) for warp in batch.warps)))

        method.loss = loss  # type: ignore[method-assign]
        return method

    return add
