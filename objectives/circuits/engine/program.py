"""A circuit as a program: a list of Pauli rotations, behind a Clifford circuit that acts only once.

Every gate of the table is a product of Pauli rotations exp(-i φ P / 2), and most gates without parameters are Clifford:
they turn Pauli words into Pauli words. So all of them can be moved to the front of the circuit,

    C_k R(P) = R(C_k P C_k†) C_k,

each rotation's word being conjugated by the Clifford gates behind it. What is left to do at every evaluation is one
rotation for each parameter; the Clifford circuit's state is prepared once (Gottesman, quant-ph/9807006, for the words'
bookkeeping).

A word is the triple (x, z, p) of i^p X^x Z^z, bits by basis index. On 2N real numbers, real parts first, its rotation
is v[k] ← cos(φ/2) v[k] ± sin(φ/2) (-1)^|k & Z| v[k ⊕ X], where X and Z are x and z, the bit N added where i^p is real.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.lanes import popcount
from objectives.circuits.engine.table import Table


class Circuits(NamedTuple):
    """The arrays of a pool, as compiled code takes them; `wires` is that of the register, idle wires included."""

    wires: int
    op: NDArray[np.int8]
    wire: NDArray[np.int8]
    parameter: NDArray[np.int32]
    length: NDArray[np.int32]


class Program(NamedTuple):
    """Room for the rotations of one circuit: masks X and Z, scale (its sign included) and source of each angle.

    A source of -1 means that the scale is the angle itself. The images of X_0, Z_0, X_1, … under the circuit's Clifford
    gates are the words (image_x, image_z, image_p), (2n,) each; `fresh` holds those of one gate.
    """

    x: NDArray[np.int64]
    z: NDArray[np.int64]
    scale: NDArray[np.float64]
    source: NDArray[np.int64]
    image_x: NDArray[np.int64]
    image_z: NDArray[np.int64]
    image_p: NDArray[np.int64]
    fresh: NDArray[np.int64]


@njit(cache=True)
def room(slots: int, turns: int, wires: int) -> Program:
    """An empty program for circuits of so many slots."""
    size = slots * turns
    return Program(
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.float64),
        np.empty(size, np.int64),
        np.empty(2 * wires, np.int64),
        np.empty(2 * wires, np.int64),
        np.empty(2 * wires, np.int64),
        np.empty(12, np.int64),
    )


@njit(cache=True)
def spread(mask: int, first: int, second: int) -> int:
    """The bits of a gate's local mask, at the places of its wires."""
    return ((mask & 1) * first) | ((mask >> 1 & 1) * second)


@njit(cache=True)
def real_form(x: int, z: int, p: int, size: int) -> tuple[int, int, float]:
    """The masks and the sign of a Hermitian word's rotation on 2·size real numbers."""
    if p & 1:
        return x, z, 1.0 if p & 3 == 3 else -1.0
    return x | size, z | size, 1.0 if p & 3 == 0 else -1.0


@njit(cache=True, inline="always")
def _image(program: Program, x: int, z: int, p: int, one: int, two: int) -> tuple[int, int, int]:
    """The image of i^p X^x Z^z, whose bits are local to the wires `one` and `two`: its letters' product."""
    out_x, out_z, out_p = 0, 0, p
    letters = (x & 1) | (x & 2) << 1 | (z & 1) << 1 | (z & 2) << 2  # X_0, Z_0, X_1, Z_1; letters of two wires commute
    while letters:
        letter = popcount((letters & -letters) - 1)
        row = 2 * (two if letter > 1 else one) + (letter & 1)
        out_p += program.image_p[row] + 2 * popcount(out_z & program.image_x[row])
        out_x ^= program.image_x[row]
        out_z ^= program.image_z[row]
        letters &= letters - 1
    return out_x, out_z, out_p & 3


@njit(cache=True)
def compiled(circuits: Circuits, row: int, table: Table, program: Program) -> int:
    """Writes the rotations of a circuit into `program`, last to act first; returns how many there are."""
    wires, fresh, count = circuits.wires, program.fresh, 0
    size = 1 << wires
    for wire in range(wires):
        bit = size >> (wire + 1)
        program.image_x[2 * wire], program.image_z[2 * wire], program.image_p[2 * wire] = bit, 0, 0
        program.image_x[2 * wire + 1], program.image_z[2 * wire + 1], program.image_p[2 * wire + 1] = 0, bit, 0
    for slot in range(circuits.length[row] - 1, -1, -1):
        code = circuits.op[row, slot]
        one, two = int(circuits.wire[row, slot, 0]), int(circuits.wire[row, slot, 1])
        if table.clifford[code]:
            moved = table.moved[code]
            for k in range(moved):
                g = table.which[code, k]
                x, z, p = table.image[code, g, 0], table.image[code, g, 1], table.image[code, g, 2]
                fresh[3 * k], fresh[3 * k + 1], fresh[3 * k + 2] = _image(program, x, z, p, one, two)
            for k in range(moved):
                g = table.which[code, k]
                target = 2 * (two if g > 1 else one) + (g & 1)
                program.image_x[target] = fresh[3 * k]
                program.image_z[target] = fresh[3 * k + 1]
                program.image_p[target] = fresh[3 * k + 2]
            continue
        for k in range(table.turns[code] - 1, -1, -1):
            x, z = table.x[code, k], table.z[code, k]
            if x | z == 0:
                continue  # a global phase
            x, z, p = _image(program, x, z, popcount(x & z), one, two)
            x, z, sign = real_form(x, z, p, size)
            source = table.source[code, k]
            program.x[count], program.z[count] = x, z
            program.scale[count] = sign * table.scale[code, k]
            program.source[count] = -1 if source < 0 else circuits.parameter[row, slot] + source
            count += 1
    return count
