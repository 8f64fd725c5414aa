"""Circuits as OpenQASM 2 or 3 text, and back."""

from __future__ import annotations

from objectives.circuits.edges.qasm_gates import DEFINITIONS, LACKING, NAMES
from objectives.circuits.edges.qasm_reader import Reader
from objectives.circuits.edges.qasm_source import Source
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.document import complaint

HEADERS = {2: 'OPENQASM 2.0;\ninclude "qelib1.inc";', 3: 'OPENQASM 3.0;\ninclude "stdgates.inc";'}


def to_qasm(pool: Pool, row: int, version: int = 3) -> str:
    """One circuit as OpenQASM text; `from_qasm` reads the same gates and the same angles, to the last bit.

    Args:
        version: 2 or 3. Gates of the table that its standard library lacks are defined in the text.

    Raises:
        CircuitError: another version, or a circuit that reads inputs.
    """
    if version not in HEADERS:
        raise CircuitError(complaint("", f"there is no OpenQASM {version} to write", map(str, HEADERS)))
    if pool[row : row + 1].inputs:
        raise CircuitError(f"circuit {row} reads inputs, which have no values; OpenQASM text is written of numbers")
    gates = pool.gates(row)
    used = {NAMES[name] for name, *_ in gates}
    lines = [HEADERS[version], *(DEFINITIONS[name] for name in LACKING[version] if name in used)]
    lines.append(f"qreg q[{pool.wires}];" if version == 2 else f"qubit[{pool.wires}] q;")
    for name, *rest in gates:
        wires, angles = rest[: GATES[CODES[name]].wires], rest[GATES[CODES[name]].wires :]
        arguments = f"({', '.join(map(_literal, angles))})" if angles else ""
        lines.append(f"{NAMES[name]}{arguments} {', '.join(f'q[{wire}]' for wire in wires)};")
    return "\n".join(lines) + "\n"


def from_qasm(text: str, file: str = "<text>") -> Pool:
    """The pool of the one circuit in OpenQASM 2 or 3 text; wires stand as declared, global phases are dropped.

    Read are registers, gates (also defined in the text, `inv @` and `ctrl @`), constant arithmetic, barriers, and
    measurements at the end, which are dropped as well. The gates of both standard libraries are known with or without
    their `include`; those that the table lacks become what `qasm_gates` makes of them.

    Args:
        file: the name of the text in messages.

    Raises:
        CircuitError: the text is not OpenQASM, or says what a circuit of the table cannot be; with file and line.
    """
    source = Source(file, text)
    try:
        return Reader(source).read(source.parsed())
    except RecursionError:
        raise source.wrong(None, "the text is nested too deeply") from None


def _literal(angle: float) -> str:
    text = repr(angle)
    return text if "." in text else text.replace("e", ".0e")  # OpenQASM 2 asks for a point
