"""Noisy values against PennyLane's `default.mixed`, their gradients, and what must hold of every density matrix."""

from dataclasses import replace
from functools import reduce
from itertools import product

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits import memory
from objectives.circuits.density import Noise, coordinates, noisy_values_and_gradients
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.gates import CODES, GATES, PAULIS
from spaces.circuits.pool import CircuitError, Pool

PENNYLANE = {
    "X": qml.PauliX,
    "Y": qml.PauliY,
    "Z": qml.PauliZ,
    "H": qml.Hadamard,
    "RXX": qml.IsingXX,
    "RYY": qml.IsingYY,
    "RZZ": qml.IsingZZ,
    "I": qml.Identity,
    "P": qml.PhaseShift,
    "CP": qml.ControlledPhaseShift,
}
ONE_FREQUENCY = ("RX", "RY", "RZ", "RXX", "RYY", "RZZ", "P", "U3", "H", "CNOT", "SX", "T")
NOISE = Noise(0.04, 0.07)


def operator(name, *rest):
    base, count = name.removesuffix("DG"), GATES[CODES[name]].wires
    made = (PENNYLANE.get(base) or getattr(qml, base))(*rest[count:], wires=rest[:count])
    return qml.adjoint(made) if base != name else made


def pennylane(task, gates, noise):
    """The task's cost of one circuit, given as rows of gates, on `default.mixed`; the gates read no inputs."""
    wide, total = task.wires + task.idle, 0.0
    for k, which in enumerate(task.which):
        tape = [] if task.initial is None else [qml.StatePrep(task.initial[k], wires=range(wide))]
        for name, *rest in gates:
            tape.append(operator(name, *rest))
            for wire in tape[-1].wires:
                tape.append(qml.DepolarizingChannel(noise.depolarizing, wires=wire))
                tape.append(qml.AmplitudeDamping(noise.damping, wires=wire))
        hermitian = qml.Hermitian(task.observables[which].matrix().toarray(), wires=range(wide))
        script = qml.tape.QuantumScript(tape, [qml.expval(hermitian)])
        total += float(qml.device("default.mixed", wires=wide).execute(script))
    return total / len(task.which)


def hermitian(wires, seed):
    entries = np.random.default_rng(seed).normal(size=(2, 2**wires, 2**wires))
    matrix = entries[0] + 1j * entries[1]
    return Observable.of_matrix((matrix + matrix.conj().T) / 2 ** (wires / 2 + 2))


def states(count, wires, seed):
    entries = np.random.default_rng(seed).normal(size=(2, count, 2**wires))
    vectors = entries[0] + 1j * entries[1]
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def simple(wires, *observables, **more):
    """A task of which only the cost matters."""
    return Task("test", wires, observables, -1.0, 1.0, -1.0, "nothing", **more)


def random_circuit(rng, wires, gates, names=tuple(gate.name for gate in GATES)):
    rows = []
    for gate in rng.choice([gate for gate in GATES if gate.name in names], gates):
        own = [int(wire) for wire in rng.permutation(wires)[: gate.wires]]
        rows.append((gate.name, *own, *rng.uniform(-7, 7, gate.parameters)))
    return rows


@st.composite
def circuits(draw, names=tuple(gate.name for gate in GATES)):
    wires = draw(st.integers(2, 4))
    rows = []
    for gate in draw(st.lists(st.sampled_from([g for g in GATES if g.name in names]), max_size=7)):
        own = draw(st.permutations(range(wires)))[: gate.wires]
        rows.append((gate.name, *own, *(draw(st.floats(-7, 7)) for _ in range(gate.parameters))))
    return wires, rows


noises = st.builds(Noise, st.floats(0, 1), st.floats(0, 1))


def evaluated(pool, task, noise, **more):
    return noisy_values_and_gradients(pool, task, pool.theta, noise, **more)


def values_at(pool, task, noise, thetas):
    """The values of a pool of one circuit at many parameters (M, P): (M,)."""
    many = pool[np.zeros(len(thetas), int)]
    return noisy_values_and_gradients(many, task, thetas, noise, gradients=False)[0]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_every_gate_between_others_is_pennylanes(gate):
    rng = np.random.default_rng(1)
    for own in ([0, 2], [2, 1]):
        before, after = random_circuit(rng, 3, 2, ("U3", "RXX")), random_circuit(rng, 3, 2, ("U3", "RYY"))
        rows = [*before, (gate.name, *own[: gate.wires], *rng.uniform(-7, 7, gate.parameters)), *after]
        task = simple(3, hermitian(3, 0))
        value, _ = evaluated(Pool.of(3, [rows]), task, NOISE)
        assert value[0] == pytest.approx(pennylane(task, rows, NOISE), abs=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(circuits(), noises, st.integers(0, 99))
def test_values_are_those_of_pennylane(circuit, noise, seed):
    wires, rows = circuit
    task = simple(wires, hermitian(wires, seed))
    value, _ = evaluated(Pool.of(wires, [rows]), task, noise)
    assert value[0] == pytest.approx(pennylane(task, rows, noise), abs=1e-10)


@pytest.mark.parametrize("wires", [1, 5, 6])
def test_values_of_the_smallest_and_the_largest_registers_are_those_of_pennylane(wires):
    names = tuple(gate.name for gate in GATES if gate.wires <= wires)
    rows, task = random_circuit(np.random.default_rng(14), wires, 15, names), simple(wires, hermitian(wires, 15))
    value, _ = evaluated(Pool.of(wires, [rows]), task, NOISE)
    assert value[0] == pytest.approx(pennylane(task, rows, NOISE), abs=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(circuits(), noises, st.integers(0, 99))
def test_gradients_are_central_differences(circuit, noise, seed):
    wires, rows = circuit
    pool, task, step = Pool.of(wires, [rows]), simple(wires, hermitian(wires, seed)), 1e-4
    _, gradient = evaluated(pool, task, noise)
    steps = step * np.eye(pool.theta.shape[1])
    ahead, behind = (values_at(pool, task, noise, pool.theta + s) for s in (steps, -steps))
    np.testing.assert_allclose(gradient[0], (ahead - behind) / (2 * step), atol=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(circuits(ONE_FREQUENCY), noises, st.integers(0, 99))
def test_gradients_obey_the_parameter_shift_rule(circuit, noise, seed):
    wires, rows = circuit
    pool, task = Pool.of(wires, [rows]), simple(wires, hermitian(wires, seed))
    _, gradient = evaluated(pool, task, noise)
    shifts = np.pi / 2 * np.eye(pool.theta.shape[1])
    ahead, behind = (values_at(pool, task, noise, pool.theta + s) for s in (shifts, -shifts))
    np.testing.assert_allclose(gradient[0], (ahead - behind) / 2, atol=1e-9)


def test_without_noise_the_state_is_pure():
    rng = np.random.default_rng(2)
    rows = [random_circuit(rng, 4, 15) for _ in range(5)]
    observable = hermitian(4, 3)
    values, _ = evaluated(Pool.of(4, rows), simple(4, observable), Noise())
    for value, row in zip(values, rows, strict=True):
        script = qml.tape.QuantumScript([operator(*gate) for gate in row], [qml.state()])
        state = qml.device("default.qubit", wires=range(4)).execute(script)
        assert value == pytest.approx(observable.expectation(state), abs=1e-12)


def test_samples_have_their_own_states_and_observables_and_idle_wires_no_noise():
    rows = random_circuit(np.random.default_rng(3), 2, 8)
    projector = Observable.of_states(3, states(2, 3, 5), [0.3, -1.2])
    task = simple(
        2,
        hermitian(3, 4),
        projector,
        Observable.of_paulis(3, ["ZXY", "IIZ"], [0.5, 2.0]),
        idle=1,
        initial=states(4, 3, 6),
        which=np.array([1, 0, 2, 1]),
        inputs=np.zeros((4, 0)),
    )
    values, _ = evaluated(Pool.of(2, [rows]), task, NOISE)
    assert values[0] == pytest.approx(pennylane(task, rows, NOISE), abs=1e-10)


def test_gates_may_share_a_parameter():
    rows = [("RX", 0, 0.4), ("CRY", 0, 1, 1.3), ("CNOT", 1, 0), ("RX", 1, 0.4), ("CRY", 1, 0, 1.3)]
    own, task = Pool.of(2, [rows]), simple(2, hermitian(2, 7))
    shared = replace(own, parameter=np.array([[0, 1, -1, 0, 1]]), theta=own.theta[:, :2])
    (value, gradient), (same, parts) = evaluated(shared, task, NOISE), evaluated(own, task, NOISE)
    assert value[0] == same[0]
    np.testing.assert_allclose(gradient[0], parts[0, :2] + parts[0, 2:], atol=1e-14)


def test_inputs_are_read_behind_the_parameters():
    """Also by a U3 whose first angle is the last parameter."""
    rows = [("RX", 0, 0.4), ("RY", 1, 0.0), ("CZ", 0, 1), ("U3", 1, 0.9, 0.0, 0.0), ("CRX", 1, 0, 0.0)]
    own = Pool.of(2, [rows])
    fed = replace(own, parameter=np.array([[0, 3, -1, 1, 2]]), theta=own.theta[:, [0, 2]])
    inputs = np.random.default_rng(8).normal(size=(3, 2))
    observables, which = (hermitian(2, 9), hermitian(2, 10)), np.array([0, 1, 1])
    value, gradient = evaluated(fed, simple(2, *observables, inputs=inputs, which=which), NOISE)
    values, gradients = [], []
    for (a, b), k in zip(inputs, which, strict=True):  # RX(θ0), RY(b), U3(θ1, a, b), CRX(a)
        at = np.array([[0.4, b, 0.9, a, b, a]])
        found = noisy_values_and_gradients(own, simple(2, observables[k]), at, NOISE)
        values.append(found[0][0])
        gradients.append(found[1][0, [0, 2]])
    assert value[0] == pytest.approx(np.mean(values), abs=1e-14)
    np.testing.assert_allclose(gradient[0], np.mean(gradients, 0), atol=1e-14)


@pytest.mark.parametrize("noise", [NOISE, Noise(0.75, 0.3), Noise(1, 0), Noise(0.2, 1), Noise(1, 1)])
def test_the_state_stays_a_density_matrix(noise):
    words = ["".join(word) for word in product("IXYZ", repeat=2)]
    rng = np.random.default_rng(11)
    pool = Pool.of(2, [random_circuit(rng, 2, 10) for _ in range(20)])
    tasks = [simple(2, Observable.of_paulis(2, [word], [1.0])) for word in words]
    found = np.stack([evaluated(pool, task, noise, gradients=False)[0] for task in tasks])
    np.testing.assert_allclose(found[0], 1, atol=1e-14)  # the trace
    paulis = np.stack([reduce(np.kron, [PAULIS[letter] for letter in word]) for word in words])
    rho = np.einsum("wb,wij->bij", found, paulis) / 4
    assert np.linalg.eigvalsh(rho).min() > -1e-14


def test_noise_alone_does_what_its_name_says():
    """Identity gates are gates; p = 3/4 leaves nothing of a wire, γ = 1 resets it."""
    pool = Pool.of(1, [[("X", 0)], [("X", 0), ("I", 0)], [("X", 0), ("I", 0), ("I", 0)]])
    z = simple(1, Observable.of_paulis(1, ["Z"], [1.0]))
    np.testing.assert_allclose(evaluated(pool, z, Noise(0.3, 0))[0], [-0.6, -0.36, -0.216], atol=1e-14)
    np.testing.assert_allclose(evaluated(pool, z, Noise(0, 0.2))[0], [-0.6, -0.28, -0.024], atol=1e-14)
    np.testing.assert_allclose(evaluated(pool, z, Noise(0.75, 0))[0], 0, atol=1e-14)
    np.testing.assert_allclose(evaluated(pool, z, Noise(0.4, 1))[0], 1, atol=1e-14)


def test_threads_change_no_bit():
    rng = np.random.default_rng(12)
    pool, task = (
        Pool.of(3, [random_circuit(rng, 3, int(n)) for n in rng.integers(0, 12, 75)]),
        simple(3, hermitian(3, 1)),
    )
    (values, gradients), (same, slopes) = evaluated(pool, task, NOISE), evaluated(pool, task, NOISE, threads=2)
    np.testing.assert_array_equal(values, same)
    np.testing.assert_array_equal(gradients, slopes)
    alone = evaluated(pool[40:41], task, NOISE)
    assert alone[0][0] == values[40]
    np.testing.assert_array_equal(alone[1][0], gradients[40])


def test_values_alone_are_the_same_values_and_an_empty_pool_has_none():
    pool, task = Pool.of(2, [random_circuit(np.random.default_rng(13), 2, 9)]), simple(2, hermitian(2, 2))
    values, gradients = evaluated(pool, task, NOISE, gradients=False)
    assert values[0] == evaluated(pool, task, NOISE)[0][0]
    assert gradients.shape == pool.theta.shape
    assert np.isnan(gradients).all()
    assert [found.shape for found in evaluated(pool[:0], task, NOISE)] == [(0,), (0, pool.theta.shape[1])]


def test_coordinates_are_traces_with_pauli_words():
    matrices = np.stack([hermitian(3, seed).matrix().toarray() for seed in (0, 1)])
    words = [reduce(np.kron, [PAULIS[letter] for letter in word]) for word in product("IXYZ", repeat=3)]
    np.testing.assert_allclose(coordinates(matrices), np.einsum("wij,kji->kw", words, matrices).real, atol=1e-13)


@pytest.mark.parametrize("name", ["depolarizing", "damping"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_probability_that_is_none_is_refused(name, value):
    with pytest.raises(CircuitError, match=rf"{name} is {value}.*0\.\.1"):
        Noise(**{name: value})


def test_what_cannot_be_evaluated_is_refused(monkeypatch):
    pool, task = Pool.of(2, [[("RX", 0, 0.1), ("RY", 1, 0.2)]]), simple(2, hermitian(2, 0))
    reading = replace(pool, parameter=np.array([[0, 4]]))
    wide = simple(4, Observable.of_paulis(7, ["Z" * 7], [1.0]), idle=3)
    cases = [
        ((Pool.of(4, [[]]), wide, np.zeros((1, 0)), NOISE), "up to 6 wires, idle ones included, not 7"),
        ((Pool.of(3, [[]]), task, np.zeros((1, 0)), NOISE), "circuits on 3 wires, test is a task on 2"),
        ((pool, task, np.array([[0.1, np.nan]]), NOISE), "circuit 0: parameter 1 is nan"),
        ((pool, task, np.zeros((1, 3)), NOISE), r"parameters \(1, 3\), the pool's are \(1, 2\)"),
        ((reading, task, pool.theta, NOISE), "read 3 inputs, test has 0"),
        ((pool, task, pool.theta, NOISE, True, 0), "0 threads"),
    ]
    for arguments, message in cases:
        with pytest.raises(CircuitError, match=message):
            noisy_values_and_gradients(*arguments)
    monkeypatch.setattr(memory, "SHARE", 0.0)
    with pytest.raises(CircuitError, match=r"noise on 2 wires.*2 states for each of 1 threads.*GiB"):
        noisy_values_and_gradients(pool, task, pool.theta, NOISE)
