"""The batch engine as a PennyLane device, `qml.device("pretune.qubit", wires=4)`, for circuits written for PennyLane.

Expectation values and their gradients (by the adjoint method) come from one engine call for all tapes of a batch that
measure the same observable on as many wires; everything else that is analytic is measured by PennyLane on the engine's
states. The device is exact: it refuses finite shots and measurements within a circuit. PennyLane takes milliseconds to
make a tape and the engine microseconds to run it, so whoever evaluates many circuits should hand a pool to the engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.devices.preprocess import (
    decompose,
    device_resolve_dynamic_wires,
    no_sampling,
    null_postprocessing,
    validate_adjoint_trainable_params,
    validate_device_wires,
    validate_measurements,
)
from pennylane.exceptions import DeviceError
from pennylane.measurements import ExpectationMP, StateMeasurement
from pennylane.tape import QuantumScript
from scipy.sparse import coo_array

from objectives.circuits.batch import Batch, states
from objectives.circuits.edges.tape import PHASES, gate_names, gate_rows, is_plain
from objectives.circuits.memory import afford
from objectives.circuits.observable import HERMITIAN, Observable
from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, GateRow, Pool
from spaces.document import complaint

NAME = "pretune.qubit"
ADJOINT = ("adjoint", "device", "best")  # "best" comes to the device only where `supports_derivatives` has said yes
KEPT = 32  # Pauli sums whose encoding is kept for the next batch


@simulator_tracking
@single_tape_support
class PretuneQubit(Device):
    """A state-vector simulator for PennyLane.

    Gates outside the table are decomposed by PennyLane, and batches of parameters become batches of tapes. Gradients of
    measurements that are no expectation values, or by the coefficients of an observable, are PennyLane's to find from
    shifted parameters: `diff_method="best"` knows.

    Args:
        wires: their number or labels; None takes each circuit's own.
        shots: only for PennyLane's sake; a circuit with finite shots is refused.
        precision: of the states' numbers, `double` or `single`; expectation values are float64 in either case.
        threads: how many; 0 is all processors.
    """

    def __init__(self, wires: Any = None, shots: Any = None, precision: str = "double", threads: int = 0) -> None:
        super().__init__(wires=wires, shots=shots)
        self._engine = Batch(precision, threads)

    @property
    def name(self) -> str:
        """The name by which `qml.device` knows the device."""
        return NAME

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether the engine has the gradient: first order, of expectation values, without shots."""
        if execution_config is None:
            return True
        method = execution_config.gradient_method
        if method not in ADJOINT or execution_config.derivative_order > 1:
            return False
        if circuit is None:
            return True
        if method == "best" and any(qml.math.requires_grad(d) for m in circuit.measurements for d in _data(m)):
            return False
        return not circuit.shots and all(map(_expected, circuit.measurements))

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """The configuration, what it leaves open decided.

        Raises:
            DeviceError: an option, none of which there is.
        """
        config = config or ExecutionConfig()
        for option in config.device_options:
            raise DeviceError(f"device option {option} not present on {self}")
        adjoint = config.gradient_method in ADJOINT
        return replace(
            config,
            gradient_method="adjoint" if adjoint else config.gradient_method,
            use_device_gradient=adjoint if config.use_device_gradient is None else config.use_device_gradient,
            grad_on_execution=adjoint if config.grad_on_execution is None else config.grad_on_execution,
            use_device_jacobian_product=False,
        )

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> qml.CompilePipeline:
        """What makes of a circuit tapes of gates of the table, with measurements that can be made."""
        adjoint = execution_config is not None and execution_config.gradient_method == "adjoint"
        pipeline = qml.CompilePipeline()
        pipeline.add_transform(no_sampling, name=NAME)
        if adjoint:
            pipeline.add_transform(validate_adjoint_trainable_params)
        pipeline.add_transform(qml.transforms.broadcast_expand)
        pipeline.add_transform(
            decompose,
            stopping_condition=is_plain,
            skip_initial_state_prep=False,
            decomposer=_parts,
            device_wires=self.wires,
            target_gates={*gate_names(), *PHASES},
            name=NAME,
        )
        pipeline.add_transform(device_resolve_dynamic_wires, wires=self.wires, allow_resets=False)
        pipeline.add_transform(validate_device_wires, self.wires, name=NAME)
        pipeline.add_transform(validate_measurements, analytic_measurements=_measurable, name=NAME)
        if adjoint:
            pipeline.add_transform(_only_angles)
        return pipeline

    def execute(self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None) -> tuple:
        """The results of a batch of preprocessed tapes; expectation values are float64 arrays of no axes."""
        return tuple(_alone(run.values) for run in self._run(circuits, False))

    def compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> tuple:
        """The Jacobians of a batch of preprocessed tapes of expectation values."""
        return tuple(run.jacobian() for run in self._run(circuits, True))

    def execute_and_compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> tuple[tuple, tuple]:
        """Both, from the same engine calls."""
        runs = self._run(circuits, True)
        return tuple(_alone(run.values) for run in runs), tuple(run.jacobian() for run in runs)

    def _run(self, circuits: Sequence[QuantumScript], gradients: bool) -> list[_Run]:
        with _device_errors():
            runs = [self._placed(circuit) for circuit in circuits]
            for task, asking in _asked(runs).items():
                pool = Pool.of(task.wires, [run.gates for run, _ in asking])
                values, slopes = self._engine.costs(pool, task, gradients)
                for (run, m), value, slope in zip(asking, values, slopes, strict=True):
                    run.values[m], run.slopes[m] = np.array(value), slope
            for run in runs:
                run.measure_others(self._engine.threads)
        return runs

    def _placed(self, tape: QuantumScript) -> _Run:
        """The tape on a register of the wires that it uses, in the order of the device's."""
        if self.wires:
            used = set(tape.wires)
            labels = [label for label in self.wires if label in used] or [self.wires[0]]
        else:
            tape = tape.map_to_standard_wires()
            labels = list(range(max(1, len(tape.wires))))
        place = {label: wire for wire, label in enumerate(labels)}
        gates = [gate for operation in tape.operations for gate in gate_rows(operation, place)]
        none: list[Any] = [None] * len(tape.measurements)
        return _Run(tape, place, gates, none.copy(), none.copy())


@dataclass
class _Run:
    """A tape, where its labels lie on the register, its gates, and what comes of each of its measurements."""

    tape: QuantumScript
    place: dict[Any, int]
    gates: list[GateRow]
    values: list[Any]
    slopes: list[Any]  # of expectation values, by the gates' angles

    def measure_others(self, threads: int) -> None:
        """The measurements that are no expectation values, on the circuit's state."""
        state = None
        for m, measurement in enumerate(self.tape.measurements):
            if not _expected(measurement):
                state = self._state(threads) if state is None else state
                moved = measurement.map_wires(self.place)
                self.values[m] = np.asarray(qml.devices.qubit.measure(moved, state))

    def jacobian(self) -> Any:
        """The slopes by the tape's trainable parameters, nested as PennyLane wants them."""
        every = self._columns()
        columns = [every[k] for k in self.tape.trainable_params]
        padded = [np.append(slopes, 0.0) for slopes in self.slopes]  # column -1 is what has no slope
        return _alone([_alone([np.array(slopes[c]) for c in columns]) for slopes in padded])

    def _columns(self) -> list[int]:
        """Which of the gates' angles each parameter of the tape is; -1 where it is a phase's or an observable's."""
        columns, angles = [], 0
        for operation in self.tape.operations:
            for _ in operation.data:
                columns.append(-1 if operation.name in PHASES else angles)
                angles += operation.name not in PHASES
        return columns + [-1] * sum(len(_data(m)) for m in self.tape.measurements)

    def _state(self, threads: int) -> NDArray[np.complex128]:
        """The state with an axis for each wire, its global phase included."""
        phase = sum(float(op.data[0]) for op in self.tape.operations if op.name == "GlobalPhase")
        state = states(Pool.of(len(self.place), [self.gates]), threads=threads)
        return np.exp(-1j * phase) * state.reshape((2,) * len(self.place))


def observable_of(operator: Any, wires: Sequence[Any]) -> Observable:
    """A PennyLane operator as an observable; `wires` are the labels of the register's wires, in their order.

    Raises:
        CircuitError: an operator that is not Hermitian, has no matrix, or acts on other wires.
    """
    place = {label: wire for wire, label in enumerate(wires)}
    for label in operator.wires:
        if label not in place:
            raise CircuitError(complaint("", f"no wire {label!r}", map(repr, place)))
    if not _has_values(operator):
        raise CircuitError(f"{operator.name} is no observable: it has no matrix")
    return _encoded(operator, place).observables[0]


def _asked(runs: Sequence[_Run]) -> dict[Task, list[tuple[_Run, int]]]:
    """For every different expectation value the runs, and their measurements, that ask for it.

    Within a batch an observable is known by its identity, so that one for all tapes is encoded once: the tapes hold it,
    no other can take its place. From batch to batch Pauli sums are known by their words.
    """
    known: dict[tuple, Task] = {}
    asked: dict[Task, list[tuple[_Run, int]]] = defaultdict(list)
    for run in runs:
        for m, measurement in enumerate(run.tape.measurements):
            if _expected(measurement):
                key = (id(measurement.obs), *run.place)
                if key not in known:
                    known[key] = _encoded(measurement.obs, run.place)
                asked[known[key]].append((run, m))
    return asked


def _encoded(operator: Any, place: dict[Any, int]) -> Task:
    sentence = operator.pauli_rep
    if sentence is None:
        return _task(_of_matrix(operator, place))
    terms = [("".join(word[label] for label in place), complex(value)) for word, value in sentence.items()]
    return _pauli_task(tuple(terms) or (("I" * len(place), 0j),))


@lru_cache(maxsize=KEPT)
def _pauli_task(terms: tuple[tuple[str, complex], ...]) -> Task:
    words, coefficients = zip(*terms, strict=True)
    return _task(Observable.of_paulis(len(words[0]), words, coefficients))


def _task(observable: Observable) -> Task:
    return Task.of(observable)


def _of_matrix(operator: Any, place: dict[Any, int]) -> Observable:
    """The observable of an operator's matrix, sparse where it has one, on its own wires of the register."""
    own, wires = len(operator.wires), len(place)
    matrix = coo_array(operator.sparse_matrix() if operator.has_sparse_matrix else qml.matrix(operator), dtype=complex)
    matrix.sum_duplicates()
    if abs(matrix - matrix.conj().T).max() > HERMITIAN * abs(matrix).max():
        raise CircuitError(f"the observable {operator.name} is not Hermitian")
    rows, columns = (coordinates.astype(np.int64) for coordinates in matrix.coords)
    masks, which = np.unique(rows ^ columns, return_inverse=True)
    afford(2 * 16 * len(masks) * 2.0**wires, f"an observable of {len(masks)} masks on {wires} wires")
    diagonals = np.zeros((len(masks), 2**own), complex)
    diagonals[which, rows] = matrix.data
    index = np.arange(2**wires)
    inner, flips = np.zeros_like(index), np.zeros_like(masks)
    for k, label in enumerate(operator.wires):
        bit, shift = wires - 1 - place[label], own - 1 - k
        inner |= (index >> bit & 1) << shift
        flips |= (masks >> shift & 1) << bit
    return Observable(wires, flips, diagonals[:, inner], np.zeros((0, 2**wires), complex), np.zeros(0))


def _data(measurement: Any) -> Sequence[Any]:
    return () if measurement.obs is None else measurement.obs.data


def _expected(measurement: Any) -> bool:
    return isinstance(measurement, ExpectationMP) and measurement.obs is not None


def _measurable(measurement: Any) -> bool:
    if measurement.obs is None or not isinstance(measurement, StateMeasurement):
        return isinstance(measurement, StateMeasurement)
    return _has_values(measurement.obs) if _expected(measurement) else measurement.obs.has_diagonalizing_gates


def _has_values(operator: Any) -> bool:
    return operator.pauli_rep is not None or operator.has_matrix or operator.has_sparse_matrix


def _parts(operator: Any) -> Sequence[Any]:
    """PennyLane's decomposition; where it has none that of a unitary's matrix, which has no gradient.

    Raises:
        DecompositionUndefinedError: there is neither.
    """
    numbers = not any(map(qml.math.requires_grad, operator.data))
    if numbers and not operator.has_decomposition and operator.has_matrix:
        matrix = qml.matrix(operator)
        if np.allclose(matrix @ matrix.conj().T, np.eye(len(matrix))):
            return [qml.QubitUnitary(matrix, operator.wires)]
    return operator.decomposition()


@qml.transform
def _only_angles(tape: QuantumScript) -> tuple[Sequence[QuantumScript], Any]:
    """Takes the parameters of observables from the trainable ones, among which a decomposition puts them.

    Raises:
        DeviceError: there is another measurement than expectation values.
    """
    for measurement in tape.measurements:
        if not _expected(measurement):
            raise DeviceError(f"Measurement {measurement} not accepted for adjoint differentiation on {NAME}.")
    angles = len(tape.get_parameters(trainable_only=False, operations_only=True))
    trainable = [k for k in tape.trainable_params if k < angles]
    return (QuantumScript(tape.operations, tape.measurements, tape.shots, trainable),), null_postprocessing


def _alone(values: Sequence[Any]) -> Any:
    """PennyLane's way of writing several results: one by itself, others as a tuple."""
    return values[0] if len(values) == 1 else tuple(values)


@contextmanager
def _device_errors() -> Iterator[None]:
    try:
        yield
    except CircuitError as error:
        raise DeviceError(f"{NAME}: {error}") from None
