"""Reads the syntax tree of an OpenQASM text into the gates of the table."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import openqasm3
from openqasm3 import ast

from objectives.circuits.edges.qasm_gates import CONTROLLED, DEFINITIONS, TABLE
from objectives.circuits.edges.qasm_source import Source
from spaces.circuits.gates import CODES, GATES, inverse_parameters
from spaces.circuits.pool import CircuitError, GateRow, Pool

MOST_WIRES = 127  # what a wire of a pool can count to
MOST_CALLS = 200_000  # of gates; definitions of definitions grow without end
VERSIONS = ("2", "2.0", "3", "3.0", "3.1")
LIBRARIES = ("qelib1.inc", "stdgates.inc")
STATEMENTS = "registers of qubits and bits, constants, gate definitions, gates, barriers, measurements at the end"
CONSTANTS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}
FUNCTIONS = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "exp": math.exp,
    "ln": math.log,
    "log": math.log,
    "sqrt": math.sqrt,
}
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


@dataclass(frozen=True)
class Names:
    """What names stand for at some place of the text.

    Attributes:
        numbers: constants, and the arguments of the gate that is being read.
        qubits: registers (lists of wires) and single qubits.
        defined: how many of the text's own gates are known, in their order.
    """

    numbers: Mapping[str, float]
    qubits: Mapping[str, int | list[int]]
    defined: int


@cache
def library() -> dict[str, Any]:
    """The definitions of the gates that the table lacks, read."""
    return {name: openqasm3.parse(text).statements[0] for name, text in DEFINITIONS.items()}


class Reader:
    """Reads one text, statement by statement."""

    def __init__(self, source: Source) -> None:
        self.source, self.wrong = source, source.wrong
        self.names = Names(CONSTANTS, {}, 0)
        self.own: dict[str, tuple[int, Any]] = {}  # the text's gates: how many there were before, the definition
        self.measured: dict[int, int] = {}  # by wire, the line
        self.wires, self.calls, self.truncates = 0, 0, True
        self.gates: list[GateRow] = []

    def read(self, program: ast.Program) -> Pool:
        """The pool of the one circuit of a program.

        Raises:
            CircuitError: what is not supported, or makes no sense, by line.
        """
        if program.version not in (None, *VERSIONS):
            raise self.wrong(None, f"the text is OpenQASM {program.version}", VERSIONS)
        self.truncates = not (program.version or "").startswith("2")
        for statement in program.statements:
            self.statement(statement)
        if not self.wires:
            raise self.wrong(None, "no qubits are declared", "qubit[2] q; or qreg q[2];")
        return Pool.of(self.wires, [self.gates])

    def statement(self, node: Any) -> None:
        match node:
            case ast.Include(filename=name):
                if name not in LIBRARIES:
                    raise self.wrong(node, f"cannot include '{name}'", LIBRARIES)
            case ast.QubitDeclaration():
                self.register(node)
            case ast.ConstantDeclaration():
                self.constant(node)
            case ast.QuantumGateDefinition():
                self.define(node)
            case ast.QuantumGate() | ast.QuantumPhase() | ast.QuantumBarrier():
                self.gates += self.unmeasured(node, self.applied(node, self.names))
            case ast.QuantumMeasurementStatement(measure=measurement):
                self.measure(measurement)
            case ast.ClassicalDeclaration(type=ast.BitType(), init_expression=ast.QuantumMeasurement() as measurement):
                self.measure(measurement)
            case ast.ClassicalDeclaration(type=ast.BitType()):
                pass
            case ast.IODeclaration(identifier=ast.Identifier(name=name)):
                raise self.wrong(node, f"'{name}' has no value here, inputs and outputs are not supported", STATEMENTS)
            case _:
                raise self.wrong(node, f"'{self.source.line(node.span.start_line)}' is not supported", STATEMENTS)

    # Declarations

    def fresh(self, node: Any, name: str) -> str:
        """The name, if nothing of the text has it yet."""
        if name in self.names.qubits or name in self.own or (name in self.names.numbers and name not in CONSTANTS):
            raise self.wrong(node, f"the name '{name}' is declared twice")
        return name

    def register(self, node: ast.QubitDeclaration) -> None:
        name = self.fresh(node, node.qubit.name)
        size = 1 if node.size is None else self.whole(node.size, self.names)
        if not 0 < size <= MOST_WIRES - self.wires:
            allowed = f"1 to {MOST_WIRES} qubits in all registers together"
            raise self.wrong(node, f"the register '{name}' would have {size} qubits", allowed)
        wires = self.wires if node.size is None else list(range(self.wires, self.wires + size))
        self.names = replace(self.names, qubits={**self.names.qubits, name: wires})
        self.wires += size

    def constant(self, node: ast.ConstantDeclaration) -> None:
        name, value = self.fresh(node, node.identifier.name), self.number(node.init_expression, self.names)
        match node.type:
            case ast.FloatType():
                value = float(value)
            case ast.IntType() | ast.UintType():
                value = self.whole(node.init_expression, self.names)
            case _:
                raise self.wrong(node, f"the constant '{name}' is of another type", "float, int, uint")
        self.names = replace(self.names, numbers={**self.names.numbers, name: value})

    def define(self, node: ast.QuantumGateDefinition) -> None:
        name = self.fresh(node, node.name.name)
        if name in TABLE and node == library().get(name):
            return  # as `to_qasm` defines a gate that the table has
        parts = [part.name for part in (*node.arguments, *node.qubits)]
        if len(set(parts)) < len(parts):
            raise self.wrong(node, f"the gate '{name}' has two arguments or qubits of one name")
        self.own[name] = (len(self.own), node)
        self.names = replace(self.names, defined=len(self.own))

    # Measurements

    def measure(self, node: ast.QuantumMeasurement) -> None:
        wires = self.operand(node.qubit, self.names)
        for wire in wires if isinstance(wires, list) else [wires]:
            self.measured.setdefault(wire, _line(node))

    def unmeasured(self, node: Any, gates: list[GateRow]) -> list[GateRow]:
        """The gates, if all act before their wires are measured."""
        for name, *rest in gates:
            for wire in rest[: GATES[CODES[name]].wires]:
                if wire in self.measured:
                    found = f"'{self.source.line(_line(node))}' acts on a qubit measured in line {self.measured[wire]}"
                    raise self.wrong(node, found, "measurements at the end")
        return gates

    # Gates

    def applied(self, node: Any, names: Names) -> list[GateRow]:
        """The gates of one statement: on qubits, or on whole registers element by element."""
        operands = [self.operand(qubit, names) for qubit in node.qubits]
        if isinstance(node, ast.QuantumBarrier):
            return []
        if getattr(node, "duration", None) is not None:
            raise self.wrong(node, "a gate has no duration here", "gates without a duration")
        sizes = {len(wires) for wires in operands if isinstance(wires, list)}
        if len(sizes) > 1:
            raise self.wrong(node, f"registers of {' and '.join(map(str, sorted(sizes)))} qubits do not pair up")
        gates = []
        for k in range(max(sizes, default=1)):
            wires = [wires[k] if isinstance(wires, list) else wires for wires in operands]
            if len(set(wires)) < len(wires):
                raise self.wrong(node, f"'{self.source.line(_line(node))}' names a qubit twice")
            gates += self.modified(node, wires, names)
        return gates

    def modified(self, node: Any, wires: list[int], names: Names) -> list[GateRow]:
        """The gates of a call behind its modifiers, which act from right to left."""
        arguments = [node.argument] if isinstance(node, ast.QuantumPhase) else node.arguments
        name = "gphase" if isinstance(node, ast.QuantumPhase) else node.name.name
        angles, visible, inverted = [float(self.number(a, names)) for a in arguments], names.defined, False
        for modifier in reversed(node.modifiers):
            kind = modifier.modifier.name
            if kind == "inv":
                inverted = not inverted
            elif kind == "ctrl":
                for _ in range(1 if modifier.argument is None else self.whole(modifier.argument, names)):
                    name, visible = self.controlled(node, name, visible), 0
            else:
                raise self.wrong(node, f"the modifier '{kind} @' is not supported", "inv @, ctrl @")
        gates = self.call(node, name, wires, angles, visible)
        return [_inverse(gate) for gate in reversed(gates)] if inverted else gates

    def controlled(self, node: Any, name: str, visible: int) -> str:
        known = name in CONTROLLED and not (name in self.own and self.own[name][0] < visible)
        if not known:
            raise self.wrong(node, f"no controlled '{name}' is known", ["ctrl @ " + gate for gate in CONTROLLED])
        return CONTROLLED[name]

    def call(self, node: Any, name: str, wires: list[int], angles: list[float], visible: int) -> list[GateRow]:
        """The gates of the table that a gate stands for; `visible` of the text's own gates are known to it."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise self.wrong(node, "the circuit is too long", f"{MOST_CALLS:,} calls of gates")
        if name == "gphase":
            return []
        before, definition = self.own.get(name, (visible, None))
        if before >= visible:
            before, definition = 0, library().get(name)
            if name in TABLE:
                gate = GATES[CODES[TABLE[name]]]
                self.counted(node, name, (len(wires), gate.wires), (len(angles), gate.parameters))
                return [(gate.name, *wires, *angles)]
        if definition is None:
            known = dict.fromkeys([*TABLE, *DEFINITIONS, *list(self.own)[:visible]])
            raise self.wrong(node, f"there is no gate '{name}'", known, near=name)
        qubits, arguments = [q.name for q in definition.qubits], [a.name for a in definition.arguments]
        self.counted(node, name, (len(wires), len(qubits)), (len(angles), len(arguments)))
        numbers = {**self.names.numbers, **dict(zip(arguments, angles, strict=True))}
        inside = Names(numbers, dict(zip(qubits, wires, strict=True)), before)
        return [gate for statement in definition.body for gate in self.applied(self.unitary(statement), inside)]

    def unitary(self, node: Any) -> Any:
        """A statement of a gate's body, if it is a gate or a barrier."""
        if isinstance(node, ast.QuantumGate | ast.QuantumPhase | ast.QuantumBarrier):
            return node
        raise self.wrong(node, f"'{self.source.line(_line(node))}' is not supported in a gate", "gates, barriers")

    def counted(self, node: Any, name: str, wires: tuple[int, int], angles: tuple[int, int]) -> None:
        if wires[0] != wires[1] or angles[0] != angles[1]:
            found = f"{wires[0]} qubits and {angles[0]} angles"
            raise self.wrong(node, f"'{name}' takes {wires[1]} qubits and {angles[1]} angles, found {found}")

    def operand(self, node: Any, names: Names) -> int | list[int]:
        """The wire of a qubit, or the wires of a register."""
        name = node.name if isinstance(node, ast.Identifier) else getattr(node, "name", ast.Identifier("?")).name
        if name not in names.qubits:
            raise self.wrong(node, f"there is no qubit or register '{name}'", names.qubits, near=name)
        wires = names.qubits[name]
        if isinstance(node, ast.Identifier):
            return wires
        match node.indices:
            case [[ast.Expression() as index]] if isinstance(wires, list):
                place = self.whole(index, names)
                if not 0 <= place < len(wires):
                    raise self.wrong(node, f"{name}[{place}] is outside of its register", f"0 to {len(wires) - 1}")
                return wires[place]
        raise self.wrong(node, f"'{self.source.written(node)}' is no qubit", "a qubit, a register, or q[0]")

    # Numbers

    def whole(self, node: Any, names: Names) -> int:
        value = self.number(node, names)
        if value != int(value):
            raise self.wrong(node, f"'{self.source.written(node)}' is {value}, no whole number")
        return int(value)

    def number(self, node: Any, names: Names) -> float:
        """The value of a constant expression; whole numbers stay `int`."""
        try:
            value = self.evaluated(node, names)
            if isinstance(value, complex) or not math.isfinite(value):
                raise ValueError
        except CircuitError:
            raise
        except (ArithmeticError, ValueError):
            raise self.wrong(node, f"'{self.source.written(node)}' has no finite value") from None
        return value

    def evaluated(self, node: Any, names: Names) -> float:
        match node:
            case ast.IntegerLiteral(value=value) | ast.FloatLiteral(value=value):
                return value
            case ast.Identifier(name=name):
                if name not in names.numbers:
                    raise self.wrong(node, f"there is no number '{name}'", names.numbers, near=name)
                return names.numbers[name]
            case ast.UnaryExpression(op=op, expression=inner) if op.name == "-":
                return -self.number(inner, names)
            case ast.BinaryExpression(op=op, lhs=left, rhs=right):
                return self.combined(node, op.name, self.number(left, names), self.number(right, names))
            case ast.FunctionCall(name=ast.Identifier(name=name), arguments=[argument]) if name in FUNCTIONS:
                return FUNCTIONS[name](self.number(argument, names))
        functions = [f"{name}()" for name in FUNCTIONS]
        raise self.wrong(
            node, f"'{self.source.written(node)}' is no number", ["numbers", *OPERATIONS, "**", *functions]
        )

    def combined(self, node: Any, sign: str, left: float, right: float) -> float:
        exact = isinstance(left, int) and isinstance(right, int)
        if sign == "**":
            power = float(left) ** float(right)
            return int(power) if exact and abs(power) < 2**53 and power == int(power) else power
        if sign == "/" and exact and self.truncates:
            if left % right:
                found = f"'{self.source.written(node)}' divides whole numbers, which OpenQASM 3 rounds"
                raise self.wrong(node, found, f"{left}.0 / {right}")
            return left // right
        if sign not in OPERATIONS:
            raise self.wrong(node, f"the operation '{sign}' is not supported", [*OPERATIONS, "**"])
        return OPERATIONS[sign](left, right)


def _line(node: Any) -> int:
    return node.span.start_line


def _inverse(gate: GateRow) -> GateRow:
    name, *rest = gate
    row = GATES[CODES[name]]
    return (row.inverse, *rest[: row.wires], *inverse_parameters(name, tuple(rest[row.wires :])))
