"""Shorter circuits that do the same, up to the global phase.

Three rules, until none applies: identity gates go; two gates that undo each other go (CNOT CNOT, S SDG); two rotations
of one kind on the same wires become one at the sum of their angles (RX RX, CP CP). Two gates meet if every gate
between them commutes with them. The rules read the gate table: which gates are identities, undo each other or
add their angles follows from their matrices. No rule brings a gate in that was not there, so a circuit stays in its
gate set, on its coupling map and within its depth.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.canonical import commute, sorted_wires
from spaces.circuits.gates import CODES, GATES, matrix, parameters_of, pauli_matrix
from spaces.circuits.pool import END, Pool
from spaces.circuits.structure import parameter_indices, renumbered, reordered, unshared, updated

NOTHING = 1e-12  # how far a matrix may be from a multiple of the identity and count as one


def simplify(pool: Pool, drop_zero: bool = False) -> Pool:
    """The pool with every circuit shortened until no rule applies; it has as many slots as before.

    Rotations are added only if no other gate reads their parameters and these are no inputs. With `drop_zero` gates
    go, too, that do nothing at the angles that the pool carries (RX at 2 pi, CRX at 4 pi, U3 at (0, a, -a)), whether
    or not their parameters are shared: for circuits that are done with training.
    Parameters are renumbered as by `structure.renumbered`, symmetric gates get their wires sorted.
    """
    pool = sorted_wires(pool)
    rows = np.arange(len(pool))
    while len(rows):
        part = pool[rows]
        shorter = _shortened(_without(part, _idle(part, drop_zero)))
        pool = updated(pool, rows, shorter)
        rows = rows[shorter.length < part.length]
    return renumbered(pool)


def _shortened(pool: Pool) -> Pool:
    """Every gate in turn meets those behind it, as far as it commutes."""
    op, theta = pool.op.copy(), pool.theta.copy()
    own = unshared(pool) & additive()[op]
    for s in range(op.shape[1]):
        moving = op[:, s] != END  # gates that have met nothing yet that holds them back
        for t in range(s + 1, op.shape[1]):
            rows = np.flatnonzero(moving & (op[:, t] != END))
            if not len(rows):
                continue
            a, b, wire = op[rows, s], op[rows, t], pool.wire[rows, s]
            same = (wire == pool.wire[rows, t]).all(1)
            cancelled, merged = rows[same & (undoes()[a] == b)], rows[same & (a == b) & own[rows, s] & own[rows, t]]
            held = rows[~commute(a, wire, b, pool.wire[rows, t])]
            theta[merged, pool.parameter[merged, s]] += theta[merged, pool.parameter[merged, t]]
            op[cancelled, s] = op[cancelled, t] = op[merged, t] = END
            moving[cancelled] = moving[held] = False
    part = Pool(pool.wires, op, pool.wire, pool.parameter, pool.length, theta)
    return _without(part, op == END)


def _without(pool: Pool, gone: NDArray[np.bool_]) -> Pool:
    keep = pool.slots & ~gone
    return reordered(pool, np.argsort(~keep, axis=1, kind="stable"), keep.sum(1, dtype=np.int32))


def _idle(pool: Pool, drop_zero: bool) -> NDArray[np.bool_]:
    """Which gates do nothing: for all angles, or with `drop_zero` at those that the pool carries: (B, S)."""
    found = pool.slots & np.append(identities(), False)[pool.op]
    index = parameter_indices(pool)
    carried = (index[..., 0] != END) & (index < pool.theta.shape[1]).all(2)
    for code in np.unique(pool.op[carried]) if drop_zero else ():
        row, slot = np.nonzero(carried & (pool.op == code))
        angles = pool.theta[row[:, None], index[row, slot, : parameters_of()[code]]]
        found[row, slot] = _nothing(matrices(int(code), angles))
    return found


def matrices(code: int, angles: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The unitaries of one gate of the table at many angles (N, parameters), as `gates.matrix` has one: (N, d, d)."""
    gate = GATES[code]
    one = np.eye(2**gate.wires, dtype=complex)
    product = np.tile(one, (len(angles), 1, 1))
    for turn in gate.turns:
        scaled = turn.scale * (1.0 if turn.parameter is None else angles[:, turn.parameter])
        half = np.broadcast_to(np.asarray(scaled / 2), len(angles))[:, None, None]
        product = (np.cos(half) * one - 1j * np.sin(half) * pauli_matrix(turn.pauli)) @ product
    return product


@cache
def identities() -> NDArray[np.bool_]:
    """Which gates of the table do nothing, by code: (G,)."""
    return np.array([not g.parameters and bool(_nothing(matrix(g.name))) for g in GATES])


@cache
def undoes() -> NDArray[np.int8]:
    """The gate that undoes each gate without parameters, by code; -3 for the others: (G,)."""
    return np.array([-3 if g.parameters else CODES[g.inverse] for g in GATES], np.int8)


@cache
def additive() -> NDArray[np.bool_]:
    """Which gates have one parameter and, twice in a row, are one at the sum, by code: (G,); a last row for END."""
    a, b = 1.1, 0.7
    adds = [
        g.parameters == 1 and np.allclose(matrix(g.name, a) @ matrix(g.name, b), matrix(g.name, a + b)) for g in GATES
    ]
    return np.array([*adds, False])


def _nothing(unitary: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Which unitaries (..., d, d) are the identity up to a phase."""
    scaled = unitary[..., :1, :1] * np.eye(unitary.shape[-1])
    return np.abs(unitary - scaled).max((-2, -1)) <= NOTHING
