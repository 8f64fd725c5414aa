"""A trained circuit as a Python file that needs PennyLane alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.edges.tape import OPERATORS
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import Pool

MOST_WORDS = 1000  # Pauli words, or amplitudes of a target, beyond which the cost is left out of the file
SMALL = 1e-12  # share of the largest coefficient below which another is taken for rounding


def script(best: Pool, task: Task, cost: float) -> str:
    """The file for a circuit, a pool of one at its trained angles, which costs so much."""
    count = int(best.parameters[0])
    angles = "".join(f"    {angle!r},\n" for angle in best.theta[0, :count].tolist())
    gates = "".join(f"    {line}\n" for line in _lines(best)) or "    pass\n"
    arguments = "x, angles=ANGLES" if best.inputs else "angles=ANGLES"
    reads = ", of the inputs x" if best.inputs else ""
    return f'''"""A circuit for: {task.name}. Its cost is {cost!r}. Needs PennyLane alone."""

import pennylane as qml

WIRES = {best.wires}
ANGLES = [  # trained
{angles}]


def circuit({arguments}):
    """Applies the gates{reads}."""
{gates}{_cost(task) if not best.inputs else ""}'''


def _lines(best: Pool) -> list[str]:
    """The gates as PennyLane writes them."""
    found = []
    columns = best.theta.shape[1]
    for slot in range(int(best.length[0])):
        gate, first = GATES[best.op[0, slot]], int(best.parameter[0, slot])
        read = [f"angles[{k}]" if k < columns else f"x[{k - columns}]" for k in range(first, first + gate.parameters)]
        wires = best.wire[0, slot, : gate.wires].tolist()
        on = f"wires={wires[0] if len(wires) == 1 else wires}"
        found.append(f"{_operator(gate.name)}({', '.join([*read, on])})")
    return found


def _operator(name: str) -> str:
    inverse = GATES[CODES[name]].inverse
    return f"qml.adjoint(qml.{inverse})" if name == f"{inverse}DG" else f"qml.{OPERATORS[name].__name__}"


def _cost(task: Task) -> str:
    """What computes the cost: nothing, where the task is more than one observable of a state, or a large one."""
    observable = task.observables[0]
    if len(task.which) > 1 or task.idle or task.initial is not None:
        return ""
    words, targets = paulis(observable), observable.targets
    if len(words) > MOST_WORDS or targets.size > MOST_WORDS or bool(words) == bool(len(targets)):
        return ""
    if words:
        terms = "".join(f"    {word!r}: {coefficient!r},\n" for word, coefficient in words.items())
        made = "qml.dot(list(WORDS.values()), [qml.pauli.string_to_pauli_word(word) for word in WORDS])"
        said = f"WORDS = {{  # of the Hamiltonian, a letter for each wire\n{terms}}}\nOBSERVABLE = {made}\n"
    else:
        states = "".join(f"    {state.tolist()!r},\n" for state in targets)
        made = f"qml.dot({observable.weights.tolist()!r}, [qml.Projector(state, range(WIRES)) for state in STATES])"
        said = f"STATES = [  # whose fidelities are measured\n{states}]\nOBSERVABLE = {made}\n"
    return f'''

{said}

@qml.qnode(qml.device("default.qubit", wires=WIRES))
def cost(angles=ANGLES):
    """The expectation value of the observable."""
    circuit(angles)
    return qml.expval(OBSERVABLE)


if __name__ == "__main__":
    print(qml.draw(circuit)())
    print("cost", float(cost()))
'''


def paulis(observable: Observable) -> dict[str, float]:
    """The Pauli words of an observable without projectors, and their coefficients.

    D_m[i] = Σ_z c (-i)^|m∧z| (-1)^|i∧z| over words that flip the bits m and have Z or Y at the bits z; so the
    coefficients are the Walsh-Hadamard transform of D_m over N, the phase undone.
    """
    size, wires = 2**observable.wires, observable.wires
    coefficients = np.array([_transformed(diagonal) / size for diagonal in observable.diagonals]).reshape(-1, size)
    phases = (-1j) ** np.bitwise_count(observable.masks[:, None] & np.arange(size))
    real = (coefficients / phases).real
    found = {}
    for row, signs in np.argwhere(np.abs(real) > SMALL * np.abs(real).max(initial=0)).tolist():
        flips = int(observable.masks[row])
        bits = [(flips >> q & 1, signs >> q & 1) for q in reversed(range(wires))]
        found["".join("IZXY"[2 * flip + sign] for flip, sign in bits)] = float(real[row, signs])
    return found


def _transformed(values: NDArray) -> NDArray:
    """The Walsh-Hadamard transform Σ_i (-1)^|i∧z| v[i]: (N,)."""
    for wire in range(len(values).bit_length() - 1):
        pairs = values.reshape(2**wire, 2, -1)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], 1)
    return values.reshape(-1)
