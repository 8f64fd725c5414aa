"""States and unitaries that tasks aim at: of circuits, and random ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import CODES, GATES, matrix
from spaces.circuits.pool import GateRow
from spaces.circuits.sampler import paper, sample


def unitary_of(wires: int, circuit: Sequence[GateRow]) -> NDArray[np.complex128]:
    """The matrix of a circuit as `Pool.gates` writes it: (2^n, 2^n); its first column is the state it prepares."""
    return _applied(circuit, np.eye(2**wires, dtype=complex), wires)


def state_of(wires: int, circuit: Sequence[GateRow]) -> NDArray[np.complex128]:
    """The state that a circuit prepares from |0…0⟩: (2^n,)."""
    return _applied(circuit, np.eye(2**wires, 1, dtype=complex), wires)[:, 0]


def _applied(circuit: Sequence[GateRow], columns: NDArray, wires: int) -> NDArray[np.complex128]:
    shape = columns.shape
    columns = columns.reshape((2,) * wires + shape[1:])
    for name, *rest in circuit:
        on = GATES[CODES[name]].wires
        gate = matrix(name, *rest[on:]).reshape((2,) * (2 * on))
        columns = np.tensordot(gate, columns, (range(on, 2 * on), rest[:on]))
        columns = np.moveaxis(columns, range(on), rest[:on])
    return columns.reshape(shape)


def haar_state(size: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """A uniformly random state: (size,)."""
    vector = rng.normal(size=size) + 1j * rng.normal(size=size)
    return vector / np.linalg.norm(vector)


def haar_unitary(size: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """A Haar-random unitary, by the QR decomposition with R's phases taken out (Mezzadri, math-ph/0609050)."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    phases = np.diagonal(r)
    return q * (phases / np.abs(phases))


def paper_circuit(wires: int, gates: int, depth: int, seed: int) -> list[GateRow]:
    """One random circuit of the published generator (Sun et al., Quantum 10, 1994), its angles fixed."""
    return sample(paper(wires, gates, depth), 1, np.random.default_rng(seed)).gates(0)
