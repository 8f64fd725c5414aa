"""Rotations as a further task: besides what its method learns, a backbone tells by which quarter turn a view is turned.

    loss = the method's + weight * RotNet's, a linear head naming the turns of all four copies of a view

Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations" (ICLR 2018, arXiv 1803.07728),
whose loss stands alone there; see `objectives.images.methods.rotnet`. It needs square images that have an upright
position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from objectives.images.methods.rotnet import TURNS, rotation_loss, turned
from objectives.method import Batch, Method, Task
from spaces.domains import Log


@dataclass(frozen=True)
class Config:
    """How much the rotations count."""

    weight: Annotated[float, Log(0.1, 10.0)] = 1.0  # of the rotations' loss, beside the method's own


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What adds the task, with a head of its own, to any method.

    Raises:
        ValueError: on adding it, the images are not square.
    """

    def add(method: Method, task: Task) -> Method:
        _, height, width = task.shape
        if height != width:
            raise ValueError(f"quarter turns need square images, got {height} by {width} pixels")
        turns, right = TURNS["all"], method.loss
        method.rotation_head = nn.Linear(method.backbone.features, len(turns))  # type: ignore[arg-type]

        def loss(batch: Batch) -> dict[str, Tensor]:
            own = right(batch)
            view = batch.views[0] if batch.views else batch.images
            logits = method.rotation_head(method.backbone(turned(view, turns)))  # type: ignore[operator]
            truth = torch.arange(len(turns), device=view.device).repeat_interleave(len(view))
            parts = own if isinstance(own, dict) else {"own": own}
            return {**parts, "rotations": config.weight * rotation_loss(logits, truth)}

        method.loss = loss  # type: ignore[method-assign]
        return method

    return add
