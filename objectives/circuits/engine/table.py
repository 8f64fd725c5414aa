"""The gate table of `spaces.circuits.gates` flattened into arrays that compiled code can read."""

from __future__ import annotations

from functools import cache
from math import pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import GATES, MAX_WIRES, matrix, pauli_matrix

MAX_TURNS = max(len(gate.turns) for gate in GATES)
GENERATORS = [(1, 0, 0), (0, 1, 0), (2, 0, 0), (0, 2, 0)]  # X_0, Z_0, X_1, Z_1 as (x, z, p)
LETTERS = {"I": (0, 0), "X": (1, 0), "Y": (1, 1), "Z": (0, 1)}  # the bits x and z of i^(x·z) X^x Z^z


class Table(NamedTuple):
    """All gates, by code; bit k of a local mask belongs to the gate's wire k.

    Attributes:
        turns: how many turns a gate has: int64 (G,).
        x, z: the masks of each turn's word: int64 (G, MAX_TURNS); both 0 for a global phase.
        scale: each turn's scale: float64 (G, MAX_TURNS).
        source: its parameter, -1 for a constant: int64 (G, MAX_TURNS).
        clifford: 1 for gates that turn Pauli words into Pauli words: int64 (G,).
        image: what g Q g† is for Q = X_0, Z_0, X_1, Z_1, as (x, z, p) of i^p X^x Z^z: int64 (G, 4, 3).
        moved, which: how many of them are not Q itself, and which: int64 (G,) and (G, 4).
    """

    turns: NDArray[np.int64]
    x: NDArray[np.int64]
    z: NDArray[np.int64]
    scale: NDArray[np.float64]
    source: NDArray[np.int64]
    clifford: NDArray[np.int64]
    image: NDArray[np.int64]
    moved: NDArray[np.int64]
    which: NDArray[np.int64]


@cache
def table() -> Table:
    """The table, made once."""
    count = len(GATES)
    flat = Table(
        np.array([len(gate.turns) for gate in GATES]),
        np.zeros((count, MAX_TURNS), np.int64),
        np.zeros((count, MAX_TURNS), np.int64),
        np.zeros((count, MAX_TURNS)),
        np.full((count, MAX_TURNS), -1),
        np.zeros(count, np.int64),
        np.zeros((count, 2 * MAX_WIRES, 3), np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, 2 * MAX_WIRES), np.int64),
    )
    for code, gate in enumerate(GATES):
        for k, turn in enumerate(gate.turns):
            flat.x[code, k] = sum(LETTERS[letter][0] << wire for wire, letter in enumerate(turn.pauli))
            flat.z[code, k] = sum(LETTERS[letter][1] << wire for wire, letter in enumerate(turn.pauli))
            flat.scale[code, k] = turn.scale
            flat.source[code, k] = -1 if turn.parameter is None else turn.parameter
        images = _images(gate.name, gate.wires) if not gate.parameters else None
        if images is not None:
            flat.clifford[code] = 1
            flat.image[code, : len(images)] = images
            moved = [g for g, image in enumerate(images) if image != GENERATORS[g]]
            flat.moved[code], flat.which[code, : len(moved)] = len(moved), moved
    for array in flat:
        array.flags.writeable = False
    return flat


def _images(name: str, wires: int) -> list[tuple[int, int, int]] | None:
    """g Q g† for each generator Q, or None where one is no Pauli word."""
    gate, found = matrix(name), []
    for wire in range(wires):
        for letter in "XZ":
            word = "I" * wire + letter + "I" * (wires - wire - 1)
            image = _word(gate @ pauli_matrix(word) @ gate.conj().T, wires)
            if image is None:
                return None
            found.append(image)
    return found


def _word(operator: NDArray[np.complex128], wires: int) -> tuple[int, int, int] | None:
    """The (x, z, p) with operator = i^p X^x Z^z, if there is one."""
    for x in range(2**wires):
        for z in range(2**wires):
            product = np.eye(1, dtype=complex)
            for wire in range(wires):
                flip = pauli_matrix("X") if x >> wire & 1 else np.eye(2)
                product = np.kron(product, flip @ (pauli_matrix("Z") if z >> wire & 1 else np.eye(2)))
            overlap = np.trace(product.conj().T @ operator) / 2**wires
            if abs(abs(overlap) - 1) < 1e-9:
                return x, z, round(np.angle(overlap) / (pi / 2)) % 4
    return None
