"""The ground state of any Pauli sum, from a file.

In a text file a term a line, coefficient first or last, `#` before a comment; in a JSON or YAML file a mapping of words
to coefficients:

    0.5 ZZII                 a letter for each wire, wire 0 first
    0.5 Z0 Z1                or only the letters that are not I, each with its wire; a lone I is the identity
    Z0*Z1 -1.5e-1

A word that stands twice is refused, as a slip is the likelier reason; so is a coefficient that is not real, as the sum
would not be Hermitian.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from objectives.circuits.task import Task
from objectives.circuits.tasks._files import located, text
from objectives.circuits.tasks._words import ground_task
from spaces.circuits.pool import CircuitError
from spaces.document import StudyError, complaint, describe, parse
from spaces.domains import Int, Uniform

MOST_WIRES = 24
LETTER = re.compile(r"([A-Za-z])(\d+)")
FORMS = "letters I, X, Y, Z as in `ZZII`, or with their wires as in `Z0 Z1`"

Term = tuple[str, list[str], complex]  # its place in the file, the parts of its word, its coefficient


@dataclass(frozen=True)
class Config:
    """Which sum, and what is asked for."""

    path: str = ""  # a text file of terms, .json, .yaml or .yml
    wires: Annotated[int, Int(0, MOST_WIRES)] = 0  # of the register; 0: as many as the file's words have
    reference: float = 0.0  # the cost of reward 1, negative; 0: the ground value, or the best product state's
    threshold: Annotated[float, Uniform(0.0, 1.0)] = 0.95  # the reward from which a circuit is a candidate
    strict: float = 0.0  # the cost that solves the problem; 0: one that no product state reaches


def build(config: Config) -> Task:
    """The task of finding the sum's ground state.

    Raises:
        CircuitError: whatever is wrong with the file, with its line; or a reference that is not negative.
    """
    file = located(config.path, "a Pauli sum: text, .json or .yaml")
    terms = list(_mapped(file) if file.suffix in (".json", ".yaml", ".yml") else _lines(file))
    words, coefficients = _sum(terms, config.wires, file)
    reference, strict = config.reference or None, config.strict or None
    return ground_task(file.name, words, np.array(coefficients), config.threshold, reference, strict)


def _lines(file: Path) -> Iterator[Term]:
    """The terms of a text file."""
    for number, line in enumerate(text(file).splitlines(), 1):
        parts = line.partition("#")[0].replace("*", " ").split()
        if not parts:
            continue
        where = f"{file}:{number}"
        values = [_number(part) for part in parts]
        at = next((k for k in (0, len(parts) - 1) if values[k] is not None), None)
        if at is None or len(parts) < 2:
            what = "there is no coefficient" if at is None else "there is no word"
            raise CircuitError(complaint(where, f"found {line.strip()!r}: {what}", "a coefficient and a word"))
        value = values[at]
        assert value is not None
        yield where, parts[:at] + parts[at + 1 :], value


def _mapped(file: Path) -> Iterator[Term]:
    """The terms of a mapping of words to coefficients; JSON is read as the YAML that it is."""
    try:
        terms = parse(text(file).expandtabs(), str(file)).mapping("a mapping of Pauli words to coefficients")
    except CircuitError:
        raise
    except StudyError as error:
        raise CircuitError(str(error)) from None
    for word, node in terms.items():
        value = _number(str(node.value)) if isinstance(node.value, (int, float, str)) else None
        if value is None or isinstance(node.value, bool):
            raise CircuitError(complaint(node.origin, f"the coefficient of {word} is {describe(node)}", "a number"))
        yield node.origin, word.replace("*", " ").split(), value


def _number(written: str) -> complex | None:
    try:
        return complex(written)
    except ValueError:
        return None


def _sum(terms: list[Term], wires: int, file: Path) -> tuple[list[str], list[float]]:
    """The terms' words, all of one length, and their coefficients."""
    if not terms:
        raise CircuitError(complaint(str(file), "there are no terms"))
    sparse = [(where, _letters(where, parts), value) for where, parts, value in terms]
    size = _size(sparse, wires)
    first: dict[str, str] = {}
    coefficients = []
    for where, (_, letters), value in sparse:
        word = "".join(letters.get(q, "I") for q in range(size))
        if word in first:
            raise CircuitError(complaint(where, f"the word {word} stands twice, first at {first[word]}"))
        if not np.isfinite(value):
            raise CircuitError(complaint(where, f"the coefficient is {value.real:g}", "a finite number"))
        if value.imag:
            raise CircuitError(complaint(where, f"the coefficient is {value}", "a real number"))
        first[word] = where
        coefficients.append(value.real)
    return list(first), coefficients


def _letters(where: str, parts: list[str]) -> tuple[int, dict[int, str]]:
    """How many wires a word names if it names all (else 0), and its letters by wire."""
    if len(parts) == 1 and parts[0].isalpha():
        word = parts[0].upper()
        if strange := sorted(set(word) - set("IXYZ")):
            raise CircuitError(complaint(where, f"no Pauli letter {strange[0]!r} in {parts[0]!r}", FORMS))
        return 0 if word == "I" else len(word), dict(enumerate(word))
    if not parts:
        raise CircuitError(complaint(where, "the word is empty; the identity is I", FORMS))
    letters: dict[int, str] = {}
    for part in parts:
        found = LETTER.fullmatch(part)
        if found is None or found[1].upper() not in "IXYZ":
            raise CircuitError(complaint(where, f"{part!r} is no Pauli letter with its wire", FORMS))
        wire = int(found[2])
        if wire in letters:
            raise CircuitError(complaint(where, f"wire {wire} has two letters"))
        letters[wire] = found[1].upper()
    return 0, letters


def _size(terms: list[tuple[str, tuple[int, dict[int, str]], complex]], wires: int) -> int:
    """The number of wires that all words agree on."""
    dense = [(full, where) for where, (full, _), _ in terms if full]
    far, origin = max((max(letters) + 1, where) for where, (_, letters), _ in terms)
    for full, where in dense:
        if full != dense[0][0]:
            what = f"the word has {full} letters, the one at {dense[0][1]} has {dense[0][0]}"
            raise CircuitError(complaint(where, what))
    size = wires or (dense[0][0] if dense else far)
    if size > MOST_WIRES:
        raise CircuitError(complaint(origin, f"the sum acts on {size} wires", f"at most {MOST_WIRES}"))
    if dense and dense[0][0] != size:
        raise CircuitError(complaint(dense[0][1], f"the word has {dense[0][0]} letters, {size} wires are set"))
    if far > size:
        raise CircuitError(complaint(origin, f"wire {far - 1} is outside the {size} wires of the register"))
    return size
