"""Shorter circuits against the matrices of the longer ones, and against the rules searched by brute force."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitaries import WIRES, operator, unitary

from spaces.circuits import structure
from spaces.circuits.gates import CODES, GATES, inverse_parameters, matrix
from spaces.circuits.pool import Pool
from spaces.circuits.rewrites import additive, matrices, simplify

FIXED = [gate for gate in GATES if not gate.parameters]


def alike(a, b, tolerance=1e-7):
    return abs(abs(np.vdot(a, b)) - len(a)) < tolerance


@st.composite
def circuits(draw, most=14):
    """Circuits on few wires, with angles and gates that often meet their like."""
    found = []
    for gate in draw(st.lists(st.sampled_from(GATES), max_size=most)):
        wires = draw(st.permutations(range(WIRES)))[: gate.wires]
        angles = [
            draw(st.sampled_from([0.0, pi / 2, -pi / 2, pi, 2 * pi, 4 * pi, 0.3])) for _ in range(gate.parameters)
        ]
        found.append((gate.name, *wires, *angles))
        if draw(st.booleans()):
            found.append((gate.inverse, *wires, *inverse_parameters(gate.name, angles)))
    return found


def names(pool, row=0):
    return [gate[0] for gate in pool.gates(row)]


@settings(max_examples=150, deadline=None)
@given(st.lists(circuits(), min_size=1, max_size=3), st.booleans())
def test_what_a_circuit_does_stays_and_nothing_more_can_be_done(circuits, drop_zero):
    pool = Pool.of(WIRES, circuits)
    found = simplify(pool, drop_zero).checked()
    assert found.op.shape == pool.op.shape
    assert (structure.depth(found) <= structure.depth(pool)).all()
    assert (structure.gate_counts(found) <= structure.gate_counts(pool)).all()
    for row, circuit in enumerate(circuits):
        assert alike(unitary(found.gates(row)), unitary(circuit))
        assert "I" not in names(found, row)
        if drop_zero:
            assert not any(alike(operator(gate), np.eye(2**WIRES), 1e-12) for gate in found.gates(row))
        assert not leftover(found.gates(row))
    assert list(simplify(found, drop_zero)) == list(found)


def leftover(circuit):
    """Whether a rule still applies to some pair of gates, those between commuting with the first."""
    for s, first in enumerate(circuit):
        for second in circuit[s + 1 :]:
            if place(first) == place(second):
                fixed = GATES[CODES[first[0]]].parameters == GATES[CODES[second[0]]].parameters == 0
                if fixed and alike(operator(second) @ operator(first), np.eye(2**WIRES)):
                    return True
                if first[0] == second[0] and GATES[CODES[first[0]]].parameters == 1:
                    return True
            if not commuting(first, second):
                break
    return False


def place(gate):
    row = GATES[CODES[gate[0]]]
    wires = gate[1 : 1 + row.wires]
    return tuple(sorted(wires)) if row.symmetric else wires


def commuting(first, second):
    """Whether two gates commute at angles drawn for both."""
    rng = np.random.default_rng(3)
    rows = [GATES[CODES[gate[0]]] for gate in (first, second)]
    a, b = (
        operator((*gate[: 1 + row.wires], *rng.uniform(1, 2, row.parameters)))
        for gate, row in zip((first, second), rows, strict=True)
    )
    return alike(a @ b, b @ a)


@pytest.mark.parametrize("gate", FIXED, ids=lambda gate: gate.name)
def test_a_gate_and_its_inverse_go_also_through_what_commutes(gate):
    wires = (2, 0)[: gate.wires]
    pool = Pool.of(WIRES, [[(gate.name, *wires), ("RZ", 1, 0.1), (gate.inverse, *wires)], [(gate.name, *wires)]])
    found = simplify(pool)
    assert names(found) == ["RZ"]
    assert names(found, 1) == ([gate.name] if gate.name != "I" else [])


@pytest.mark.parametrize("gate", [g for g in GATES if g.parameters], ids=lambda gate: gate.name)
def test_angles_add_where_the_matrices_say_so(gate):
    wires = (2, 0)[: gate.wires]
    one, two = np.linspace(0.1, 0.5, gate.parameters), np.linspace(1.1, 2.0, gate.parameters)
    between = ("RZ", 1, 0.1)
    found = simplify(Pool.of(WIRES, [[(gate.name, *wires, *one), between, (gate.name, *wires, *two)]]))
    if gate.name == "U3":
        assert names(found) == ["U3", "RZ", "U3"]
    else:
        stands = sorted(wires) if gate.symmetric else wires
        assert found.gates(0) == [(gate.name, *stands, pytest.approx(one[0] + two[0])), between]
    assert additive()[CODES[gate.name]] == (gate.name != "U3")


@pytest.mark.parametrize("gate", [g for g in GATES if g.parameters], ids=lambda gate: gate.name)
def test_zero_angles_go_only_when_asked_and_only_where_the_gate_does_nothing(gate):
    wires = (2, 0)[: gate.wires]
    angles = [0.0, 2 * pi, -2 * pi, 4 * pi, pi, 1e-3]
    pool = Pool.of(WIRES, [[(gate.name, *wires, a, *[0.0] * (gate.parameters - 1))] for a in angles])
    assert simplify(pool).length.tolist() == [1] * 6
    controlled = gate.name in ("CRX", "CRY", "CRZ")
    assert simplify(pool, drop_zero=True).length.tolist() == [0, controlled, controlled, 0, 1, 1]
    found = matrices(CODES[gate.name], np.full((2, gate.parameters), 0.7))
    np.testing.assert_allclose(found, [matrix(gate.name, *[0.7] * gate.parameters)] * 2)


def test_a_u3_at_zero_needs_angles_that_cancel():
    pool = Pool.of(1, [[("U3", 0, 0.0, 0.4, -0.4)], [("U3", 0, 2 * pi, 0.4, -0.4)], [("U3", 0, 0.0, 0.4, 0.4)]])
    assert simplify(pool, drop_zero=True).length.tolist() == [0, 0, 1]


def test_what_goes_lets_others_meet():
    nested = [("H", 0), ("CNOT", 0, 1), ("RX", 0, 0.2), ("T", 1), ("TDG", 1), ("RX", 0, -0.2), ("CNOT", 0, 1), ("H", 0)]
    held = [("CNOT", 0, 1), ("RX", 0, 0.3), ("CNOT", 0, 1)]
    through = [("CNOT", 0, 1), ("RZ", 0, 0.3), ("RX", 1, 0.3), ("CNOT", 0, 2), ("CNOT", 0, 1)]
    turned = [("CNOT", 0, 1), ("CNOT", 1, 0), ("CZ", 0, 1), ("CZ", 1, 0)]
    pool = Pool.of(WIRES, [nested, held, through, turned])
    found = simplify(pool, drop_zero=True)
    assert [names(found, k) for k in range(4)] == [[], ["CNOT", "RX", "CNOT"], ["RZ", "RX", "CNOT"], ["CNOT", "CNOT"]]
    assert names(simplify(pool)) == ["H", "CNOT", "RX", "CNOT", "H"]


def test_shared_parameters_and_inputs_are_left_alone():
    pool = Pool.of(1, [[("RX", 0, 0.0)] * 3] * 4)
    pool = replace(pool, parameter=np.array([[0, 1, 2], [0, 0, 1], [0, 3, 4], [3, 3, 3]]), theta=np.full((4, 3), 0.5))
    found = simplify(pool)
    assert list(found) == [
        [("RX", 0, 1.5)],
        [("RX", 0, 0.5)] * 3,
        [("RX", 0, 0.5), ("RX", 0, "x0"), ("RX", 0, "x1")],
        [("RX", 0, "x0")] * 3,
    ]
    assert found.parameter[1].tolist() == [0, 0, 1]
    zeros = simplify(replace(pool, theta=np.zeros((4, 3))), drop_zero=True)
    assert [len(gates) for gates in zeros] == [0, 0, 2, 3]


def test_the_pool_itself_stays_as_it_was():
    pool = Pool.of(2, [[("CZ", 1, 0), ("RX", 0, 1.0), ("RX", 0, 1.0)]])
    simplify(pool)
    assert pool.gates(0) == [("CZ", 1, 0), ("RX", 0, 1.0), ("RX", 0, 1.0)]
    assert len(simplify(Pool.of(2, []))) == 0
