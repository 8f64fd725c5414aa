"""The mean of a circuit's raw gate rows: how often each gate stands in it and which wires gates act on, and no more.

    h = (1/V) sum over the V nodes of the node's row (one-hot type, positions)

A control. It knows neither order nor edges, and as a space to search in it equals the latents of the published
autoencoder, which are a mean over nodes, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.embedding import Embedding, Graphs, chunks
from spaces.circuits.pool import Pool


@dataclass(frozen=True)
class Config(Graphs):
    """How circuits become graphs, whose nodes are averaged."""


class RawMean:
    """Needs no training; d is the number of types and wires."""

    def __init__(self, config: Config, wires: int) -> None:
        self.config, self.wires = config, wires

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        yield from ()

    def embed(self, pool: Pool) -> NDArray[np.float32]:
        return np.concatenate([self._mean(part) for part in chunks(pool)])

    def _mean(self, pool: Pool) -> NDArray[np.float32]:
        total = self.config.encoded(pool, self.wires).nodes.sum(1, dtype=np.float32)
        return total / (pool.length + 2).astype(np.float32)[:, None]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def build(config: Config, wires: int, slots: int) -> Embedding:
    """The mean of raw rows of circuits on `wires` wires, however long."""
    return RawMean(config, wires)
