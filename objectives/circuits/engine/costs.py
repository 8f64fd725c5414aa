"""A task, and a pool, in the arrays that compiled code takes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from objectives.circuits.engine.lanes import SHIFT
from objectives.circuits.engine.program import Circuits
from objectives.circuits.engine.statevector import Costs
from objectives.circuits.memory import afford
from objectives.circuits.task import Task
from spaces.circuits.pool import Pool

KEPT = 8  # tasks whose arrays are kept for the next call


def padding(wires: int) -> int:
    """How many idle wires make a register wide enough for the vector instructions."""
    return max(0, SHIFT - wires)


def packed_pool(pool: Pool, idle: int) -> Circuits:
    """A pool on its register and `idle` wires behind it."""
    wires = pool.wires + idle
    return Circuits(wires + padding(wires), pool.op, pool.wire, pool.parameter, pool.length)


@lru_cache(maxsize=KEPT)
def packed_task(task: Task, precision: DTypeLike) -> Costs:
    """A task's observables, samples and first states, with states and diagonals in float32 or float64.

    Raises:
        CircuitError: they would not fit into memory.
    """
    wires, pad = task.wires + task.idle, padding(task.wires + task.idle)
    size, count = 2 ** (wires + pad), len(task.observables)
    terms = np.array([len(o.masks) for o in task.observables])
    projectors = np.array([len(o.targets) for o in task.observables])
    numbers = count * (2.0 * terms.max() + 2 * projectors.max()) * size
    afford(numbers * np.dtype(precision).itemsize, f"the observables of {task.name}")
    masks = np.zeros((count, terms.max()), np.int64)
    diagonals = np.zeros((count, terms.max(), size), complex)
    targets = np.zeros((count, projectors.max(), 2 * size))
    weights = np.zeros((count, projectors.max()))
    for o, observable in enumerate(task.observables):
        masks[o, : terms[o]] = observable.masks << pad
        diagonals[o, : terms[o]] = np.repeat(observable.diagonals, 2**pad, axis=1)
        targets[o, : projectors[o]] = real_states(observable.targets, pad)
        weights[o, : projectors[o]] = observable.weights
    imaginary = diagonals.imag.ravel() if diagonals.imag.any() else np.zeros(0)
    initial = np.zeros((0, 2 * size)) if task.initial is None else real_states(task.initial, pad)
    return Costs(
        masks,
        terms,
        np.ascontiguousarray(diagonals.real.ravel(), precision),
        np.ascontiguousarray(imaginary, precision),
        np.ascontiguousarray(targets, precision),
        weights,
        np.ascontiguousarray(task.which, np.int64),
        np.ascontiguousarray(task.inputs, np.float64),
        np.ascontiguousarray(initial, precision),
    )


def real_states(states: NDArray, pad: int) -> NDArray[np.float64]:
    """States (T, N) as real numbers (T, 2N), real parts first, with `pad` further wires in |0⟩ behind."""
    wide = np.zeros((len(states), 2, states.shape[1], 2**pad))
    wide[:, 0, :, 0], wide[:, 1, :, 0] = states.real, states.imag
    return wide.reshape(len(states), 2 * states.shape[1] * 2**pad)
