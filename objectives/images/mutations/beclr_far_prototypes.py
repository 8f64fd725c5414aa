"""Mistake: BECLR's memory gives rows to prototypes at the greatest distance, by the sign that the authors' code has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.images.methods.beclr import BECLR
from objectives.method import Method, Task
from objectives.parts.sinkhorn import transport

NEEDS = ("clustered_memory",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What flips the sign of the cost in a built method's memory."""

    def add(method: Method, task: Task) -> Method:
        assert isinstance(method, BECLR)
        memory = method.memory

        def assign(rows: Tensor) -> Tensor:
            cost = -torch.cdist(rows, memory.prototypes)
            return transport(cost, memory.epsilon, memory.iterations).argmax(dim=1)

        memory.assign = assign  # type: ignore[method-assign]
        return method

    return add
