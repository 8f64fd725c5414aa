"""Noisy circuits, exactly: the value and gradient of many different circuits with a channel behind every gate.

A density matrix ρ on n wires is held by its 4^n real coordinates r_Q = Tr(Q ρ) in the Pauli words Q, an observable
H = Σ h_Q Q by its h_Q, and Tr(H ρ) = Σ h_Q r_Q. In these coordinates (the Pauli-Liouville picture; Greenbaum,
arXiv:1509.02921) there are no complex numbers and no matrices:

- a turn exp(-i φ P / 2) leaves the words that commute with P alone and rotates the others in pairs (A, B) with
  -i/2 [P, A] = B:   r_A ← cos φ r_A - sin φ r_B,   r_B ← cos φ r_B + sin φ r_A;
- `DepolarizingChannel(p)` scales X, Y and Z of its wire by 1 - 4p/3, `AmplitudeDamping(γ)` then X and Y by √(1-γ),
  and Z ← (1-γ) Z + γ I (Nielsen and Chuang, §8.3).

The gradient comes from one way back. A channel cannot be undone, so the way forth keeps r before every turn that has
a parameter; the way back carries h through the transposed maps (the Heisenberg picture), and where both stand before a
turn, ∂E/∂φ = Σ_(A,B) h_B r_A - h_A r_B, which is Tr(H (-i/2) [P, ρ]).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from math import sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.program import Circuits
from objectives.circuits.engine.table import Table, table
from objectives.circuits.memory import afford
from objectives.circuits.task import Task
from spaces.circuits.gates import PAULIS, parameters_of
from spaces.circuits.pool import CircuitError, Pool

MOST_WIRES = 6  # idle ones included: 4^6 coordinates just fill a processor's nearest cache
CHUNK = 16  # circuits that a thread takes at a time
LETTERS = "IXYZ"  # a word's index has a digit of base 4 for each wire, wire 0 the most significant
FAST = {"contract", "reassoc", "nsz"}  # sums in any order, but in the same for every thread


@dataclass(frozen=True)
class Noise:
    """What each wire that a gate touches suffers right after it: a depolarising channel, then amplitude damping.

    Attributes:
        depolarizing: p of PennyLane's `DepolarizingChannel`, the probability of one of X, Y, Z at random.
        damping: γ of PennyLane's `AmplitudeDamping`, the probability that |1⟩ falls to |0⟩.

    Raises:
        CircuitError: a probability outside 0..1.
    """

    depolarizing: float = 0.0
    damping: float = 0.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            if not 0 <= getattr(self, name) <= 1:
                raise CircuitError(f"{name} is {getattr(self, name)}: a probability in 0..1 is needed")


def noisy_values_and_gradients(
    pool: Pool, task: Task, theta: NDArray, noise: Noise, gradients: bool = True, threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The task's cost of each circuit under noise, mean_k Tr(H_k ρ_k), and its gradient.

    Args:
        pool: B circuits on the task's wires; identity gates are gates and suffer noise, idle wires do not.
        task: the samples k; on at most `MOST_WIRES` wires, idle ones included.
        theta: the parameters in radians, in place of the pool's: (B, P).
        noise: the channels behind every gate.
        gradients: whether the gradient is wanted; it is about half of the work.
        threads: how many threads share the circuits; the result is the same to the bit.

    Returns:
        The values (B,) and the gradients (B, P), NaN where not wanted.

    Raises:
        CircuitError: too many wires, another register or number of inputs than the task's, parameters of another
            shape or not finite, or more memory than there is.
    """
    pool = _checked(pool, task, np.asarray(theta, float), threads)
    count, wide = len(pool), task.wires + task.idle
    kept = _most_kept(pool) if gradients else 0
    operators = len(task.observables) + (1 if task.initial is None else len(task.initial))
    afford(
        (64.0 * operators + 8.0 * threads * (kept + 2)) * 4**wide,
        f"noise on {wide} wires with {operators} operators, and {kept} states for each of {threads} threads,",
    )
    circuits = Circuits(wide, pool.op, pool.wire, pool.parameter, pool.length)
    values, slopes = np.zeros(count), np.zeros(pool.theta.shape)
    work = partial(_chunk, circuits, pool.theta, table(), _setting(task, noise), kept, values, slopes)
    _share(work, range(0, count, CHUNK), threads)
    return values, slopes if gradients else np.full_like(slopes, np.nan)


def coordinates(operators: NDArray) -> NDArray[np.float64]:
    """Tr(Q A) of Hermitian operators A (K, N, N) in the Pauli words Q, in the order II, IX, IY, IZ, XI...: (K, 4^n)."""
    count, wires = len(operators), operators.shape[1].bit_length() - 1
    bits = operators.reshape(count, *[2] * (2 * wires))
    order = [axis for wire in range(wires) for axis in (1 + wire, 1 + wires + wire)]
    tensor = bits.transpose(0, *order).reshape(count, *[4] * wires)
    traces = np.stack([PAULIS[letter].T.ravel() for letter in LETTERS])
    for _ in range(wires):  # the first axis is contracted and comes back as the last
        tensor = np.tensordot(tensor, traces, axes=(1, 1))
    return np.ascontiguousarray(tensor.reshape(count, -1).real)


def _checked(pool: Pool, task: Task, theta: NDArray[np.float64], threads: int) -> Pool:
    """The pool at these parameters, if the task can be asked of it."""
    wide = task.wires + task.idle
    if threads < 1:
        raise CircuitError(f"{threads} threads: at least one is needed")
    if wide > MOST_WIRES:
        raise CircuitError(f"noise is simulated exactly on up to {MOST_WIRES} wires, idle ones included, not {wide}")
    if pool.wires != task.wires:
        raise CircuitError(f"circuits on {pool.wires} wires, {task.name} is a task on {task.wires}")
    if theta.shape != pool.theta.shape:
        raise CircuitError(f"parameters {theta.shape}, the pool's are {pool.theta.shape}")
    circuits = replace(pool, theta=theta).checked()
    ends = np.where(pool.slots, pool.parameter + parameters_of()[pool.op], 0)
    read, given = int(ends.max(initial=0)) - theta.shape[1], task.inputs.shape[1]
    if read > given:
        raise CircuitError(f"the circuits read {read} inputs, {task.name} has {given}")
    return circuits


def _most_kept(pool: Pool) -> int:
    """The most turns with a parameter that a circuit of the pool has."""
    turns = ((table().source >= 0) & ((table().x | table().z) > 0)).sum(1)
    trained = pool.slots & (pool.parameter < pool.theta.shape[1])
    return int(np.where(trained, turns[pool.op], 0).sum(1).max(initial=0))


def _share(work: partial, starts: Iterable[int], threads: int) -> None:
    """Works through the chunks, each thread taking the next when it has done one."""
    if threads == 1:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(work, starts))


class _Setting(NamedTuple):
    """What all circuits have in common: the task in coordinates, and the noise.

    Attributes:
        strides: the weight of each wire's digit in a word's index: int64 (n,).
        starts: each sample's first state, or the one of all samples: float64 (K or 1, 4^n).
        observables: float64 (O, 4^n).
        which: each sample's observable: int64 (K,).
        inputs: each sample's data: float64 (K, F).
        transverse, axial: what the channels leave of X and Y, and of Z; `axial` is 1 only without noise.
        damping: what they add of I to Z.
    """

    strides: NDArray[np.int64]
    starts: NDArray[np.float64]
    observables: NDArray[np.float64]
    which: NDArray[np.int64]
    inputs: NDArray[np.float64]
    transverse: float
    axial: float
    damping: float


def _setting(task: Task, noise: Noise) -> _Setting:
    size, left = 2 ** (task.wires + task.idle), 1 - noise.depolarizing * 4 / 3
    states = np.eye(1, size, dtype=complex) if task.initial is None else task.initial
    return _Setting(
        4 ** np.arange(task.wires + task.idle)[::-1],
        coordinates(states[:, :, None] * states[:, None, :].conj()),
        coordinates(np.stack([observable.matrix().toarray() for observable in task.observables])) / size,
        np.ascontiguousarray(task.which, np.int64),
        np.ascontiguousarray(task.inputs, np.float64),
        left * sqrt(1 - noise.damping),
        left * (1 - noise.damping),
        float(noise.damping),
    )


class _Turn(NamedTuple):
    """A turn of a gate on its wires: the angle scale · source, and where its pairs (A, B) of coordinates lie.

    Attributes:
        scale: the angle's scale.
        source: the parameter or input, -1 for a constant.
        pairs: the offsets of A and B for each pair.
        number: how many pairs there are, 1 or 4.
        high, step, run: the loops over all other wires' digits, see `_rotate`.
    """

    scale: float
    source: int
    pairs: tuple
    number: int
    high: int
    step: int
    run: int


@njit(cache=True)
def _turn(circuits: Circuits, row: int, slot: int, k: int, table: Table, strides: NDArray) -> _Turn:
    """Turn k of a gate.

    With p: a → b the pair of a single letter (Z: X → Y), p ⊗ q has the pairs aI → bq, aq → bI, Ic → pd and pc → Id.
    """
    code, wire = circuits.op[row, slot], circuits.wire[row, slot]
    x, z, scale, source = table.x[code, k], table.z[code, k], table.scale[code, k], table.source[code, k]
    if source >= 0:
        source += circuits.parameter[row, slot]
    p, s = (x & 1) ^ (3 * (z & 1)), strides[wire[0]]  # the letters as digits
    q, t = (x >> 1) ^ (3 * (z >> 1)), strides[wire[1]]  # of no second wire, q = 0 and t is not used
    if p == 0:
        p, q, s, t = q, p, t, s
    a, b, c, d = p % 3 + 1, (p + 1) % 3 + 1, q % 3 + 1, (q + 1) % 3 + 1
    if q == 0:
        one = (a * s, b * s)
        return _Turn(scale, source, (one, one, one, one), 1, s, s, s)
    pairs = ((a * s, b * s + q * t), (a * s + q * t, b * s), (c * t, p * s + d * t), (p * s + c * t, d * t))
    return _Turn(scale, source, pairs, 4, max(s, t), 4 * min(s, t), min(s, t))


@njit(cache=True, fastmath=FAST)
def _rotate(vector: NDArray, turn: _Turn, angle: float) -> None:
    """Turns each pair of coordinates by an angle, in place."""
    cosine, sine = np.cos(angle), np.sin(angle)
    for k in range(turn.number):
        first, second = turn.pairs[k]
        for block in range(0, len(vector), 4 * turn.high):
            for row in range(block, block + turn.high, turn.step):
                for i in range(row, row + turn.run):
                    one, two = vector[i + first], vector[i + second]
                    vector[i + first] = cosine * one - sine * two
                    vector[i + second] = cosine * two + sine * one


@njit(cache=True, fastmath=FAST)
def _slope(dual: NDArray, state: NDArray, turn: _Turn) -> float:
    """∂E/∂φ of a turn, from the observable and the state before it."""
    total = 0.0
    for k in range(turn.number):
        first, second = turn.pairs[k]
        for block in range(0, len(state), 4 * turn.high):
            for row in range(block, block + turn.high, turn.step):
                for i in range(row, row + turn.run):
                    total += dual[i + second] * state[i + first] - dual[i + first] * state[i + second]
    return total


@njit(cache=True, fastmath=FAST)
def _channels(vector: NDArray, wire: NDArray, setting: _Setting, back: bool) -> None:
    """The noise on a gate's wires, in place: on a state, or `back`, transposed, on an observable."""
    if setting.axial == 1:
        return
    for w in wire:
        stride = setting.strides[w] if w >= 0 else len(vector)  # no wire: no block
        for block in range(0, len(vector) - stride, 4 * stride):
            for i in range(block, block + stride):
                one, z = vector[i], vector[i + 3 * stride]
                vector[i + stride] *= setting.transverse
                vector[i + 2 * stride] *= setting.transverse
                vector[i + 3 * stride] = setting.axial * z + (0.0 if back else setting.damping * one)
                vector[i] = one + (setting.damping * z if back else 0.0)


@njit(cache=True)
def _copy(source: NDArray, target: NDArray) -> None:
    for i in range(len(target)):  # NumPy's slices would double the time of compilation
        target[i] = source[i]


@njit(cache=True)
def _angle(turn: _Turn, theta: NDArray, inputs: NDArray) -> float:
    if turn.source < 0:
        return turn.scale
    return turn.scale * (theta[turn.source] if turn.source < len(theta) else inputs[turn.source - len(theta)])


@njit(cache=True)
def _forth(
    circuits: Circuits,
    row: int,
    theta: NDArray,
    inputs: NDArray,
    table: Table,
    setting: _Setting,
    state: NDArray,
    kept: NDArray,
) -> int:
    """Takes a state through a circuit, keeping it before every turn with a parameter; returns how many it kept."""
    count = 0
    for slot in range(np.int64(circuits.length[row])):
        code = circuits.op[row, slot]
        for k in range(table.turns[code]):
            if (table.x[code, k] | table.z[code, k]) == 0:
                continue  # a global phase
            turn = _turn(circuits, row, slot, k, table, setting.strides)
            if len(kept) and 0 <= turn.source < len(theta):
                _copy(state, kept[count])
                count += 1
            _rotate(state, turn, _angle(turn, theta, inputs))
        _channels(state, circuits.wire[row, slot], setting, False)
    return count


@njit(cache=True)
def _back(
    circuits: Circuits,
    row: int,
    theta: NDArray,
    inputs: NDArray,
    table: Table,
    setting: _Setting,
    dual: NDArray,
    kept: NDArray,
    count: int,
    gradient: NDArray,
) -> None:
    """Takes an observable back to the first turn with a parameter, adding to the gradient."""
    for slot in range(np.int64(circuits.length[row]) - 1, -1, -1):
        _channels(dual, circuits.wire[row, slot], setting, True)
        code = circuits.op[row, slot]
        for k in range(table.turns[code] - 1, -1, -1):
            if count == 0:
                return
            if (table.x[code, k] | table.z[code, k]) == 0:
                continue
            turn = _turn(circuits, row, slot, k, table, setting.strides)
            _rotate(dual, turn, -_angle(turn, theta, inputs))
            if 0 <= turn.source < len(theta):
                count -= 1
                gradient[turn.source] += turn.scale * _slope(dual, kept[count], turn)


@njit(cache=True, nogil=True, fastmath=FAST)
def _chunk(
    circuits: Circuits,
    thetas: NDArray,
    table: Table,
    setting: _Setting,
    most: int,
    values: NDArray,
    gradients: NDArray,
    start: int,
) -> None:
    """The circuits of the chunk that begins at `start`."""
    state, dual = np.empty(setting.starts.shape[1]), np.empty(setting.starts.shape[1])
    kept = np.empty((most, len(state)))
    samples = len(setting.which)
    for row in range(start, min(start + CHUNK, len(values))):
        theta, gradient = thetas[row], gradients[row]
        for sample in range(samples):
            inputs = setting.inputs[sample]
            _copy(setting.starts[min(sample, len(setting.starts) - 1)], state)
            _copy(setting.observables[setting.which[sample]], dual)
            count = _forth(circuits, row, theta, inputs, table, setting, state, kept)
            for i in range(len(state)):
                values[row] += dual[i] * state[i] / samples
            _back(circuits, row, theta, inputs, table, setting, dual, kept, count, gradient)
        for i in range(len(gradient)):
            gradient[i] /= samples
