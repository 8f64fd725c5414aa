"""Training that gives up early on circuits without hope.

All circuits are trained for a few steps, and only those go on whose cost there is among the lowest share of all costs
that were met there so far. Training knows no chance, so to go on is to begin again with more steps; counted are the
steps of an optimiser that would have gone on. A circuit that was stopped has the cost that it had then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.evaluate import Evaluation, Evaluator, Training, evaluate, fitting
from objectives.circuits.task import Task
from objectives.kinds.circuits import Scoring
from spaces.circuits.pool import Pool
from spaces.circuits.structure import updated
from spaces.domains import Int, Uniform


@dataclass(frozen=True)
class Stopping:
    """When a circuit's training is given up."""

    rung: Annotated[int, Int(0, 10_000)] = 0  # steps after which a circuit is judged; 0: never
    keep: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # share that goes on, by cost among all that were judged so far


@dataclass(frozen=True)
class Trained:
    """What came of B circuits.

    Attributes:
        pool: as they were run, at the angles at which their costs were met.
        costs: (B,).
        judged: their costs at the rung, or the same again where none is judged: (B,).
        steps: training steps taken, those of all starts: (B,).
        stopped: whose training was given up: (B,).
    """

    pool: Pool
    costs: NDArray[np.float64]
    judged: NDArray[np.float64]
    steps: NDArray[np.int64]
    stopped: NDArray[np.bool_]


class Counted:
    """An evaluator that counts the steps of all trainings of one pool, restarts too."""

    def __init__(self, inner: Evaluator, size: int) -> None:
        self.inner, self.steps = inner, np.zeros(size, np.int64)

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P); see `evaluate.Evaluator`."""
        return self.inner.costs(pool, task, gradients)

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit; see `evaluate.Evaluator`."""
        found = self.inner.train(pool, task, training)
        self.steps += found.steps
        return found


@dataclass(frozen=True)
class Trainer:
    """How the circuits of a search are trained, and which of their costs counts."""

    task: Task
    training: Training
    stopping: Stopping
    scoring: Scoring
    evaluator: Evaluator

    def train(self, pool: Pool, judged: NDArray[np.float64], seed: int) -> Trained:
        """Trains circuits, given all costs that were met at the rung before; `seed` decides the angles of restarts.

        Raises:
            CircuitError: circuits that do not fit the task, or more wires than memory allows.
            Failed: a cost that is no finite number.
        """
        pool = fitting(pool, self.task)  # once: circuits that were prepared together stay alike
        if not self.stopping.rung:
            return self._whole(pool, seed)
        short = replace(self.training, steps=min(self.stopping.rung, self.training.steps), restarts=0)
        found = self._whole(pool, seed, short)
        limit = np.quantile(np.concatenate([judged, found.costs]), self.stopping.keep)
        go_on = np.flatnonzero(found.costs <= limit)
        if not len(go_on):
            return replace(found, stopped=np.ones(len(pool), bool))
        whole = self._whole(pool[go_on], seed)
        stopped = ~np.isin(np.arange(len(pool)), go_on)
        costs, steps = found.costs.copy(), found.steps.copy()
        costs[go_on], steps[go_on] = whole.costs, whole.steps
        return Trained(updated(found.pool, go_on, whole.pool), costs, found.costs, steps, stopped)

    def _whole(self, pool: Pool, seed: int, training: Training | None = None) -> Trained:
        """Trains circuits that fit the task, to the end or as `training` says."""
        evaluator, task = Counted(self.evaluator, len(pool)), replace(self.task, prepare=None)
        found = evaluate(pool, task, training or self.training, evaluator, seed)
        costs, theta = self.scoring.counted(found)
        none = np.zeros(len(pool), bool)
        return Trained(replace(found.pool, theta=theta), costs, costs, evaluator.steps, none)
