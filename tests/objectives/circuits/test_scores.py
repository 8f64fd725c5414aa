"""The training-free scores against brute force, NumPy's loops and what is known in closed form."""

from dataclasses import replace
from itertools import product
from math import comb, log, pi, sqrt

import networkx as nx
import numpy as np
import pytest
from drawn import dense_states, paulis, pools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import entropy

from objectives.circuits import scores
from objectives.circuits.batch import states
from objectives.circuits.observable import Observable
from objectives.circuits.scores import (
    entangling_capability,
    expressibility,
    frame_potential,
    gradient_variance,
    gradient_variances,
    haar_frame_potential,
    learnability,
    meyer_wallach,
    path_count,
    relative_fluctuation,
    weakest_entanglement,
    wire_entropies,
)
from objectives.circuits.task import Task
from spaces.circuits.gates import CODES, GATES, pauli_matrix
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample

MIXED = [  # circuits of all kinds on 3 wires: the rows of the NumPy loops
    [],
    [("H", 0), ("CNOT", 0, 1), ("CNOT", 1, 2)],
    [("RX", 0, 0), ("CRY", 0, 1, 0), ("U3", 2, 0, 0, 0), ("CZ", 1, 2), ("RY", 1, 0)],
    [("RY", 0, 0), ("RY", 1, 0), ("RY", 2, 0), ("RZZ", 0, 2, 0), ("CP", 1, 0, 0), ("T", 2), ("RXX", 1, 2, 0)],
]
COUNT = 40
SCORES = {
    "expressibility": lambda pool, rng: expressibility(pool, COUNT, rng, 10),
    "frame_potential": lambda pool, rng: frame_potential(pool, COUNT, rng),
    "entangling_capability": lambda pool, rng: entangling_capability(pool, COUNT, rng),
    "gradient_variance": lambda pool, rng: gradient_variance(pool, chain(pool.wires), COUNT, rng),
    "relative_fluctuation": lambda pool, rng: relative_fluctuation(pool, chain(pool.wires), COUNT, rng),
    "learnability": lambda pool, rng: learnability(pool, chain(pool.wires), COUNT, rng),
}


def task(*observables, **rest):
    values = {"reference": -1.0, "threshold": 0.9, "strict": -0.99, "meaning": "low"} | rest
    return Task("a test", observables[0].wires, observables, **values)


def chain(wires):
    words = ["I" * q + letter + "I" * (wires - q - 1) for q in range(wires) for letter in "XZ"]
    return task(Observable.of_paulis(wires, [*words, "I" * wires], [*np.linspace(0.3, 1.2, len(words)), 5]))


def rng(seed=0):
    return np.random.default_rng(seed)


def random_states(pool, samples, seed):
    """The states of each circuit at random angles, by NumPy: (B, samples, N)."""
    generator = rng(seed)
    found = []
    for row in range(len(pool)):
        angles = generator.uniform(0, 2 * pi, (samples, pool.theta.shape[1]))
        found.append([dense_states(replace(pool[row : row + 1], theta=angle[None]))[0] for angle in angles])
    return np.array(found)


def layered(wires, layers, name="U3"):
    angles = [0.0] * GATES[CODES[name]].parameters
    return [
        gate
        for _ in range(layers)
        for gate in [(name, q, *angles) for q in range(wires)] + [("CZ", q, q + 1) for q in range(wires - 1)]
    ]


def graph(wires, circuit):
    """The circuit's graph as edges between START, the gates' places and END."""
    edges, last = nx.DiGraph(), dict.fromkeys(range(wires), "START")
    for place, (name, *rest) in enumerate(circuit):
        for wire in rest[: GATES[CODES[name]].wires]:
            edges.add_edge(last[wire], place)
            last[wire] = place
    edges.add_edges_from((node, "END") for node in last.values())
    return edges


@settings(max_examples=60, deadline=None)
@given(pools(st.integers(1, 5), gates=18))
def test_paths_are_those_that_networkx_walks(pool):
    walked = [sum(1 for _ in nx.all_simple_paths(graph(pool.wires, circuit), "START", "END")) for circuit in pool]
    np.testing.assert_array_equal(path_count(pool), walked)


def test_paths_of_known_graphs():
    known = [
        ([], 1),
        ([("H", 0)], 2),  # the idle wires are one way, the gate another
        ([("CNOT", 0, 1), ("CZ", 1, 0), ("CNOT", 0, 1), ("H", 2)], 2),  # a pair of edges is one
        ([("CNOT", 0, 1), ("CNOT", 1, 2), ("CNOT", 0, 1), ("CNOT", 1, 2)], 8),
    ]
    pool = Pool.of(3, [circuit for circuit, _ in known])
    np.testing.assert_array_equal(path_count(pool), [paths for _, paths in known])
    assert path_count(pool[:0]).shape == (0,)


def test_many_paths_are_fibonaccis():
    length = 1400
    first, second = 1, 2
    for _ in range(length - 2):
        first, second = second, first + second
    found = path_count(Pool.of(3, [[("CNOT", k % 2, k % 2 + 1) for k in range(n)] for n in (40, length)]))
    assert found[0] == 267914296
    assert int(found[1]) == pytest.approx(first + second, rel=1e-12)


def test_fidelities_and_their_scores_are_numpys():
    pool, bins, samples = Pool.of(3, MIXED), 12, 30
    vectors = random_states(pool, samples, 3)
    haar = [quad(lambda f: 7 * (1 - f) ** 6, k / bins, (k + 1) / bins)[0] for k in range(bins)]
    divergence, potential = [], []
    for own in vectors:
        pairs = [abs(np.vdot(own[i], own[j])) ** 2 for i in range(samples) for j in range(i)]
        divergence.append(entropy(np.histogram(np.minimum(pairs, 1), bins, (0, 1))[0], haar))
        potential.append(np.mean(np.power(pairs, 3)))
    np.testing.assert_allclose(expressibility(pool, samples, rng(3), bins), divergence, atol=1e-10)
    np.testing.assert_allclose(frame_potential(pool, samples, rng(3), 3), potential, atol=1e-12)
    assert haar_frame_potential(3, 3) == pytest.approx(7 * quad(lambda f: f**3 * (1 - f) ** 6, 0, 1)[0])


def test_without_parameters_circuits_have_the_stated_scores():
    for wires in (1, 4, 11):
        fixed = [("H", wires - 1), *[("CNOT", q + 1, q) for q in reversed(range(wires - 1))]]
        pool, generator = Pool.of(wires, [[], fixed]), rng()
        np.testing.assert_allclose(expressibility(pool, 3, generator), (2**wires - 1) * log(75), rtol=1e-12)
        np.testing.assert_allclose(frame_potential(pool, 3, generator), 1, atol=1e-12)
        np.testing.assert_allclose(entangling_capability(pool, 3, generator), [0, wires > 1], atol=1e-12)
        assert not gradient_variance(pool, chain(wires), 3, generator).any()
        assert not relative_fluctuation(pool, chain(wires), 3, generator).any()
        assert not learnability(pool, chain(wires), 3, generator).any()


def test_one_rotation_has_its_known_fidelities():
    pool, bins, samples = Pool.of(1, [[("RX", 0, 0.0)]]), 8, 3000  # F = cos²((θ - θ') / 2), of the arcsine law
    mass = np.diff(2 / pi * np.arcsin(np.sqrt(np.arange(bins + 1) / bins)))
    assert expressibility(pool, samples, rng(), bins)[0] == pytest.approx(entropy(mass, np.ones(bins)), abs=0.01)
    for order in (1, 2, 4):
        assert frame_potential(pool, samples, rng(), order)[0] == pytest.approx(
            comb(2 * order, order) / 4**order, abs=0.01
        )


def test_deep_circuits_are_haar_random():
    one, two = Pool.of(1, [[("U3", 0, 0, 0, 0)] * 6]), Pool.of(2, [layered(2, 6)])
    for pool, order in product((one, two), (1, 2, 3)):
        haar = haar_frame_potential(pool.wires, order)
        assert haar == 1 / comb(2**pool.wires + order - 1, order)
        assert frame_potential(pool, 1500, rng(1), order)[0] == pytest.approx(haar, rel=0.05)
    assert expressibility(one, 1500, rng(2))[0] < 0.005
    assert expressibility(two, 1500, rng(2))[0] < 0.005
    assert entangling_capability(two, 3000, rng(3))[0] == pytest.approx(2 / 5, abs=0.02)
    observable = Observable.of_paulis(2, ["XY", "ZI", "ZZ", "II"], [0.4, -1.3, 0.8, 9])
    assert relative_fluctuation(two, task(observable), 4000, rng(4))[0] == pytest.approx(1 / sqrt(5), rel=0.05)


def test_entanglement_is_that_of_the_partial_traces():
    pool = Pool.of(3, MIXED)
    wanted, least = [], []
    for own in random_states(pool, COUNT, 5):
        entropy = np.empty((COUNT, 3))
        for (row, state), wire in product(enumerate(own), range(3)):
            parts = np.moveaxis(state.reshape(2, 2, 2), wire, 0).reshape(2, 4)
            entropy[row, wire] = 2 * (1 - np.linalg.norm(parts @ parts.conj().T) ** 2)
        wanted.append(entropy.mean())
        least.append(entropy.min(1).mean())
    np.testing.assert_allclose(entangling_capability(pool, COUNT, rng(5)), wanted, atol=1e-12)
    np.testing.assert_allclose(weakest_entanglement(pool, COUNT, rng(5)), least, atol=1e-12)


def test_entanglement_of_known_states():
    w = np.zeros(8)
    w[[1, 2, 4]] = 1 / sqrt(3)
    assert meyer_wallach(w.astype(complex)) == pytest.approx(8 / 9)
    apart, bell = [("RX", 0, 0), ("U3", 1, 0, 0, 0), ("SWAP", 1, 2)], [("RX", 0, 0), ("CNOT", 0, 1)]
    found = entangling_capability(Pool.of(3, [apart, bell]), 4000, rng())
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] == pytest.approx(2 / 3 / 2, abs=0.02)  # sin² θ on two of three wires
    np.testing.assert_allclose(
        wire_entropies(states(Pool.of(3, [[("H", 0), ("CNOT", 0, 2)]]))), [[1, 0, 1]], atol=1e-12
    )
    ghz = [("RX", 0, 0), ("CNOT", 0, 1), ("CNOT", 1, 2)]
    least = weakest_entanglement(Pool.of(3, [apart, bell, ghz]), 4000, rng())
    np.testing.assert_allclose(least, [0, 0, 1 / 2], atol=0.02)


def test_gradients_and_costs_are_numpys():
    pool, problem, step = Pool.of(3, MIXED), chain(3), 1e-5
    generator, samples = rng(6), 25
    variances, deviations = np.full(pool.theta.shape, np.nan), []
    for row in range(len(pool)):
        angles = generator.uniform(0, 2 * pi, (samples, pool.theta.shape[1]))
        copies = pool[np.full(samples, row)]

        def cost(theta, copies=copies):
            return problem.observables[0].expectation(dense_states(replace(copies, theta=theta)))

        deviations.append(np.std(cost(angles), ddof=1))
        for column in range(pool.parameters[row]):
            shift = step * (np.arange(pool.theta.shape[1]) == column)
            variances[row, column] = np.var((cost(angles + shift) - cost(angles - shift)) / 2 / step, ddof=1)
    np.testing.assert_allclose(gradient_variances(pool, problem, samples, rng(6)), variances, atol=1e-8)
    means = [np.mean(row[~np.isnan(row)]) if not np.isnan(row).all() else 0 for row in variances]
    np.testing.assert_allclose(gradient_variance(pool, problem, samples, rng(6)), means, atol=1e-8)
    weights = np.linspace(0.3, 1.2, 6)
    wanted = np.array(deviations) / sqrt((weights**2).sum())
    np.testing.assert_allclose(relative_fluctuation(pool, problem, samples, rng(6)), wanted, atol=1e-12)
    wanted = np.sqrt(2 * pool.parameters) * deviations / weights.sum()
    np.testing.assert_allclose(learnability(pool, problem, samples, rng(6)), wanted, atol=1e-12)


@pytest.mark.parametrize("wires", [1, 3])
def test_landscapes_of_rotations_and_zs(wires):
    pool = Pool.of(wires, [[("RX", q, 0.0) for q in range(wires)]])
    everywhere = task(Observable.of_paulis(wires, ["Z" * wires], [1]))
    found = gradient_variances(pool, everywhere, 20_000, rng())
    np.testing.assert_allclose(found, 0.5**wires, rtol=0.05)  # the gradient is a product of sines and cosines
    each = task(
        Observable.of_paulis(wires, ["I" * q + "Z" + "I" * (wires - q - 1) for q in range(wires)], [0.7] * wires)
    )
    assert learnability(pool, each, 20_000, rng())[0] == pytest.approx(1, rel=0.03)  # the standard landscape
    assert relative_fluctuation(pool, each, 20_000, rng())[0] == pytest.approx(1 / sqrt(2), rel=0.03)


def test_gradients_vanish_with_the_wires():
    found = []
    for wires in (2, 5, 8):
        problem = task(Observable.of_paulis(wires, ["ZZ" + "I" * (wires - 2)], [1]))
        found.append(gradient_variance(Pool.of(wires, [layered(wires, 3 * wires)]), problem, 100, rng())[0])
    assert found[0] > 3 * found[1] > 9 * found[2] > 0


def test_parameters_that_are_shared_or_never_read():
    pool = Pool.of(1, [[("RX", 0, 0.0), ("RX", 0, 0.0)]])
    pool = replace(pool, parameter=np.array([[2, 2]], np.int32), theta=np.zeros((1, 4)))
    problem = task(Observable.of_paulis(1, ["Z"], [1]))  # cos 2θ
    found = gradient_variances(pool, problem, 20_000, rng())
    assert np.isnan(found[0, [0, 1, 3]]).all()
    assert found[0, 2] == pytest.approx(2, rel=0.03)
    assert gradient_variance(pool, problem, 20_000, rng())[0] == found[0, 2]
    assert learnability(pool, problem, 20_000, rng())[0] == pytest.approx(1, rel=0.03)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_norms_are_those_of_the_pauli_coefficients(data):
    wires = data.draw(st.integers(1, 3))
    words, generator = data.draw(paulis(wires)), rng(data.draw(st.integers(0, 99)))
    targets = generator.normal(size=(2, 2**wires, 2)) @ [1, 1j]
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    mixed = replace(words, targets=targets, weights=np.array([-0.7, 1.1]))
    for observable in (words, Observable.of_states(wires, targets, [-0.7, 1.1]), mixed):
        matrix = observable.matrix().toarray()
        coefficients = np.array(
            [np.trace(pauli_matrix("".join(word)) @ matrix) / 2**wires for word in product("IXYZ", repeat=wires)][1:]
        )
        assert scores._two_norm(observable) == pytest.approx(np.linalg.norm(coefficients), abs=1e-7)
        assert scores._one_norm(observable) == pytest.approx(np.abs(coefficients).sum(), abs=1e-12)


def test_tasks_of_several_samples_and_constant_observables():
    up, double = Observable.of_paulis(1, ["Z"], [1]), Observable.of_paulis(1, ["Z", "I"], [-3, 8])
    pool = Pool.of(1, [[("RX", 0, 0.0)]])
    both = task(up, double, which=np.array([0, 1, 1]), inputs=np.zeros((3, 0)))
    found = relative_fluctuation(pool, both, 20_000, rng())[0]
    assert found == pytest.approx(5 / 3 / sqrt(2) / (7 / 3), rel=0.03)  # C = (1 - 3 - 3)/3 cos θ + 16/3
    constant, pool = task(Observable.of_paulis(6, ["I" * 6], [0.1])), Pool.of(6, [layered(6, 1)])
    assert relative_fluctuation(pool, constant, 10, rng())[0] == learnability(pool, constant, 10, rng())[0] == 0
    above = task(Observable.of_paulis(6, ["I" * 6, "ZIIIII"], [-1e5, 1e-5]))
    assert scores._two_norm(above.observables[0]) == pytest.approx(1e-5, rel=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_chunks_and_blocks_change_nothing(name, monkeypatch):
    pool = sample(paper(), 12, rng(8))
    at_once = SCORES[name](pool, rng(9))
    assert at_once.shape == (12,)
    assert np.unique(at_once.round(9)).size > 3
    np.testing.assert_array_equal(SCORES[name](pool, rng(9)), at_once)
    assert (SCORES[name](pool, rng(10)) != at_once).any()
    np.testing.assert_array_equal(SCORES[name](pool[:5], rng(9)), at_once[:5])
    monkeypatch.setattr(scores, "BLOCK", 7)
    for chunk in (1, 3000):
        monkeypatch.setattr(scores, "CHUNK", chunk)
        np.testing.assert_allclose(SCORES[name](pool, rng(9)), at_once, rtol=0, atol=1e-14)
    assert SCORES[name](pool[:0], rng()).shape == (0,)


def test_what_cannot_be_scored_is_refused():
    pool = Pool.of(1, [[("RX", 0, 0.0)]])
    for score in (expressibility, frame_potential, entangling_capability, weakest_entanglement):
        with pytest.raises(CircuitError, match=r"samples.*found 1\b"):
            score(pool, 1, rng())
        with pytest.raises(CircuitError, match="read inputs"):
            score(replace(pool, theta=pool.theta[:, :0]), 2, rng())
    with pytest.raises(CircuitError, match="bins"):
        expressibility(pool, 2, rng(), 0)
    with pytest.raises(CircuitError, match="order"):
        frame_potential(pool, 2, rng(), 0)
    for score in (gradient_variance, relative_fluctuation, learnability):
        with pytest.raises(CircuitError, match=r"samples.*found 1\b"):
            score(pool, chain(1), 1, rng())
        with pytest.raises(CircuitError, match="needs 2"):
            score(pool, chain(2), 2, rng())
