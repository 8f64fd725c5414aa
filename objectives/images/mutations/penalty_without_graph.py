"""A mistake: the gradient that a penalty is about is taken without a graph of its own (`create_graph` left out).

The penalty is computed and shown, and trains nothing: what is left is the loss without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.images.methods.wpc import WPC
from objectives.method import Method, Task

NEEDS = ("gradient_penalty",)


@dataclass(frozen=True)
class Config:
    """It has no knobs."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What cuts the penalty of a built method off from its parameters."""

    def add(method: Method, task: Task) -> Method:
        assert isinstance(method, WPC)
        right = method.penalty

        def penalty(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
            return right(x, y, generator).detach()

        method.penalty = penalty  # type: ignore[method-assign]
        return method

    return add
