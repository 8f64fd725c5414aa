"""Circuits drawn by hypothesis over every gate of the table, and PennyLane's word on them."""

import numpy as np
import pennylane as qml
from hypothesis import strategies as st

from objectives.circuits.observable import Observable
from spaces.circuits.gates import GATES, matrix
from spaces.circuits.pool import Pool

ANGLES = st.floats(-7, 7, allow_nan=False)


@st.composite
def gate(draw, wires):
    """One gate of the table on some of the wires."""
    kind = draw(st.sampled_from([g for g in GATES if g.wires <= wires]))
    on = draw(st.permutations(range(wires)))[: kind.wires]
    return (kind.name, *on, *(draw(ANGLES) for _ in range(kind.parameters)))


@st.composite
def pools(draw, wires, circuits=4, gates=14):
    """A pool of a few circuits of different lengths."""
    n = draw(wires)
    return Pool.of(n, [draw(st.lists(gate(n), max_size=gates)) for _ in range(draw(st.integers(1, circuits)))])


@st.composite
def paulis(draw, wires):
    """An observable of random Pauli words."""
    words = draw(st.lists(st.text("IXYZ", min_size=wires, max_size=wires), min_size=1, max_size=6))
    return Observable.of_paulis(wires, words, [draw(st.floats(-2, 2)) for _ in words])


def pennylane_cost(circuit, observable):
    """A QNode of the circuit's angles, on `default.qubit`: the gates by their matrices, as tests of the table check."""

    @qml.qnode(qml.device("default.qubit", wires=observable.wires))
    def cost():
        for name, *rest in circuit:
            kind = next(g for g in GATES if g.name == name)
            qml.QubitUnitary(matrix(name, *rest[kind.wires :]), wires=rest[: kind.wires])
        return qml.expval(qml.Hermitian(observable.matrix().toarray(), wires=range(observable.wires)))

    return float(cost())


def dense_states(pool):
    """The circuits' states by NumPy alone: (B, N)."""
    states = []
    for circuit in pool:
        state = np.zeros((2,) * pool.wires, complex)
        state[(0,) * pool.wires] = 1
        for name, *rest in circuit:
            width = next(g.wires for g in GATES if g.name == name)
            unitary = matrix(name, *rest[width:]).reshape((2,) * (2 * width))
            state = np.tensordot(unitary, state, (range(width, 2 * width), rest[:width]))
            state = np.moveaxis(state, range(width), rest[:width])
        states.append(state.reshape(-1))
    return np.array(states)
