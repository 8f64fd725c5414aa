"""PennyLane's operations and tapes: unitaries against products of the table's matrices, gradients, refusals."""

from dataclasses import replace

import numpy as np
import pennylane as qml
import pytest
import torch
from drawn import circuits, unitary
from hypothesis import given, settings

from objectives.circuits.edges.tape import OPERATORS, from_tape, to_operations, to_tape
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import CircuitError, Pool

SHARED = replace(Pool.of(2, [[("RX", 0, 0.3), ("RY", 1, 0.8), ("CRZ", 0, 1, 0.5)]]), parameter=[[1, 0, 1]])
READING = replace(SHARED, parameter=[[0, 3, 4]])  # the second and third angle are inputs 0 and 1


def overlap(a, b):
    return abs(np.trace(a.conj().T @ b)) / len(a)


def test_every_gate_of_the_table_has_its_operator():
    assert set(OPERATORS) == set(CODES)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_each_gate_is_pennylanes_on_swapped_wires(gate):
    pool = Pool.of(3, [[(gate.name, *[2, 0][: gate.wires], *[0.4, 1.3, -0.8][: gate.parameters])]])
    np.testing.assert_allclose(qml.matrix(to_tape(pool, 0), wire_order=range(3)), unitary(pool), atol=1e-12)
    assert list(from_tape(to_tape(pool, 0))) == list(pool)


@settings(max_examples=60, deadline=None)
@given(circuits())
def test_a_tape_is_the_circuit_phase_included_and_comes_back_as_it_was(pool):
    tape = to_tape(pool, 0)
    np.testing.assert_allclose(qml.matrix(tape, wire_order=range(pool.wires)), unitary(pool), atol=1e-10)
    back = from_tape(tape)
    assert back.wires == pool.wires
    assert list(back) == list(pool)


def test_trainable_are_the_parameters_alone():
    energy = qml.expval(qml.Hamiltonian([0.5, 0.3], [qml.Z(0), qml.X(1)]))
    assert to_tape(SHARED, 0, [energy]).trainable_params == [0, 1, 2]
    assert to_tape(READING, 0, [energy], inputs=[0.1, 0.2]).trainable_params == [0]
    two = Pool.of(2, [[("U3", 0, 1.0, 2.0, 3.0), ("CNOT", 0, 1), ("RZ", 1, 0.1)], [("X", 0)]])
    assert to_tape(two, 0, [energy]).trainable_params == [0, 1, 2, 3]
    assert to_tape(two, 1, [energy]).trainable_params == []


def test_a_qnode_differentiates_through_shared_parameters():
    @qml.qnode(qml.device("default.qubit"), diff_method="backprop")
    def cost(theta):
        to_operations(SHARED, 0, theta)
        return qml.expval(qml.X(1))

    theta = torch.tensor([0.4, -1.1, 0.0], dtype=torch.float64, requires_grad=True)
    cost(theta).backward()
    step = np.eye(3) * 1e-6
    at = theta.detach().numpy()
    found = [(cost(at + h) - cost(at - h)) / 2e-6 for h in step]
    np.testing.assert_allclose(theta.grad, found, atol=1e-8)
    assert abs(found[0]) > 0.01
    assert abs(found[1]) > 0.01


def test_inputs_stand_behind_the_parameters_and_broadcast():
    plain = to_operations(READING, 0, inputs=[0.7, 0.9])
    assert [op.parameters[0] for op in plain] == [0.3, 0.7, 0.9]
    batch = to_operations(READING, 0, inputs=np.array([[0.7, 0.1], [0.9, 0.2]]))
    assert [op.batch_size for op in batch] == [None, 2, 2]
    with pytest.raises(CircuitError, match="circuit 0 reads 2 inputs, 1 are given"):
        to_operations(READING, 0, inputs=[0.7])
    with pytest.raises(CircuitError, match="circuit 0 reads 2 inputs, 0 are given"):
        to_tape(READING, 0)
    with pytest.raises(CircuitError, match="2 values of parameters, the pool has 3"):
        to_operations(SHARED, 0, [0.1, 0.2])


def entangled(angle, flip=False):
    qml.Rot(angle, 0.2, 0.3, wires="a")
    qml.Toffoli(wires=["a", "b", "c"])
    qml.QFT(wires=["a", "b", "c"])
    qml.MultiRZ(0.4, wires=["c", "a", "b"])
    qml.adjoint(qml.RX(0.3, "a"))
    qml.ctrl(qml.RX(0.3, "a"), "b", control_values=[0])
    qml.PauliRot(0.4, "XYZ", wires=["a", "b", "c"])
    qml.ctrl(qml.GlobalPhase(0.3), "a")
    qml.GlobalPhase(0.7)
    qml.Identity(wires=["a", "b"])
    if flip:
        qml.PauliX("c")
    return qml.expval(qml.Z("b"))


def test_other_operators_are_decomposed_up_to_the_phase():
    pool = from_tape(entangled, 0.5, flip=True)
    wanted = qml.matrix(qml.tape.make_qscript(entangled)(0.5, flip=True), wire_order=["a", "b", "c"])
    assert overlap(unitary(pool), wanted) == pytest.approx(1, abs=1e-10)
    turned = from_tape(entangled, 0.5, wires=["c", "a", "b"])
    wanted = qml.matrix(qml.tape.make_qscript(entangled)(0.5), wire_order=["c", "a", "b"])
    assert overlap(unitary(turned), wanted) == pytest.approx(1, abs=1e-10)


def test_a_qnode_brings_its_devices_wires():
    qnode = qml.QNode(entangled, qml.device("default.qubit", wires=["x", "c", "b", "a"]))
    pool = from_tape(qnode, torch.tensor(0.5, requires_grad=True))
    assert pool.wires == 4
    wanted = qml.matrix(qml.tape.make_qscript(entangled)(0.5), wire_order=["x", "c", "b", "a"])
    assert overlap(unitary(pool), wanted) == pytest.approx(1, abs=1e-10)


def test_whole_numbers_keep_their_wires():
    assert list(from_tape(lambda: qml.CNOT([3, 1]))) == [[("CNOT", 3, 1)]]
    assert from_tape(lambda: qml.CNOT([3, 1])).wires == 4
    assert list(from_tape(lambda: qml.CNOT([3, 1]), wires=[3, 1])) == [[("CNOT", 0, 1)]]


@pytest.mark.parametrize(
    ("circuit", "words"),
    [
        (lambda: qml.measure(0), ["MidMeasure", "allowed: PauliX"]),
        (lambda: qml.DepolarizingChannel(0.1, 0), ["DepolarizingChannel", "decomposition"]),
        (lambda: qml.Projector([0], 0), ["Projector"]),
        (lambda: qml.RX(np.array([0.1, 0.2]), 0), ["RX", "batch of 2"]),
        (lambda: qml.RX(float("nan"), 0), ["nan"]),
        (lambda: None, ["1 to 127 wires, found 0"]),
        (lambda: qml.X(500), ["1 to 127 wires, found 501"]),
    ],
)
def test_what_no_circuit_can_be_is_refused(circuit, words):
    with pytest.raises(CircuitError) as error:
        from_tape(circuit)
    assert all(word in str(error.value) for word in words)


def test_a_label_outside_the_wires_is_refused():
    with pytest.raises(CircuitError, match=r"no wire 'b'"):
        from_tape(lambda: qml.CNOT(["a", "b"]), wires=["a", "c"])


def test_transforms_that_make_several_tapes_are_refused():
    split = qml.transforms.split_non_commuting(
        qml.QNode(lambda: [qml.expval(qml.X(0)), qml.expval(qml.Y(0))], qml.device("default.qubit"))
    )
    with pytest.raises(CircuitError, match="2 tapes"):
        from_tape(split)
