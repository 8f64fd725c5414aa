"""Evaluation of circuits: what a pool costs on a task, as it is or after training, by any of several evaluators.

Batch       the compiled engine: the default
Noisy       exact density matrices with noise, up to 6 wires (`noisy`)
Reference   PennyLane on any of its devices, circuit by circuit (`reference`)
Cuda        the engine on a GPU (`cuda`)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, Pool
from spaces.domains import Choice, Int, Log


@dataclass(frozen=True)
class Training:
    """How the parameters of circuits are trained; the defaults are the published protocol."""

    optimiser: Annotated[str, Choice("adagrad", "adam", "gradient", "rotosolve", "lbfgs")] = "adagrad"
    step: Annotated[float, Log(1e-3, 2.0)] = 0.5  # size of a step; of no meaning to rotosolve and lbfgs
    steps: Annotated[int, Int(0, 10_000)] = 50  # at most; sweeps over all parameters for rotosolve
    tolerance: float = 1e-6  # training stops when the cost changes by no more; negative: never
    restarts: Annotated[int, Int(0, 100)] = 0  # further starts at random angles, the best of all counts


@dataclass(frozen=True)
class Evaluation:
    """What came of the B circuits of a pool.

    Attributes:
        pool: the circuits as they were run, at the parameters of the last step.
        values: their costs there: (B,).
        gradients: and the costs' gradients: (B, P).
        best: the least cost on the way: (B,).
        best_theta: the parameters where it was met: (B, P).
        steps: the training steps taken: (B,).
    """

    pool: Pool
    values: NDArray[np.float64]
    gradients: NDArray[np.float64]
    best: NDArray[np.float64]
    best_theta: NDArray[np.float64]
    steps: NDArray[np.int64]

    def better(self, other: Evaluation) -> Evaluation:
        """Of each circuit the evaluation whose best cost is the lower."""
        mine = self.best <= other.best

        def pick(a: NDArray, b: NDArray) -> NDArray:
            return np.where(mine.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return Evaluation(
            replace(self.pool, theta=pick(self.pool.theta, other.pool.theta)),
            pick(self.values, other.values),
            pick(self.gradients, other.gradients),
            pick(self.best, other.best),
            pick(self.best_theta, other.best_theta),
            pick(self.steps, other.steps),
        )


class Evaluator(Protocol):
    """Something that can say what circuits cost. Pool and task are known to fit each other."""

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """The costs (B,) of the circuits at their own parameters, and the gradients (B, P), NaN if not wanted."""
        ...

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on; `training.restarts` is not its business."""
        ...


def evaluate(
    pool: Pool, task: Task, training: Training | None = None, evaluator: Evaluator | None = None, seed: int = 0
) -> Evaluation:
    """Evaluates circuits on a task, trained if `training` is given; `seed` decides the angles of restarts.

    Raises:
        CircuitError: circuits that cannot be or do not fit the task, or more wires than memory allows.
    """
    from objectives.circuits.batch import Batch

    evaluator = evaluator or Batch()
    pool = fitting(pool, task)
    if training is None:
        values, gradients = evaluator.costs(pool, task)
        return Evaluation(pool, values, gradients, values, pool.theta, np.zeros(len(pool), np.int64))
    found, rng = evaluator.train(pool, task, training), np.random.default_rng((seed, 1))
    for _ in range(training.restarts):
        fresh = replace(pool, theta=rng.uniform(0, 2 * np.pi, pool.theta.shape))
        found = found.better(evaluator.train(fresh, task, training))
    return found


def fitting(pool: Pool, task: Task) -> Pool:
    """The circuits as the task runs them.

    Raises:
        CircuitError: circuits that cannot be, another register than the task's, or more inputs than it has.
    """
    if pool.wires != task.wires:
        raise CircuitError(f"circuits on {pool.wires} wires; {task.name} needs {task.wires}")
    pool = pool.checked()
    prepared = task.prepare(pool) if task.prepare else pool
    if prepared.inputs > task.inputs.shape[1]:
        what = f"the circuits read {prepared.inputs} inputs (or theta lacks columns)"
        raise CircuitError(f"{what}; {task.name} has {task.inputs.shape[1]}")
    return prepared
