"""The gates, as data: each is a product of Pauli rotations, and all that pretune does with it follows from that.

A `Turn` is exp(-i φ P / 2) for a Pauli word P over the gate's wires, first wire first. Its angle is
φ = scale · parameter, or the constant `scale` where it has no parameter. The word of identities is a global phase,
so that the products below are the gates themselves and not the gates up to a phase. Adding a gate is adding a row:
simulation, gradients, the commutation rules and the encodings read the table.

The parameters' meaning is PennyLane's: U3(θ, φ, δ) is RZ(φ) RY(θ) RZ(δ) up to its phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np
from numpy.typing import NDArray

MAX_WIRES = 2
MAX_PARAMETERS = 3


@dataclass(frozen=True)
class Turn:
    """One factor exp(-i φ `pauli` / 2) of a gate; `parameter` counts the gate's own parameters from 0."""

    pauli: str
    scale: float
    parameter: int | None = None


@dataclass(frozen=True)
class Gate:
    """A row of the table; `turns` stand in the order in which they act.

    `symmetric` says that exchanging the two wires changes nothing; `inverse` names the gate that undoes this one
    (a gate with parameters is undone by itself at the inverse angles, see `inverse_parameters`).
    """

    name: str
    wires: int
    turns: tuple[Turn, ...]
    parameters: int = 0
    symmetric: bool = False
    inverse: str = ""


def _gate(name: str, wires: int, *turns: tuple, symmetric: bool = False, inverse: str = "") -> Gate:
    made = tuple(Turn(*turn) for turn in turns)
    parameters = 1 + max((t.parameter for t in made if t.parameter is not None), default=-1)
    return Gate(name, wires, made, parameters, symmetric, inverse or name)


GATES: tuple[Gate, ...] = (
    _gate("X", 1, ("X", pi), ("I", -pi)),
    _gate("Y", 1, ("Y", pi), ("I", -pi)),
    _gate("Z", 1, ("Z", pi), ("I", -pi)),
    _gate("H", 1, ("Y", pi / 2), ("X", pi), ("I", -pi)),
    _gate("RX", 1, ("X", 1.0, 0)),
    _gate("RY", 1, ("Y", 1.0, 0)),
    _gate("RZ", 1, ("Z", 1.0, 0)),
    _gate("CNOT", 2, ("ZI", pi / 2), ("IX", pi / 2), ("ZX", -pi / 2), ("II", -pi / 2)),
    _gate("CZ", 2, ("ZI", pi / 2), ("IZ", pi / 2), ("ZZ", -pi / 2), ("II", -pi / 2), symmetric=True),
    _gate("U3", 1, ("Z", 1.0, 2), ("Y", 1.0, 0), ("Z", 1.0, 1), ("I", -1.0, 1), ("I", -1.0, 2)),
    _gate("SWAP", 2, ("XX", pi / 2), ("YY", pi / 2), ("ZZ", pi / 2), ("II", -pi / 2), symmetric=True),
    _gate("RXX", 2, ("XX", 1.0, 0), symmetric=True),
    _gate("RYY", 2, ("YY", 1.0, 0), symmetric=True),
    _gate("RZZ", 2, ("ZZ", 1.0, 0), symmetric=True),
    _gate("CRX", 2, ("IX", 0.5, 0), ("ZX", -0.5, 0)),
    _gate("CRY", 2, ("IY", 0.5, 0), ("ZY", -0.5, 0)),
    _gate("CRZ", 2, ("IZ", 0.5, 0), ("ZZ", -0.5, 0)),
    _gate("S", 1, ("Z", pi / 2), ("I", -pi / 2), inverse="SDG"),
    _gate("T", 1, ("Z", pi / 4), ("I", -pi / 4), inverse="TDG"),
    _gate("SX", 1, ("X", pi / 2), ("I", -pi / 2), inverse="SXDG"),
    _gate("I", 1),
    _gate("SDG", 1, ("Z", -pi / 2), ("I", pi / 2), inverse="S"),
    _gate("TDG", 1, ("Z", -pi / 4), ("I", pi / 4), inverse="T"),
    _gate("SXDG", 1, ("X", -pi / 2), ("I", pi / 2), inverse="SX"),
    _gate("P", 1, ("Z", 1.0, 0), ("I", -1.0, 0)),
    _gate("CP", 2, ("ZI", 0.5, 0), ("IZ", 0.5, 0), ("ZZ", -0.5, 0), ("II", -0.5, 0), symmetric=True),
)
CODES: dict[str, int] = {gate.name: code for code, gate in enumerate(GATES)}

GATE_SETS: dict[str, tuple[str, ...]] = {
    "paper": ("X", "Y", "Z", "H", "RX", "RY", "RZ", "CNOT", "CZ", "U3", "SWAP"),
    "rotations": ("RX", "RY", "RZ", "CNOT"),
    "superconducting": ("RZ", "SX", "X", "CZ"),
    "ions": ("RX", "RY", "RZ", "RXX"),
    "u3_cz": ("U3", "CZ"),
    "ising": ("RX", "RY", "RZ", "RXX", "RYY", "RZZ"),
    "controlled": ("RX", "RY", "RZ", "CRX", "CRY", "CRZ"),
    "clifford_t": ("H", "S", "T", "CNOT"),
}


@cache
def wires_of() -> NDArray[np.int8]:
    """How many wires each gate of the table has, by code: (G,)."""
    return np.array([gate.wires for gate in GATES], np.int8)


@cache
def parameters_of() -> NDArray[np.int8]:
    """How many parameters each gate of the table has, by code: (G,)."""
    return np.array([gate.parameters for gate in GATES], np.int8)


@cache
def symmetric() -> NDArray[np.bool_]:
    """Which gates of the table do not care for their wires' order, by code: (G,)."""
    return np.array([gate.symmetric for gate in GATES])


def inverse_parameters(name: str, angles: tuple[float, ...]) -> tuple[float, ...]:
    """The angles at which the gate named by `inverse` undoes the gate `name` at `angles`.

    U3(θ, φ, δ) is undone by U3(-θ, -δ, -φ); every other gate by the opposite angle.
    """
    if name == "U3":
        return -angles[0], -angles[2], -angles[1]
    return tuple(-angle for angle in angles)


PAULIS = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]], complex),
}


def pauli_matrix(word: str) -> NDArray[np.complex128]:
    """The matrix of a Pauli word such as `ZX`, its first letter on the most significant bit: (2^w, 2^w)."""
    matrix = np.eye(1, dtype=complex)
    for letter in word:
        matrix = np.kron(matrix, PAULIS[letter])
    return matrix


def matrix(name: str, *angles: float) -> NDArray[np.complex128]:
    """The unitary matrix of a gate, its first wire on the most significant bit: (2^w, 2^w)."""
    gate = GATES[CODES[name]]
    product = np.eye(2**gate.wires, dtype=complex)
    for turn in gate.turns:
        angle = turn.scale if turn.parameter is None else turn.scale * angles[turn.parameter]
        pauli = pauli_matrix(turn.pauli)
        product = (np.cos(angle / 2) * np.eye(len(pauli)) - 1j * np.sin(angle / 2) * pauli) @ product
    return product
