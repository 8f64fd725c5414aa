"""PennyLane as an evaluator: costs and gradients against matrices in NumPy, noise against Kraus operators, shots."""

from dataclasses import replace

import numpy as np
import pennylane as qml
import pytest

from objectives.circuits.batch import Batch
from objectives.circuits.density import Noise
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.observable import Observable
from objectives.circuits.reference import Reference, pauli_words
from objectives.circuits.task import Task
from spaces.circuits.gates import CODES, GATES, matrix, pauli_matrix
from spaces.circuits.pool import CircuitError, Pool

RNG = np.random.default_rng(7)
WORDS, COEFFICIENTS = ["ZZI", "IXX", "XYZ", "YYY", "III"], [0.7, -0.4, 0.9, 0.3, 0.2]
H = sum(c * pauli_matrix(w) for w, c in zip(WORDS, COEFFICIENTS, strict=True))
OBSERVABLE = Observable.of_paulis(3, WORDS, COEFFICIENTS)
TASK = Task("words", 3, (OBSERVABLE,), -1.0, 1.0, -1.0, "nothing")
ALL = [(g.name, *[2, 0][: g.wires], *RNG.uniform(0, 6, g.parameters)) for g in GATES]
SPREAD = [("H", 0), ("H", 1), ("H", 2), ("CNOT", 0, 1), ("U3", 1, 0.4, 1.2, -0.6), ("CRY", 1, 2, 0.8)]
POOL = Pool.of(3, [[*SPREAD, *ALL[:13]], [*SPREAD, *ALL[13:]], [("X", 1), ("H", 0)], []])


def steps(pool, row, theta, inputs=()):
    """The gates' matrices on the whole register, with the wires that each touches."""
    angles = [*theta, *inputs]
    for slot in range(pool.length[row]):
        gate, first = GATES[pool.op[row, slot]], pool.parameter[row, slot]
        on = pool.wire[row, slot, : gate.wires].tolist()
        small = matrix(gate.name, *(angles[first + k] for k in range(gate.parameters)))
        rest = [w for w in range(pool.wires) if w not in on]
        wide = np.kron(small, np.eye(2 ** len(rest))).reshape([2] * (2 * pool.wires))
        order = np.argsort([*on, *rest])
        axes = [*order, *(order + pool.wires)]
        yield wide.transpose(axes).reshape(2**pool.wires, 2**pool.wires), on


def cost_of(pool, row, theta, task, matrices):
    """The task's cost in state vectors."""
    values = []
    for sample, which in enumerate(task.which):
        psi = np.eye(2**task.wires)[0] if task.initial is None else task.initial[sample]
        for gate, _ in steps(pool, row, theta, task.inputs[sample]):
            psi = gate @ psi
        values.append((psi.conj() @ matrices[which] @ psi).real)
    return np.mean(values)


def slope_of(cost, theta):
    steps = np.eye(len(theta)) * 1e-5
    return [(cost(theta + h) - cost(theta - h)) / 2e-5 for h in steps]


@pytest.mark.parametrize("device", ["", "lightning.qubit", "default.mixed"])
def test_costs_and_gradients_are_those_of_the_matrices(device):
    values, gradients = Reference(device).costs(POOL, TASK)
    for row in range(len(POOL)):
        assert values[row] == pytest.approx(cost_of(POOL, row, POOL.theta[row], TASK, [H]), abs=1e-12)
        wanted = slope_of(lambda theta, row=row: cost_of(POOL, row, theta, TASK, [H]), POOL.theta[row])
        np.testing.assert_allclose(gradients[row], wanted, atol=1e-8)
    assert np.abs(gradients[:2]).max(1).min() > 0.1
    assert gradients.shape == POOL.theta.shape


def test_gradients_that_nobody_wants_are_not_computed():
    values, gradients = Reference().costs(POOL, TASK, gradients=False)
    np.testing.assert_allclose(values, Reference().costs(POOL, TASK)[0], atol=1e-12)
    assert np.isnan(gradients).all()


def test_samples_have_their_own_states_inputs_and_observables():
    states = RNG.normal(size=(4, 8)) + 1j * RNG.normal(size=(4, 8))
    states /= np.linalg.norm(states, axis=1)[:, None]
    target = RNG.normal(size=8) / 3
    target /= np.linalg.norm(target)
    observables = (OBSERVABLE, Observable.of_states(3, target, [-2.0]))
    matrices = [H, -2 * np.outer(target, target)]
    task = replace(
        TASK, observables=observables, initial=states, inputs=RNG.normal(size=(4, 2)), which=np.array([0, 1, 1, 0])
    )
    columns = POOL.theta.shape[1]
    parameter = np.where(POOL.parameter == 0, columns - 1, POOL.parameter)  # the U3 reads its angles 1 and 2 as inputs
    pool = replace(POOL[:1], parameter=parameter[:1])
    assert pool.inputs == 2
    values, gradients = Reference().costs(pool, task)
    assert values[0] == pytest.approx(cost_of(pool, 0, pool.theta[0], task, matrices), abs=1e-12)
    wanted = slope_of(lambda theta: cost_of(pool, 0, theta, task, matrices), pool.theta[0])
    np.testing.assert_allclose(gradients[0], wanted, atol=1e-8)


def test_idle_wires_are_measured_and_never_touched():
    observable = Observable.of_paulis(3, ["ZXZ", "YIY"], [0.5, 0.25])
    bell = np.zeros((1, 8))
    bell[0, [0, 3, 6]] = [0.6, 0.0, 0.8]
    task = Task("idle", 2, (observable,), -1.0, 1.0, -1.0, "nothing", idle=1, initial=bell.astype(complex))
    pool = Pool.of(2, [[("RY", 0, 0.3), ("CNOT", 0, 1), ("RX", 1, 1.1)]])
    wide = Pool.of(3, [pool.gates(0)])
    whole = replace(task, wires=3, idle=0)
    dense = 0.5 * pauli_matrix("ZXZ") + 0.25 * pauli_matrix("YIY")
    found = Reference().costs(pool, task)[0][0]
    assert found == pytest.approx(cost_of(wide, 0, wide.theta[0], whole, [dense]), abs=1e-12)


@pytest.mark.parametrize("noise", [Noise(0.1, 0.2), Noise(0.3), Noise(damping=0.4)])
def test_noise_is_a_channel_behind_every_gate_on_its_wires(noise):
    p, gamma = noise.depolarizing, noise.damping
    depolarizing = [np.sqrt(1 - p) * np.eye(2), *(np.sqrt(p / 3) * pauli_matrix(w) for w in "XYZ")]
    damping = [np.diag([1, np.sqrt(1 - gamma)]), np.array([[0, np.sqrt(gamma)], [0, 0]])]

    def noisy(theta, row):
        rho = np.diag(np.eye(8)[0]).astype(complex)
        for gate, on in steps(POOL, row, theta):
            rho = gate @ rho @ gate.conj().T
            for wire in on:
                for kraus in (depolarizing, damping):
                    wide = [np.kron(np.kron(np.eye(2**wire), k), np.eye(2 ** (2 - wire))) for k in kraus]
                    rho = sum(k @ rho @ k.conj().T for k in wide)
        return np.trace(H @ rho).real

    values, gradients = Reference(noise=noise).costs(POOL, TASK)
    for row in range(2):
        assert values[row] == pytest.approx(noisy(POOL.theta[row], row), abs=1e-10)
    columns = np.arange(4)
    shifted = np.eye(POOL.theta.shape[1])[columns] * 1e-5
    wanted = [(noisy(POOL.theta[0] + h, 0) - noisy(POOL.theta[0] - h, 0)) / 2e-5 for h in shifted]
    np.testing.assert_allclose(gradients[0, columns], wanted, atol=1e-8)


@pytest.mark.parametrize("device", ["", "lightning.qubit"])
def test_shots_scatter_around_the_exact_cost_and_repeat_by_seed(device):
    pool = POOL[:1]
    exact = Reference().costs(pool, TASK)[0]
    shots = Reference(device, shots=4000, seed=3)
    values = shots.costs(pool, TASK, gradients=False)[0]
    bound = 6 * np.abs(COEFFICIENTS).sum() / np.sqrt(4000)
    assert 0 < abs(values - exact)[0] < bound
    assert shots.costs(pool, TASK, gradients=False)[0] == values
    assert replace(shots, seed=4).costs(pool, TASK, gradients=False)[0] != values
    turned = replace(pool, theta=pool.theta + 2 * np.pi * np.eye(1, pool.theta.shape[1]))  # the same circuit again
    assert shots.costs(turned, TASK, gradients=False)[0] != values


def test_shots_have_gradients_and_measure_projectors():
    target = np.ones(2) / np.sqrt(2)
    task = Task("plus", 1, (Observable.of_states(1, target, [-1.0]),), -1.0, 1.0, -1.0, "nothing")
    pool = Pool.of(1, [[("RY", 0, 0.4)]])
    values, gradients = Reference(shots=20_000).costs(pool, task)
    assert values[0] == pytest.approx(-(1 + np.sin(0.4)) / 2, abs=0.02)
    assert gradients[0, 0] == pytest.approx(-np.cos(0.4) / 2, abs=0.02)


def test_training_takes_the_engines_steps():
    training = Training(steps=5)
    slow, fast = (evaluate(POOL, TASK, training, evaluator) for evaluator in (Reference(), Batch()))
    np.testing.assert_allclose(slow.values, fast.values, atol=1e-9)
    np.testing.assert_allclose(slow.best_theta, fast.best_theta, atol=1e-7)
    assert slow.steps.tolist() == fast.steps.tolist()
    assert (slow.best[:2] < Reference().costs(POOL, TASK)[0][:2]).all()


def test_wide_observables_are_sums_of_words():
    words = ["Z" * 9, "X" + "I" * 7 + "Y"]
    task = Task("wide", 9, (Observable.of_paulis(9, words, [0.5, 0.25]),), -1.0, 1.0, -1.0, "nothing")
    pool = Pool.of(9, [[("RX", 0, 0.3), ("CNOT", 0, 8), ("RY", 8, 0.5)]])
    for one, other in zip(Reference().costs(pool, task), Batch().costs(pool, task), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_pauli_words_come_back():
    words, coefficients = pauli_words(OBSERVABLE)
    found = dict(zip(words, coefficients, strict=True))
    assert found == pytest.approx(dict(zip(WORDS, COEFFICIENTS, strict=True)), abs=1e-15)
    matrix = RNG.normal(size=(8, 8)) + 1j * RNG.normal(size=(8, 8))
    matrix += matrix.conj().T
    words, coefficients = pauli_words(Observable.of_matrix(matrix))
    total = sum(c * pauli_matrix(w) for w, c in zip(words, coefficients, strict=True))
    np.testing.assert_allclose(total, matrix, atol=1e-13)
    assert pauli_words(Observable.of_paulis(2, [], []))[0] == ["II"]


def test_a_device_of_ones_own_is_taken_as_it_is():
    device = qml.device("default.qubit", wires=3)
    assert Reference(device).costs(POOL, TASK)[0] == pytest.approx(Reference().costs(POOL, TASK)[0], abs=1e-12)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (Reference("default.qubitt"), ["device default.qubitt", "lightning.qubit", "did you mean 'default.qubit'?"]),
        (Reference("default.qubit", Noise(0.1)), ["circuit 0 on default.qubit", "DepolarizingChannel"]),
        (Reference(shots=-1), ["-1 shots"]),
    ],
)
def test_what_a_device_cannot_do_is_said(reference, words):
    with pytest.raises(CircuitError) as error:
        reference.costs(POOL, TASK)
    assert all(word in str(error.value) for word in words)


def test_all_gates_are_evaluated():
    assert {name for circuit in POOL for name, *_ in circuit} == set(CODES)
