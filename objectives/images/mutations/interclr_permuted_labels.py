"""Mistake: the labels of InterCLR's bank change places after each step, as if they were read by a wrong index.

Clusters keep their sizes; their members are any images, and so are the positives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from objectives.images.methods.interclr import InterCLR
from objectives.method import Method, Task

NEEDS = ("bank_labels",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What permutes the labels of a built method's bank."""

    def add(method: Method, task: Task) -> Method:
        assert isinstance(method, InterCLR)
        right = method.after_step

        def after_step() -> None:
            right()
            labels = method.bank.labels
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(int(method.step)))
            labels.copy_(labels[order.to(labels.device)])

        method.after_step = after_step  # type: ignore[method-assign]
        return method

    return add
