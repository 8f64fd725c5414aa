"""Observables: what is measured of a state, in the form in which it costs least to apply.

A Pauli sum is grouped by which bits its words flip. All words with the same *mask* m act as one diagonal followed by
one permutation, (H ψ)[i] = Σ_m D_m[i] ψ[i ⊕ m], so that the 631 words of LiH on 12 qubits become 84 terms. A
projector |t⟩⟨t| of a state is kept as that state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import LinearOperator, eigsh

from objectives.circuits.memory import afford
from spaces.circuits.pool import CircuitError

MOST_WIRES_SOLVED = 14  # wires up to which the ground value is computed exactly
DENSE_WIRES = 7  # wires up to which a dense eigensolver is the quicker
HERMITIAN = 1e-8  # relative size of an anti-Hermitian part that is taken for rounding


@dataclass(frozen=True)
class Observable:
    """A Hermitian operator H on n wires, N = 2^n: Σ_m of masked diagonals and Σ_t of weighted projectors.

    Attributes:
        wires: n.
        masks: the flips m, distinct: int64 (M,).
        diagonals: D_m, by mask and index: complex128 (M, N).
        targets: normalised states t: complex128 (T, N).
        weights: their weights in H: float64 (T,).
    """

    wires: int
    masks: NDArray[np.int64]
    diagonals: NDArray[np.complex128]
    targets: NDArray[np.complex128]
    weights: NDArray[np.float64]

    @staticmethod
    def of_paulis(wires: int, words: Sequence[str], coefficients: Sequence[complex]) -> Observable:
        """The sum Σ_k coefficients[k] · words[k]; a word such as `ZXI` has a letter for each wire, wire 0 first.

        Raises:
            CircuitError: a word of another length or with another letter, a coefficient that is not finite, or one
                that is not real (the sum would not be Hermitian).
        """
        values = np.asarray(coefficients, complex)
        for word, value in zip(words, values, strict=True):
            if len(word) != wires or set(word) - set("IXYZ"):
                raise CircuitError(f"{word!r} is no Pauli word on {wires} wires: one of I, X, Y, Z for each is needed")
            if not np.isfinite(value):
                raise CircuitError(f"the coefficient of {word} is {value}, no finite number")
            if abs(value.imag) > HERMITIAN * abs(value):
                raise CircuitError(f"the coefficient of {word} is {value}: the sum is not Hermitian, it must be real")
        flips = np.array([_bits(word, "XY") for word in words], np.int64)
        signs = np.array([_bits(word, "YZ") for word in words], np.int64)
        phases = np.array([(-1j) ** word.count("Y") for word in words])
        masks, which = np.unique(flips, return_inverse=True)
        afford(2 * 16 * max(len(masks), 1) * 2.0**wires, f"an observable of {len(masks)} masks on {wires} wires")
        index = np.arange(2**wires)
        diagonals = np.zeros((len(masks), 2**wires), complex)
        for k, mask in enumerate(which):
            parity = np.bitwise_count(index & signs[k]) & 1
            diagonals[mask] += values[k].real * phases[k] * (1 - 2.0 * parity)
        return Observable(wires, masks, diagonals, np.zeros((0, 2**wires), complex), np.zeros(0))

    @staticmethod
    def of_states(wires: int, states: NDArray, weights: Sequence[float]) -> Observable:
        """The weighted projectors Σ_t weights[t] |states[t]⟩⟨states[t]|, states (T, N).

        Raises:
            CircuitError: a state of another size, not finite, or not normalised to 1e-6.
        """
        vectors = np.atleast_2d(np.asarray(states, complex))
        if vectors.shape[1] != 2**wires:
            raise CircuitError(f"a state on {wires} wires has {2**wires} amplitudes, found {vectors.shape[1]}")
        if not np.isfinite(vectors).all():
            raise CircuitError("a state has an amplitude that is no finite number")
        norms = np.linalg.norm(vectors, axis=1)
        if np.abs(norms - 1).max(initial=0) > 1e-6:
            raise CircuitError(f"a state must have norm 1, found {norms[np.abs(norms - 1).argmax()]:.6g}")
        none = np.zeros((0, 2**wires), complex)
        return Observable(wires, np.zeros(0, np.int64), none, vectors / norms[:, None], np.asarray(weights, float))

    @staticmethod
    def of_matrix(matrix: NDArray) -> Observable:
        """The observable of a Hermitian matrix (N, N), N a power of two.

        Raises:
            CircuitError: the matrix is not square, not of a power of two, not finite, or not Hermitian.
        """
        matrix = np.asarray(matrix, complex)
        size = len(matrix)
        if matrix.shape != (size, size) or size < 2 or size & (size - 1):
            raise CircuitError(f"an observable's matrix is square with a power of two of rows, found {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise CircuitError("the matrix has an entry that is no finite number")
        if np.abs(matrix - matrix.conj().T).max() > HERMITIAN * np.abs(matrix).max():
            raise CircuitError("the matrix is not Hermitian")
        index = np.arange(size)
        diagonals = np.stack([matrix[index, index ^ mask] for mask in range(size)])
        masks = np.flatnonzero(np.abs(diagonals).max(1) > 0)
        wires = size.bit_length() - 1
        return Observable(wires, masks, diagonals[masks], np.zeros((0, size), complex), np.zeros(0))

    def widened(self, idle: int) -> Observable:
        """This observable on a register with `idle` further wires behind its own, on which it acts as identity."""
        if len(self.targets):
            raise CircuitError("a projector has no meaning on a wider register")
        return Observable(
            self.wires + idle,
            self.masks << idle,
            np.repeat(self.diagonals, 2**idle, axis=1),
            np.zeros((0, 2 ** (self.wires + idle)), complex),
            np.zeros(0),
        )

    def apply(self, states: NDArray) -> NDArray[np.complex128]:
        """H ψ of states (..., N)."""
        index, result = np.arange(2**self.wires), np.zeros(np.shape(states), complex)
        for mask, diagonal in zip(self.masks, self.diagonals, strict=True):
            result += diagonal * states[..., index ^ mask]
        overlaps = states @ self.targets.conj().T
        return result + (overlaps * self.weights) @ self.targets

    def expectation(self, states: NDArray) -> NDArray[np.float64]:
        """⟨ψ|H|ψ⟩ of states (..., N)."""
        return np.einsum("...i,...i->...", np.conj(states), self.apply(states)).real

    def matrix(self) -> coo_array:
        """The sparse matrix of H, (N, N); projectors make it dense."""
        index = np.arange(2**self.wires)
        rows = np.tile(index, len(self.masks))
        columns = (index[None] ^ self.masks[:, None]).ravel()
        masked = coo_array((self.diagonals.ravel(), (rows, columns)), shape=(2**self.wires,) * 2)
        return (
            coo_array(masked + (self.targets.T * self.weights) @ self.targets.conj()) if len(self.targets) else masked
        )

    def ground(self) -> float:
        """The smallest eigenvalue.

        Raises:
            CircuitError: more than `MOST_WIRES_SOLVED` wires.
        """
        if self.wires > MOST_WIRES_SOLVED:
            raise CircuitError(f"the exact ground value is computed up to {MOST_WIRES_SOLVED} wires, not {self.wires}")
        if not len(self.targets) and not self.masks.any():
            return float(self.diagonals.real.sum(0).min())
        if self.wires <= DENSE_WIRES:
            matrix = self.matrix()
            return float(np.linalg.eigvalsh(matrix.toarray())[0])
        size = 2**self.wires
        operator = LinearOperator((size, size), matvec=lambda v: self.apply(v.reshape(-1)), dtype=complex)
        start = np.random.default_rng(0).normal(size=size)
        return float(eigsh(operator, k=1, which="SA", v0=start, tol=1e-12, return_eigenvectors=False)[0])


def _bits(word: str, letters: str) -> int:
    return int("".join("1" if letter in letters else "0" for letter in word), 2)
