"""Circuits in PyTorch models against PennyLane's QNodes, the engine's own costs and finite differences."""

import copy
from dataclasses import replace

import numpy as np
import pennylane as qml
import pytest
import torch
from drawn import paulis, pools
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.batch import Batch
from objectives.circuits.edges.tape import to_operations
from objectives.circuits.evaluate import evaluate, fitting
from objectives.circuits.layer import CircuitLayer, costs
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample

WORDS = [Observable.of_paulis(2, [word], [1.0]) for word in ("ZI", "IZ", "XY")]


def reading(gates, wires=2, inputs=2):
    """A circuit whose last angles are inputs."""
    pool = Pool.of(wires, [gates])
    return replace(pool, theta=pool.theta[:, : pool.theta.shape[1] - inputs])


def small():
    """Two inputs, one of them read through a controlled rotation, and three angles."""
    angles = [("RY", 0, 0.4), ("CNOT", 0, 1), ("RXX", 0, 1, 0.9), ("RZ", 1, -0.3)]
    return reading([("H", 1), *angles, ("RX", 0, 0.0), ("CRY", 0, 1, 0.0)])


def task(*observables, **rest):
    wires = observables[0].wires
    return Task("a test", wires, observables, reference=-1.0, threshold=0.9, strict=-0.99, meaning="low", **rest)


def seeded(*shape):
    return torch.tensor(np.random.default_rng(0).normal(size=shape))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_values_and_gradients_are_those_of_a_qnode(data):
    pool = data.draw(pools(st.integers(1, 3), circuits=1, gates=8))
    observables = [data.draw(paulis(pool.wires)) for _ in range(2)]
    columns = pool.theta.shape[1] // 2
    circuit = replace(pool, theta=pool.theta[:, :columns])
    layer = CircuitLayer(circuit, observables, dtype=torch.float64)
    inputs = seeded(3, pool.theta.shape[1] - columns).requires_grad_()

    @qml.qnode(qml.device("default.qubit", wires=pool.wires), interface="torch")
    def node(theta, sample):
        to_operations(circuit, 0, theta, sample)
        return [qml.expval(qml.Hermitian(o.matrix().toarray(), range(pool.wires))) for o in observables]

    theta = layer.theta.detach().clone().requires_grad_()
    wanted = torch.stack([torch.stack(node(theta, sample)) for sample in inputs])
    torch.testing.assert_close(layer(inputs), wanted, atol=1e-12, rtol=0)
    weights = seeded(*wanted.shape)
    ours, theirs = (
        torch.autograd.grad((weights * y).sum() + 0 * (t.sum() + inputs.sum()), [t, inputs])
        for y, t in ((layer(inputs), layer.theta), (wanted, theta))
    )
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-11, rtol=0)


def test_finite_differences():
    target = np.array([0.6, 0, 0, 0.8j])
    layer = CircuitLayer(small(), [*WORDS, Observable.of_states(2, target, [-2.0])], dtype=torch.float64)
    inputs = seeded(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda theta, x: torch.func.functional_call(layer, {"theta": theta}, x), (layer.theta, inputs)
    )
    assert torch.autograd.gradcheck(lambda x: layer(torch.tanh(x) * 2), inputs)


def test_a_model_learns_with_a_circuit_inside():
    torch.manual_seed(0)
    inputs = torch.randn(60, 3)
    classes = (inputs[:, 0] * inputs[:, 1] > 0).float()
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), CircuitLayer(small(), WORDS), torch.nn.Linear(3, 1))
    start = copy.deepcopy(model.state_dict())
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.1), []
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(inputs)[:, 0], classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all((model.state_dict()[name] != value).any() for name, value in start.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_have_the_dtype_of_what_goes_in(dtype):
    exact = CircuitLayer(small(), WORDS, dtype=torch.float64)
    layer = CircuitLayer(small(), WORDS, Batch("single" if dtype == torch.float32 else "double"), dtype)
    inputs = seeded(5, 2)
    result = layer(inputs.to(dtype).requires_grad_())
    result.sum().backward()
    exact(inputs).sum().backward()
    assert result.dtype == layer.theta.grad.dtype == dtype
    torch.testing.assert_close(result.double(), exact(inputs), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.theta.grad.double(), exact.theta.grad, atol=1e-4, rtol=0)
    assert CircuitLayer(small(), WORDS).theta.dtype == torch.get_default_dtype()
    assert layer(inputs).dtype == torch.float64
    assert layer(inputs[:0]).shape == (0, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_results_come_back_to_the_device():
    layer, inputs = CircuitLayer(small(), WORDS, dtype=torch.float64), seeded(5, 2)
    wanted = layer(inputs)
    result = layer.cuda()(inputs.cuda())
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), wanted)
    result.sum().backward()
    assert layer.theta.grad.is_cuda


def test_gradients_are_computed_once_and_only_if_wanted(monkeypatch):
    calls, real = [], Batch.costs

    def spied(self, pool, problem, gradients=True):
        calls.append((len(pool), gradients))
        return real(self, pool, problem, gradients)

    monkeypatch.setattr(Batch, "costs", spied)
    layer, inputs = CircuitLayer(small(), WORDS[:1]), seeded(7, 2)
    layer(inputs).sum().backward()
    with torch.no_grad():
        layer(inputs)
    layer.requires_grad_(False)(inputs)
    layer(inputs.requires_grad_()).sum().backward()
    assert calls == [(7, True), (7, False), (7, False), (7, True)]


def test_there_is_no_second_derivative():
    layer = CircuitLayer(small(), WORDS)
    with pytest.raises(CircuitError, match="no second derivative"):
        torch.autograd.grad(layer(seeded(2, 2)).sum(), layer.theta, create_graph=True)


def test_a_layer_can_be_copied_saved_and_printed(tmp_path):
    layer = CircuitLayer(small(), WORDS)
    other = copy.deepcopy(layer)
    torch.nn.init.zeros_(other.theta)
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other.load_state_dict(torch.load(tmp_path / "layer.pt"))
    inputs = seeded(3, 2)
    torch.testing.assert_close(other(inputs), layer(inputs))
    assert "2 wires, 7 gates, 3 angles, 2 inputs, 3 observables" in repr(layer)


def test_costs_of_a_pool_are_the_engines_and_differentiable():
    pool = sample(paper(), 6, np.random.default_rng(0))
    problem = task(Observable.of_paulis(4, ["ZZII", "IXXI", "YIIY"], [1.0, -0.5, 0.3]))
    theta = torch.tensor(pool.theta, requires_grad=True)
    found, wanted = costs(pool, problem, theta), evaluate(pool, problem)
    np.testing.assert_array_equal(found.detach().numpy(), wanted.values)
    weights = seeded(6)
    (found * weights).sum().backward()
    np.testing.assert_allclose(theta.grad.numpy(), wanted.gradients * weights.numpy()[:, None], atol=1e-15)
    assert torch.autograd.gradcheck(lambda t: costs(pool[:3], problem, t), theta[:3].detach().requires_grad_())


def test_costs_of_a_task_that_prepares_circuits_and_feeds_them():
    """The task puts a rotation by its input behind every circuit."""

    def behind(pool):
        fed = Pool.of(2, [[*gates, ("RX", 1, 0.0)] for gates in pool])
        return replace(fed, theta=fed.theta[:, :-1])

    pool = Pool.of(2, [[("RY", 0, 0.3), ("CRZ", 0, 1, 0.4)], [("RX", 1, 0.3), ("RX", 0, 1.4)]])
    problem = task(*WORDS[:2], inputs=np.array([[0.1], [0.7], [-2.0]]), which=np.array([0, 1, 1]), prepare=behind)
    theta = torch.tensor(fitting(pool, problem).theta, requires_grad=True)
    np.testing.assert_array_equal(costs(pool, problem, theta).detach(), evaluate(pool, problem).values)
    assert torch.autograd.gradcheck(lambda t: costs(pool, problem, t), theta)


def test_what_does_not_fit_is_refused():
    layer = CircuitLayer(small(), WORDS)
    for shape in [(3, 1), (2,), (1, 3, 2)]:
        with pytest.raises(CircuitError, match=r"the circuit reads \(samples, 2 or more\)"):
            layer(torch.zeros(shape))
    with pytest.raises(CircuitError, match="a layer is one circuit, found a pool of 6"):
        CircuitLayer(sample(paper(), 6, np.random.default_rng(0)), WORDS)
    with pytest.raises(CircuitError, match="at least one observable"):
        CircuitLayer(small(), [])
    with pytest.raises(CircuitError, match="an observable on 3 wires, the circuit has 2"):
        CircuitLayer(small(), [Observable.of_paulis(3, ["ZZZ"], [1.0])])
    pool = sample(paper(), 6, np.random.default_rng(0))
    problem = task(Observable.of_paulis(4, ["ZZII"], [1.0]))
    with pytest.raises(CircuitError, match=r"angles have the shape \(6, 1\)"):
        costs(pool, problem, torch.zeros(6, 1))
    with pytest.raises(CircuitError, match="circuits on 2 wires"):
        costs(small(), problem, torch.zeros(1, 3))
