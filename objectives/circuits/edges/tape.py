"""Circuits as PennyLane operations and tapes, and back.

The gates are PennyLane's up to nothing, the phase included (`spaces.circuits.gates`). On the way back an operator of
the table is taken as it is, every other one as PennyLane decomposes it, and global phases are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices.preprocess import decompose

from spaces.circuits.gates import GATES
from spaces.circuits.pool import CircuitError, GateRow, Pool
from spaces.document import complaint

OPERATORS: dict[str, Callable[..., Any]] = {
    "X": qml.PauliX,
    "Y": qml.PauliY,
    "Z": qml.PauliZ,
    "H": qml.Hadamard,
    "RX": qml.RX,
    "RY": qml.RY,
    "RZ": qml.RZ,
    "CNOT": qml.CNOT,
    "CZ": qml.CZ,
    "U3": qml.U3,
    "SWAP": qml.SWAP,
    "RXX": qml.IsingXX,
    "RYY": qml.IsingYY,
    "RZZ": qml.IsingZZ,
    "CRX": qml.CRX,
    "CRY": qml.CRY,
    "CRZ": qml.CRZ,
    "S": qml.S,
    "T": qml.T,
    "SX": qml.SX,
    "I": qml.Identity,
    "SDG": qml.adjoint(qml.S),
    "TDG": qml.adjoint(qml.T),
    "SXDG": qml.adjoint(qml.SX),
    "P": qml.PhaseShift,
    "CP": qml.ControlledPhaseShift,
}

PHASES = ("GlobalPhase", "Barrier", "Snapshot")  # change no state, or only its phase
MOST_WIRES = 127  # what a wire of a pool can count to


def to_operations(pool: Pool, row: int, theta: Any = None, inputs: Any = None) -> list[Any]:
    """One circuit as PennyLane operations on the wires 0 .. n-1, in the order in which they act.

    Inside a quantum function they are queued, so that a QNode differentiates through `theta`.

    Args:
        theta: the parameters' values (P,), of any of PennyLane's interfaces; by default the pool's own. A second
            axis (P, K) broadcasts, as in PennyLane.
        inputs: the data's columns (F,) or (F, K), for circuits that read inputs.

    Raises:
        CircuitError: another number of values than the pool has parameters, or fewer inputs than the circuit reads.
    """
    columns = pool.theta.shape[1]
    theta = pool.theta[row].tolist() if theta is None else theta
    if len(theta) != columns:
        raise CircuitError(f"circuit {row}: {len(theta)} values of parameters, the pool has {columns}")
    given, read = 0 if inputs is None else len(inputs), pool[row : row + 1].inputs
    if given < read:
        raise CircuitError(f"circuit {row} reads {read} inputs, {given} are given")
    operations = []
    for name, wires, indices in _slots(pool, row):
        angles = [theta[i] if i < columns else inputs[i - columns] for i in indices]
        operations.append(OPERATORS[name](*angles, wires=wires))
    return operations


def to_tape(
    pool: Pool, row: int, measurements: Sequence[Any] | None = None, theta: Any = None, inputs: Any = None
) -> qml.tape.QuantumScript:
    """One circuit as a PennyLane tape; trainable are the parameters of `theta`, neither inputs nor observables.

    Args:
        measurements: what is measured; by default the probabilities of all wires.
        theta, inputs: see `to_operations`.
    """
    with qml.QueuingManager.stop_recording():
        operations = to_operations(pool, row, theta, inputs)
        measured = [qml.probs(wires=range(pool.wires))] if measurements is None else list(measurements)
    columns = pool.theta.shape[1]
    indices = [i for _, _, indices in _slots(pool, row) for i in indices]
    trainable = [position for position, index in enumerate(indices) if index < columns]
    return qml.tape.QuantumScript(operations, measured, trainable_params=trainable)


def from_tape(circuit: Any, *args: Any, wires: Sequence[Any] | None = None, **kwargs: Any) -> Pool:
    """The pool of one circuit written for PennyLane; its measurements are dropped, and so is its global phase.

    Args:
        circuit: a tape, or a quantum function or QNode that is called with `args` and `kwargs`.
        wires: the labels of the wires 0 .. n-1. By default those of the QNode's device, or, where that has none,
            wires that are whole numbers keep them and others are numbered in order of appearance.

    Raises:
        CircuitError: an operator that PennyLane cannot decompose into the gates of the table, a batch of parameters,
            a label that is not in `wires`, more wires than a pool can have, or a QNode of several tapes.
    """
    tape = _recorded(circuit, args, kwargs)
    if wires is None and isinstance(circuit, qml.QNode):
        wires = circuit.device.wires
    place = _places(tape, wires)
    try:
        (numbers,), _ = qml.transforms.convert_to_numpy_parameters(tape)
        (plain,), _ = decompose(numbers, is_plain, skip_initial_state_prep=False, name="pretune")
    except qml.exceptions.DeviceError as error:
        raise CircuitError(complaint("", str(error), gate_names())) from None
    outside = [label for label in plain.wires if label not in place]
    if outside:
        raise CircuitError(complaint("", f"no wire {outside[0]!r}", map(repr, place)))
    gates = [gate for operation in plain.operations for gate in gate_rows(operation, place)]
    return Pool.of(len(place), [gates])


def _slots(pool: Pool, row: int) -> list[tuple[str, list[int], list[int]]]:
    """One circuit's gates: name, wires, indices of parameters."""
    found = []
    for slot in range(int(pool.length[row])):
        gate, first = GATES[pool.op[row, slot]], int(pool.parameter[row, slot])
        wires = [int(w) for w in pool.wire[row, slot, : gate.wires]]
        found.append((gate.name, wires, list(range(first, first + gate.parameters))))
    return found


@cache
def gate_names() -> dict[str, str]:
    """The gates of the table by the names that PennyLane gives to their operators."""
    with qml.QueuingManager.stop_recording():
        return {OPERATORS[g.name](*[0.0] * g.parameters, wires=range(g.wires)).name: g.name for g in GATES}


def is_plain(operation: Any) -> bool:
    """Whether an operator is a gate of the table, or one that does nothing."""
    return operation.name in gate_names() or operation.name in PHASES


def _recorded(circuit: Any, args: tuple, kwargs: dict[str, Any]) -> qml.tape.QuantumScript:
    if isinstance(circuit, qml.tape.QuantumScript):
        return circuit
    if not isinstance(circuit, qml.QNode):
        return qml.tape.make_qscript(circuit)(*args, **kwargs)
    batch, _ = qml.workflow.construct_batch(circuit, level="user")(*args, **kwargs)
    if len(batch) != 1:
        raise CircuitError(f"the QNode's transforms make {len(batch)} tapes of it, one is needed")
    return batch[0]


def _places(tape: qml.tape.QuantumScript, wires: Sequence[Any] | None) -> dict[Any, int]:
    labels = list(tape.wires if wires is None else wires)
    if wires is None and labels and all(isinstance(label, (int, np.integer)) and label >= 0 for label in labels):
        labels = list(range(max(labels) + 1))
    if not 0 < len(labels) <= MOST_WIRES:
        raise CircuitError(f"a circuit has 1 to {MOST_WIRES} wires, found {len(labels)}")
    return {label: place for place, label in enumerate(labels)}


def gate_rows(operation: Any, place: dict[Any, int]) -> list[GateRow]:
    """A plain operator as gates of a pool, its labels in the places that `place` says.

    Raises:
        CircuitError: a batch of parameters.
    """
    if operation.name in PHASES:
        return []
    if operation.batch_size is not None:
        raise CircuitError(f"{operation.name} has a batch of {operation.batch_size} parameters, one is needed")
    if operation.name == "Identity":  # PennyLane's has any number of wires
        return [("I", place[label]) for label in operation.wires]
    angles = [float(value) for value in operation.parameters]
    return [(gate_names()[operation.name], *(place[label] for label in operation.wires), *angles)]
