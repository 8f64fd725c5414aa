"""Mistake: the linear map of the codes is not handed to the optimiser, and stays as it was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from objectives.method import Method, Task

NEEDS = ("projection",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes the mistake in a method's `projection`."""

    def add(method: Method, task: Task) -> Method:
        assert isinstance(method.projection, nn.Module)
        method.projection.requires_grad_(False)
        return method

    return add
