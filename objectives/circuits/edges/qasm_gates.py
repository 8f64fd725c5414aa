"""What OpenQASM's gates are in the table's: by name where the table has them, by a definition where it has not.

The gates are those of `stdgates.inc` (OpenQASM 3) and of `qelib1.inc` (OpenQASM 2, in the longer form that Qiskit and
PennyLane write to); all hold up to a global phase. `cu3` is the controlled `u3` of today, not the one of the first
`qelib1.inc` (arXiv:1707.03429), whose control lacks the phase (phi + lambda) / 2.
"""

from __future__ import annotations

from spaces.circuits.gates import GATES

NAMES = {gate.name: {"CNOT": "cx", "I": "id"}.get(gate.name, gate.name.lower()) for gate in GATES}
"""How OpenQASM calls the gates of the table."""

TABLE = {qasm: name for name, qasm in NAMES.items()} | {
    "CX": "CNOT",
    "U": "U3",
    "u": "U3",
    "u1": "P",
    "phase": "P",
    "cu1": "CP",
    "cphase": "CP",
}
"""The gates of the table by each name that OpenQASM has for them."""

DEFINITIONS = {
    "u0": "gate u0(length) q { id q; }",
    "u2": "gate u2(phi, lambda) q { U(pi / 2, phi, lambda) q; }",
    "sxdg": "gate sxdg q { h q; sdg q; h q; }",
    "rxx": "gate rxx(theta) a, b { h a; h b; cx a, b; rz(theta) b; cx a, b; h a; h b; }",
    "ryy": "gate ryy(theta) a, b { sdg a; sdg b; h a; h b; cx a, b; rz(theta) b; cx a, b; h a; h b; s a; s b; }",
    "rzz": "gate rzz(theta) a, b { cx a, b; rz(theta) b; cx a, b; }",
    "cy": "gate cy a, b { sdg b; cx a, b; s b; }",
    "ch": "gate ch a, b { ry(-pi / 4) b; cz a, b; ry(pi / 4) b; }",
    "csx": "gate csx a, b { h b; cp(pi / 2) a, b; h b; }",
    "cu3": "gate cu3(theta, phi, lambda) a, b { crz(lambda) a, b; cry(theta) a, b; crz(phi) a, b; "
    "p((phi + lambda) / 2) a; }",
    "cu": "gate cu(theta, phi, lambda, gamma) a, b { p(gamma) a; cu3(theta, phi, lambda) a, b; }",
    "ccp": "gate ccp(t) a, b, c { cp(t / 2) b, c; cx a, b; cp(-t / 2) b, c; cx a, b; cp(t / 2) a, c; }",
    "ccx": "gate ccx a, b, c { h c; ccp(pi) a, b, c; h c; }",
    "ccz": "gate ccz a, b, c { ccp(pi) a, b, c; }",
    "cswap": "gate cswap a, b, c { cx c, b; ccx a, b, c; cx c, b; }",
    "rccx": "gate rccx a, b, c { h c; t c; cx b, c; tdg c; cx a, c; t c; cx b, c; tdg c; h c; }",
    "rc3x": "gate rc3x a, b, c, d { h d; t d; cx c, d; tdg d; h d; cx a, d; t d; cx b, d; tdg d; "
    "cx a, d; t d; cx b, d; tdg d; h d; t d; cx c, d; tdg d; h d; }",
    "c3p": "gate c3p(t) a, b, c, d { cp(t / 2) c, d; ccx a, b, c; cp(-t / 2) c, d; ccx a, b, c; ccp(t / 2) a, b, d; }",
    "c3x": "gate c3x a, b, c, d { h d; c3p(pi) a, b, c, d; h d; }",
    "c3sqrtx": "gate c3sqrtx a, b, c, d { h d; c3p(pi / 2) a, b, c, d; h d; }",
    "c4p": "gate c4p(t) a, b, c, d, e { cp(t / 2) d, e; c3x a, b, c, d; cp(-t / 2) d, e; c3x a, b, c, d; "
    "c3p(t / 2) a, b, c, e; }",
    "c4x": "gate c4x a, b, c, d, e { h e; c4p(pi) a, b, c, d, e; h e; }",
}
"""Gates which the table, or the standard library of a version, lacks; a gate uses only what stands before it."""

CONTROLLED = {
    "x": "cx",
    "y": "cy",
    "z": "cz",
    "h": "ch",
    "sx": "csx",
    "rx": "crx",
    "ry": "cry",
    "rz": "crz",
    "gphase": "p",
    "p": "cp",
    "phase": "cphase",
    "cx": "ccx",
    "cz": "ccz",
    "cp": "ccp",
    "swap": "cswap",
    "ccx": "c3x",
    "c3x": "c4x",
}
"""What `ctrl @` makes of a gate."""

LACKING = {2: ("ryy",), 3: ("sxdg", "rxx", "ryy", "rzz")}
"""The gates of the table that the standard library of a version lacks."""
