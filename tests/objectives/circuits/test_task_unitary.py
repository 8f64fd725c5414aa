"""Unitary compilation, against traces of matrices and PennyLane's own unitaries."""

from pathlib import Path

import numpy as np
import pennylane as qml
import pytest

from objectives.circuits.task import Task
from objectives.circuits.tasks._circuits import haar_unitary, paper_circuit, unitary_of
from objectives.circuits.tasks.unitary import Config, build, target
from spaces.circuits.pool import CircuitError


def cost(task: Task, unitary: np.ndarray) -> float:
    """The cost of a circuit with this matrix on the task's own wires."""
    assert task.initial is not None
    state = np.kron(unitary, np.eye(2**task.idle)) @ task.initial[0]
    return float(task.observables[0].expectation(state))


@pytest.mark.parametrize("wires", [1, 2, 3])
def test_the_cost_is_minus_the_process_fidelity(wires: int) -> None:
    rng = np.random.default_rng(wires)
    task, wanted = build(Config(target="random", wires=wires)), target(Config(target="random", wires=wires))
    assert (task.wires, task.idle) == (wires, wires)
    for _ in range(5):
        unitary = haar_unitary(2**wires, rng)
        overlap = abs(np.trace(wanted.conj().T @ unitary)) ** 2 / 4**wires
        assert cost(task, unitary) == pytest.approx(-overlap, abs=1e-13)
    assert cost(task, 1j * wanted) == pytest.approx(-1)
    assert cost(task, wanted.T) > -0.99  # the transpose is another unitary
    assert cost(task, wanted.conj()) > -0.99


def test_named_unitaries_are_pennylanes() -> None:
    for wires in (1, 2, 3, 4):
        expected = qml.matrix(qml.QFT(range(wires)), wire_order=range(wires))
        np.testing.assert_allclose(target(Config(target="qft", wires=wires)), expected, atol=1e-12)
    for wires, gate in [(1, qml.X(0)), (2, qml.CNOT([0, 1])), (3, qml.Toffoli([0, 1, 2]))]:
        expected = qml.matrix(gate, wire_order=range(wires))
        np.testing.assert_array_equal(target(Config(target="toffoli", wires=wires)), expected)


def test_a_circuit_compiles_itself() -> None:
    task = build(Config(target="circuit", wires=4, seed=3))
    assert cost(task, unitary_of(4, paper_circuit(4, 10, 5, 3))) == pytest.approx(-1)
    assert cost(task, unitary_of(4, paper_circuit(4, 10, 5, 4))) > -0.99


def test_random_unitaries_are_seeded() -> None:
    np.testing.assert_array_equal(*[target(Config(target="random", seed=2)) for _ in range(2)])
    assert not np.allclose(target(Config(target="random", seed=2)), target(Config(target="random", seed=3)))


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_strict_is_an_average_gate_fidelity(share: float) -> None:
    task, wanted = build(Config(target="random", wires=1)), target(Config(target="random", wires=1))
    angle = share * 2 * np.arcsin(np.sqrt(1.5e-3))  # 1 - F = (2/3) sin^2(angle / 2)
    unitary = wanted @ np.diag(np.exp([-0.5j * angle, 0.5j * angle]))
    states = np.array([[1, 0], [0, 1], [1, 1], [1, -1], [1, 1j], [1, -1j]])  # a 2-design: its mean is the sphere's
    states = states / np.linalg.norm(states, axis=1, keepdims=True)
    average = np.mean(np.abs(np.einsum("ki,ij,kj->k", states.conj(), wanted.conj().T @ unitary, states)) ** 2)
    assert (average >= 0.999) == (share < 1)
    assert task.solved(np.array(cost(task, unitary))) == (share < 1)


def test_a_unitary_comes_from_a_file(tmp_path: Path) -> None:
    wanted = haar_unitary(4, np.random.default_rng(0))
    np.save(tmp_path / "v.npy", wanted)
    task = build(Config(target="file", path=str(tmp_path / "v.npy"), wires=5))
    assert task.wires == 2
    assert cost(task, wanted) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.diag([1, 1.1]), "not unitary: V†V differs from 1 by 0.21"),
        (np.eye(3), r"found shape \(3, 3\)"),
        (np.ones((2, 4)), r"found shape \(2, 4\)"),
        (np.array(1.0), r"found shape \(\)"),
        (np.full((2, 2), np.inf), "no finite number"),
    ],
)
def test_what_is_no_unitary_is_refused(tmp_path: Path, matrix: np.ndarray, complaint: str) -> None:
    np.save(tmp_path / "v.npy", matrix)
    with pytest.raises(CircuitError, match=complaint):
        build(Config(target="file", path=str(tmp_path / "v.npy")))
