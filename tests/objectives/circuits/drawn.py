"""Circuits drawn by hypothesis over every gate of the table, and PennyLane's word on them."""

import numpy as np
import pennylane as qml
from hypothesis import strategies as st

from objectives.circuits.observable import Observable
from spaces.circuits.gates import CODES, GATES, matrix
from spaces.circuits.pool import Pool

ANGLES = st.floats(-10, 10)


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


@st.composite
def circuits(draw, angles=ANGLES, gates=GATES):
    """A pool of one circuit on up to four wires."""
    wires = draw(st.integers(1, 4))
    circuit = []
    for gate in draw(st.lists(st.sampled_from([g for g in gates if g.wires <= wires]), max_size=8)):
        on = draw(st.permutations(range(wires)))[: gate.wires]
        circuit.append((gate.name, *on, *(draw(angles) for _ in range(gate.parameters))))
    return Pool.of(wires, [circuit])


def unitary(pool):
    """The product of the gates' matrices, each spread over the register by tensor contraction."""
    n = pool.wires
    product = np.eye(2**n, dtype=complex).reshape([2] * n + [2**n])
    for name, *rest in pool.gates(0):
        count = GATES[CODES[name]].wires
        on, small = list(rest[:count]), matrix(name, *rest[count:]).reshape([2] * (2 * count))
        product = np.moveaxis(np.tensordot(small, product, (list(range(count, 2 * count)), on)), range(count), on)
    return product.reshape(2**n, 2**n)
