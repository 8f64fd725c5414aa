"""A teacher that follows its student as an exponential moving average."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def momentum_at(step: Tensor, steps: int, base: float) -> Tensor:
    """How much of itself a teacher keeps: m = 1 - (1 - base) (1 + cos(pi step / steps)) / 2, from `base` up to 1.

    Source: section 3.2 of BYOL (arXiv 2006.07733). After `steps` it stays at 1.
    """
    done = (step / max(steps, 1)).clamp(max=1)
    return 1 - (1 - base) * (1 + torch.cos(math.pi * done)) / 2


class Teacher(nn.Module):
    """A slow copy of a student network: teacher <- m teacher + (1 - m) student after every step.

    Its parameters take no gradient. In training mode its batch normalisation uses the statistics of the batch at
    hand, as the student's does; its running averages are its own and nothing reads them.
    """

    step: Tensor

    def __init__(self, student: nn.Module, base: float, steps: int) -> None:
        super().__init__()
        self.base, self.steps = base, steps
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the teacher makes of `x`, as constants."""
        return self.network(x)

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """One step towards the student, whose parameters must be in the order in which they were copied."""
        rest = 1 - momentum_at(self.step, self.steps, self.base)
        for old, new in zip(self.network.parameters(), student.parameters(), strict=True):
            old.lerp_(new, rest.to(old.dtype))
        self.step += 1
