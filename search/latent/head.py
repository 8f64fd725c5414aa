"""Heads on frozen latents: what a circuit's reward is predicted to be, learned from a few labelled circuits.

The two are those that the paper calls GNN and GSQAS (Sun et al., Quantum 10, 1994): small networks on its own latents,
not the systems of these names. Outputs end in a sigmoid; Adam with β = (0.9, 0.999) minimises the mean squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MINIBATCH, LR = 32, 1e-4  # circuits a step of Adam, and the step, as published for both
ROWS = 4096  # circuits predicted at once: their features stay in the processor's cache


@dataclass(frozen=True)
class Design:
    """A head as published: the widths of its ReLU layers, what regularises them, and how long it is fitted."""

    widths: tuple[int, ...]
    dropout: float  # share of each layer's outputs that a step of the fit leaves out
    normalise: bool  # whether a batch norm stands before each ReLU
    epochs: int  # passes over the labelled circuits


DESIGNS = {
    "gnn": Design((64, 32), dropout=0.2, normalise=False, epochs=300),
    "gsqas": Design((20,), dropout=0.0, normalise=True, epochs=200),
}


class Head(nn.Module):
    """Layers d → widths → 1; all chance, of the initial weights and of dropout, is the generator's."""

    def __init__(self, design: Design, dimensions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout, self.generator = design.dropout, generator
        widths = (dimensions, *design.widths, 1)
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, *ends) for ends in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) if design.normalise else nn.Identity() for n in design.widths)
        for weight, width in zip(self.layers.parameters(), np.repeat(widths[:-1], 2), strict=True):
            nn.init.uniform_(weight, -(width**-0.5), width**-0.5, generator)  # PyTorch's own range

    def forward(self, latents: Tensor) -> Tensor:
        """Rewards, between 0 and 1, of latents (B, d): (B,)."""
        *inner, last = self.layers
        for layer, norm in zip(inner, self.norms, strict=True):
            latents = torch.relu(norm(layer(latents)))
            if self.training and self.dropout:
                kept = torch.rand(latents.shape, generator=self.generator) >= self.dropout
                latents = latents * kept / (1 - self.dropout)
        return torch.sigmoid(last(latents)[:, 0])

    @torch.no_grad()
    def predict(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rewards of the latents (B, d) once it is fitted: (B,)."""
        return np.concatenate([self(part).numpy() for part in torch.from_numpy(latents).split(ROWS)])


def fitted(name: str, latents: NDArray[np.float32], rewards: NDArray, effort: float, seed: int) -> Head:
    """The head of a design after its fit to latents (N, d), N at least 2, and rewards (N,), taken as within 0..1.

    The rows come in a new order in each epoch; what does not fill a minibatch is left out of its epoch, if there are
    more rows than that.

    Args:
        effort: how many epochs, in those of the design; at least one.
    """
    design, generator = DESIGNS[name], torch.Generator().manual_seed(seed)
    head = Head(design, latents.shape[1], generator)
    inputs, targets = torch.from_numpy(latents), torch.from_numpy(np.clip(rewards, 0, 1).astype(np.float32))
    optimiser = torch.optim.Adam(head.parameters(), lr=LR, fused=True)
    rows = min(MINIBATCH, len(inputs))
    for _ in range(max(1, round(effort * design.epochs))):
        order = torch.randperm(len(inputs), generator=generator)
        for part in order.split(rows)[: len(inputs) // rows]:
            optimiser.zero_grad()
            nn.functional.mse_loss(head(inputs[part]), targets[part]).backward()
            optimiser.step()
    return head.eval()
