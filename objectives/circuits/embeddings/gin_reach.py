"""What a circuit can reach (`reach`), predicted from its graph by a graph isomorphism network.

The network is that of `gin_vae` (`_gin`), its messages running both ways; a circuit is the mean and the largest value
of its nodes' outputs, and two linear layers take that to the vector. Taught on `taught` of a pool's circuits, it embeds
the rest unseen. For how it is trained, see `_predicted`; `gru_reach` predicts better and trains faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from objectives.circuits.embedding import Embedding
from objectives.circuits.embeddings._gin import Batch, Gin
from objectives.circuits.embeddings._predicted import Predicted, Taught
from spaces.domains import Choice, Int, Log


@dataclass(frozen=True)
class Config(Taught):
    """How circuits become graphs, what is predicted, how the network is trained, and the network."""

    lr: Annotated[float, Log(1e-4, 3e-2)] = 4e-3  # of Adam, at its height; that of other networks is too high here
    passing: Annotated[str, Choice("undirected", "forward", "both")] = "both"  # way of messages along the edges
    layers: Annotated[int, Int(1, 8)] = 4  # rounds of messages
    depth: Annotated[int, Int(1, 3)] = 2  # linear layers in a round
    hidden: Annotated[int, Int(8, 512, log=True)] = 128  # width of the network
    fusion: Annotated[str, Choice("none", "concat", "sum")] = "concat"  # which rounds the outputs are read from


class Network(nn.Module):
    """Graphs in, vectors (B, `latent`) out."""

    def __init__(self, config: Config, wires: int) -> None:
        super().__init__()
        half = config.hidden // 2
        self.encoder = Gin(
            config.types + wires,
            layers=config.layers,
            depth=config.depth,
            hidden=config.hidden,
            latent=half,  # a node has two outputs of so many numbers
            passing=config.passing,
            fusion=config.fusion,
        )
        self.head = nn.Sequential(
            nn.Linear(4 * half, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.latent)
        )

    def forward(self, batch: Batch) -> Tensor:
        nodes = batch.dense(torch.cat(self.encoder(batch), -1))
        live = nodes.new_ones(nodes.shape[:2]) if batch.live is None else batch.live.to(nodes)
        mean = nodes.sum(1) / live.sum(1, keepdim=True)
        largest = nodes.masked_fill(live[..., None] == 0, -torch.inf).amax(1)
        return self.head(torch.cat([mean, largest], -1))


def build(config: Config, wires: int, slots: int, device: str = "cpu") -> Embedding:
    """The network for circuits on `wires` wires, taught on circuits of at most `slots` gates."""
    return Predicted(config, wires, slots, lambda: Network(config, wires), device)
