"""A graph isomorphism network over dense batches of circuit graphs, and a decoder of its nodes.

Batches are (B, V, ...) with padding behind short circuits. Whatever works node by node works on the M real nodes of
a batch, its rows, so that padding enters neither the statistics of batch normalisation nor any loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """Some graphs.

    Attributes:
        nodes: types and positions, float (B, V, F).
        adjacency: edges from the row's to the column's node, float (B, V, V).
        live: which nodes there are, (B, V); None: all.
    """

    nodes: Tensor
    adjacency: Tensor
    live: Tensor | None

    def rows(self, dense: Tensor) -> Tensor:
        """The real nodes of (B, V, D): (M, D)."""
        return dense.flatten(0, 1) if self.live is None else dense[self.live]

    def dense(self, rows: Tensor) -> Tensor:
        """The rows (M, D) at their places, zeros elsewhere: (B, V, D)."""
        shape = (*self.nodes.shape[:2], rows.shape[-1])
        if self.live is None:
            return rows.view(shape)
        return rows.new_zeros(shape).masked_scatter(self.live[..., None], rows)

    def later(self, size: Tensor) -> Tensor:
        """1 for each pair of real nodes, the first before the second, else 0: float (B, V, V) or (V, V)."""
        upper = torch.ones_like(size[0]).triu(1)
        return upper if self.live is None else upper * (self.live[:, :, None] & self.live[:, None, :])


class Norm(nn.Module):
    """Batch normalisation of rows (M, D), and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x), inplace=True)


class GinLayer(nn.Module):
    """h <- ReLU(BN(MLP((1 + eps) h + A h))), the MLP with batch normalisation and ReLU between its linear layers.

    Xu et al., "How Powerful are Graph Neural Networks?" (ICLR 2019), equation 4.1. With several A, one a direction,
    the MLP's first layer has weights for each of them.
    """

    def __init__(self, width: int, hidden: int, depth: int, ways: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        sizes = [width * ways] + [hidden] * depth
        # No biases: batch normalisation would take them away again.
        steps = [(nn.Linear(a, b, bias=False), Norm(b)) for a, b in pairwise(sizes)]
        self.mlp = nn.Sequential(*(module for step in steps for module in step))

    def forward(self, rows: Tensor, messages: tuple[Tensor, ...], batch: Batch) -> Tensor:
        h = batch.dense(rows)
        own = (1 + self.epsilon) * h
        heard = [torch.baddbmm(own, a, h) for a in messages]
        return self.mlp(batch.rows(torch.cat(heard, -1) if len(heard) > 1 else heard[0]))


class Gin(nn.Module):
    """Layers of `GinLayer` and two linear heads: for each node a mean and a log standard deviation.

    Attributes:
        passing: which way messages run: `undirected`, `forward` along the edges, or `both` with weights for each.
        fusion: what the heads see: the last layer (`none`), all of them through a linear layer and ReLU (`concat`),
            or their `sum`.
    """

    def __init__(
        self, features: int, *, layers: int, depth: int, hidden: int, latent: int, passing: str, fusion: str
    ) -> None:
        super().__init__()
        self.passing, self.fusion = passing, fusion
        ways = 2 if passing == "both" else 1
        widths = [features] + [hidden] * layers
        self.layers = nn.ModuleList(GinLayer(a, b, depth, ways) for a, b in pairwise(widths))
        self.fuse = nn.Linear(layers * hidden, hidden) if fusion == "concat" else nn.Identity()
        self.heads = nn.Linear(hidden, 2 * latent)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The means and the log standard deviations of the M real nodes: (M, d) each."""
        heard = batch.adjacency.mT
        messages = {
            "undirected": lambda: (batch.adjacency + heard,),
            "forward": lambda: (heard,),
            "both": lambda: (heard, batch.adjacency),
        }[self.passing]()
        rows, outputs = batch.rows(batch.nodes), []
        for layer in self.layers:
            rows = layer(rows, messages, batch)
            outputs.append(rows)
        if self.fusion == "concat":
            rows = F.relu(self.fuse(torch.cat(outputs, -1)))
        elif self.fusion == "sum":
            rows = torch.stack(outputs).sum(0)
        mean, log_deviation = self.heads(rows).chunk(2, -1)
        return mean, log_deviation


class Decoder(nn.Module):
    """Nodes and edges of latents: a linear layer for the nodes; for the edges the products of their ends.

    `sigmoid` takes the products as they are, `relu` as a z_i·z_j + b, `bilinear` as z_i·W z_j + b, which tells the
    edge's first end from its second. What comes out has not passed through any activation.
    """

    def __init__(self, latent: int, features: int, edges: str) -> None:
        super().__init__()
        self.edges = edges
        self.nodes = nn.Linear(latent, features)
        if edges == "relu":
            self.scale = nn.Parameter(torch.ones(()))
        if edges == "bilinear":
            self.weight = nn.Parameter(torch.eye(latent))
        if edges != "sigmoid":
            self.offset = nn.Parameter(torch.zeros(()))

    def pairs(self, z: Tensor) -> Tensor:
        """The edges between nodes z (B, V, d): (B, V, V)."""
        if self.edges == "sigmoid":
            return z @ z.mT
        left = self.scale * z if self.edges == "relu" else z @ self.weight
        return left @ z.mT + self.offset


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draws the weights of all linear layers anew, and their biases: uniform within 1/sqrt(fan in), as in PyTorch."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
