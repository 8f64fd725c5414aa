"""What a circuit looks like: depth, counts, the graph of its gates, light cones, wires that hang together.

A gate depends on the gate before it on each of its wires; the circuit is the graph of these dependencies. All of it
is read slot by slot with one array over the circuits, "what stands last on each wire", so gates are told apart by
their place and never by their name, and a two-qubit gate behind one and the same gate has that one twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import GATES, MAX_PARAMETERS, MAX_WIRES, parameters_of, wires_of
from spaces.circuits.pool import END, CircuitError, Pool


def levels(pool: Pool) -> NDArray[np.int32]:
    """The layer of each gate, which is the length of the longest chain of gates that ends in it; 0 for none: (B, S).

    Each gate of a chain acts on a wire of the one before. Every gate counts 1, whatever it does and on however many
    wires; identity gates count too.
    """
    rows, wire = np.arange(len(pool)), _ends(pool)
    front = np.zeros((len(pool), pool.wires + 1), np.int32)  # the last column is the wire of empty slots
    found = np.zeros(pool.op.shape, np.int32)
    for slot in range(pool.op.shape[1]):
        first, second = wire[:, slot, 0], wire[:, slot, 1]
        level = np.maximum(front[rows, first], front[rows, second]) + 1
        front[rows, first] = front[rows, second] = level
        found[:, slot] = level
    return np.where(pool.slots, found, 0)


def depth(pool: Pool) -> NDArray[np.int32]:
    """How many layers of gates each circuit has, 0 if it has no gate: (B,); see `levels`."""
    return levels(pool).max(1, initial=0)


def predecessors(pool: Pool) -> NDArray[np.int32]:
    """The slot of the gate before each gate on each of its wires, `END` if there is none or no such wire: (B, S, 2)."""
    rows, wire = np.arange(len(pool)), _ends(pool)
    last = np.full((len(pool), pool.wires + 1), END, np.int32)
    found = np.full(pool.wire.shape, END, np.int32)
    for slot in range(pool.op.shape[1]):
        for k in range(MAX_WIRES):
            found[:, slot, k] = last[rows, wire[:, slot, k]]
        for k in range(MAX_WIRES):
            last[rows, wire[:, slot, k]] = slot
    return np.where(_touched(pool), found, END)


def two_qubit_gates(pool: Pool) -> NDArray[np.int32]:
    """How many gates on two wires each circuit has: (B,)."""
    return _touched(pool)[..., 1].sum(1, dtype=np.int32)


def gate_counts(pool: Pool) -> NDArray[np.int32]:
    """How often each circuit holds each gate of the table, by code: (B, G)."""
    row, slot = np.nonzero(pool.slots)
    flat = np.bincount(row * len(GATES) + pool.op[row, slot], minlength=len(pool) * len(GATES))
    return flat.reshape(len(pool), len(GATES)).astype(np.int32)


def parameter_count(pool: Pool) -> NDArray[np.int32]:
    """How many different parameters the gates of each circuit read, inputs left out: (B,)."""
    return (_uses(pool) > 0).sum(1, dtype=np.int32)


def unshared(pool: Pool) -> NDArray[np.bool_]:
    """Which gates have parameters that no other gate reads and that are no inputs: (B, S)."""
    index, columns = parameter_indices(pool), pool.theta.shape[1]
    reads = np.pad(_uses(pool), ((0, 0), (0, 1)), constant_values=2)  # the last column stands for all inputs
    column = np.where(index == END, columns, np.minimum(index, columns))
    alone = (
        np.take_along_axis(reads, column.reshape(len(pool), math.prod(index.shape[1:])), 1).reshape(index.shape) == 1
    )
    return (index[..., 0] != END) & (alone | (index == END)).all(2)


def used_wires(pool: Pool) -> NDArray[np.bool_]:
    """Which wires any gate acts on: (B, n)."""
    found = np.zeros((len(pool), pool.wires + 1), bool)
    wire = _ends(pool)
    for slot in range(pool.op.shape[1]):
        np.put_along_axis(found, wire[:, slot].astype(np.int64), True, 1)
    return found[:, :-1]


def blocks(pool: Pool) -> NDArray[np.int8]:
    """The wires that gates tie together, each named by the lowest wire that hangs together with it: (B, n).

    Any two-qubit gate ties its wires, also one that cannot entangle, as SWAP cannot.
    """
    rows, two = np.arange(len(pool)), _touched(pool)[..., 1]
    label = np.tile(np.arange(pool.wires, dtype=np.int8), (len(pool), 1))
    for slot in range(pool.op.shape[1]):
        ends = label[rows[:, None], pool.wire[:, slot]]
        low, high = ends.min(1, keepdims=True), ends.max(1, keepdims=True)
        label = np.where((label == high) & two[:, slot, None], low, label)
    return label


def entangling_blocks(pool: Pool) -> NDArray[np.int32]:
    """Into how many groups of wires without a gate between them each circuit falls, idle wires included: (B,)."""
    return (blocks(pool) == np.arange(pool.wires)).sum(1, dtype=np.int32)


def connected(pool: Pool) -> NDArray[np.bool_]:
    """Whether all wires of the register hang together: (B,)."""
    return entangling_blocks(pool) == 1


def light_cone(pool: Pool, wires: Sequence[int]) -> NDArray[np.bool_]:
    """Which gates can influence a measurement of some wires, walking backwards from them: (B, S).

    The cone goes by the wires alone: a gate that would commute out of it still belongs to it.

    Raises:
        CircuitError: a wire outside the register.
    """
    outside = [wire for wire in wires if not 0 <= wire < pool.wires]
    if outside:
        raise CircuitError(f"there is no wire {outside[0]} to measure, the register has wires 0..{pool.wires - 1}")
    rows, wire = np.arange(len(pool)), _ends(pool)
    live = np.zeros((len(pool), pool.wires + 1), bool)
    live[:, list(wires)] = True
    cone = np.zeros(pool.op.shape, bool)
    for slot in reversed(range(pool.op.shape[1])):
        first, second = wire[:, slot, 0], wire[:, slot, 1]
        hit = live[rows, first] | live[rows, second]
        live[rows, first] = live[rows, second] = cone[:, slot] = hit
    return cone


def compact(pool: Pool, keep: NDArray[np.bool_]) -> Pool:
    """The pool with only the gates of `keep` (B, S), in their order; it has as many slots as before.

    Its parameters are renumbered as by `renumbered`.
    """
    keep = keep & pool.slots
    return renumbered(reordered(pool, np.argsort(~keep, axis=1, kind="stable"), keep.sum(1)))


def reordered(pool: Pool, order: NDArray, length: NDArray | None = None) -> Pool:
    """The pool whose gate k is gate `order[:, k]` of this one, up to `length` (B,): `order` is (B, S).

    The parameters stay as they are.
    """
    length = pool.length if length is None else length
    empty = np.arange(order.shape[1]) >= length[:, None]
    wire = np.take_along_axis(pool.wire, order[..., None], 1)
    return replace(
        pool,
        op=np.where(empty, np.int8(END), np.take_along_axis(pool.op, order, 1)),
        wire=np.where(empty[..., None], np.int8(END), wire),
        parameter=np.where(empty, np.int32(END), np.take_along_axis(pool.parameter, order, 1)),
        length=length,
    )


def updated(pool: Pool, rows: NDArray, part: Pool) -> Pool:
    """The pool whose circuits `rows` are those of `part`, which has as many slots and parameters."""
    found = {}
    for name in ("op", "wire", "parameter", "length", "theta"):
        found[name] = getattr(pool, name).copy()
        found[name][rows] = getattr(part, name)
    return replace(pool, **found)


def renumbered(pool: Pool) -> Pool:
    """The pool whose parameters are numbered without gaps in the order in which the gates first read them.

    What was shared stays shared, and parameters that nobody reads are gone. Parameters that some gate reads side by
    side stay side by side: such a block is numbered as one when the first of it is read.

    Raises:
        CircuitError: a gate reads a parameter and an input at once.
    """
    first = _first_read(pool)
    columns, slots = pool.theta.shape[1], pool.op.shape[1]
    order = np.argsort(first, axis=1, kind="stable")
    count = (first < slots).sum(1)
    width = int(count.max(initial=0))
    number = np.full((len(pool), columns + 1), END, np.int32)
    np.put_along_axis(number, order, np.arange(columns, dtype=np.int32)[None], 1)
    is_input = pool.parameter >= columns
    moved = np.take_along_axis(number, np.where(is_input | (pool.parameter < 0), columns, pool.parameter), 1)
    theta = np.take_along_axis(pool.theta, order[:, :width], 1)
    return replace(
        pool,
        parameter=np.where(is_input, pool.parameter - columns + width, moved),
        theta=np.where(np.arange(width) < count[:, None], theta, 0.0),
    )


def parameter_indices(pool: Pool) -> NDArray[np.int32]:
    """The index of each parameter that each gate reads, `END` where it reads fewer: (B, S, 3)."""
    count = np.where(pool.slots, parameters_of()[pool.op], 0)
    k = np.arange(MAX_PARAMETERS, dtype=np.int32)
    return np.where(k < count[..., None], pool.parameter[..., None] + k, np.int32(END))


def _first_read(pool: Pool) -> NDArray[np.int16]:
    """The first slot that reads each parameter or another of its block, S if none does: (B, P)."""
    index, (columns, slots) = parameter_indices(pool), (pool.theta.shape[1], pool.op.shape[1])
    is_input = index >= columns
    mixed = np.argwhere(is_input.any(2) & ((index >= 0) & ~is_input).any(2))
    if len(mixed):
        row, slot = mixed[0]
        raise CircuitError(f"circuit {row}, gate {slot} reads a parameter and an input at once; it may read either")
    first = np.full((columns, len(pool)), slots, np.int16)
    glued = np.zeros((columns, len(pool)), bool)  # whether some gate reads a parameter together with the one before it
    for slot in reversed(range(slots)):
        row, k = np.nonzero((index[:, slot] >= 0) & ~is_input[:, slot])
        column = index[row, slot, k]
        first[column, row] = slot
        glued[column[k > 0], row[k > 0]] = True
    for c in range(1, columns):
        first[c] = np.where(glued[c], np.minimum(first[c], first[c - 1]), first[c])
    for c in reversed(range(1, columns)):
        first[c - 1] = np.where(glued[c], np.minimum(first[c], first[c - 1]), first[c - 1])
    return np.ascontiguousarray(first.T)


def _uses(pool: Pool) -> NDArray[np.int32]:
    """How many gates read each parameter: (B, P)."""
    index, columns = parameter_indices(pool), pool.theta.shape[1]
    row, slot, k = np.nonzero((index >= 0) & (index < columns))
    flat = np.bincount(row * columns + index[row, slot, k], minlength=len(pool) * columns)
    return flat.reshape(len(pool), columns).astype(np.int32)


def _touched(pool: Pool) -> NDArray[np.bool_]:
    """Which of its two places for wires each gate uses: (B, S, 2)."""
    return np.where(pool.slots, wires_of()[pool.op], 0)[..., None] > np.arange(MAX_WIRES)


def _ends(pool: Pool) -> NDArray[np.int8]:
    """The two wires of each gate, the same one twice if it has but one; wire n where there is no gate: (B, S, 2)."""
    touched = _touched(pool)
    first = np.where(touched[..., 0], pool.wire[..., 0], pool.wires)
    return np.stack([first, np.where(touched[..., 1], pool.wire[..., 1], first)], -1)
