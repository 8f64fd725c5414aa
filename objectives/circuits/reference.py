"""Evaluation by PennyLane, circuit by circuit: the reference, and the choice for what the engine does not do.

Any installed device runs it: exactly or by shots, and with noise on `default.mixed`. A circuit costs milliseconds, not
microseconds. Gradients are those that PennyLane holds for the best on the device: backpropagation, the adjoint method,
or shifted parameters.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane import numpy as differentiable

from objectives.circuits.density import Noise
from objectives.circuits.edges.tape import to_operations
from objectives.circuits.evaluate import Evaluation, Training
from objectives.circuits.memory import afford
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.training import train
from spaces.circuits.pool import CircuitError, Pool
from spaces.document import complaint

DENSE_WIRES = 8  # wires up to which PennyLane is quicker with a matrix than with a sum of Pauli words
NEGLIGIBLE = 1e-12  # of a sum's largest coefficient


@dataclass(frozen=True)
class Reference:
    """PennyLane as an evaluator, see `evaluate.Evaluator`.

    Attributes:
        device: the name of an installed device, or a device; by default `default.qubit`, with noise `default.mixed`.
        noise: channels behind every gate on the wires that it touches, none behind the initial state.
        shots: of each measurement; 0 is exact. Pauli sums are measured by groups of words that commute wire by wire,
            each with so many shots; projectors in their eigenbasis.
        seed: decides the shots of devices that take a seed: the same circuits at the same angles, the same shots.
    """

    device: Any = ""
    noise: Noise = field(default_factory=Noise)
    shots: int = 0
    seed: int = 0

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P), NaN if not wanted.

        Raises:
            CircuitError: the device is not installed, or cannot do what is asked of it.
        """
        device = self._built(pool.theta[:1], task.wires + task.idle)
        measured = [qml.expval(self._operator(observable)) for observable in task.observables]
        values, slopes = np.empty(len(pool)), np.full(pool.theta.shape, 0.0 if gradients else np.nan)
        for row, used in enumerate(pool.parameters):
            if self.shots:  # each circuit's shots are its own, in whatever company it comes
                device = self._built(pool.theta[row], task.wires + task.idle)

            def cost(theta: Any, row: int = row, device: Any = device) -> Any:
                tapes = [self._tape(pool, row, task, sample, theta, measured) for sample in range(len(task.which))]
                return sum(qml.execute(tapes, device, diff_method="best", interface="autograd")) / len(tapes)

            theta = differentiable.array(pool.theta[row], requires_grad=bool(gradients and used))
            try:
                if theta.requires_grad:
                    slope = qml.grad(cost)
                    with warnings.catch_warnings():  # default.mixed: an imaginary part of nothing is dropped
                        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
                        slopes[row] = slope(theta)
                    values[row] = slope.forward
                else:
                    values[row] = cost(theta)
            except (qml.exceptions.DeviceError, qml.exceptions.QuantumFunctionError) as error:
                raise CircuitError(f"circuit {row} on {device.name}: {error}") from None
        return values, slopes

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on."""
        return train(self, pool, task, training)

    def _tape(self, pool: Pool, row: int, task: Task, sample: int, theta: Any, measured: list[Any]) -> Any:
        start = [] if task.initial is None else [qml.StatePrep(task.initial[sample], range(task.wires + task.idle))]
        gates = [op for gate in to_operations(pool, row, theta, task.inputs[sample]) for op in self._noisy(gate)]
        return qml.tape.QuantumScript([*start, *gates], [measured[task.which[sample]]], shots=self.shots or None)

    def _noisy(self, gate: Any) -> list[Any]:
        found = [gate]
        for wire in gate.wires:
            if self.noise.depolarizing:
                found.append(qml.DepolarizingChannel(self.noise.depolarizing, wire))
            if self.noise.damping:
                found.append(qml.AmplitudeDamping(self.noise.damping, wire))
        return found

    def _operator(self, observable: Observable) -> Any:
        wires = range(observable.wires)
        if len(observable.targets) or (observable.wires <= DENSE_WIRES and not self.shots):
            afford(2 * 16 * 4.0**observable.wires, f"the matrix of an observable on {observable.wires} wires")
            return qml.Hermitian(observable.matrix().toarray(), wires)
        words, coefficients = pauli_words(observable)
        places = {wire: wire for wire in wires}
        return qml.Hamiltonian(coefficients, [qml.pauli.string_to_pauli_word(word, places) for word in words])

    def _built(self, theta: NDArray, wires: int) -> Any:
        if self.shots < 0:
            raise CircuitError(f"{self.shots} shots: 0 (exact) or more are possible")
        if not isinstance(self.device, str):
            return self.device
        name = self.device or ("default.mixed" if self.noise != Noise() else "default.qubit")
        mixed = name == "default.mixed"
        afford(16 * (4.0 if mixed else 2.0) ** wires, f"a {'density matrix' if mixed else 'state'} on {wires} wires")
        seed = {"seed": np.random.default_rng([self.seed, zlib.crc32(theta.tobytes())])} if self.shots else {}
        try:
            return qml.device(name, wires=wires, **seed)
        except TypeError:  # a device that takes no seed
            return qml.device(name, wires=wires)
        except (qml.exceptions.DeviceError, ImportError) as error:
            known = sorted(qml.devices.device_constructor.plugin_devices)
            near = None if name in known else name
            raise CircuitError(complaint(f"device {name}", str(error).splitlines()[0], known, near)) from None


def pauli_words(observable: Observable) -> tuple[list[str], NDArray[np.float64]]:
    """An observable's masked diagonals as a sum of Pauli words, and the words' coefficients.

    A word that flips the bits m and signs by the bits s has D_m[i] = c (-i)^|s ∧ m| (-1)^|s ∧ i|, hence c is a
    Walsh-Hadamard transform of the diagonal.
    """
    n, masks = observable.wires, observable.masks
    values = observable.diagonals.reshape(len(masks), *[2] * n)
    for _ in range(n):  # the first axis is transformed and comes back as the last
        values = np.tensordot(values, np.array([[1, 1], [1, -1]]), axes=(1, 0))
    signs = np.arange(2**n)
    phases = 1j ** np.bitwise_count(signs & masks[:, None])
    coefficients = (values.reshape(len(masks), 2**n) * phases).real / 2**n
    kept = np.argwhere(np.abs(coefficients) > NEGLIGIBLE * np.abs(coefficients).max(initial=0))
    letters = np.array([["I", "Z"], ["X", "Y"]])
    bits = np.arange(n)[::-1]
    words = ["".join(letters[masks[m] >> bits & 1, s >> bits & 1]) for m, s in kept]
    return words or ["I" * n], coefficients[tuple(kept.T)] if len(kept) else np.zeros(1)
