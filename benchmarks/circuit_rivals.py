"""The other simulators that `circuits.py` races against, each as well used as we know how to.

QNodes are made anew for every circuit, as a search makes them; tapes and qulacs' circuits are made beforehand. Devices
and observables are made beforehand throughout, and gates are known as names and wires. What is timed is the value and
gradient of one circuit after the other. Gates are the circuit's own, or `native`: U3 written by hand as RZ RY RZ,
which spares lightning.qubit's decomposition.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
import torch
from numpy.typing import NDArray
from pennylane import numpy as differentiable
from scipy.sparse import csr_matrix

from objectives.circuits.density import Noise
from objectives.circuits.edges.tape import OPERATORS
from objectives.circuits.observable import Observable
from objectives.circuits.reference import pauli_words
from objectives.circuits.task import Task
from spaces.circuits.gates import GATES
from spaces.circuits.pool import Pool

EXACT, SINGLE = 1e-8, 1e-6  # PennyLane gives torch single precision from lightning.qubit, and with noise
SPARSE_WIRES, DENSE_WIRES = 12, 8  # wires up to which an observable is also tried as a matrix
U3 = (("RZ", 2), ("RY", 0), ("RZ", 1))  # in the order in which they act, each with the parameter that it takes

torch.set_num_threads(1)
warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # autograd drops imaginary parts that are 0


class Rival(NamedTuple):
    """One way to have the values and gradients of the first circuits of a pool.

    Attributes:
        name: what it is.
        circuits: how many circuits `run` evaluates.
        run: what is timed.
        read: makes the values (R,) and the gradients (R, P) of what `run` returned.
        tolerance: to which they are exact.
        hardest: whether it goes beyond what the goals were set for.
    """

    name: str
    circuits: int
    run: Callable[[], Any]
    read: Callable[[Any], tuple[NDArray, NDArray]]
    tolerance: float = EXACT
    hardest: bool = False


class Step(NamedTuple):
    """A gate of a circuit, its wires, and where its angles are in the circuit's parameters."""

    gate: str
    wires: list[int]
    angles: list[int]


def steps(pool: Pool, row: int, native: bool = False) -> list[Step]:
    """One circuit's gates."""
    found = []
    for slot in range(int(pool.length[row])):
        gate, first = GATES[pool.op[row, slot]], int(pool.parameter[row, slot])
        wires = [int(w) for w in pool.wire[row, slot, : gate.wires]]
        if native and gate.name == "U3":
            found += [Step(name, wires, [first + k]) for name, k in U3]
        else:
            found.append(Step(gate.name, wires, list(range(first, first + gate.parameters))))
    return found


def angles(pool: Pool, row: int) -> NDArray[np.float64]:
    """One circuit's own parameters."""
    return pool.theta[row, : pool.parameters[row]]


def operators(observable: Observable) -> dict[str, Any]:
    """An observable in the forms that PennyLane knows, matrices up to the wires where they could be quicker."""
    wires = range(observable.wires)
    words, coefficients = pauli_words(observable)
    places = {wire: wire for wire in wires}
    terms = [qml.pauli.string_to_pauli_word(word, places) for word in words]
    found = {"Hamiltonian": qml.Hamiltonian(coefficients, terms)}
    if observable.wires <= SPARSE_WIRES:
        found["SparseHamiltonian"] = qml.SparseHamiltonian(csr_matrix(observable.matrix()), wires)
    if observable.wires <= DENSE_WIRES:
        found["Hermitian"] = qml.Hermitian(observable.matrix().toarray(), wires)
    return found


def node(
    gates: Sequence[Step], device: Any, operator: Any, interface: str = "torch", noise: Noise | None = None
) -> Any:
    """A QNode of one circuit, differentiated by the adjoint method on lightning.qubit, else by backpropagation."""

    def circuit(theta: Any) -> Any:
        values = theta.unbind() if interface == "torch" else theta
        for gate, wires, places in gates:
            OPERATORS[gate](*[values[i] for i in places], wires=wires)
            if noise:
                for wire in wires:
                    qml.DepolarizingChannel(noise.depolarizing, wire)
                    qml.AmplitudeDamping(noise.damping, wire)
        return qml.expval(operator)

    method = "adjoint" if device.name == "lightning.qubit" else "backprop"
    return qml.QNode(circuit, device, interface=interface, diff_method=method)


def qnodes(pool: Pool, task: Task, count: int) -> Iterator[Rival]:
    """QNodes with torch, by backpropagation on default.qubit and by the adjoint method on lightning.qubit."""
    starts = [angles(pool, row) for row in range(count)]
    for name, make, tolerance, hardest in _nodes(pool, task, count):
        yield Rival(name, count, partial(_differentiated, starts, make), partial(_padded, pool), tolerance, hardest)


def _nodes(pool: Pool, task: Task, count: int) -> Iterator[tuple[str, Callable[[int], Any], float, bool]]:
    """The ways to make a QNode of a circuit: what each is, what makes it, its tolerance, whether it is a `hardest`."""
    own, native = ([steps(pool, row, short) for row in range(count)] for short in (False, True))
    forms = operators(task.observables[0])
    plain, lightning = (qml.device(name, wires=pool.wires) for name in ("default.qubit", "lightning.qubit"))
    if "Hermitian" in forms:
        yield "default.qubit, Hermitian", partial(_made, own, plain, forms["Hermitian"]), EXACT, False
    for form, operator in forms.items():
        if form != "Hermitian":
            yield f"lightning.qubit, {form}", partial(_made, own, lightning, operator), SINGLE, False
        yield f"lightning.qubit, {form}, native", partial(_made, native, lightning, operator), SINGLE, True


def _made(gates: Sequence[list[Step]], device: Any, operator: Any, row: int) -> Any:
    return node(gates[row], device, operator)


def _differentiated(starts: Sequence[NDArray], make: Callable[[int], Any]) -> list[tuple[float, NDArray]]:
    found = []
    for row, start in enumerate(starts):
        theta = torch.tensor(start, requires_grad=True)
        value = make(row)(theta)
        (gradient,) = torch.autograd.grad(value, theta)
        found.append((value.item(), gradient.numpy()))
    return found


def _padded(pool: Pool, found: Sequence[tuple[float, NDArray]]) -> tuple[NDArray, NDArray]:
    slopes = np.zeros((len(found), pool.theta.shape[1]))
    for row, (_, gradient) in enumerate(found):
        slopes[row, : len(gradient)] = gradient
    return np.array([value for value, _ in found]), slopes


def tapes(pool: Pool, task: Task, count: int) -> Iterator[Rival]:
    """lightning.qubit's `execute_and_compute_derivatives` on tapes of native gates, made beforehand."""
    device = qml.device("lightning.qubit", wires=pool.wires)
    config = qml.devices.ExecutionConfig(gradient_method="adjoint")
    for form, operator in operators(task.observables[0]).items():
        batch, orders = [], []
        for row in range(count):
            gates = steps(pool, row, native=True)
            orders.append([i for step in gates for i in step.angles])
            made = [OPERATORS[s.gate](*pool.theta[row, s.angles].tolist(), wires=s.wires) for s in gates]
            trained = range(len(orders[-1]))  # by default the Hamiltonian's coefficients would be, too
            batch.append(qml.tape.QuantumScript(made, [qml.expval(operator)], trainable_params=trained))
        run = partial(device.execute_and_compute_derivatives, batch, config)
        yield Rival(f"tapes, {form}", count, run, partial(_columns, pool, orders), hardest=form == "Hermitian")


def _columns(pool: Pool, orders: Sequence[list[int]], found: Any) -> tuple[NDArray, NDArray]:
    values, gradients = found
    slopes = np.zeros((len(orders), pool.theta.shape[1]))
    for row, order in enumerate(orders):
        slopes[row, order] = np.ravel(gradients[row])
    return np.ravel(np.array(values, float)), slopes


def qulacs(pool: Pool, task: Task, count: int) -> Iterator[Rival]:
    """qulacs' `backprop` on circuits made beforehand; nothing where it is not installed.

    `backprop` alone gives no value, whose computation is not charged. The `hardest` way has both: it applies the
    observable to the circuit's state itself and calls `backprop_inner_product`.
    """
    if not find_spec("qulacs"):
        return
    from qulacs import Observable as Sum
    from qulacs import QuantumState
    from qulacs.state import inner_product

    made = [_qulacs_circuit(pool, row) for row in range(count)]
    circuits, orders = [circuit for circuit, _ in made], [order for _, order in made]
    total, (state, image, scratch) = Sum(pool.wires), (QuantumState(pool.wires) for _ in range(3))
    for word, coefficient in zip(*pauli_words(task.observables[0]), strict=True):
        total.add_operator(float(coefficient), " ".join(f"{p} {wire}" for wire, p in enumerate(word) if p != "I"))

    def value(circuit: Any) -> float:
        state.set_zero_state()
        circuit.update_quantum_state(state)
        return total.get_expectation_value(state)

    def both(circuit: Any) -> tuple[float, list[float]]:
        state.set_zero_state()
        circuit.update_quantum_state(state)
        total.apply_to_state(scratch, state, image)
        return inner_product(state, image).real, circuit.backprop_inner_product(image)

    def read(scale: float, found: Sequence[tuple[float | None, list[float]]]) -> tuple[NDArray, NDArray]:
        values = [value(circuit) if v is None else v for circuit, (v, _) in zip(circuits, found, strict=True)]
        return _columns(pool, orders, (values, [scale * np.array(gradient) for _, gradient in found]))

    yield Rival("qulacs, backprop", count, lambda: [(None, c.backprop(total)) for c in circuits], partial(read, -1))
    yield Rival("qulacs, inner product", count, lambda: [both(c) for c in circuits], partial(read, -2), hardest=True)


def _qulacs_circuit(pool: Pool, row: int) -> tuple[Any, list[int]]:
    """A circuit and the order of its angles, which in qulacs have the opposite sign."""
    from qulacs import ParametricQuantumCircuit

    circuit, order = ParametricQuantumCircuit(pool.wires), []
    for gate, wires, places in steps(pool, row, native=True):
        if places:
            getattr(circuit, f"add_parametric_{gate}_gate")(*wires, -pool.theta[row, places[0]])
            order += places
        else:
            getattr(circuit, f"add_{gate}_gate")(*wires)
    return circuit, order


def adam_loops(pool: Pool, task: Task, count: int, rate: float, number: int) -> Iterator[Rival]:
    """Circuits trained by torch's Adam through a QNode; read are the final values (and no gradients)."""
    starts = [angles(pool, row) for row in range(count)]

    def train(make: Callable[[int], Any]) -> list[float]:
        found = []
        for row, start in enumerate(starts):
            circuit, theta = make(row), torch.tensor(start, requires_grad=True)
            adam = torch.optim.Adam([theta], lr=rate)
            for _ in range(number):
                adam.zero_grad()
                circuit(theta).backward()
                adam.step()
            with torch.no_grad():
                found.append(circuit(theta).item())
        return found

    for name, make, _, hardest in _nodes(pool, task, count):
        if "lightning.qubit, Hamiltonian" not in name:  # slower than the sparse one
            yield Rival(name, count, partial(train, make), _values, SINGLE, hardest)


def published_loop(pool: Pool, task: Task, count: int, rate: float, number: int) -> Rival:
    """The published training: PennyLane's Adagrad, default.qubit with a Hamiltonian, the energy after each step."""
    device = qml.device("default.qubit", wires=pool.wires)
    operator = operators(task.observables[0])["Hamiltonian"]
    rows = [(steps(pool, row), angles(pool, row)) for row in range(count)]

    def train() -> list[float]:
        found = []
        for gates, start in rows:
            circuit, theta = node(gates, device, operator, "autograd"), differentiable.array(start, requires_grad=True)
            adagrad = qml.AdagradOptimizer(rate)
            for _ in range(number):
                theta, _ = adagrad.step_and_cost(circuit, theta)
                energy = circuit(theta)
            found.append(float(energy))
        return found

    return Rival("published loop", count, train, _values, SINGLE)


def _values(found: Sequence[float]) -> tuple[NDArray, NDArray]:
    return np.array(found), np.zeros((len(found), 0))


def noisy(pool: Pool, task: Task, count: int, noise: Noise) -> Rival:
    """QNodes with torch on default.mixed, by backpropagation."""
    device = qml.device("default.mixed", wires=pool.wires)
    operator = operators(task.observables[0])["Hermitian"]
    circuits = [(steps(pool, row), angles(pool, row)) for row in range(count)]

    def make(row: int) -> Any:
        return node(circuits[row][0], device, operator, noise=noise)

    run = partial(_differentiated, [start for _, start in circuits], make)
    return Rival("default.mixed", count, run, partial(_padded, pool), SINGLE)
