"""What a circuit can reach (`reach`), predicted from its graph by a network that is taught on some circuits of a pool.

Only these circuits, and those that the network is judged by, are ever run. Training minimises the mean squared error of
the vectors; the learning rate rises over the first tenth of the steps and then falls to nothing, both along cosines
(Smith and Topin, "Super-Convergence", arXiv 1708.07120). After every epoch `r2` says what share of the variance of
held-out circuits' vectors is explained, over all dimensions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from objectives.circuits.embedding import Graphs, chunks
from objectives.circuits.embeddings import reach
from objectives.circuits.embeddings._learning import Data, Learner, Lesson, cpu_threads
from objectives.features import spread
from spaces.circuits.pool import CircuitError, Pool
from spaces.domains import Int, Log

WARM = 0.1  # share of the steps in which the learning rate rises
JUDGES = 0.1  # share of a pool that is held out, at most
READ = 256  # circuits that are read at a time


@dataclass(frozen=True)
class Taught(reach.Config, Graphs):
    """What is predicted, and how the network is trained; embeddings add the knobs of their networks."""

    taught: Annotated[int, Int(100, 1_000_000, log=True)] = 10_000  # circuits that are run and learnt from, at most
    held_out: Annotated[int, Int(10, 10_000, log=True)] = 1000  # circuits that are run for metrics alone, at most
    lr: Annotated[float, Log(1e-4, 3e-2)] = 8e-3  # of Adam, at its height
    batch: Annotated[int, Int(8, 1024, log=True)] = 64  # circuits a step
    epochs: Annotated[int, Int(0, 100)] = 10  # passes over the circuits that are learnt from; 0: untrained


class Predicted:
    """A network in training that takes a batch of graphs to vectors (B, `latent`); d is that of `reach`."""

    def __init__(
        self, config: Taught, wires: int, slots: int, make: Callable[[], nn.Module], device: str = "cpu"
    ) -> None:
        self.config, self.wires, self.device = config, wires, device
        self.reach = reach.Reach(config, wires, slots)
        with torch.random.fork_rng(devices=[]):  # the weights that count are drawn by `fit`
            self.network = make().to(device)
        self.learner = Learner(self.network, config.lr, device)

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        """Runs and learns circuits spread over the pool; metrics are the mean `loss`, and `r2` of those held out."""
        if self.learner.epoch >= self.config.epochs:
            return
        taught, judges = self._chosen(pool)
        train, held_out = self._data(taught), self._data(judges)
        deque(self.reach.fit(taught, seed, threads), maxlen=0)
        with cpu_threads(threads):
            targets, truth = (torch.from_numpy(self.reach.embed(part)).to(self.device) for part in (taught, judges))
        lesson = Lesson(
            train,
            losses=lambda rows: {"squares": F.mse_loss(self._predicted(train.batch(rows)), targets[rows])},
            judged=lambda: {"r2": explained(truth, self._read(held_out))},
            opening=self.network,
            epochs=self.config.epochs,
            batch=self.config.batch,
            rate=lambda done: self.config.lr * one_cycle(done),
        )
        yield from self.learner.fit(lesson, seed, threads)

    def _chosen(self, pool: Pool) -> tuple[Pool, Pool]:
        """The circuits that are learnt from, and those held out."""
        held_out = min(self.config.held_out, max(1, round(JUDGES * len(pool))))
        rows = spread(np.arange(len(pool)), self.config.taught + held_out)
        judges = spread(rows, held_out)
        taught = np.setdiff1d(rows, judges)
        if len(taught) < 2:
            raise CircuitError(f"found {len(pool)} circuits; to learn from two and be judged by another takes 3")
        return pool[taught], pool[judges]

    def embed(self, pool: Pool) -> NDArray[np.float32]:
        """The predicted vectors: (B, d)."""
        return np.concatenate([self._read(self._data(part)).numpy(force=True) for part in chunks(pool)])

    @torch.no_grad()
    def _read(self, data: Data) -> Tensor:
        self.learner.read_only()
        return torch.cat([self._predicted(batch) for batch in data.batches(READ)])

    def _predicted(self, batch: Any) -> Tensor:
        return self.network(batch)[:, : self.reach.components.shape[1]]

    def _data(self, pool: Pool) -> Data:
        return Data(self.config.encoded(pool, self.wires), pool, self.device)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict() | {"reach": self.reach.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)
        self.reach.load_state_dict(state["reach"])


def one_cycle(done: float) -> float:
    """The learning rate, as a share of its height, after a share of the steps."""
    phase = done / WARM - 1 if done < WARM else (done - WARM) / (1 - WARM)
    return 0.5 + 0.5 * cos(pi * phase)


def explained(truth: Tensor, guess: Tensor) -> float:
    """R² over all entries of (B, d); 0 where the truth does not vary."""
    varying = float((truth - truth.mean(0)).square().sum())
    return 1 - float((truth - guess).square().sum()) / varying if varying else 0.0
