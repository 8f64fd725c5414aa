"""Samplers, one a file: which images meet in a batch.

`build(config)` gives what starts one: `start(pool, batch, steps, seed) -> Sampler`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from objectives.images.pools import Pool

Encode = Callable[[Tensor], Tensor]  # stored images `(N, C, H, W)` to what the encoder makes of them now, `(N, D)`


class Sampler(Protocol):
    """Draws the batches of one epoch after the other."""

    def epoch(self, number: int, encode: Encode, generator: torch.Generator) -> Tensor:
        """Which images of the pool each step of epoch `number` (from 0) sees, `(steps, batch)`."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it has learnt since it started, beyond what the pool and the seed say."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state_dict` gave."""
        ...


Start = Callable[[Pool, int, int, int], Sampler]
