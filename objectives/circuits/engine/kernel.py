"""All circuits of a pool: compiled loops over a range of them, and the threads that share the ranges out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.optimise import Moments, Rule, train
from objectives.circuits.engine.program import Circuits, compiled, room
from objectives.circuits.engine.statevector import (
    Costs,
    apply_gate,
    prepare,
    value_and_gradient,
    workspace,
)
from objectives.circuits.engine.table import MAX_TURNS, Table

WORTH = 2**17  # amplitudes visited, about a millisecond, for which another thread is started
CHUNKS = 8  # ranges a thread, so that none waits long for another's dear circuits


@njit(cache=True, nogil=True)
def evaluate_range(
    first: int, last: int, circuits: Circuits, theta: NDArray, table: Table, costs: Costs, wanted: bool, like: NDArray,
    values: NDArray, gradients: NDArray,
) -> None:  # fmt: skip
    """Cost and, if wanted, gradient of the circuits from `first` to before `last`, in the precision of `like`."""
    slots, wires = circuits.op.shape[1], circuits.wires
    program, work = room(slots, MAX_TURNS, wires), workspace(wires, slots * MAX_TURNS, costs.initial.shape[0], like)
    for row in range(first, last):
        count = compiled(circuits, row, table, program)
        prepare(circuits, row, table, program, costs, work)
        values[row] = value_and_gradient(theta[row], gradients[row], program, count, costs, wanted, work)


@njit(cache=True, nogil=True)
def train_range(
    first: int, last: int, circuits: Circuits, theta: NDArray, parameters: NDArray, table: Table, costs: Costs,
    rule: Rule, like: NDArray, values: NDArray, best: NDArray, best_theta: NDArray, gradients: NDArray, steps: NDArray,
) -> None:  # fmt: skip
    """Trains the circuits from `first` to before `last`; `theta` (B, P) is where they start and where they end."""
    slots, wires = circuits.op.shape[1], circuits.wires
    program, work = room(slots, MAX_TURNS, wires), workspace(wires, slots * MAX_TURNS, costs.initial.shape[0], like)
    moments = Moments(np.empty(theta.shape[1]), np.empty(theta.shape[1]))
    for row in range(first, last):
        count = compiled(circuits, row, table, program)
        prepare(circuits, row, table, program, costs, work)
        own = parameters[row] if costs.inputs.shape[1] == 0 else theta.shape[1]
        values[row], best[row], steps[row] = train(
            theta[row, :own], best_theta[row, :own], gradients[row, :own], program, count, costs, rule,
            Moments(moments.first[:own], moments.second[:own]), work,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def states_range(
    first: int, last: int, circuits: Circuits, angles: NDArray, table: Table, like: NDArray, states: NDArray
) -> None:
    """Runs the circuits gate by gate on the states (B, 2N) they are given, global phase included."""
    work = workspace(circuits.wires, 1, 0, like)
    for row in range(first, last):
        for slot in range(circuits.length[row]):
            apply_gate(states[row], circuits, row, slot, table, angles[row], work)


def shared(work: Callable[[int, int], None], count: int, threads: int, effort: float) -> None:
    """Calls `work(first, last)` over ranges that cover `count` circuits, on at most so many threads.

    `effort` is about how many amplitudes one circuit visits; small jobs stay on the caller's thread. Which thread takes
    a range changes nothing in the results: every circuit is computed alone.
    """
    threads = min(threads, count, int(count * effort / WORTH))
    if threads <= 1:
        work(0, count)
        return
    edges = np.linspace(0, count, min(count, threads * CHUNKS) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1].tolist(), edges[1:].tolist()))
