"""Cost and gradient of one program: forward through its rotations, through the observable, and back.

With λ = H ψ at the end, E = ψᵀ λ and dE/dφ = λᵀ G ψ for the generator G of each rotation, taken while both ψ and λ are
rotated back (adjoint differentiation: Jones and Gacon, arXiv:2009.02823). States are 2N real numbers, real parts first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.lanes import LANES, SHIFT, add_masked, block_sum, highest, popcount, turn, turn_both
from objectives.circuits.engine.program import Circuits, Program, real_form, spread
from objectives.circuits.engine.stabiliser import stabilised
from objectives.circuits.engine.table import Table

FAST = {"contract", "reassoc", "nsz", "arcp"}  # not nnan, ninf: a NaN must stay one


class Costs(NamedTuple):
    """The observables and samples of a task; floats in the states' own precision.

    Attributes:
        masks: the flips of each observable: int64 (O, M).
        terms: how many of them it has: int64 (O,).
        real, imaginary: their diagonals one after the other: (O·M·N,); `imaginary` is empty where all are real.
        targets: states to project on, as 2N real numbers: (O, T, 2N).
        weights: their weights: float64 (O, T).
        which: each sample's observable: int64 (K,).
        inputs: each sample's data: float64 (K, F).
        initial: each sample's first state, as 2N real numbers: (K, 2N), or (0, 2N) where it is |0…0⟩.
    """

    masks: NDArray[np.int64]
    terms: NDArray[np.int64]
    real: NDArray
    imaginary: NDArray
    targets: NDArray
    weights: NDArray[np.float64]
    which: NDArray[np.int64]
    inputs: NDArray[np.float64]
    initial: NDArray


class Room(NamedTuple):
    """What the evaluation of one circuit after another needs to write on."""

    state: NDArray
    dual: NDArray
    start: NDArray
    cosines: NDArray
    sines: NDArray
    total: NDArray
    signs: NDArray
    words: NDArray[np.int64]
    places: NDArray[np.int64]
    phases: NDArray[np.int64]
    angles: NDArray[np.float64]


@njit(cache=True)
def workspace(wires: int, rotations: int, samples: int, like: NDArray) -> Room:
    """Room for states of so many wires and so many first states, in the precision of the array `like`."""
    size = 1 << wires
    signs = np.empty(LANES * LANES, like.dtype)
    for row in range(LANES):
        for lane in range(LANES):
            signs[row * LANES + lane] = 1 - 2 * (popcount(row & lane) & 1)
    return Room(
        np.empty(2 * size, like.dtype),
        np.empty(2 * size, like.dtype),
        np.empty(2 * size * max(samples, 1), like.dtype),
        np.empty(rotations + 1, like.dtype),
        np.empty(rotations + 1, like.dtype),
        np.empty(LANES, like.dtype),
        signs,
        np.empty((wires, 3), np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(0, np.float64),
    )


@njit(cache=True, fastmath=FAST, inline="always")
def rotate(v: NDArray, x: int, z: int, c: float, s: float, signs: NDArray) -> None:
    """v[k] ← c v[k] + s (-1)^|k & z| v[k ⊕ x], the rotation of the word with masks x and z (see `program`)."""
    blocks, low, row, x, z = v.size >> SHIFT, x & (LANES - 1), z & (LANES - 1), x >> SHIFT, z >> SHIFT
    if x == 0:
        for h in range(blocks):
            at = s if popcount(h & z) & 1 == 0 else -s
            turn(v, h << SHIFT, h << SHIFT, low, signs, row, c, at, at)
    else:
        below, odd = highest(x) - 1, popcount(x & z) & 1
        for pair in range(blocks >> 1):
            h = 2 * pair - (pair & below)  # the pair's block without the pivot bit
            at = s if popcount(h & z) & 1 == 0 else -s
            turn(v, h << SHIFT, (h ^ x) << SHIFT, low, signs, row, c, at, -at if odd else at)


@njit(cache=True, fastmath=FAST, inline="always")
def rotate_both(v: NDArray, w: NDArray, x: int, z: int, c: float, s: float, signs: NDArray, total: NDArray) -> float:
    """Rotates `v` and `w` as `rotate` does and returns wᵀ G v, which that leaves as it is."""
    blocks, low, row, x, z = v.size >> SHIFT, x & (LANES - 1), z & (LANES - 1), x >> SHIFT, z >> SHIFT
    one = signs[0]
    for lane in range(LANES):
        total[lane] = 0
    if x == 0:
        for h in range(blocks):
            unit = one if popcount(h & z) & 1 == 0 else -one
            turn_both(v, w, total, h << SHIFT, h << SHIFT, low, signs, row, c, unit * s, unit * s, unit, one - one)
    else:
        below, relative = highest(x) - 1, -one if popcount(x & z) & 1 else one
        for pair in range(blocks >> 1):
            h = 2 * pair - (pair & below)
            unit = one if popcount(h & z) & 1 == 0 else -one
            other = unit * relative
            turn_both(
                v, w, total, h << SHIFT, (h ^ x) << SHIFT, low, signs, row, c, unit * s, other * s, unit, other
            )  # fmt: skip
    return block_sum(total)


@njit(cache=True)
def apply_gate(v: NDArray, circuits: Circuits, row: int, slot: int, table: Table, angles: NDArray, room: Room) -> None:
    """Applies a gate turn by turn, global phase included; `angles` are the circuit's parameters and inputs."""
    code, size = circuits.op[row, slot], 1 << circuits.wires
    one = size >> (circuits.wire[row, slot, 0] + 1)
    two = 0 if circuits.wire[row, slot, 1] < 0 else size >> (circuits.wire[row, slot, 1] + 1)
    for k in range(table.turns[code]):
        x, z, source = table.x[code, k], table.z[code, k], table.source[code, k]
        angle = table.scale[code, k]
        if source >= 0:
            angle *= angles[circuits.parameter[row, slot] + source]
        masks_x, masks_z, sign = real_form(spread(x, one, two), spread(z, one, two), popcount(x & z), size)
        room.cosines[0], room.sines[0] = math.cos(angle / 2), sign * math.sin(angle / 2)
        rotate(v, masks_x, masks_z, room.cosines[0], room.sines[0], room.signs)


@njit(cache=True)
def prepare(circuits: Circuits, row: int, table: Table, program: Program, costs: Costs, room: Room) -> None:
    """Writes into `room.start` what the circuit's Clifford gates make of each sample's first state."""
    size = room.state.size
    if costs.initial.shape[0] == 0:
        stabilised(room.start, program, room.words, room.places, room.phases)
    for k in range(costs.initial.shape[0]):
        start = room.start[k * size : (k + 1) * size]
        start[:] = costs.initial[k]
        for slot in range(circuits.length[row]):
            if table.clifford[circuits.op[row, slot]]:
                apply_gate(start, circuits, row, slot, table, room.angles, room)


@njit(cache=True, inline="always")
def set_angles(program: Program, count: int, theta: NDArray, inputs: NDArray, k: int, room: Room) -> None:
    """The cosine and sine of half of each rotation's angle, for sample k."""
    for j in range(count):
        source, angle = program.source[j], program.scale[j]
        if source >= theta.size:
            angle *= inputs[k, source - theta.size]
        elif source >= 0:
            angle *= theta[source]
        room.cosines[j], room.sines[j] = math.cos(0.5 * angle), math.sin(0.5 * angle)


@njit(cache=True, fastmath=FAST, inline="always")
def observe(v: NDArray, w: NDArray, costs: Costs, o: int) -> float:
    """Writes H v into `w` and returns ⟨v|H|v⟩, for observable o."""
    size = v.size >> 1
    for i in range(w.size):
        w[i] = 0
    one = w[0] + 1
    for m in range(costs.terms[o]):
        low, high = costs.masks[o, m] & (LANES - 1), costs.masks[o, m] >> SHIFT
        first = (o * costs.masks.shape[1] + m) * size
        for h in range(size >> SHIFT):
            to, source = h << SHIFT, (h ^ high) << SHIFT
            add_masked(w, to, costs.real, first + to, v, source, low, one)
            add_masked(w, size + to, costs.real, first + to, v, size + source, low, one)
        if costs.imaginary.size:
            for h in range(size >> SHIFT):
                to, source = h << SHIFT, (h ^ high) << SHIFT
                add_masked(w, to, costs.imaginary, first + to, v, size + source, low, -one)
                add_masked(w, size + to, costs.imaginary, first + to, v, source, low, one)
    for t in range(costs.targets.shape[1]):
        target, real_overlap, imaginary_overlap = costs.targets[o, t], 0.0, 0.0
        for i in range(size):
            real_overlap += target[i] * v[i] + target[size + i] * v[size + i]
            imaginary_overlap += target[i] * v[size + i] - target[size + i] * v[i]
        real_overlap *= costs.weights[o, t]
        imaginary_overlap *= costs.weights[o, t]
        for i in range(size):
            w[i] += real_overlap * target[i] - imaginary_overlap * target[size + i]
            w[size + i] += real_overlap * target[size + i] + imaginary_overlap * target[i]
    value = 0.0
    for i in range(v.size):
        value += v[i] * w[i]
    return value


@njit(cache=True)
def value_and_gradient(
    theta: NDArray, gradient: NDArray, program: Program, count: int, costs: Costs, wanted: bool, room: Room
) -> float:
    """The cost at `theta`, and its gradient into `gradient` (P,) if `wanted`.

    `room.start` holds the prepared state where all samples begin at |0…0⟩; else it must be prepared by sample.
    """
    for p in range(theta.size):
        gradient[p] = 0
    samples, value = costs.which.size, 0.0
    size = room.state.size
    for k in range(samples):
        if k == 0 or costs.inputs.shape[1]:
            set_angles(program, count, theta, costs.inputs, k, room)
        first = k * size if costs.initial.shape[0] else 0
        for i in range(size):
            room.state[i] = room.start[first + i]
        value += _one_sample(theta.size, gradient, program, count, costs, costs.which[k], wanted, room)
    if samples > 1:
        for p in range(theta.size):
            gradient[p] /= samples
    return value / samples


@njit(cache=True, inline="always")
def _one_sample(
    parameters: int, gradient: NDArray, program: Program, count: int, costs: Costs, o: int, wanted: bool, room: Room
) -> float:
    """The cost of one sample, its gradient added to `gradient`; `room.state` holds its first state."""
    for j in range(count - 1, -1, -1):
        rotate(room.state, program.x[j], program.z[j], room.cosines[j], room.sines[j], room.signs)
    value = observe(room.state, room.dual, costs, o)
    if wanted:
        for j in range(count):
            slope = rotate_both(
                room.state, room.dual, program.x[j], program.z[j], room.cosines[j], -room.sines[j], room.signs,
                room.total,
            )  # fmt: skip
            if 0 <= program.source[j] < parameters:
                gradient[program.source[j]] += program.scale[j] * slope
    return value
