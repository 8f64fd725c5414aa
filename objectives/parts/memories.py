"""What a method remembers of past batches: a queue of the newest rows, or a bank with one row an image.

All of it lies in buffers, so that a continued training remembers what the unbroken one does, and none of it carries a
gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNKNOWN = -1  # the index of no image, and the label of a row without one


class Queue(nn.Module):
    """The last `length` rows that were pushed, newest first.

    Source: section 3.2 of MoCo (He et al., CVPR 2020, arXiv 1911.05722).

    Attributes:
        rows: `(length, D)`, zero where still empty.
        index: `(length,)` long, the image that each row is of, -1 where none was told.
        count: how many rows were pushed, at most `length`.
    """

    rows: Tensor
    index: Tensor
    count: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("index", torch.full((length,), UNKNOWN))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def full(self) -> bool:
        """Whether no place is empty; a queue without places is never full."""
        return len(self.rows) > 0 and int(self.count) == len(self.rows)

    @torch.no_grad()
    def push(self, rows: Tensor, index: Tensor | None = None) -> None:
        """Puts rows `(B, D)`, the first of which comes first, before all others, and with them their images `(B,)`.

        Rows are taken as they are: normalise before, if at all. What is beyond the length falls off the end.
        """
        length = len(self.rows)
        index = self.index.new_full((len(rows),), UNKNOWN) if index is None else index
        self.rows.copy_(torch.cat([rows.to(self.rows), self.rows])[:length])
        self.index.copy_(torch.cat([index.to(self.index), self.index])[:length])
        self.count.copy_((self.count + len(rows)).clamp(max=length))


class Bank(nn.Module):
    """One unit row for each of N training images.

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR
    2018, arXiv 1805.01978); with labels, InterCLR (Xie et al., IJCV 2022, arXiv 2008.11702).

    Attributes:
        features: `(N, D)`, of length 1, zero until an image is visited.
        labels: `(N,)` long, -1 until someone writes them.
        visited: `(N,)` booleans.
    """

    features: Tensor
    labels: Tensor
    visited: Tensor

    def __init__(self, images: int, width: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(images, width))
        self.register_buffer("labels", torch.full((images,), UNKNOWN))
        self.register_buffer("visited", torch.zeros(images, dtype=torch.bool))

    @torch.no_grad()
    def write(self, index: Tensor, rows: Tensor, momentum: float = 1.0) -> None:
        """Moves images `(B,)` towards rows `(B, D)`: b <- (1 - momentum) b + momentum row, rows and b at length 1.

        `momentum` is the share of the *new* row, as in InterCLR: 1 replaces. The first visit always does. Of rows
        of the same image, the last counts.
        """
        index, rows = _last(index, rows)
        new = F.normalize(rows.to(self.features), dim=1)
        self.features[index] = F.normalize(torch.lerp(self.features[index], new, momentum), dim=1)
        self.visited[index] = True


def _last(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Indices `(B,)` without repetition, and the last of each one's rows; writing a place twice has no fixed order."""
    ordered, order = index.sort(stable=True)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[:-1] != ordered[1:]
    return ordered[last], rows[order[last]]
