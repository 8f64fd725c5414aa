"""A circuit's raw gate rows, one behind the other: what it is, gate by gate, as a flat one-hot vector.

    h = (row of gate 1, row of gate 2, ..., row of gate S),    zeros behind the last gate

A row is the one-hot type over the gate set and the position on each wire. A control: nothing is lost but the angles,
yet circuits that differ by an exchange of commuting gates are as far apart as any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.embedding import Embedding, Graphs, chunks
from spaces.circuits.pool import CircuitError, Pool


@dataclass(frozen=True)
class Config(Graphs):
    """How circuits become graphs, whose gates are lined up."""


class OneHot:
    """Needs no training; d is `slots` times the number of gates of the set and wires."""

    def __init__(self, config: Config, wires: int, slots: int) -> None:
        self.config, self.wires, self.slots = config, wires, slots

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        yield from ()

    def embed(self, pool: Pool) -> NDArray[np.float32]:
        longest = int(pool.length.max(initial=0))
        if longest > self.slots:
            raise CircuitError(f"a circuit of {longest} gates; the embedding is one of at most {self.slots} gates")
        return np.concatenate([self._flat(part) for part in chunks(pool)])

    def _flat(self, pool: Pool) -> NDArray[np.float32]:
        nodes = self.config.encoded(pool, self.wires).nodes[:, 1:-1]
        end = self.config.types - 1
        gates = np.where(nodes[..., end, None] == 1, np.int8(0), nodes)  # an END inside a short circuit
        rows = np.zeros((len(pool), self.slots, nodes.shape[-1] - 2), np.float32)
        width = min(self.slots, nodes.shape[1])
        rows[:, :width] = np.delete(gates[:, :width], (0, end), axis=-1)
        return rows.reshape(len(pool), self.slots * rows.shape[-1])

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def build(config: Config, wires: int, slots: int) -> Embedding:
    """The rows of circuits of at most `slots` gates on `wires` wires."""
    return OneHot(config, wires, slots)
