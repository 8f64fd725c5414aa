"""Policies of REINFORCE: from where one is in the latent space to a Gaussian over where to look next."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, Tensor] | None  # hidden state and cell of an LSTM; None at the start of an episode, or of an MLP


class Policy(nn.Module):
    """Means of actions by an LSTM cell and a linear layer, or by an MLP of one ReLU layer, and their deviation.

    Attributes:
        log_std: the logarithm of the deviation in each dimension, (d,); a parameter if it is learned.
    """

    def __init__(self, kind: str, dimensions: int, hidden: int, std: float, learned: bool, seed: int) -> None:
        super().__init__()
        layer, width = (nn.LSTMCell, hidden) if kind == "lstm" else (nn.Linear, dimensions)
        self.body = nn.utils.skip_init(layer, dimensions, hidden)
        self.head = nn.utils.skip_init(nn.Linear, hidden, dimensions)
        generator = torch.Generator().manual_seed(seed)
        for part, bound in ((self.body, width**-0.5), (self.head, hidden**-0.5)):  # PyTorch's own ranges
            for weight in part.parameters():
                nn.init.uniform_(weight, -bound, bound, generator)
        self.log_std = nn.Parameter(torch.full((dimensions,), math.log(std)), requires_grad=learned)

    def step(self, state: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """The mean at one state (1, d), and the memory to go on with."""
        if isinstance(self.body, nn.LSTMCell):
            memory = self.body(state, memory)
            return self.head(memory[0]), memory
        return self.head(torch.relu(self.body(state))), None

    def forward(self, states: Tensor) -> Tensor:
        """The means along an episode of states (T, d): (T, d)."""
        if not isinstance(self.body, nn.LSTMCell):
            return self.head(torch.relu(self.body(states)))
        hidden, memory = [], None
        for state in states:
            memory = self.body(state[None], memory)
            hidden.append(memory[0])
        return self.head(torch.cat(hidden))


def loss(policy: Policy, states: Tensor, actions: Tensor, advantages: Tensor, entropy: float = 0.0) -> Tensor:
    """-mean_t A_t log N(a_t; m_t, diag σ²) - entropy × H, of an episode (Williams 1992; H per Mnih et al. 2016, §4).

    Args:
        states, actions: (T, d).
        advantages: A_t, (T,); no gradient flows through them.
        entropy: weight of H = Σ_k log σ_k + d/2 log 2πe.
    """
    log_std, dimensions = policy.log_std, states.shape[1]
    scaled = (actions - policy(states)) * torch.exp(-log_std)
    constant = dimensions * math.log(2 * math.pi)
    likelihood = -0.5 * (scaled.square().sum(1) + constant) - log_std.sum()
    return -(advantages * likelihood).mean() - entropy * (log_std.sum() + 0.5 * (constant + dimensions))
