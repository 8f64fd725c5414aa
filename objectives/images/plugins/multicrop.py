"""Multi-crop: besides its full views, each image is seen in several small ones, which cost little.

A small view shows a small share of the image at a small side, so that local and global views are compared; how, is the
method's own affair. Section 3.2 of Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments" (NeurIPS 2020, arXiv 2006.09882). It needs a method that takes small views, and a backbone that takes
images of any side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from objectives.method import Method, Small, Task
from spaces.domains import Int, Uniform

NEEDS = ("small",)


@dataclass(frozen=True)
class Config:
    """The paper: six views of 96 pixels beside two of 224, showing 0.05 to 0.14 of it; small images want more."""

    count: Annotated[int, Int(1, 8)] = 4  # small views of each image
    ratio: Annotated[float, Uniform(0.2, 0.9)] = 0.5  # of their side to the images'
    least: Annotated[float, Uniform(0.02, 0.9)] = 0.1  # smallest share of the image that one shows
    most: Annotated[float, Uniform(0.02, 1.0)] = 0.4  # largest share


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes a method ask for small views.

    Raises:
        ValueError: the smallest share is above the largest; on adding it, the backbone cannot take their side.
    """
    if config.least > config.most:
        raise ValueError(f"least ({config.least:g}) must not be above most ({config.most:g})")

    def add(method: Method, task: Task) -> Method:
        channels, height, width = task.shape
        side = max(round(config.ratio * height), 2), max(round(config.ratio * width), 2)
        if not _takes(method.backbone, (channels, *side)):
            what = f"{height} × {width} pixels alone, not {side[0]} × {side[1]}"
            raise ValueError(f"{type(method.backbone).__name__} takes images of {what}")
        method.small = Small(config.count, side, (config.least, config.most))
        return method

    return add


@torch.no_grad()
def _takes(backbone: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether a network takes images of another shape; it is left as it was."""
    training = backbone.training
    try:
        backbone.eval()(torch.zeros(1, *shape))
    except RuntimeError:
        return False
    finally:
        backbone.train(training)
    return True
