"""OpenQASM: exact round trips, PennyLane as the other reader and writer, and a message for all that is refused."""

from dataclasses import replace

import numpy as np
import openqasm3
import pennylane as qml
import pytest
from drawn import circuits, unitary
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.edges.openqasm import from_qasm, to_qasm
from objectives.circuits.edges.qasm_gates import CONTROLLED, DEFINITIONS, LACKING, NAMES, TABLE
from objectives.circuits.edges.tape import to_tape
from spaces.circuits.gates import CODES, GATES, matrix
from spaces.circuits.pool import CircuitError, Pool

THREE = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\n'
TWO = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'
FOREIGN = [gate for gate in GATES if NAMES[gate.name] not in LACKING[3]]  # PennyLane's reader trips over definitions


def assert_same(pool, wanted):
    """Equal up to a global phase."""
    assert abs(np.trace(unitary(pool).conj().T @ wanted)) / len(wanted) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("version", [2, 3])
@settings(max_examples=60, deadline=None)
@given(pool=circuits(st.floats(allow_nan=False, allow_infinity=False)))
def test_our_text_comes_back_to_the_last_bit(version, pool):
    back = from_qasm(to_qasm(pool, 0, version))
    assert back.wires == pool.wires
    assert list(back) == list(pool)
    assert back.theta.tobytes() == pool.theta.tobytes()  # -0.0 is not 0.0 here


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_every_gate_is_written_and_a_reader_without_our_table_sees_the_same(version, gate):
    angles = [0.4, 1.3, -0.8][: gate.parameters]
    pool = Pool.of(2, [[(gate.name, *[1, 0][: gate.wires], *angles)]])
    text = to_qasm(pool, 0, version)
    openqasm3.parse(text)
    assert list(from_qasm(text)) == list(pool)
    defined = "gate " in text
    assert defined == (NAMES[gate.name] in LACKING[version])
    if defined:  # under another name the definition is spelled out instead of being recognised
        name = NAMES[gate.name]
        renamed = text.replace(f"gate {name}", "gate other").replace(f"\n{name}", "\nother")
        assert_same(from_qasm(renamed), unitary(pool))


@settings(max_examples=40, deadline=None)
@given(circuits(gates=FOREIGN))
def test_pennylane_reads_our_text(pool):
    text = to_qasm(pool, 0).replace('include "stdgates.inc";\n', "")  # PennyLane knows the gates, but no include
    wires = [f"q[{wire}]" for wire in range(pool.wires)]
    wanted = qml.matrix(qml.from_qasm3(text), wire_order=wires)() if pool.length[0] else np.eye(2**pool.wires)
    assert_same(pool, wanted)


@settings(max_examples=40, deadline=None)
@given(circuits())
def test_we_read_what_pennylane_writes(pool):
    text = qml.to_openqasm(to_tape(pool, 0), wires=qml.wires.Wires(range(pool.wires)))
    assert_same(from_qasm(text), unitary(pool))


def controlled(operator, wires, control=1):
    return qml.ctrl(operator(wires=wires[control:]), wires[:control])


ORACLES = {
    "u0": (1, 1, lambda t, wires: qml.Identity(wires)),
    "u2": (1, 2, qml.U2),
    "sxdg": (1, 0, lambda wires: qml.adjoint(qml.SX(wires))),
    "rxx": (2, 1, qml.IsingXX),
    "ryy": (2, 1, qml.IsingYY),
    "rzz": (2, 1, qml.IsingZZ),
    "cy": (2, 0, qml.CY),
    "ch": (2, 0, qml.CH),
    "csx": (2, 0, lambda wires: controlled(qml.SX, wires)),
    "cu3": (2, 3, lambda a, b, c, wires: qml.ctrl(qml.U3(a, b, c, wires[1]), wires[0])),
    "cu": (2, 4, lambda a, b, c, d, wires: qml.ctrl(qml.U3(a, b, c, wires[1]) @ qml.GlobalPhase(-d), wires[0])),
    "ccp": (3, 1, lambda t, wires: qml.ctrl(qml.PhaseShift(t, wires[2]), wires[:2])),
    "ccx": (3, 0, qml.Toffoli),
    "ccz": (3, 0, qml.CCZ),
    "cswap": (3, 0, qml.CSWAP),
    "c3p": (4, 1, lambda t, wires: qml.ctrl(qml.PhaseShift(t, wires[3]), wires[:3])),
    "c3x": (4, 0, lambda wires: controlled(qml.X, wires, 3)),
    "c3sqrtx": (4, 0, lambda wires: controlled(qml.SX, wires, 3)),
    "c4p": (5, 1, lambda t, wires: qml.ctrl(qml.PhaseShift(t, wires[4]), wires[:4])),
    "c4x": (5, 0, lambda wires: controlled(qml.X, wires, 4)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_library_gates_are_what_their_names_say(name):
    wires, count, operator = ORACLES[name]
    angles = [0.7, -1.9, 2.3, 0.4][:count]
    call = f"{name}({', '.join(map(str, angles))})" if angles else name
    pool = from_qasm(f"qubit[{wires}] q; {call} {', '.join(f'q[{k}]' for k in range(wires))};")
    assert_same(pool, qml.matrix(operator(*angles, wires=list(range(wires))), wire_order=range(wires)))


@pytest.mark.parametrize(("name", "exact"), [("rccx", "ccx"), ("rc3x", "c3x")])
def test_margolus_gates_are_toffoli_up_to_relative_phases(name, exact):
    wires = {"rccx": 3, "rc3x": 4}[name]
    q = ", ".join(f"q[{k}]" for k in range(wires))
    found, wanted = (unitary(from_qasm(f"qubit[{wires}] q; {gate} {q};")) for gate in (name, exact))
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-12)


def test_all_library_gates_are_tested():
    assert set(DEFINITIONS) == {*ORACLES, "rccx", "rc3x"}


def exact(name):
    """The matrix of a gate, phase included, at the angle 0.6 where it has one."""
    if name == "gphase":
        return np.array([[np.exp(0.6j)]])
    if name in ("ccx", "c3x"):
        flip = np.eye({"ccx": 8, "c3x": 16}[name])
        return flip[[*range(len(flip) - 2), -1, -2]]
    gate = GATES[CODES[TABLE[name]]]
    return matrix(gate.name, *[0.6] * gate.parameters)


@pytest.mark.parametrize(("name", "result"), CONTROLLED.items())
def test_ctrl_acts_where_the_first_qubit_is_one(name, result):
    small = exact(name)
    size, zeros = len(small), np.zeros((len(small), len(small)))
    wanted = np.block([[np.eye(size), zeros], [zeros, small]])
    wires = size.bit_length()
    angle = "(0.6)" if name in ("gphase", "p", "phase", "rx", "ry", "rz", "cp") else ""
    q = ", ".join(f"q[{k}]" for k in range(wires))
    assert_same(from_qasm(f"qubit[{wires}] q; ctrl @ {name}{angle} {q};"), wanted)
    assert_same(from_qasm(f"qubit[{wires}] q; {result}{angle} {q};"), wanted)


@settings(max_examples=30, deadline=None)
@given(circuits())
def test_inv_undoes_a_gate_of_gates(pool):
    body = "\n".join(line.replace("q[", "q").replace("]", "") for line in to_qasm(pool, 0).splitlines()[2:])
    definitions = [line for line in body.splitlines() if line.startswith("gate ")]
    calls = [line for line in body.splitlines() if not line.startswith(("gate ", "qubit"))]
    names = ", ".join(f"q{k}" for k in range(pool.wires))
    on = ", ".join(f"q[{k}]" for k in range(pool.wires))
    head = "\n".join([*definitions, f"gate all {names} {{ {' '.join(calls)} }}", f"qubit[{pool.wires}] q;"])
    assert_same(from_qasm(f"{head} all {on};"), unitary(pool))
    assert_same(from_qasm(f"{head} inv @ all {on};"), unitary(pool).conj().T)
    assert_same(from_qasm(f"{head} all {on}; inv @ inv @ inv @ all {on};"), np.eye(2**pool.wires))


@pytest.mark.parametrize(
    ("text", "gates"),
    [
        ("cx q[0], q[1];", [("CNOT", 0, 1)]),
        ("h q;", [("H", 0), ("H", 1), ("H", 2)]),
        ("qubit[3] r; cx q, r;", [("CNOT", 0, 3), ("CNOT", 1, 4), ("CNOT", 2, 5)]),
        ("qubit a; cx a, q;", [("CNOT", 3, 0), ("CNOT", 3, 1), ("CNOT", 3, 2)]),
        ("U(1, 2, 3) q[0]; u1(1.5) q[0]; phase(2) q[1];", [("U3", 0, 1.0, 2.0, 3.0), ("P", 0, 1.5), ("P", 1, 2.0)]),
        ("gphase(pi); inv @ s q[0]; inv @ U(1, 2, 3) q[0];", [("SDG", 0), ("U3", 0, -1.0, -3.0, -2.0)]),
        ("ctrl @ inv @ rx(0.5) q[2], q[0];", [("CRX", 2, 0, -0.5)]),
        ("inv @ ctrl @ rx(0.5) q[2], q[0];", [("CRX", 2, 0, -0.5)]),
        (
            "gate g(a, b) x, y { rx(a - b) y; barrier x; cx y, x; } g(1, 4) q[0], q[2];",
            [("RX", 2, -3.0), ("CNOT", 2, 0)],
        ),
        ("gate h q { x q; } h q[1]; gate x q { h q; } x q[2];", [("X", 1), ("X", 2)]),
        ("gate idle q { } idle q;", []),
        ("bit[3] c; h q[0]; barrier q; barrier; c = measure q;", [("H", 0)]),
        ("h q[0]; bit b = measure q[0]; x q[1]; measure q[0] -> b;", [("H", 0), ("X", 1)]),
        ("const int n = 2 ** 2 / 2; const float t = 1 / pi; rx(n * t * pi) q[n];", [("RX", 2, 2.0)]),
        ("@note for people\nx q[0]; // and\n/* more */ y q[0];", [("X", 0), ("Y", 0)]),
    ],
)
def test_what_openqasm_3_can_say(text, gates):
    assert from_qasm(THREE + text).gates(0) == gates


@pytest.mark.parametrize(
    ("text", "gates"),
    [
        ("CX q[0],q[1]; measure q -> c;", [("CNOT", 0, 1)]),
        ("rx(1/2) q[0];", [("RX", 0, 0.5)]),
        ("rx(1+2^3) q[0];", [("RX", 0, 9.0)]),
        ("gate g(t) a { rz(-t^2/2) a; } g(3) q[1];", [("RZ", 1, -4.5)]),
        ("qreg r[1]; u3(0.1,0.2,0.3) r[0]; x r;", [("U3", 3, 0.1, 0.2, 0.3), ("X", 3)]),
    ],
)
def test_what_openqasm_2_can_say(text, gates):
    assert from_qasm(TWO + text).gates(0) == gates


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("pi / 2", np.pi / 2),
        ("-π * 3", -3 * np.pi),
        ("2 ** 3 ** 2", 512.0),
        ("-(1 - tau) / 4.0", (2 * np.pi - 1) / 4),
        ("sin(1) + cos(2) * tan(0.5)", np.sin(1) + np.cos(2) * np.tan(0.5)),
        ("sqrt(2) - exp(1) + euler - ln(3) + log(3)", np.sqrt(2)),
        ("arcsin(0.5) + arccos(0.5) + arctan(1)", np.pi * 0.75),
        ("4 / 2", 2.0),
        ("1.5e-3", 0.0015),
        ("0x10", 16.0),
    ],
)
def test_constant_arithmetic(expression, value):
    assert from_qasm(f"qubit q; rx({expression}) q;").theta[0, 0] == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["bad.qasm: the text is empty"]),
        ("// nothing at all", ["bad.qasm: this is not OpenQASM 2 or 3"]),
        ("OPENQASM 4.0; qubit q;", ["bad.qasm: the text is OpenQASM 4.0", "allowed: 2, 2.0, 3"]),
        ("bit c;", ["bad.qasm: no qubits are declared"]),
        (
            'include "mine.inc"; qubit q;',
            ["bad.qasm:1: cannot include 'mine.inc'", "allowed: qelib1.inc, stdgates.inc"],
        ),
        ("qubit[128] q;", ["bad.qasm:1", "128 qubits", "1 to 127"]),
        ("qubit q;\nqubit[0] r;", ["bad.qasm:2", "'r' would have 0 qubits"]),
        ("qubit[1.5] q;", ["bad.qasm:1", "'1.5' is 1.5, no whole number"]),
        ("qubit[2] q;\n\nqreg q[2];", ["bad.qasm:3: the name 'q' is declared twice"]),
        ("input float x;\nqubit q; rx(x) q;", ["bad.qasm:1: 'x' has no value here", "allowed: registers"]),
        (THREE + "if (true) x q[0];", ["bad.qasm:4: 'if (true) x q[0];' is not supported", "allowed: registers"]),
        (THREE + "x q;\nfor int i in [0:2] { x q[i]; }", ["bad.qasm:5: 'for int i", "not supported"]),
        (THREE + "while (true) { x q[0]; }", ["bad.qasm:4: 'while", "not supported"]),
        (THREE + "reset q;", ["bad.qasm:4: 'reset q;' is not supported"]),
        (THREE + "let a = q[0:1];", ["bad.qasm:4: 'let a", "not supported"]),
        (THREE + "float x = 3;", ["bad.qasm:4: 'float x = 3;' is not supported", "constants"]),
        (THREE + "const angle t = 3;", ["bad.qasm:4: the constant 't'", "allowed: float, int, uint"]),
        (THREE + "const int t = 3.5;", ["bad.qasm:4: '3.5' is 3.5, no whole number"]),
        (TWO + "if (c==1) x q[0];", ["bad.qasm:5: 'if (c==1) x q[0];' is not supported"]),
        (TWO + "opaque magic a,b;", ["bad.qasm:5: an opaque gate has no definition"]),
        (THREE + "measure q[0];\nx q[1];\ncx q[1], q[0];", ["bad.qasm:6: 'cx q[1], q[0];'", "measured in line 4"]),
        (THREE + "hh q[0];", ["bad.qasm:4: there is no gate 'hh'", "allowed: x, y", "did you mean 'h'?"]),
        (THREE + "gate g a {\n foo a; }\ng q[0];", ["bad.qasm:5: there is no gate 'foo'"]),
        (THREE + "gate g a { g a; } g q[0];", ["bad.qasm:4: there is no gate 'g'"]),
        (THREE + "gate g a { x a; }\ngate g a { y a; }", ["bad.qasm:5: the name 'g' is declared twice"]),
        (THREE + "gate g(a) a { x a; }", ["bad.qasm:4: the gate 'g'", "one name"]),
        (THREE + "gate g a { let b = a; } g q[0];", ["bad.qasm:4", "not supported in a gate"]),
        (THREE + "rx(y) q[0];", ["bad.qasm:4: there is no number 'y'", "allowed: pi"]),
        (THREE + "rx q[0];", ["bad.qasm:4: 'rx' takes 1 qubits and 1 angles, found 1 qubits and 0 angles"]),
        (THREE + "ccx q[0], q[1];", ["bad.qasm:4: 'ccx' takes 3 qubits and 0 angles, found 2 qubits"]),
        (THREE + "cx q[0], q[0];", ["bad.qasm:4: 'cx q[0], q[0];' names a qubit twice"]),
        (THREE + "x q[3];", ["bad.qasm:4: q[3] is outside of its register", "allowed: 0 to 2"]),
        (THREE + "x q[-1];", ["bad.qasm:4: q[-1] is outside"]),
        (THREE + "x q[0:1];", ["bad.qasm:4: 'q[0:1]' is no qubit", "allowed: a qubit"]),
        (THREE + "qubit a; x a[0];", ["bad.qasm:4: 'a[0]' is no qubit"]),
        (THREE + "x qq[0];", ["bad.qasm:4: there is no qubit or register 'qq'", "did you mean 'q'?"]),
        (THREE + "qubit[2] r; cx q, r;", ["bad.qasm:4: registers of 2 and 3 qubits"]),
        (THREE + "pow(2) @ x q[0];", ["bad.qasm:4: the modifier 'pow @' is not supported", "allowed: inv @, ctrl @"]),
        (THREE + "negctrl @ x q[0], q[1];", ["bad.qasm:4: the modifier 'negctrl @'"]),
        (THREE + "ctrl @ u2(1, 2) q[0], q[1];", ["bad.qasm:4: no controlled 'u2' is known", "ctrl @ x"]),
        (THREE + "gate x a { y a; } ctrl @ x q[0], q[1];", ["bad.qasm:4: no controlled 'x' is known"]),
        (THREE + "ctrl(99999999999) @ x q[0];", ["bad.qasm:4: no controlled 'c4x' is known"]),
        (THREE + "x[10ns] q[0];", ["bad.qasm:4", "duration"]),
        (THREE + "rx(1 / 0) q[0];", ["bad.qasm:4: '1 / 0' has no finite value"]),
        (THREE + "rx(sqrt(-1)) q[0];", ["bad.qasm:4: 'sqrt(-1)' has no finite value"]),
        (THREE + "rx((-8.0) ** 0.5) q[0];", ["bad.qasm:4", "has no finite value"]),
        (THREE + "rx(9 ** 9 ** 9) q[0];", ["bad.qasm:4: '9 ** (9 ** 9)' has no finite value"]),
        (THREE + "rx(1 / 2) q[0];", ["bad.qasm:4: '1 / 2' divides whole numbers", "allowed: 1.0 / 2"]),
        (THREE + "rx(2 ^ 3) q[0];", ["bad.qasm:4: the operation '^' is not supported", "allowed: +, -, *, /, **"]),
        (THREE + "rx(true) q[0];", ["bad.qasm:4: 'true' is no number", "sqrt()"]),
        (THREE + "rx(mod(1, 2)) q[0];", ["bad.qasm:4: 'mod(1, 2)' is no number"]),
        (THREE + "h q[0]\nx q[1];", ["bad.qasm:5: 'x' cannot stand here", "allowed: ';'"]),
        (THREE + "x q[0", ["bad.qasm:4: the end of the text cannot stand here"]),
        (THREE + "€;", ["bad.qasm:4: token recognition error at: '€'"]),
        (THREE + "gate g a { measure a; }", ["bad.qasm:4: cannot have a non-unitary 'measure'"]),
        ("qubit q; rx(" + "(" * 3000 + "1" + ")" * 3000 + ") q;", ["bad.qasm: the text is nested too deeply"]),
        ("int[" + "9" * 5000 + "] x;", ["bad.qasm: this is not OpenQASM 2 or 3"]),
        (
            THREE
            + "".join(f"gate g{k} a {{ {f'g{k - 1} a; ' * 2} }}\n".replace("g-1 a;", "") for k in range(40))
            + "g39 q;",
            ["the circuit is too long", "200,000 calls of gates"],
        ),
    ],
)
def test_what_is_refused_is_named_with_its_line(text, words, capfd):
    with pytest.raises(CircuitError) as error:
        from_qasm(text, "bad.qasm")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert capfd.readouterr() == ("", "")  # the parser's own complaints do not reach the user


PIECES = st.sampled_from(
    [*"q[]0;(){}@, ", "\n", "qubit", "gate g a ", "h ", "rx", "pi", "1/", "**", "ctrl", "inv", "//"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.integers(0, 120), st.integers(0, 30))
def test_damaged_text_raises_nothing_else(piece, start, cut):
    whole = THREE + "gate g(t) a { rx(t / 2) a; }\ng(pi) q;\nctrl @ x q[0], q[1];\nmeasure q;"
    try:
        from_qasm(whole[:start] + piece + whole[start + cut :])
    except CircuitError as error:
        assert str(error).startswith("<text>")  # noqa: PT017


def test_what_has_no_text_is_refused():
    pool = Pool.of(1, [[("RX", 0, 0.3)]])
    with pytest.raises(CircuitError, match="circuit 0 reads inputs"):
        to_qasm(replace(pool, parameter=[[1]]), 0)
    with pytest.raises(CircuitError, match=r"no OpenQASM 1[\s\S]*allowed: 2, 3"):
        to_qasm(pool, 0, 1)


def test_text_of_one_circuit_is_what_a_person_would_write():
    pool = Pool.of(2, [[("H", 0), ("CNOT", 0, 1), ("RXX", 1, 0, 1e-05)]])
    assert to_qasm(pool, 0, 2).splitlines() == [
        "OPENQASM 2.0;",
        'include "qelib1.inc";',
        "qreg q[2];",
        "h q[0];",
        "cx q[0], q[1];",
        "rxx(1.0e-05) q[1], q[0];",
    ]
    assert to_qasm(pool, 0).splitlines()[:4] == [
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        DEFINITIONS["rxx"],
        "qubit[2] q;",
    ]
