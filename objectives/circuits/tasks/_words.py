"""Pauli sums: PennyLane's operators as words and coefficients, and the task of finding a sum's ground state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.observable import MOST_WIRES_SOLVED, Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks._product import beyond, least_energy
from spaces.circuits.pool import CircuitError


def words_of(operator: Any, wires: int) -> tuple[list[str], NDArray[np.float64]]:
    """The words, a letter for each of the wires 0 .. wires - 1, and their coefficients.

    The real part is taken of coefficients: an operator that PennyLane builds Hermitian has others by rounding alone.
    """
    terms = operator.pauli_rep
    letters = np.full((len(terms), wires), "I", "U1")
    places = [(row, wire, letter) for row, word in enumerate(terms) for wire, letter in word.items()]
    if places:
        rows, columns, found = zip(*places, strict=True)
        letters[list(rows), list(columns)] = found
    return letters.view(f"U{wires}").ravel().tolist(), np.array(list(terms.values()), complex).real


def ground_task(
    name: str,
    words: list[str],
    coefficients: NDArray[np.float64],
    threshold: float,
    reference: float | None = None,
    strict: float | None = None,
) -> Task:
    """The task of finding the ground state of Σ_k coefficients[k] · words[k].

    The reference is by default the ground value, beyond `MOST_WIRES_SOLVED` wires the best product state's; the strict
    cost one that no product state reaches.

    Raises:
        CircuitError: the reference is not negative, so that cost / reference would not grow as the cost falls.
    """
    wires = len(words[0])
    observable = Observable.of_paulis(wires, words, coefficients.tolist())
    ground = observable.ground() if wires <= MOST_WIRES_SOLVED else None
    best = least_energy(words, coefficients)
    limit, meaning = beyond(best, ground) if strict is None else (strict, f"{strict:.6g}, as asked for")
    if reference is None:
        reference = best if ground is None else ground
    if not reference < -1e-12 * np.abs(coefficients).sum():
        raise CircuitError(
            f"{name}: the reference is {reference:.6g}; rewards are cost / reference and need it negative:\n"
            "  set another one, or add a multiple of the identity to the Hamiltonian"
        )
    return Task(
        name=f"ground state of {name} on {wires} wires",
        wires=wires,
        observables=(observable,),
        reference=reference,
        threshold=threshold,
        strict=limit,
        meaning=meaning,
        ground=ground,
    )
