"""What a circuit can reach (`reach`), predicted from its graph by states of the wires that gate after gate renews.

    h_q    the state of wire q, learnt; then, for the gates in their order,
    h_a <- GRU([type, sign on a, sign on b, h_b], h_a)    for the wires a of a gate, b its other one if there is one

A head of two linear layers takes the last states, side by side, to the vector. As messages along the wires, each sent
once all before it have arrived, this is the directed network of Zhang et al., "D-VAE" (NeurIPS 2019, arXiv 1904.11088);
as a state that is moved by gates, it is what a simulation does. The recurrent unit is that of Cho et al. (EMNLP 2014,
arXiv 1406.1078). For how it is trained, see `_predicted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.circuits.embedding import Embedding
from objectives.circuits.embeddings._gin import Batch
from objectives.circuits.embeddings._predicted import Predicted, Taught
from spaces.circuits.gates import MAX_WIRES
from spaces.domains import Int


@dataclass(frozen=True)
class Config(Taught):
    """How circuits become graphs, what is predicted, how the network is trained, and the network."""

    hidden: Annotated[int, Int(8, 512, log=True)] = 128  # width of a wire's state


class Network(nn.Module):
    """Graphs in, vectors (B, `latent`) out."""

    def __init__(self, config: Config, wires: int) -> None:
        super().__init__()
        self.types, self.hidden = config.types, config.hidden
        seen = self.types + 2 + self.hidden
        self.start = nn.Linear(wires, self.hidden, bias=False)  # its columns are the wires' first states
        self.gates = nn.Linear(seen + self.hidden, 2 * self.hidden)
        self.fresh = nn.Linear(seen + self.hidden, self.hidden)
        self.head = nn.Sequential(
            nn.Linear(wires * self.hidden, self.hidden), nn.ReLU(), nn.Linear(self.hidden, config.latent)
        )

    def forward(self, batch: Batch) -> Tensor:
        gates, there, wire = self._gates(batch.nodes)
        first = self.start.weight.T
        states = first.repeat(len(gates), 1)  # of all wires of all circuits
        place = wire + len(first) * torch.arange(len(gates), device=wire.device)[:, None, None]
        for v in range(gates.shape[1]):
            on = there[:, v]
            rows, others = place[:, v][on], place[:, v].flip(1)[on]
            own, other = states[rows], states[others] * on.flip(1)[on][:, None]
            renewed = self._renewed(torch.cat([gates[:, v][on], other], -1), own)
            states = states.index_copy(0, rows, renewed)
        return self.head(states.view(len(gates), first.numel()))

    def _gates(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the S nodes after START are on each wire, (B, S, 2, T + 2): type, the sign there, that on the other.

        And whether there is such a wire, and which, (B, S, 2) each; any wire where there is none.
        """
        nodes = nodes[:, 1:-1]
        kind, position = nodes[..., : self.types], nodes[..., self.types :]
        touched = position.abs() * (1 - kind[..., -1:])  # END may stand before the last place
        there, wire = torch.sort(F.pad(touched, (0, 1)), stable=True, descending=True)
        there, wire = there[..., :MAX_WIRES], wire[..., :MAX_WIRES].clamp(max=position.shape[-1] - 1)
        sign = position.gather(-1, wire) * there
        kinds = kind[:, :, None].expand(-1, -1, MAX_WIRES, -1)
        return torch.cat([kinds, torch.stack([sign, sign.flip(-1)], -1)], -1), there > 0, wire

    def _renewed(self, seen: Tensor, own: Tensor) -> Tensor:
        reset, kept = self.gates(torch.cat([seen, own], -1)).sigmoid().chunk(2, -1)
        fresh = self.fresh(torch.cat([seen, reset * own], -1)).tanh()
        return fresh + kept * (own - fresh)


def build(config: Config, wires: int, slots: int, device: str = "cpu") -> Embedding:
    """The network for circuits on `wires` wires, taught on circuits of at most `slots` gates."""
    return Predicted(config, wires, slots, lambda: Network(config, wires), device)
