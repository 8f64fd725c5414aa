"""A memory of past rows that is kept sorted into clusters of about equal size, so that neighbours are soon found.

Source: DyCE, the memory of BECLR (Poulakakis-Daktylidis and Jamali-Rad, ICLR 2024, arXiv 2402.02444), section 3. The
authors' code gives rows to prototypes that are far, by the sign of its cost; the paper wants the least cost.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.parts.clusterers import balanced, kmeans, means
from objectives.parts.memories import UNKNOWN, Queue
from objectives.parts.precision import full_precision

RESTARTS = 3  # of k-means, of which the best counts; 10 in the authors' code


class ClusteredMemory(nn.Module):
    """The newest rows, at length 1, in a `queue`, and the cluster of each.

    Args:
        clusters: how many.
        length: rows of the memory.
        width: D.
        epsilon: softness of the assignment of new rows, see `balanced`.
        iterations: of Sinkhorn.
        momentum: of the old prototype where a new one is computed; 0 replaces it.

    Attributes:
        labels: `(length,)` long, the cluster of each row, -1 before there are any.
        prototypes: `(clusters, D)`.
    """

    labels: Tensor
    prototypes: Tensor

    def __init__(
        self, clusters: int, length: int, width: int, *, epsilon: float, iterations: int, momentum: float
    ) -> None:
        super().__init__()
        self.epsilon, self.iterations, self.momentum = epsilon, iterations, momentum
        self.queue = Queue(length, width)
        self.register_buffer("labels", torch.full((length,), UNKNOWN))
        self.register_buffer("prototypes", torch.zeros(clusters, width))

    @property
    def sorted(self) -> bool:
        """Whether the rows have clusters."""
        return bool(self.labels[0] != UNKNOWN)

    def assign(self, rows: Tensor) -> Tensor:
        """The clusters `(n,)` that new unit rows `(n, D)` come into."""
        return balanced(rows, self.prototypes, self.epsilon, self.iterations)

    @torch.no_grad()
    def push(self, rows: Tensor, index: Tensor) -> None:
        """Takes in rows `(n, D)` of images `(n,)`; prototypes follow, where there are some."""
        rows = unit(rows.to(self.prototypes))
        if self.sorted:
            self.labels.copy_(torch.cat([self.assign(rows), self.labels])[: len(self.labels)])
        self.queue.push(rows, index)
        if self.sorted:
            new = means(self.queue.rows, self.labels, self.prototypes)
            self.prototypes.lerp_(new, 1 - self.momentum)

    def sort(self, generator: torch.Generator) -> None:
        """k-means of all rows."""
        prototypes, labels = kmeans(self.queue.rows, len(self.prototypes), generator, restarts=RESTARTS)
        self.prototypes.copy_(prototypes)
        self.labels.copy_(labels)

    @torch.no_grad()
    def nearest(self, rows: Tensor, index: Tensor, k: int) -> Tensor:
        """For rows `(n, D)` of images `(n,)`, which k places `(n, k)` of the memory are their neighbours.

        They are the nearest by cosine among the members of the nearest prototype, or among all rows where these are no
        more than k. Rows of the image itself are none.
        """
        rows = unit(rows.to(self.prototypes))
        other = index.unsqueeze(1) != self.queue.index
        member = other & ((rows @ unit(self.prototypes).T).argmax(dim=1, keepdim=True) == self.labels)
        enough = member.sum(dim=1, keepdim=True) > k
        similar = rows @ self.queue.rows.T
        return similar.masked_fill(~torch.where(enough, member, other), -torch.inf).topk(k, dim=1).indices


@full_precision
def unit(z: Tensor) -> Tensor:
    """Rows `(n, D)` at length 1."""
    return F.normalize(z, dim=1)
