"""The PennyLane device against default.qubit, NumPy's states and PennyLane's own tests of devices."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pennylane as qml
import pytest
import torch
from drawn import dense_states, pools
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane import numpy as pnp
from pennylane.devices import ExecutionConfig, tests
from pennylane.exceptions import DeviceError, QuantumFunctionError, WireError
from scipy.sparse import csr_matrix

from objectives.circuits.batch import Batch
from objectives.circuits.device import PretuneQubit, observable_of
from objectives.circuits.edges.tape import OPERATORS, to_operations, to_tape
from spaces.circuits.gates import GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)
BLUR = RNG.normal(size=(4, 4)) + 1j * RNG.normal(size=(4, 4))
HERMITIAN = BLUR + BLUR.conj().T
ISING = qml.Hamiltonian([0.5, -1.5, 2.0, 0.25], [qml.Z(0) @ qml.Z(1), qml.X(2), qml.Y(0) @ qml.X(1), qml.Identity(0)])


def both(circuit, wires=3, **rest):
    """The circuit on the device under test and, by backpropagation, on default.qubit."""
    return (
        qml.QNode(circuit, qml.device("pretune.qubit", wires=wires), **rest),
        qml.QNode(circuit, qml.device("default.qubit", wires=wires)),
    )


def leaves(nested):
    """The numbers in nested tuples, in order."""
    return [leaf for entry in nested for leaf in leaves(entry)] if isinstance(nested, tuple) else [float(nested)]


def shapes(nested):
    """How tuples and arrays are nested."""
    return tuple(map(shapes, nested)) if isinstance(nested, tuple) else np.shape(nested)


def jacobian(circuit, interface, angles):
    """Of everything that a QNode returns, by its only argument."""
    if interface == "torch":
        theta = torch.tensor(angles, requires_grad=True)
        return torch.autograd.functional.jacobian(lambda t: qml.math.hstack(_tuple(circuit(t))), theta).numpy()
    return qml.jacobian(lambda t: qml.math.hstack(_tuple(circuit(t))))(pnp.array(angles, requires_grad=True))


def _tuple(results):
    return results if isinstance(results, tuple) else (results,)


def test_the_name_is_known_to_pennylane():
    device = qml.device("pretune.qubit", wires=["a", 3])
    assert isinstance(device, PretuneQubit)
    assert device.name == "pretune.qubit"
    assert device.wires == qml.wires.Wires(["a", 3])


@pytest.mark.parametrize("interface", ["torch", "autograd"])
@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_values_and_gradients_of_every_gate(gate, interface):
    def circuit(t):
        for wire in range(3):
            qml.U3(t[0] + wire, t[1], 0.3, wires=wire)
        qml.CNOT([0, 2])
        OPERATORS[gate.name](*[t[2 + k] for k in range(gate.parameters)], wires=[2, 0][: gate.wires])
        qml.RY(t[1], wires=0)
        return qml.expval(ISING), qml.expval(qml.X(0)), qml.expval(qml.Hermitian(HERMITIAN, [2, 0]))

    angles = np.array([0.7, -1.1, 0.4, 2.3, -0.6])[: 2 + max(gate.parameters, 1)]
    mine, theirs = both(circuit, diff_method="adjoint")
    np.testing.assert_allclose(mine(angles), theirs(angles), atol=1e-12)
    np.testing.assert_allclose(jacobian(mine, interface, angles), jacobian(theirs, interface, angles), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(pools(st.integers(1, 4)))
def test_states_and_probabilities_are_numpys(pool):
    device, wanted = qml.device("pretune.qubit", wires=pool.wires), dense_states(pool)
    tapes = [to_tape(pool, row, [qml.state(), qml.probs(wires=[pool.wires - 1])]) for row in range(len(pool))]
    for (state, ends), expected in zip(qml.execute(tapes, device, diff_method=None), wanted, strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-12)
        np.testing.assert_allclose(ends, (np.abs(expected.reshape(-1, 2)) ** 2).sum(0), atol=1e-12)


MEASUREMENTS = {
    "sum": lambda: qml.expval(ISING),
    "no terms": lambda: qml.expval(0.0 * qml.Z(0)),
    "product": lambda: qml.expval(qml.Z(2) @ qml.Hermitian(HERMITIAN, [1, 0])),
    "mixed sum": lambda: qml.expval(0.3 * qml.Hadamard(1) + qml.Projector([1, 0], [2, 0]) @ qml.X(1)),
    "identity": lambda: qml.expval(qml.Identity(1)),
    "matrix": lambda: qml.expval(qml.Hermitian(HERMITIAN, [2, 0])),
    "sparse": lambda: qml.expval(qml.SparseHamiltonian(csr_matrix(np.kron(HERMITIAN, np.diag([1, -2]))), [2, 0, 1])),
    "projector": lambda: qml.expval(qml.Projector([0, 1], [1, 2])),
    "state's projector": lambda: qml.expval(qml.Projector(np.array([0.6, 0.8j]), [1])),
    "variance": lambda: qml.var(qml.Hermitian(HERMITIAN, [2, 0])),
    "probabilities": lambda: qml.probs(wires=[2, 0]),
    "probabilities of values": lambda: qml.probs(op=qml.Hermitian(HERMITIAN, [0, 2])),
    "reduced state": lambda: qml.density_matrix([1, 2]),
    "entropy": lambda: qml.vn_entropy(wires=[0]),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_whatever_is_analytic_is_measured(name):
    def circuit():
        qml.StatePrep(np.array([0.1, 0.5, -0.7j, 0.5]), wires=[1, 2])
        qml.Rot(0.1, 0.7, -0.4, wires=0)
        qml.Toffoli([2, 0, 1])
        qml.QubitUnitary(np.linalg.eigh(HERMITIAN)[1], wires=[1, 0])
        qml.BlockEncode(np.array([[0.1, 0.2], [0.3, 0.4j]]), wires=[0, 2])  # PennyLane knows its matrix alone
        return MEASUREMENTS[name](), qml.expval(qml.Y(2))

    mine, theirs = both(circuit)
    for found, wanted in zip(mine(), theirs(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        assert np.shape(found) == np.shape(wanted)


@pytest.mark.parametrize("labels", [None, ["b", 0, "a", 7], [7, "a", "b", 0]])
def test_wires_may_have_any_labels_and_any_order(labels):
    def circuit():
        qml.RX(0.3, wires="a")
        qml.CRY(0.7, wires=["a", 7])
        qml.GlobalPhase(0.4)
        return qml.state(), qml.expval(qml.Z("b") @ qml.Y(7)), qml.probs(wires=["b", "a"])

    for found, wanted in zip(*(node() for node in both(circuit, labels)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_circuit_may_have_no_gates_and_no_angles():
    device = qml.device("pretune.qubit", wires=2)
    assert device.execute([]) == ()
    nothing = qml.tape.QuantumScript([], [qml.expval(qml.Z(1))])
    assert device.execute(nothing) == 1.0
    assert device.compute_derivatives(nothing) == ()


@pytest.fixture
def engine_calls(monkeypatch):
    """How many circuits each call of the engine has had."""
    calls, real = [], Batch.costs

    def counted(self, pool, task, gradients=True):
        calls.append(len(pool))
        return real(self, pool, task, gradients)

    monkeypatch.setattr(Batch, "costs", counted)
    return calls


def test_a_batch_of_different_tapes_is_one_call_for_each_observable(engine_calls):
    pool = sample(paper(), 20, np.random.default_rng(1))
    device, theirs = qml.device("pretune.qubit", wires=4), qml.device("default.qubit", wires=4)
    same, config = ISING + 0.1 * qml.Z(3), ExecutionConfig(gradient_method="adjoint")
    for measured, calls in (
        (lambda: [qml.expval(same)], [20]),
        (lambda: [qml.expval(ISING + 0.1 * qml.Z(3))], [20]),
        (lambda: [qml.expval(same), qml.expval(qml.X(3) @ qml.Z(0) @ qml.Z(1) @ qml.Z(2))], [20, 20]),
    ):
        engine_calls.clear()
        tapes = [to_tape(pool, row, measured()) for row in range(len(pool))]
        values, jacobians = device.execute_and_compute_derivatives(tapes, config)
        assert engine_calls == calls
        np.testing.assert_allclose(values, qml.execute(tapes, theirs, diff_method=None), atol=1e-12)
        for tape, found in zip(tapes, jacobians, strict=True):
            shifted, combine = qml.gradients.param_shift(tape) if tape.trainable_params else ([], lambda _: ())
            wanted = combine(qml.execute(shifted, theirs, diff_method=None))
            np.testing.assert_allclose(leaves(found), leaves(wanted), atol=1e-12)


def test_results_are_arrays_nested_as_pennylane_nests_them():
    device, config = qml.device("pretune.qubit", wires=2), ExecutionConfig(gradient_method="adjoint")
    theirs = qml.device("default.qubit", wires=2)
    gates = [qml.RX(0.1, 0), qml.CRZ(0.2, [0, 1]), qml.GlobalPhase(0.3), qml.RY(0.4, 1)]
    for measured in (
        [qml.expval(qml.Y(0) @ qml.X(1))],
        [qml.expval(qml.X(0)), qml.expval(qml.Hamiltonian([0.5], [qml.Y(1)]))],
    ):
        for trainable in ([], [0], [1, 3], [0, 1, 2, 3]):
            tape = qml.tape.QuantumScript(gates, measured, trainable_params=trainable)
            found, wanted = (d.execute_and_compute_derivatives(tape, config) for d in (device, theirs))
            assert shapes(found) == shapes(wanted)
            np.testing.assert_allclose(leaves(found), leaves(wanted), atol=1e-14)
    assert device.execute(tape)[0].dtype == np.float64


def test_a_decomposition_makes_no_parameter_of_an_observable_trainable():
    device, config = qml.device("pretune.qubit", wires=3), ExecutionConfig(gradient_method="adjoint")
    tape = qml.tape.QuantumScript([qml.Rot(0.1, 0.2, 0.3, 0)], [qml.expval(ISING)])
    (ready,), _ = device.preprocess_transforms(config)([tape])
    assert ready.trainable_params == [0, 1, 2]
    assert len(device.compute_derivatives(ready, config)) == 3


def test_torch_keeps_float64_and_single_precision_is_near():
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    results = {}
    for precision in ("double", "single"):
        device = qml.device("pretune.qubit", wires=1, precision=precision)
        value = qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1], device)(x)
        assert value.dtype == torch.float64
        results[precision] = value.item()
    assert results["double"] == pytest.approx(np.cos(0.3), abs=1e-15)
    assert 0 < abs(results["single"] - np.cos(0.3)) < 1e-6


def test_batches_of_parameters(engine_calls):
    def circuit(x):
        qml.RX(x, wires=0)
        qml.IsingXY(x, wires=[0, 1])
        return qml.expval(ISING), qml.probs(wires=[0, 1])

    x = np.linspace(0, 1, 7)
    mine, theirs = both(circuit)
    for found, wanted in zip(mine(x), theirs(x), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert engine_calls == [7]


def test_the_best_gradient_is_the_engines_where_it_has_one():
    def circuit(x, measured):
        qml.RX(x[0], wires=0)
        qml.CRot(x[0], x[1], x[2], wires=[0, 1])
        return measured(x)

    for measured, method in (
        (lambda x: qml.expval(ISING), "adjoint"),
        (lambda x: qml.expval(qml.Hamiltonian(x, [qml.Z(0), qml.Y(1), qml.X(0)])), "parameter-shift"),
        (lambda x: qml.probs(wires=[1, 0]), "parameter-shift"),
        (lambda x: qml.var(qml.Y(1)), "parameter-shift"),
        (lambda x: (qml.expval(qml.Y(1)), qml.probs(wires=0)), "parameter-shift"),
    ):
        mine, theirs = both(lambda x, measured=measured: circuit(x, measured))
        x = pnp.array([0.3, -0.8, 1.9], requires_grad=True)
        assert qml.workflow.get_best_diff_method(mine)(x) == method
        for interface in ("torch", "autograd"):
            np.testing.assert_allclose(jacobian(mine, interface, x), jacobian(theirs, interface, x), atol=1e-12)


def test_second_derivatives_are_shifted_parameters():
    def circuit(x):
        qml.U3(x, 2 * x, 0.3, wires=0)
        return qml.expval(qml.X(0))

    mine, theirs = both(circuit, max_diff=2)
    theirs = qml.QNode(circuit, theirs.device, max_diff=2)
    x = pnp.array(0.3, requires_grad=True)
    assert qml.jacobian(qml.grad(mine))(x) == pytest.approx(float(qml.jacobian(qml.grad(theirs))(x)), abs=1e-12)


def test_no_observable_is_taken_for_another():
    device, matrix = qml.device("pretune.qubit", wires=1), np.diag([1.0, -1.0])
    for k in range(200):  # objects come and go, and with them their identities
        observables = [k * qml.Z(0), qml.Hermitian(k * matrix, 0), -k * qml.Z(0), qml.Hermitian(-k * matrix, 0)]
        tapes = [qml.tape.QuantumScript([], [qml.expval(o)]) for o in observables]
        assert device.execute(tapes) == (k, k, -k, -k)
    kept = qml.Hermitian(matrix, 0)
    for factor in (1.0, 3.0):
        matrix[:] = factor * np.diag([1.0, -1.0])
        assert device.execute(qml.tape.QuantumScript([], [qml.expval(kept)])) == factor


def refused(circuit, match, error=DeviceError, **rest):
    with pytest.raises(error, match=match):
        qml.QNode(circuit, qml.device("pretune.qubit", wires=2), **rest)(0.3)


def test_what_it_cannot_do_is_refused_as_pennylane_refuses():
    def measured(x):
        qml.cond(qml.measure(0), qml.X)(1)
        return qml.expval(qml.Z(1))

    def after(*gates_and_measurement):
        return lambda x: [make() for make in gates_and_measurement][-1]

    z, x = lambda: qml.expval(qml.Z(0)), lambda: qml.RX(0.3, wires=0)
    refused(measured, r"MidMeasure.*not supported with pretune.qubit")
    refused(after(x, z), "Finite shots are not supported with pretune.qubit", shots=10)
    refused(after(x, lambda: qml.sample(wires=0)), "not accepted for analytic simulation")
    refused(after(x, lambda: qml.counts(wires=0)), "not accepted for analytic simulation")
    refused(after(lambda: qml.Displacement(0.1, 0.2, wires=0), z), r"Displacement.*not supported with pretune.qubit")
    refused(after(lambda: qml.AmplitudeDamping(0.1, wires=0), z), r"AmplitudeDamping.*not supported")
    refused(after(lambda: qml.Projector([1], wires=0), z), r"Projector.*not supported with pretune.qubit")
    refused(after(lambda: qml.RX(0.1, wires=7), z), "wires not found on the device", WireError)
    refused(after(x, lambda: qml.expval(qml.prod(qml.X(0), qml.Z(0)))), "not Hermitian")
    refused(after(x, lambda: qml.expval(qml.Hermitian(np.array([[1, 2], [0, 1]]), 0))), "not Hermitian")
    refused(after(lambda: qml.RX(np.nan, wires=0), z), "no finite number")
    probabilities = after(x, lambda: qml.probs(wires=0))
    refused(probabilities, "does not support adjoint", QuantumFunctionError, diff_method="adjoint")
    adjoint = qml.device("pretune.qubit").preprocess_transforms(ExecutionConfig(gradient_method="adjoint"))
    with pytest.raises(DeviceError, match="not accepted for adjoint differentiation"):
        adjoint([qml.tape.make_qscript(probabilities)(0.3)])
    with pytest.raises(DeviceError, match="device option max_workers not present"):
        qml.device("pretune.qubit").setup_execution_config(ExecutionConfig(device_options={"max_workers": 2}))
    with pytest.raises(DeviceError, match="precision 'half'"):
        qml.QNode(after(x, z), qml.device("pretune.qubit", wires=1, precision="half"))(0.3)
    with pytest.raises(DeviceError, match="GiB of memory"):
        qml.QNode(after(x, qml.state), qml.device("pretune.qubit", wires=45))(0.3)


def test_operators_as_observables():
    for operator in (ISING, qml.Hermitian(HERMITIAN, [2, 0]), qml.Projector([1, 0], [1, 2]), 0.5 * qml.Hadamard(2)):
        wanted = qml.matrix(operator, wire_order=[2, 0, 1, "a"])
        np.testing.assert_allclose(observable_of(operator, [2, 0, 1, "a"]).matrix().toarray(), wanted, atol=1e-12)
    with pytest.raises(CircuitError, match="no wire 2"):
        observable_of(ISING, [0, 1])
    with pytest.raises(CircuitError, match="no matrix"):
        observable_of(qml.Displacement(0.1, 0.2, wires=0), [0])


def test_a_pool_trained_through_a_qnode_sees_the_engines_gradient():
    pool = Pool.of(3, [[("RX", 0, 0.3), ("CRY", 0, 1, 0.8), ("U3", 2, 0.1, 0.2, 0.3), ("SWAP", 1, 2)]])

    def circuit(theta):
        to_operations(pool, 0, theta)
        return qml.expval(ISING)

    mine, theirs = both(circuit)
    np.testing.assert_allclose(
        jacobian(mine, "torch", pool.theta[0]), jacobian(theirs, "torch", pool.theta[0]), atol=1e-12
    )


def test_pennylanes_own_tests_of_devices_pass():
    folder = Path(tests.get_device_tests())
    names = ["return_system", "gradients_torch", "wires"]
    files = [str(folder / f"test_{name}.py") for name in names]
    options = ["--device=pretune.qubit", "--shots=None", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *files, *options], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    assert " passed" in ran.stdout
