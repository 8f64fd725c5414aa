"""The gate table against PennyLane's matrices; a pool's faces, files and refusals."""

import numpy as np
import pennylane as qml
import pytest

from spaces.circuits.gates import CODES, GATE_SETS, GATES, inverse_parameters, matrix
from spaces.circuits.pool import CircuitError, Pool

PENNYLANE = {
    "H": qml.Hadamard,
    "RXX": qml.IsingXX,
    "RYY": qml.IsingYY,
    "RZZ": qml.IsingZZ,
    "I": qml.Identity,
    "P": qml.PhaseShift,
    "CP": qml.ControlledPhaseShift,
}
CIRCUIT = [("RY", 0, 0.3), ("CNOT", 0, 1), ("U3", 2, 1.0, 2.0, 3.0), ("SWAP", 2, 0)]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_gates_are_pennylanes_and_their_inverses_undo_them(gate):
    angles = tuple(np.random.default_rng(0).uniform(-7, 7, gate.parameters))
    base = gate.name.removesuffix("DG")
    operator = (PENNYLANE.get(base) or getattr(qml, base))(*angles, wires=list(range(gate.wires)))
    operator = qml.adjoint(operator) if base != gate.name else operator
    found = matrix(gate.name, *angles)
    np.testing.assert_allclose(found, qml.matrix(operator, wire_order=range(gate.wires)), atol=1e-12)
    back = matrix(gate.inverse, *inverse_parameters(gate.name, angles))
    np.testing.assert_allclose(back @ found, np.eye(2**gate.wires), atol=1e-12)


@pytest.mark.parametrize("gate", [g for g in GATES if g.wires == 2], ids=lambda gate: gate.name)
def test_a_symmetric_gate_does_not_care_for_its_wires_order(gate):
    angles, swap = [0.7] * gate.parameters, matrix("SWAP")
    same = np.allclose(swap @ matrix(gate.name, *angles) @ swap, matrix(gate.name, *angles))
    assert same == gate.symmetric


def test_gate_sets_hold_known_gates():
    assert all(set(names) <= set(CODES) for names in GATE_SETS.values())


def test_a_pool_reads_back_what_it_was_made_of(tmp_path):
    pool = Pool.of(3, [CIRCUIT, [("X", 1)], []])
    assert list(pool) == [CIRCUIT, [("X", 1)], []]
    assert pool.parameters.tolist() == [4, 0, 0]
    assert list(pool[np.array([True, False, True])]) == [CIRCUIT, []]
    assert list(Pool.stack([pool[1:], pool[:1]])) == [[("X", 1)], [], CIRCUIT]
    pool.save(tmp_path / "pool.npz")
    assert list(Pool.load(tmp_path / "pool.npz")) == list(pool)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.npz"]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (("CNOTT", 0, 1), ["circuit 1, gate 0", "'CNOTT'", "did you mean 'CNOT'"]),
        (("CNOT", 0, 3), ["CNOT on [0, 3]", "outside 0..2"]),
        (("CNOT", 1, 1), ["CNOT on [1, 1]", "twice"]),
        (("RX", 0), ["RX takes 1 wires and 1 angles"]),
        (("RX", 0, float("nan")), ["circuit 1", "nan"]),
    ],
)
def test_an_impossible_circuit_is_refused_by_name(gate, words):
    with pytest.raises(CircuitError) as error:
        Pool.of(3, [CIRCUIT, [gate]])
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip"])
def test_a_damaged_file_is_refused_by_path(tmp_path, content):
    path = tmp_path / "pool.npz"
    path.write_bytes(content)
    with pytest.raises(CircuitError, match=r"pool\.npz: no pool of circuits"):
        Pool.load(path)
