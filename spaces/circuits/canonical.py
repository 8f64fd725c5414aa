"""One name for all orders of a circuit: the lexicographic normal form up to commuting gates, and its hash.

Two gates commute if exchanging them changes no more than the global phase, whatever their angles. Circuits that
differ by exchanges of neighbouring commuting gates are one element of a trace monoid (Cartier & Foata, Problèmes
combinatoires de commutation et réarrangements, 1969), and each such element has exactly one smallest word: of the
gates that none of the gates left must precede, always take the smallest (Anisimov & Knuth, Inhomogeneous sorting,
1979). The relation is not written down here but found from the matrices of the gate table.

Parameters have no names: what counts is which gates share one. Inputs are names.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import CODES, GATES, matrix, symmetric
from spaces.circuits.pool import END, Pool
from spaces.circuits.structure import parameter_indices, renumbered, reordered

ENTRIES = 1 << 21  # pairs of gates looked at in one go, which bounds the memory
PATTERNS = (
    9  # how two gates overlap: (0 no wire, 1 the other's first, 2 its second) for each wire, as 3 * second + first
)
DONE = np.iinfo(np.int64).max


def canonical(pool: Pool) -> Pool:
    """The pool with every circuit in its normal form; its parameters are numbered in the new order of the gates.

    Symmetric gates get their wires sorted. Equal gates next to each other are ordered by where their parameters are
    read, then by their angles, so that the angles come out the same from any order of a circuit, too.
    """
    pool = sorted_wires(pool)
    slots = max(1, pool.op.shape[1])
    step = max(1, ENTRIES // slots**2)
    order = [_normal_order(pool[at : at + step]) for at in range(0, len(pool), step)]
    return renumbered(reordered(pool, np.concatenate(order))) if order else renumbered(pool)


def digest(pool: Pool, parameters: bool = False) -> NDArray[np.void]:
    """A name of 16 bytes for each circuit's normal form, with `parameters` also for its angles: (B,) of `V16`.

    Circuits have the same name if commuting exchanges of neighbours and renaming parameters turn one into the other;
    others have the same name by accident only, with probability B² / 2^129 in a pool of B (BLAKE2b). Names depend
    on the register and on the gate table's order, and on nothing else: not on the machine, not on the pool around.
    """
    pool = canonical(pool)
    columns = pool.theta.shape[1]
    index = np.where(pool.parameter < columns, pool.parameter, columns - pool.parameter - 2)  # inputs: -2, -3, ...
    rows = np.ascontiguousarray(np.stack([pool.op, *np.moveaxis(pool.wire, -1, 0), index], -1), "<i4")
    angles = np.ascontiguousarray(pool.theta + 0.0, "<f8")  # -0.0 is 0.0
    ends, counts = pool.length.tolist(), pool.parameters.tolist()
    head = np.array([pool.wires], "<i4").tobytes()
    names = b"".join(
        blake2b(head + row[:end].tobytes() + (angle[:count].tobytes() if parameters else b""), digest_size=16).digest()
        for row, end, angle, count in zip(rows, ends, angles, counts, strict=True)
    )
    return np.frombuffer(names, "V16")


def distinct(pool: Pool, parameters: bool = False) -> NDArray[np.int64]:
    """The rows that hold a circuit for the first time, in order: (K,); `parameters` as in `digest`."""
    return np.sort(np.unique(digest(pool, parameters), return_index=True)[1])


def commute(
    op: NDArray[np.int8], wire: NDArray[np.int8], other: NDArray[np.int8], other_wire: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Whether gates (...) on wires (..., 2) commute with others, up to the global phase and at any angles: (...).

    The shapes broadcast. `END`, no gate, commutes with all. Shared parameters make no difference.
    """
    touching = np.where(other_wire == END, np.int8(-2), other_wire)
    pattern = _place(touching[..., 0], wire) + 3 * _place(touching[..., 1], wire)
    idle = CODES["I"]
    pair = np.where(op == END, idle, op).astype(np.int32) * len(GATES) + np.where(other == END, idle, other)
    return commutation().reshape(-1)[pair * PATTERNS + pattern]


@cache
def commutation() -> NDArray[np.bool_]:
    """Which gates commute, by their codes and by the pattern in which they overlap: (G, G, PATTERNS).

    Found at one set of random angles: what the angles must meet for two gates to commute is an analytic equation, so
    it holds everywhere or almost nowhere.
    """
    rng = np.random.default_rng(1969)
    left = np.array([embedded(g.name, rng.uniform(1, 2, g.parameters), (0, 1)) for g in GATES])
    angles = [rng.uniform(1, 2, g.parameters) for g in GATES]
    found = np.ones((len(GATES), len(GATES), PATTERNS), bool)
    for pattern in range(1, PATTERNS):
        second, first = divmod(pattern, 3)
        if first == second:  # two wires on one
            continue
        wires = ((2, 0, 1)[first], (2, 0, 1)[second])
        right = np.array([embedded(g.name, a, wires) for g, a in zip(GATES, angles, strict=True)])
        ab, ba = left[:, None] @ right, right @ left[:, None]
        overlap = np.abs(np.einsum("abij,abij->ab", ab, ba.conj())) / 8  # 1 if they are the same up to a phase
        found[..., pattern] = overlap > 1 - 1e-9
    found.setflags(write=False)
    return found


def embedded(name: str, angles: NDArray[np.float64], wires: tuple[int, int]) -> NDArray:
    """The matrix of a gate on the first of `wires`, or on both, of a register of three: (8, 8)."""
    taken = list(wires[: GATES[CODES[name]].wires])
    order = taken + [q for q in range(3) if q not in taken]
    whole = np.kron(matrix(name, *angles), np.eye(2 ** (3 - len(taken)))).reshape((2,) * 6)
    back = [order.index(q) for q in range(3)]
    return whole.transpose(back + [3 + axis for axis in back]).reshape(8, 8)


def sorted_wires(pool: Pool) -> Pool:
    """The pool with the wires of symmetric gates in ascending order."""
    turn = np.where(pool.op == END, False, symmetric()[pool.op]) & (pool.wire[..., 1] != END)
    wire = np.where(turn[..., None], np.sort(pool.wire, -1), pool.wire)
    return Pool(pool.wires, pool.op, wire, pool.parameter, pool.length, pool.theta)


def _place(wire: NDArray[np.int8], wires: NDArray[np.int8]) -> NDArray[np.int8]:
    """Where a wire stands among the wires of a gate: 0 nowhere, 1 first, 2 second."""
    return (wire == wires[..., 0]) + np.int8(2) * (wire == wires[..., 1])


def _letters(pool: Pool) -> NDArray[np.int64]:
    """A number for each gate, by its code, its wires and the input it reads, in this order of weight: (B, S)."""
    columns, base = pool.theta.shape[1], pool.wires + 1
    index = np.where(pool.parameter >= columns, pool.parameter - columns + 1, 0)
    place = (pool.op.astype(np.int64) * base + pool.wire[..., 0]) * base + pool.wire[..., 1] + 1
    return np.where(pool.slots, place * (pool.inputs + 1) + index, DONE - 1)


def _normal_order(pool: Pool) -> NDArray[np.int64]:
    """The slots of each circuit in the order of its normal form, empty ones last: (B, S)."""
    rows, slots = np.arange(len(pool)), pool.op.shape[1]
    op = np.where(pool.slots, pool.op, np.int8(END))
    letter = _letters(pool)
    before = ~commute(op[:, :, None], pool.wire[:, :, None], op[:, None], pool.wire[:, None])
    before &= np.arange(slots)[:, None] < np.arange(slots)  # gate s must stand before gate t
    blocked = before.sum(1, dtype=np.int16)
    left, order = letter.copy(), np.zeros(op.shape, np.int64)
    for k in range(slots):
        taken = np.where(blocked == 0, left, DONE).argmin(1)
        order[:, k] = taken
        left[rows, taken] = DONE
        blocked -= before[rows, taken]
    return _equals_sorted(pool, order, np.take_along_axis(letter, order, 1))


def _equals_sorted(pool: Pool, order: NDArray[np.int64], letter: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order in which equal gates next to each other stand by their parameters: (B, S).

    Exact even where parameters are shared: a gate that commutes with its like has one parameter at most, so what can
    be told of a parameter is how often each run of equal gates reads it, and parameters alike in that are
    interchangeable.
    """
    lined = reordered(pool, order)
    own = commute(lined.op, lined.wire, lined.op, lined.wire)
    follows = np.zeros(order.shape, bool)  # whether a gate is the same as the one before it, and exchangeable
    follows[:, 1:] = (letter[:, 1:] == letter[:, :-1]) & own[:, 1:] & lined.slots[:, 1:]
    tied = np.flatnonzero((follows & (lined.parameter >= 0) & (lined.parameter < pool.theta.shape[1])).any(1))
    if not len(tied):
        return order
    lined, run = lined[tied], np.cumsum(~follows[tied], 1) - 1
    index = np.clip(lined.parameter, 0, pool.theta.shape[1] - 1)
    value = np.where(lined.parameter >= 0, np.take_along_axis(lined.theta, index, 1), 0.0)
    fine = np.lexsort((lined.parameter, value, _profiles(lined, run), run))
    order[tied] = np.take_along_axis(order[tied], fine, 1)
    return order


def _profiles(pool: Pool, run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers that order gates by how often each run of equal gates reads their first parameter: (B, S)."""
    rows, slots = np.arange(len(pool)), pool.op.shape[1]
    index = parameter_indices(pool)
    mine = np.where(index[..., 0] == END, -2, index[..., 0])
    reads = np.zeros((len(pool), slots, slots), np.uint16)  # by run, by gate
    for slot in range(slots):
        # a gate of several parameters is a run of its own, where the count can say which of them is meant
        which = (mine[:, :, None] == index[:, slot, None]) @ np.array([1, 2, 3], np.uint16)
        reads[rows, run[:, slot]] += which
    profile = np.ascontiguousarray(reads.transpose(0, 2, 1)).reshape(-1, slots)
    return np.unique(profile, axis=0, return_inverse=True)[1].reshape(run.shape)
