"""Compiling a unitary V: the cost is -|Tr(V† U)|² / 4^n, minus the process fidelity; the reward is that fidelity.

By the Choi-Jamiołkowski isomorphism this is state preparation on a register twice as wide: the circuit acts on the
first half of Σ_i |i⟩|i⟩ / √N, and the target is (V ⊗ 1) Σ_i |i⟩|i⟩ / √N, whose overlap with (U ⊗ 1) is Tr(V† U) / N. A
global phase does not count. The strict question is for an average gate fidelity of 0.999, with
F_average = (N F_process + 1) / (N + 1) (Horodecki, Horodecki and Horodecki, quant-ph/9807091; Nielsen,
quant-ph/0205035).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.memory import afford
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks._circuits import haar_unitary, paper_circuit, unitary_of
from objectives.circuits.tasks._files import array, located
from spaces.circuits.pool import CircuitError
from spaces.domains import Choice, Int

THRESHOLD = 0.95
AVERAGE = 0.999  # the average gate fidelity that counts as compiled
UNITARY = 1e-6  # largest entry of V†V - 1 that is taken for rounding


@dataclass(frozen=True)
class Config:
    """Which unitary."""

    target: Annotated[str, Choice("qft", "toffoli", "random", "circuit", "file")] = (
        "qft"  # `toffoli` negates the last wire where all others are 1; `random` is Haar's
    )
    wires: Annotated[int, Int(1, 10)] = 3  # qubits that the unitary acts on; `file` brings its own
    gates: Annotated[int, Int(1, 200)] = 10  # `circuit`: gates of one circuit of the published generator
    depth: Annotated[int, Int(1, 200)] = 5  # `circuit`: its largest depth
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # `random`, `circuit`: which one
    path: str = ""  # `file`: the matrix in .npy, .npz or text, wire 0 as the most significant bit


def build(config: Config) -> Task:
    """The task of compiling the config's unitary.

    Raises:
        CircuitError: a file that holds no unitary, or a register too wide for the memory.
    """
    afford(5 * 16 * 4.0**config.wires, f"a unitary on {config.wires} wires")
    unitary = target(config)
    size = len(unitary)
    wires = size.bit_length() - 1
    fidelity = (AVERAGE * (size + 1) - 1) / size
    return Task(
        name=f"compile {config.target} on {wires} wires",
        wires=wires,
        observables=(Observable.of_states(2 * wires, unitary.ravel() / np.sqrt(size), [-1.0]),),
        reference=-1.0,
        threshold=THRESHOLD,
        strict=-fidelity,
        meaning=f"average gate fidelity {AVERAGE}",
        ground=-1.0,
        idle=wires,
        initial=np.eye(size, dtype=complex).reshape(1, -1) / np.sqrt(size),
    )


def target(config: Config) -> NDArray[np.complex128]:
    """The unitary: (2^n, 2^n).

    Raises:
        CircuitError: a file that holds no unitary.
    """
    size = 2**config.wires
    match config.target:
        case "qft":
            index = np.arange(size)
            return np.exp(2j * np.pi * np.outer(index, index) / size) / np.sqrt(size)
        case "toffoli":
            return np.eye(size, dtype=complex)[[*range(size - 2), size - 1, size - 2]]
        case "random":
            return haar_unitary(size, np.random.default_rng(config.seed))
        case "circuit":
            return unitary_of(config.wires, paper_circuit(config.wires, config.gates, config.depth, config.seed))
    return _read(config.path)


def _read(path: str) -> NDArray[np.complex128]:
    file = located(path, "a unitary matrix, .npy, .npz or text")
    unitary = array(file)
    size = len(unitary) if unitary.ndim else 0
    if unitary.shape != (size, size) or size < 2 or size & (size - 1):
        raise CircuitError(f"{file}: found shape {unitary.shape}; a unitary has 2^n rows and as many columns")
    if not np.isfinite(unitary).all():
        raise CircuitError(f"{file}: an entry is no finite number")
    deviation = float(np.abs(unitary.conj().T @ unitary - np.eye(size)).max())
    if deviation > UNITARY:
        raise CircuitError(f"{file}: the matrix is not unitary: V†V differs from 1 by {deviation:.3g}")
    return unitary
