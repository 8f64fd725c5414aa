"""The best that product states can do, found by alternation: the measure of whether a task asks for entanglement.

With all wires but one held fixed, the best state of that one is known in closed form. Going round the wires never makes
things worse, and ends at a local optimum; the best of many seeded starts is taken. It is a bound from the inside: an
even better product state is not excluded, but was never found where the answer is known (see the tests).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STARTS = 32
ROOM = 2**18  # amplitudes of all starts together; larger states get fewer starts
SWEEPS = 500
TOLERANCE = 1e-13  # relative gain of a round below which it was the last
BEYOND_GAP = 0.2  # share of the gap from the best product state to the ground that counts as beyond the former
BEYOND = 0.005  # share of the best product state's energy that does so where the ground is not known
NO_GAP = 1e-6  # relative gap below which the ground itself is a product state
NEAR = 1e-3  # relative distance from such a ground at which the task counts as solved


def least_energy(words: Sequence[str], coefficients: NDArray[np.float64], seed: int = 0) -> float:
    """The least Σ_k c_k ⟨word_k⟩ of a product state.

    A wire's state is a Bloch vector r; the energy is linear in it, g·r + rest, and least at r = -g/|g|.
    """
    letters = np.array([["IXYZ".index(letter) for letter in word] for word in words])
    wires = letters.shape[1]
    bloch = np.ones((STARTS, wires, 4))
    bloch[..., 1:] = _unit(np.random.default_rng(seed).normal(size=(STARTS, wires, 3)))
    factors = np.stack([bloch[:, q, letters[:, q]] for q in range(wires)], axis=-1)  # (starts, words, wires)
    energy = factors.prod(-1) @ coefficients
    for _ in range(SWEEPS):
        for q in range(wires):
            others = np.delete(factors, q, axis=-1).prod(-1) * coefficients
            slope = np.stack([others[:, letters[:, q] == letter].sum(-1) for letter in (1, 2, 3)], axis=-1)
            moved = np.linalg.norm(slope, axis=-1) > TOLERANCE
            bloch[moved, q, 1:] = -_unit(slope[moved])
            factors[..., q] = bloch[:, q, letters[:, q]]
        before, energy = energy, factors.prod(-1) @ coefficients
        if (before - energy).max() <= TOLERANCE * np.abs(coefficients).sum():
            break
    return float(energy.min())


def most_overlap(state: NDArray[np.complex128], seed: int = 0) -> float:
    """The largest |⟨product|state⟩|² of a product state, for a normalised state (2^n,)."""
    wires = len(state).bit_length() - 1
    starts = max(2, min(STARTS, ROOM // len(state)))
    rng = np.random.default_rng(seed)
    single = _unit(rng.normal(size=(starts, wires, 2)) + 1j * rng.normal(size=(starts, wires, 2)))
    overlap = np.zeros(starts)
    for _ in range(SWEEPS):
        behind = [np.ones((starts, 1), complex)]  # the product of the wires behind each one
        for q in range(wires - 1, 0, -1):
            behind.append(np.einsum("ra,rb->rab", single[:, q].conj(), behind[-1]).reshape(starts, -1))
        left = np.broadcast_to(state, (starts, len(state)))  # the state, the wires before contracted
        for q in range(wires):
            left = left.reshape(starts, 2, -1)
            best = np.einsum("rab,rb->ra", left, behind[wires - 1 - q])
            moved = np.linalg.norm(best, axis=-1) > TOLERANCE
            single[moved, q] = _unit(best[moved])
            left = np.einsum("ra,rab->rb", single[:, q].conj(), left)
        before, overlap = overlap, np.abs(left[:, 0]) ** 2
        if (overlap - before).max() <= TOLERANCE:
            break
    return float(overlap.max())


def beyond(best: float, ground: float | None) -> tuple[float, str]:
    """The cost that no product state reaches and what it means, from the best product state's cost and the ground's."""
    if ground is None:
        return best - BEYOND * abs(best), f"below the best product state at {best:.6g} by {BEYOND:.1%} of it"
    if best - ground <= NO_GAP * abs(ground):
        return ground + NEAR * abs(ground), f"the ground value {ground:.6g} to {NEAR:.1%}; a product state reaches it"
    share = f"by {BEYOND_GAP:.0%} of its distance from the ground at {ground:.6g}"
    return best - BEYOND_GAP * (best - ground), f"below the best product state at {best:.6g} {share}"


def _unit(vectors: NDArray) -> NDArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
