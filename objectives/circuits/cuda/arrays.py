"""What the processor and the GPU give each other: the programs and first states of many circuits, and their results."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.kernel import shared
from objectives.circuits.engine.program import Circuits, compiled, room
from objectives.circuits.engine.statevector import Costs, prepare, workspace
from objectives.circuits.engine.table import MAX_TURNS, Table, table
from spaces.circuits.pool import Pool


class Programs(NamedTuple):
    """C circuits of at most R rotations; see `engine.program.Program`.

    Attributes:
        x, z, source: int32 (C, R).
        scale: float64 (C, R).
        rotations: how many each circuit has: int32 (C,).
        start: what the Clifford gates make of each sample's first state, or of the one of all: (C, K or 1, 2N).
    """

    x: NDArray[np.int32]
    z: NDArray[np.int32]
    source: NDArray[np.int32]
    scale: NDArray[np.float64]
    rotations: NDArray[np.int32]
    start: NDArray


class Results(NamedTuple):
    """What becomes of C circuits; see `evaluate.Evaluation`.

    Attributes:
        theta: the parameters, before and after: (C, P).
        values, best, steps: (C,).
        gradients: 0 before: (C, P).
        best_theta: `theta` before: (C, P).
    """

    theta: NDArray[np.float64]
    values: NDArray[np.float64]
    gradients: NDArray[np.float64]
    best: NDArray[np.float64]
    best_theta: NDArray[np.float64]
    steps: NDArray[np.int64]


def rotations(pool: Pool) -> NDArray[np.int32]:
    """How many rotations each circuit's program has: (B,)."""
    flat = table()
    each = np.where(flat.clifford, 0, ((flat.x | flat.z) > 0).sum(1))
    return np.where(pool.slots, each[pool.op], 0).sum(1, dtype=np.int32)


def programs(circuits: Circuits, count: NDArray[np.int32], costs: Costs, precision: type, threads: int) -> Programs:
    """The programs of circuits with `count` rotations, on so many threads."""
    shape = len(count), int(count.max(initial=1))  # not 0: numba takes empty arrays for a type of their own
    start: NDArray = np.empty((shape[0], max(1, len(costs.initial)), 2 << circuits.wires), precision)
    x, z, source = (np.zeros(shape, np.int32) for _ in range(3))
    flat = Programs(x, z, source, np.zeros(shape), count, start)

    def work(first: int, last: int) -> None:
        fill(first, last, circuits, table(), costs, np.empty(0, precision), flat)

    shared(work, shape[0], threads, circuits.op.shape[1] * start.shape[1] * start.shape[2])
    return flat


@njit(cache=True, nogil=True)
def fill(first: int, last: int, circuits: Circuits, table: Table, costs: Costs, like: NDArray, flat: Programs) -> None:
    """Writes the programs of the circuits from `first` to before `last`, in the precision of `like`."""
    slots, wires = circuits.op.shape[1], circuits.wires
    program, work = room(slots, MAX_TURNS, wires), workspace(wires, slots * MAX_TURNS, costs.initial.shape[0], like)
    for row in range(first, last):
        count = compiled(circuits, row, table, program)
        flat.x[row, :count] = program.x[:count]
        flat.z[row, :count] = program.z[:count]
        flat.source[row, :count] = program.source[:count]
        flat.scale[row, :count] = program.scale[:count]
        prepare(circuits, row, table, program, costs, work)
        flat.start[row] = work.start.reshape(flat.start.shape[1:])
