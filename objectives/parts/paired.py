"""Methods whose loss compares pairs: what a network makes of a view, and the key that it should agree with."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from objectives.method import Batch, Method


class Paired(Method):
    """A method whose loss is a sum over pairs of queries and keys, for plugins that add to them; it offers "pairs".

    Row i of a query and row i of its key belong together. Both are as the network gives them, not brought to length 1.

    Attributes:
        width: of queries and keys.
    """

    width: int

    @abstractmethod
    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """The queries and their keys, each `(N, width)`."""

    @abstractmethod
    def contrast(self, q: Tensor, k: Tensor) -> Tensor:
        """The loss of queries and their keys, each `(N, width)`; a scalar."""

    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        return torch.stack([self.contrast(q, k) for q, k in self.pairs(batch)]).sum()
