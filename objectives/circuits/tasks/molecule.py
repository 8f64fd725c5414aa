"""A molecule's ground energy in hartree, in the STO-3G basis under the Jordan-Wigner map, two wires an orbital.

Published (Sun et al., Quantum 10, 1994): H2 at 1.3228 bohr, reward E / (-1.136), threshold 0.95. That is -1.0792, above
what Hartree-Fock's product state has, -1.11735; chemical accuracy, 1.6 mHa above the ground, is the question chemists
ask. The ground is that of the Hamiltonian over all numbers of electrons, as a circuit is free to choose one.

PennyLane's own Hartree-Fock solver builds the Hamiltonian without any download. It takes seconds, so the result is kept
(see `cache`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.cache import kept
from objectives.circuits.observable import MOST_WIRES_SOLVED, Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks._files import located, text
from objectives.circuits.tasks._product import beyond
from objectives.circuits.tasks._words import words_of
from spaces.circuits.pool import CircuitError
from spaces.document import complaint
from spaces.domains import Choice, Int, Uniform

ANGSTROM = 1 / 0.529177210903  # in bohr (CODATA 2018)
PUBLISHED_BOND, PUBLISHED_REFERENCE = 1.3228 / ANGSTROM, -1.136  # of H2
THRESHOLD = 0.95
FORMAT = 1  # of the kept file
ACCURACY = 1.6e-3  # hartree: chemical accuracy
SHAPES: dict[str, tuple[list[str], list[int], float]] = {  # atoms on a line, their places in bonds, the bond in Å
    "h2": (["H", "H"], [0, 1], PUBLISHED_BOND),
    "lih": (["Li", "H"], [0, 1], 1.6),
    "beh2": (["H", "Be", "H"], [-1, 0, 1], 1.33),
    "h4": (["H", "H", "H", "H"], [0, 1, 2, 3], 0.9),
}


@dataclass(frozen=True)
class Config:
    """Which molecule, and how much of it."""

    molecule: Annotated[str, Choice("h2", "lih", "beh2", "h4", "file")] = "h2"  # `h4` is a chain
    bond: Annotated[float, Uniform(0.0, 5.0)] = 0.0  # angstrom, between neighbours; 0 takes the molecule's own
    active_electrons: Annotated[int, Int(0, 20)] = 0  # electrons outside the frozen core; 0: all
    active_orbitals: Annotated[int, Int(0, 10)] = 0  # orbitals that they may take; 0: all
    path: str = ""  # `file`: an .xyz file, in angstrom


class Molecule(NamedTuple):
    """A molecular Hamiltonian: its Pauli words, their coefficients, its Hartree-Fock and ground energies, in hartree.

    The ground energy is NaN where it is not known.
    """

    words: NDArray[np.str_]
    coefficients: NDArray[np.float64]
    mean_field: NDArray[np.float64]
    ground: NDArray[np.float64]


def build(config: Config) -> Task:
    """The task of finding the molecule's ground state.

    Raises:
        CircuitError: a file that is no .xyz, or a molecule that PennyLane's solver cannot treat (an element without
            STO-3G data, an odd number of electrons, an active space that is not there).
    """
    symbols, places = _read(config.path) if config.molecule == "file" else _line(config)
    found = _kept(symbols, places, config)
    wires, mean_field = len(found.words[0]), float(found.mean_field)
    ground = None if np.isnan(found.ground) else float(found.ground)
    strict, meaning = _strict(mean_field, ground)
    published = config.molecule == "h2" and config.bond == 0 and wires == 4
    return Task(
        name=f"ground state of {config.path if config.molecule == 'file' else config.molecule} on {wires} wires",
        wires=wires,
        observables=(Observable.of_paulis(wires, found.words.tolist(), found.coefficients.tolist()),),
        reference=PUBLISHED_REFERENCE if published else mean_field if ground is None else ground,
        threshold=THRESHOLD,
        strict=strict,
        meaning=meaning,
        ground=ground,
    )


def _strict(mean_field: float, ground: float | None) -> tuple[float, str]:
    """Chemical accuracy, or less where Hartree-Fock has that already: a part of the way from there to the ground."""
    if ground is None:
        return mean_field - ACCURACY, f"1.6 mHa below Hartree-Fock at {mean_field:.6f} Ha"
    strict = min(ground + ACCURACY, beyond(mean_field, ground)[0])
    near = f"within {1e3 * (strict - ground):.1f} mHa of the ground at {ground:.6f} Ha"
    return strict, f"{near}; Hartree-Fock at {mean_field:.6f} Ha"


def _line(config: Config) -> tuple[list[str], NDArray[np.float64]]:
    """A named molecule's elements, and its coordinates in bohr: (A,), (A, 3)."""
    symbols, steps, bond = SHAPES[config.molecule]
    places = np.zeros((len(symbols), 3))
    places[:, 2] = np.array(steps) * (config.bond or bond) * ANGSTROM
    return symbols, places


def _read(path: str) -> tuple[list[str], NDArray[np.float64]]:
    """The same of an .xyz file: the number of atoms, a comment, and `element x y z` in angstrom for each."""
    file = located(path, "an .xyz file")
    lines = text(file).splitlines()
    count = lines[0].strip() if lines else ""
    if not count.isdecimal() or int(count) == 0:
        raise CircuitError(complaint(f"{file}:1", f"found {count!r}", "the number of atoms"))
    atoms = lines[2 : 2 + int(count)]
    if len(atoms) < int(count) or any(line.strip() for line in lines[2 + int(count) :]):
        beyond = sum(1 for line in lines[2:] if line.strip())
        raise CircuitError(complaint(f"{file}:1", f"{count} atoms are announced, {beyond} lines of atoms follow"))
    symbols, places = [], []
    for number, line in enumerate(atoms, 3):
        try:
            symbol, x, y, z = line.split()
            places.append([float(x), float(y), float(z)])
        except ValueError:
            raise CircuitError(complaint(f"{file}:{number}", f"found {line.strip()!r}", "`element x y z`")) from None
        if not np.isfinite(places[-1]).all():
            raise CircuitError(complaint(f"{file}:{number}", f"found {line.strip()!r}", "finite coordinates"))
        symbols.append(symbol)
    return symbols, np.array(places) * ANGSTROM


def _kept(symbols: list[str], places: NDArray[np.float64], config: Config) -> Molecule:
    """The molecule from the cache, or made and put there."""
    space = (config.active_electrons, config.active_orbitals)
    key = (symbols, places.tolist(), space, "sto-3g", "dhf", version("pennylane"), FORMAT)
    return Molecule(**kept("molecule", key, Molecule._fields, lambda: _made(symbols, places, config)._asdict()))


def _made(symbols: list[str], places: NDArray[np.float64], config: Config) -> Molecule:
    """The molecule, by PennyLane's Hartree-Fock solver."""
    from pennylane import qchem

    electrons, orbitals = config.active_electrons or None, config.active_orbitals or None
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite is refused below
            molecule = qchem.Molecule(symbols, places)
            operator, wires = qchem.molecular_hamiltonian(
                molecule, active_electrons=electrons, active_orbitals=orbitals
            )
    except (ValueError, KeyError, ImportError, np.linalg.LinAlgError) as error:
        reason = f"there is no element {error}" if isinstance(error, KeyError) else str(error)
        raise CircuitError(complaint(_shown(symbols), f"its Hamiltonian cannot be built: {reason}")) from None
    words, coefficients = words_of(operator, wires)
    if not np.isfinite(coefficients).all():
        raise CircuitError(complaint(_shown(symbols), "two atoms stand in one place, or the solver did not converge"))
    ground = np.nan
    if wires <= MOST_WIRES_SOLVED:
        ground = Observable.of_paulis(wires, words, coefficients.tolist()).ground()
    mean_field = _mean_field(words, coefficients, electrons or molecule.n_electrons)
    return Molecule(np.array(words), coefficients, np.array(mean_field), np.array(ground))


def _mean_field(words: list[str], coefficients: NDArray[np.float64], electrons: int) -> float:
    """The energy of the basis state with the first `electrons` wires occupied, Hartree-Fock's determinant."""
    signs = [0 if {"X", "Y"} & set(word) else (-1) ** word[:electrons].count("Z") for word in words]
    return float(coefficients @ signs)


def _shown(symbols: list[str]) -> str:
    return "molecule " + " ".join(symbols)
