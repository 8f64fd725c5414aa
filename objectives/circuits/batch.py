"""The batch evaluator: the compiled engine on a whole pool, and the states that circuits make."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.engine.costs import packed_pool, packed_task, padding, real_states
from objectives.circuits.engine.kernel import evaluate_range, shared, states_range, train_range
from objectives.circuits.engine.optimise import ADAGRAD, ADAM, GRADIENT, ROTOSOLVE, Rule
from objectives.circuits.engine.table import table
from objectives.circuits.evaluate import Evaluation, Training
from objectives.circuits.lbfgs import train_lbfgs
from objectives.circuits.memory import afford
from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, Pool

PRECISIONS = {"double": np.float64, "single": np.float32}
KINDS = {"gradient": GRADIENT, "adagrad": ADAGRAD, "adam": ADAM, "rotosolve": ROTOSOLVE}
EPSILON, BETA1, BETA2 = 1e-8, 0.9, 0.999  # as in PennyLane's optimisers


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rule(training: Training) -> Rule:
    """The numbers of a training that is done within the kernel."""
    kind = KINDS[training.optimiser]
    numbers = float(training.step), int(training.steps), float(training.tolerance)  # one type, one compilation
    return Rule(kind, *numbers, EPSILON, BETA1, BETA2)


@dataclass(frozen=True)
class Batch:
    """The compiled engine, in `double` or `single` precision, on so many threads (0: all processors).

    Results do not depend on the number of threads.
    """

    precision: str = "double"
    threads: int = 0

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P); see `evaluate.Evaluator`."""
        circuits, costs, like = self._packed(pool, task)
        values, slopes = np.empty(len(pool)), np.full(pool.theta.shape, 0.0 if gradients else np.nan)
        scratch = slopes if gradients else np.empty_like(slopes)

        def work(first: int, last: int) -> None:
            evaluate_range(first, last, circuits, pool.theta, table(), costs, gradients, like, values, scratch)

        shared(work, len(pool), self.threads or cores(), _effort(pool, task, 1))
        return values, slopes

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on; see `evaluate.Evaluator`."""
        if training.optimiser == "lbfgs":
            return train_lbfgs(self, pool, task, training)
        circuits, costs, like = self._packed(pool, task)
        theta, best_theta, gradients = pool.theta.copy(), pool.theta.copy(), np.zeros_like(pool.theta)
        values, best, steps = np.empty(len(pool)), np.empty(len(pool)), np.empty(len(pool), np.int64)
        parameters = pool.parameters

        def work(first: int, last: int) -> None:
            train_range(
                first, last, circuits, theta, parameters, table(), costs, rule(training), like, values, best,
                best_theta, gradients, steps,
            )  # fmt: skip

        shared(work, len(pool), self.threads or cores(), _effort(pool, task, 1 + training.steps))
        return Evaluation(replace(pool, theta=theta), values, gradients, best, best_theta, steps)

    def _packed(self, pool: Pool, task: Task) -> tuple:
        if self.precision not in PRECISIONS:
            raise CircuitError(f"precision {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        precision = PRECISIONS[self.precision]
        samples = 0 if task.initial is None else len(task.initial)
        numbers = (self.threads or cores()) * (2 * (2 + max(samples, 1)) + 2) * 2.0 ** (task.wires + task.idle)
        afford(8 * numbers, f"states on {task.wires + task.idle} wires")
        return packed_pool(pool, task.idle), packed_task(task, precision), np.empty(0, precision)


def _effort(pool: Pool, task: Task, runs: int) -> float:
    """About how many amplitudes a circuit visits in so many evaluations with gradients."""
    return 3.0 * runs * len(task.which) * pool.op.shape[1] * 2.0 ** (task.wires + task.idle)


def fed(pool: Pool, inputs: NDArray) -> Pool:
    """A pool of one circuit as K circuits, whose inputs are parameters at the values of `inputs` (K, F)."""
    rows = np.zeros(len(inputs), np.int64)
    return replace(pool[rows], theta=np.concatenate([pool.theta[rows], inputs], axis=1))


def states(pool: Pool, initial: NDArray | None = None, threads: int = 0) -> NDArray[np.complex128]:
    """The states that circuits make of |0…0⟩, or of the states `initial` (B, N), at their own parameters: (B, N).

    Global phases are those of the gates. For inputs, see `Pool`: none may be read.

    Raises:
        CircuitError: circuits that cannot be or read inputs, or more states than fit into memory.
    """
    pool = pool.checked()
    if pool.inputs:
        raise CircuitError("circuits that read inputs have no state of their own")
    size, pad = 2**pool.wires, padding(pool.wires)
    afford(32.0 * len(pool) * size * 2**pad, f"{len(pool)} states on {pool.wires} wires")
    first = np.zeros((1, size)) if initial is None else np.asarray(initial, complex)
    if initial is None:
        first[0, 0] = 1
    found = np.broadcast_to(real_states(first, pad), (len(pool), 2 * size * 2**pad)).copy()
    circuits = packed_pool(pool, 0)

    def work(first: int, last: int) -> None:
        states_range(first, last, circuits, pool.theta, table(), np.empty(0), found)

    shared(work, len(pool), threads or cores(), pool.op.shape[1] * 2.0**pool.wires)
    parts = found.reshape(len(pool), 2, size, 2**pad)[..., 0]
    return parts[:, 0] + 1j * parts[:, 1]
