"""Unitaries of small circuits by NumPy alone, for tests to compare with."""

import numpy as np

from spaces.circuits.gates import CODES, GATES, matrix

WIRES = 3


def operator(gate):
    """The gate on the whole register, by contracting its matrix with the identity: (8, 8)."""
    name, *rest = gate
    count = GATES[CODES[name]].wires
    wires = rest[:count]
    small = matrix(name, *rest[count:]).reshape((2,) * 2 * count)
    whole = np.tensordot(small, np.eye(2**WIRES).reshape((2,) * 2 * WIRES), (range(count, 2 * count), wires))
    return np.moveaxis(whole, range(count), wires).reshape(2**WIRES, 2**WIRES)


def unitary(circuit):
    found = np.eye(2**WIRES)
    for gate in circuit:
        found = operator(gate) @ found
    return found
