"""The noisy evaluator: exact density matrices with a channel behind every gate, see `density`."""

from __future__ import annotations

from dataclasses import dataclass, field

from numpy.typing import NDArray

from objectives.circuits.batch import cores
from objectives.circuits.density import Noise, noisy_values_and_gradients
from objectives.circuits.evaluate import Evaluation, Training
from objectives.circuits.task import Task
from objectives.circuits.training import train
from spaces.circuits.pool import Pool


@dataclass(frozen=True)
class Noisy:
    """Circuits under noise, on so many threads (0: all processors); results do not depend on their number."""

    noise: Noise = field(default_factory=Noise)
    threads: int = 0

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P), NaN if not wanted; see `evaluate.Evaluator`."""
        threads = self.threads or cores()
        return noisy_values_and_gradients(pool, task, pool.theta, self.noise, gradients, threads)

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on; see `evaluate.Evaluator`."""
        return train(self, pool, task, training)
