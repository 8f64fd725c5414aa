"""All images of the pool in a fresh order every epoch, cut into batches; what is left over waits for another epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.images.pools import Pool
from objectives.images.samplers import Encode, Start


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


class Shuffled:
    """Batches without a plan."""

    def __init__(self, pool: Pool, batch: int, steps: int, seed: int) -> None:
        self.rows, self.batch, self.steps = pool.rows, batch, steps

    def epoch(self, number: int, encode: Encode, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.rows), generator=generator)
        return self.rows[order[: self.steps * self.batch]].view(self.steps, self.batch)

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


def build(config: Config) -> Start:
    """The sampler."""
    return Shuffled
