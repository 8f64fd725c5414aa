"""The batch engine against PennyLane, NumPy, finite differences and PyTorch's optimisers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import dense_states, paulis, pennylane_cost, pools
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.batch import Batch, states
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.training import spectrum, train
from spaces.circuits.gates import GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample


def task(*observables, **rest):
    values = {"reference": -1.0, "threshold": 0.9, "strict": -0.99, "meaning": "low"} | rest
    return Task("a test", observables[0].wires - values.get("idle", 0), observables, **values)


def ising(wires):
    words = ["".join("Z" if w in (q, (q + 1) % wires) else "I" for w in range(wires)) for q in range(wires)]
    words += ["I" * q + "X" + "I" * (wires - q - 1) for q in range(wires)]
    return Observable.of_paulis(wires, words, np.ones(len(words)))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_costs_are_pennylanes(data):
    pool = data.draw(pools(st.integers(1, 10), circuits=3))
    observable = data.draw(paulis(pool.wires))
    wanted = [pennylane_cost(circuit, observable) for circuit in pool]
    found = evaluate(pool, task(observable))
    np.testing.assert_allclose(found.values, wanted, atol=1e-10)
    single = evaluate(pool, task(observable), evaluator=Batch("single"))
    np.testing.assert_allclose(single.values, wanted, atol=2e-5 * max(1, np.abs(observable.diagonals).sum(0).max()))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_wide_registers_and_gradients_by_the_parameter_shift_rule(data):
    pool = data.draw(pools(st.integers(2, 10), circuits=2, gates=25))
    observable = data.draw(paulis(pool.wires))
    wanted = observable.expectation(dense_states(pool))
    found = evaluate(pool, task(observable))
    np.testing.assert_allclose(found.values, wanted, atol=1e-10)
    np.testing.assert_allclose(found.gradients, shifted(pool, task(observable)), atol=1e-9)


def shifted(pool, problem):
    """Exact gradients from costs alone: a trigonometric polynomial's, by as many shifts as it has frequencies."""
    base, order = spectrum(pool)
    gradients = np.zeros_like(pool.theta)
    for row, column in np.argwhere(order > 0):
        points, unit = 2 * order[row, column] + 1, base[row, column]
        alone = pool[row : row + 1]
        heights = []
        for k in range(points):
            theta = alone.theta.copy()
            theta[0, column] += 2 * np.pi * k / points / unit
            heights.append(Batch().costs(replace(alone, theta=theta), problem, False)[0][0])
        sines = np.fft.rfft(heights).imag * -2 / points
        gradients[row, column] = unit * (np.arange(len(sines)) * sines).sum()
    return gradients


@settings(max_examples=40, deadline=None)
@given(pools(st.integers(1, 5)))
def test_states_are_numpys_global_phase_included(pool):
    np.testing.assert_allclose(states(pool), dense_states(pool), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_projectors_samples_inputs_and_idle_wires(data):
    pool, rng = data.draw(pools(st.integers(2, 3))), np.random.default_rng(data.draw(st.integers(0, 99)))
    wide, samples = pool.wires + 1, 3
    vectors = rng.normal(size=(samples + 2, 2**wide)) + 1j * rng.normal(size=(samples + 2, 2**wide))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    projector = Observable.of_states(wide, vectors[:2], [-0.5, -1.5])
    words = data.draw(paulis(wide))
    columns = pool.theta.shape[1] // 2
    fed = replace(pool, theta=pool.theta[:, :columns])
    data_columns = rng.normal(size=(samples, pool.theta.shape[1] - columns))
    problem = task(
        projector, words, idle=1, initial=vectors[2:], inputs=data_columns, which=np.array([0, 1, 0])
    )  # fmt: skip
    found = evaluate(fed, problem)
    wanted = np.zeros(len(pool))
    for k, which in enumerate(problem.which):
        theta = np.concatenate([fed.theta, np.tile(data_columns[k], (len(pool), 1))], axis=1)
        widened = Pool(wide, pool.op, pool.wire, pool.parameter, pool.length, theta)
        final = states(widened, np.tile(vectors[2 + k], (len(pool), 1)))
        wanted += problem.observables[which].expectation(final) / samples
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    step = 1e-6
    for column in range(columns):
        ends = []
        for sign in (1, -1):
            theta = fed.theta.copy()
            theta[:, column] += sign * step
            ends.append(Batch().costs(replace(fed, theta=theta), problem, False)[0])
        np.testing.assert_allclose(found.gradients[:, column], (ends[0] - ends[1]) / 2 / step, atol=1e-7)


def test_gates_may_share_a_parameter():
    pool = Pool.of(2, [[("RX", 0, 0.4), ("CRY", 0, 1, 0.9), ("RX", 1, 1.3)]])
    shared = replace(pool, parameter=np.array([[0, 1, 0]], np.int32), theta=pool.theta[:, :2])
    problem = task(ising(2))
    alone = evaluate(replace(pool, theta=np.array([[0.4, 0.9, 0.4]])), problem)
    found = evaluate(shared, problem)
    np.testing.assert_allclose(found.values, alone.values, atol=1e-14)
    together = [alone.gradients[0, 0] + alone.gradients[0, 2], alone.gradients[0, 1]]
    np.testing.assert_allclose(found.gradients[0], together, atol=1e-14)


@pytest.mark.parametrize("precision", ["double", "single"])
def test_threads_change_nothing(precision):
    pool = sample(paper(), 3000, np.random.default_rng(0))
    for training in (None, Training("adam", 0.1, 5)):
        one, two = (evaluate(pool, task(ising(4)), training, Batch(precision, t)) for t in (1, 2))
        for name in ("values", "gradients", "best", "best_theta", "steps"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


OPTIMISERS = {
    "adam": lambda theta: torch.optim.Adam([theta], lr=0.1, eps=1e-8),
    "gradient": lambda theta: torch.optim.SGD([theta], lr=0.1),
    "adagrad": None,
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_follows_the_published_update(name):
    pool, problem = sample(paper(), 20, np.random.default_rng(1)), task(ising(4))
    found = evaluate(pool, problem, Training(name, 0.1, 12, -1.0))
    theta = torch.tensor(pool.theta, requires_grad=True)
    optimiser = OPTIMISERS[name](theta) if OPTIMISERS[name] else None
    squares = np.zeros_like(pool.theta)
    for _ in range(12):
        gradients = Batch().costs(replace(pool, theta=theta.detach().numpy().copy()), problem)[1]
        if optimiser:
            theta.grad = torch.tensor(gradients)
            optimiser.step()
        else:
            squares += gradients**2
            theta.data -= torch.tensor(0.1 * gradients / np.sqrt(squares + 1e-8))
    np.testing.assert_allclose(found.pool.theta, theta.detach().numpy(), atol=1e-9)
    assert (found.steps[pool.parameters > 0] == 12).all()


@pytest.mark.parametrize("name", ["adam", "adagrad", "gradient", "rotosolve", "lbfgs"])
def test_training_outside_the_kernel_is_the_same(name):
    pool, problem, training = sample(paper(), 30, np.random.default_rng(2)), task(ising(4)), Training(name, 0.1, 6)
    inside, outside = evaluate(pool, problem, training), train(Batch(), pool, problem, training)
    np.testing.assert_allclose(inside.best, outside.best, atol=1e-9)
    np.testing.assert_allclose(inside.values, outside.values, atol=1e-9)
    np.testing.assert_array_equal(inside.steps, outside.steps)


def test_rotosolve_finds_each_parameters_minimum_and_lbfgs_a_valley():
    gates = [g.name for g in GATES if g.parameters]
    rng = np.random.default_rng(3)
    circuits = []
    for _ in range(30):
        names = rng.choice(gates, 6)
        circuits.append([])
        for name in names:
            kind = next(g for g in GATES if g.name == name)
            wires = rng.permutation(3)[: kind.wires].tolist()
            circuits[-1].append((name, *wires, *rng.uniform(0, 6, kind.parameters)))
    pool, problem = Pool.of(3, circuits), task(ising(3))
    start = evaluate(pool, problem).values
    swept = evaluate(pool, problem, Training("rotosolve", steps=1, tolerance=-1))
    assert (swept.values <= start + 1e-12).all()
    np.testing.assert_allclose(swept.values, problem.observables[0].expectation(states(swept.pool)), atol=1e-10)
    last = int(pool.parameters[0]) - 1
    for shift in np.linspace(0, 4 * np.pi, 60):
        theta = swept.pool.theta[:1].copy()
        theta[0, last] += shift
        assert Batch().costs(replace(pool[:1], theta=theta), problem)[0][0] >= swept.values[0] - 1e-9
    descended = evaluate(pool, problem, Training("lbfgs", steps=200, tolerance=1e-14))
    assert np.abs(descended.gradients).max() < 1e-4


def test_stopping_best_and_restarts():
    pool, problem = sample(paper(), 300, np.random.default_rng(4)), task(ising(4))
    found = evaluate(pool, problem, Training("adagrad", 0.5, 50, 1e-6))
    assert (found.best <= found.values + 1e-15).all()
    assert (found.steps <= 50).all()
    assert (found.steps[pool.parameters == 0] == 0).all()
    early = found.steps < 50
    again = evaluate(pool[early], problem, Training("adagrad", 0.5, 50, -1.0))
    assert (again.steps[pool[early].parameters > 0] == 50).all()
    at_best = Batch().costs(replace(pool, theta=found.best_theta), problem)[0]
    np.testing.assert_allclose(at_best, found.best, atol=1e-12)
    more = evaluate(pool, problem, Training("adagrad", 0.5, 50, 1e-6, restarts=3), seed=5)
    assert (more.best <= found.best).all()
    assert (more.best < found.best - 1e-3).mean() > 0.01


def test_what_does_not_fit_is_refused():
    pool, problem = sample(paper(), 3, np.random.default_rng(0)), task(ising(3))
    with pytest.raises(CircuitError, match=r"circuits on 4 wires; a test needs 3"):
        evaluate(pool, problem)
    with pytest.raises(CircuitError, match="nan"):
        evaluate(replace(pool, theta=np.full_like(pool.theta, np.nan)), task(ising(4)))
    with pytest.raises(CircuitError, match="inputs"):
        evaluate(replace(pool, theta=pool.theta[:, :1]), task(ising(4)))
    with pytest.raises(CircuitError, match="GiB of memory"):
        states(Pool.of(40, [[("X", 0)]]))
    with pytest.raises(CircuitError, match="precision 'half'"):
        evaluate(pool, task(ising(4)), evaluator=Batch("half"))
