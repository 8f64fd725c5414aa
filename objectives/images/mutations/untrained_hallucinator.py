"""A mistake: the generator of hallucinated queries is not handed to the optimiser, and stays as it was drawn.

The authors' code for SimSiam makes it where the predictor's learning rate is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from objectives.images.plugins.hallucination import Hallucinating
from objectives.method import Method, Task

NEEDS = ("pairs",)


@dataclass(frozen=True)
class Config:
    """It has no knobs."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What freezes G in a built method.

    Raises:
        ValueError: on adding it, the method hallucinates nothing.
    """

    def add(method: Method, task: Task) -> Method:
        if not isinstance(method, Hallucinating):
            raise ValueError("name it after the plugin hallucination, which it spoils")
        method.hallucinator.requires_grad_(False)
        return method

    return add
