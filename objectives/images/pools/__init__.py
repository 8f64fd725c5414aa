"""Pools, one a file: the images that are drawn from.

`build(config)` gives what fills one: `fill(images, seed) -> Pool`, from the stored training images `(N, C, H, W)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pool:
    """Images to draw from.

    Attributes:
        images: the different ones, `(K, C, H, W)`, the N training images first, in their order.
        rows: the pool itself, `(M,)` on the CPU: each image as often as it counts. An epoch draws as many as there are
            training images, however large the pool is, so that filling it up buys no training.
    """

    images: Tensor
    rows: Tensor


Fill = Callable[[Tensor, int], Pool]
