"""Sampled circuits against the exact distribution, found by enumeration or by a plain loop, and the paper's figures."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import spaces.circuits.sampler as module
from spaces.circuits.coupling import coupling
from spaces.circuits.gates import CODES, GATE_SETS, GATES
from spaces.circuits.pool import CircuitError
from spaces.circuits.sampler import Sampler, paper, sample


def rng(seed=0):
    return np.random.default_rng(seed)


def wires_of(row):
    return row[1 : 1 + GATES[CODES[row[0]]].wires]


def depth(circuit):
    """Layers of a circuit, gate by gate."""
    layer = Counter()
    for row in circuit:
        top = 1 + max(layer[q] for q in wires_of(row))
        layer.update({q: top - layer[q] for q in wires_of(row)})
    return max(layer.values(), default=0)


def placements(sampler):
    """The chance of every (name, wires) of one gate, as the paper draws it: type, first wire, second wire."""
    chance = {}
    for name, weight in sampler.gates.items():
        if GATES[CODES[name]].wires == 1:
            chance |= {(name, q): weight / sampler.wires for q in range(sampler.wires)}
            continue
        partners = {}
        for first, second in sampler.coupling_of.get(name, sampler.coupling).pairs.tolist():
            partners.setdefault(first, []).append(second)
        for first, seconds in partners.items():
            chance |= {(name, first, s): weight / len(partners) / len(seconds) for s in seconds}
    total = sum(sampler.gates.values())
    return {key: value / total for key, value in chance.items()}


def fits(counts, chance):
    """Whether counts of keys come from chances: nothing impossible, and chi-square above one in a thousand."""
    assert set(counts) <= set(chance)
    total = sum(counts.values())
    keys = list(chance)
    return stats.chisquare([counts[k] for k in keys], [chance[k] * total for k in keys]).pvalue > 1e-3


UNEVEN = Sampler(
    4,
    {"RY": 3.0, "U3": 0.5, "CNOT": 2.0, "CZ": 1.0},
    6,
    None,
    coupling("edges", 4, [[0, 1], [0, 2], [0, 3], [1, 2]]),
    {"CZ": coupling("directed", 4, [[3, 1], [3, 0], [2, 0]])},
)


@pytest.mark.parametrize("sampler", [replace(paper(), depth=None), UNEVEN], ids=["paper", "uneven"])
def test_gates_come_by_weight_then_first_wire_then_partner(sampler):
    counts = Counter((row[0], *wires_of(row)) for circuit in sample(sampler, 8000, rng()) for row in circuit)
    assert fits(counts, placements(sampler))


def test_the_papers_wires():
    """By hand: each of eleven types alike, CNOT on the directed ring, CZ and SWAP on each of twelve pairs."""
    chance = placements(paper())
    assert chance["X", 2] == pytest.approx(1 / 44)
    assert {k: v for k, v in chance.items() if k[0] == "CNOT"} == pytest.approx(
        {("CNOT", q, (q + 1) % 4): 1 / 44 for q in range(4)}
    )
    assert chance["SWAP", 3, 1] == pytest.approx(1 / 132)
    assert tuple(paper().gates) == GATE_SETS["paper"]


def sequences(sampler):
    """The chance of every whole circuit of a small space, by enumeration."""
    steps = placements(sampler)
    chance = {}
    for circuit in product(steps, repeat=sampler.length):
        share = 1.0
        for k, step in enumerate(circuit):
            possible = [s for s in steps if depth([*circuit[:k], s]) <= sampler.depth]
            if step not in possible:
                share = 0
                break
            share *= steps[step] / (sum(steps[s] for s in possible) if sampler.reject == "gate" else 1)
        if share:
            chance[circuit] = share
    total = sum(chance.values())
    return {key: value / total for key, value in chance.items()}


@pytest.mark.parametrize("reject", ["circuit", "gate"])
def test_whole_circuits_of_a_small_space_have_their_exact_chances(reject):
    sampler = Sampler(3, {"H": 1, "X": 2.5, "CZ": 2}, 3, 2, coupling("directed_line", 3), reject=reject)
    chance = sequences(sampler)
    assert len(chance) > 100
    counts = Counter(tuple((row[0], *wires_of(row)) for row in circuit) for circuit in sample(sampler, 30_000, rng(1)))
    assert fits(counts, chance)


def test_circuits_in_which_no_gate_fits_any_more_are_thrown_away():
    """Depth 2 on three wires and four CZ gates: CZ(0, 1) twice leaves no room for a third."""
    sampler = Sampler(3, {"CZ": 1, "X": 0.2}, 4, 2, coupling("line", 3), reject="gate")
    pool = sample(sampler, 20_000, rng())
    assert max(depth(circuit) for circuit in pool[:2000]) == 2
    counts = Counter(tuple((row[0], *wires_of(row)) for row in circuit) for circuit in pool)
    assert fits(counts, sequences(sampler))


def test_the_papers_figures():
    """Dossier values for n = 4, G = 10, depth 5: 56 % kept, depths 3/4/5 as 3.7/35.6/60.8 %, 5.9 parameters."""
    free = sample(replace(paper(), depth=None), 20_000, rng())
    kept = [depth(circuit) for circuit in free if depth(circuit) <= 5]
    assert len(kept) / len(free) == pytest.approx(0.56, abs=0.012)
    pool = sample(paper(), 20_000, rng(1))
    found = Counter(depth(circuit) for circuit in pool)
    assert max(found) == 5
    for layers, share in ((3, 0.037), (4, 0.356), (5, 0.608)):
        assert found[layers] / len(pool) == pytest.approx(share, abs=0.012)
    assert pool.parameters.mean() == pytest.approx(5.9, abs=0.06)
    assert np.mean(pool.parameters == 0) == pytest.approx(0.007, abs=0.002)
    expected = Counter(kept)
    table = [[expected[k], found[k]] for k in found if expected[k]]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_eight_wires_and_twenty_gates():
    """21 % of the candidates are shallow enough."""
    free = sample(replace(paper(8, 20), depth=None), 8000, rng())
    assert np.mean([depth(circuit) <= 5 for circuit in free]) == pytest.approx(0.21, abs=0.015)
    pool = sample(paper(8, 20), 2000, rng())
    assert len(pool) == 2000
    assert max(depth(circuit) for circuit in pool) == 5


def test_kept_circuits_are_those_of_a_plain_loop():
    """Types and wires at the first, a middle and the last place, against the paper's loop over gates written out."""
    random, circuits, names = rng(7), [], GATE_SETS["paper"]
    while len(circuits) < 4000:
        circuit = []
        for _ in range(10):
            name, q = names[random.integers(11)], int(random.integers(4))
            others = [(q + 1) % 4] if name == "CNOT" else [w for w in range(4) if w != q]
            second = [others[random.integers(len(others))]] if name in ("CNOT", "CZ", "SWAP") else []
            circuit.append((name, q, *second))
            if depth(circuit) > 5:
                break
        else:
            circuits.append(circuit)
    pool = list(sample(paper(), 12_000, rng(8)))
    for place in (0, 5, 9):
        one = Counter(circuit[place] for circuit in circuits)
        other = Counter((circuit[place][0], *wires_of(circuit[place])) for circuit in pool)
        keys = sorted(set(one) | set(other))
        assert stats.chi2_contingency([[one[k] for k in keys], [other[k] for k in keys]]).pvalue > 1e-3


def test_angles_are_uniform_and_own_parameters_in_order():
    pool = sample(paper(), 3000, rng())
    for row in range(200):
        takes = [GATES[code].parameters for code in pool.op[row]]
        expected = [sum(takes[:k]) if takes[k] else -1 for k in range(len(takes))]
        assert pool.parameter[row].tolist() == expected
        assert pool.parameters[row] == sum(takes)
        assert not pool.theta[row, sum(takes) :].any()
    used = np.arange(pool.theta.shape[1]) < pool.parameters[:, None]
    assert stats.kstest(pool.theta[used] / (2 * math.pi), "uniform").pvalue > 1e-3
    assert len(np.unique(pool.theta[used])) == used.sum()
    assert pool.theta.shape[1] == pool.parameters.max()
    assert pool.checked() is pool


@pytest.mark.parametrize("sampler", [paper(), replace(paper(8, 20), reject="gate")], ids=["circuit", "gate"])
def test_a_seed_fixes_the_circuits_however_many_are_asked_for(sampler):
    many = list(sample(sampler, 9000, rng(3)))
    assert list(sample(sampler, 9000, rng(3))) == many
    assert list(sample(sampler, 100, rng(3))) == many[:100]
    assert list(sample(sampler, 0, rng(3))) == []
    assert list(sample(sampler, 100, rng(4))) != many[:100]
    generator = rng(3)
    assert list(sample(sampler, 50, generator)) != list(sample(sampler, 50, generator))


SPACES = st.builds(
    lambda wires, names, length, depth, shared, own, reject: Sampler(
        wires,
        dict.fromkeys(names, 1.0),
        length if depth is None else min(length, depth),
        depth,
        coupling(shared, wires),
        {name: coupling(own, wires) for name in names if name in ("CNOT", "SWAP")},
        reject,
    ),
    st.integers(2, 7),
    st.sets(st.sampled_from(sorted(CODES)), min_size=1, max_size=6),
    st.integers(1, 12),
    st.none() | st.integers(1, 6),
    st.sampled_from(["all", "line", "ring", "directed_line", "grid", "heavy_hex"]),
    st.sampled_from(["line", "directed_ring"]),
    st.sampled_from(["circuit", "gate"]),
)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(SPACES, st.integers(0, 99))
def test_every_circuit_keeps_to_its_space(sampler, seed):
    pool = sample(sampler, 60, rng(seed)).checked()
    assert len(pool) == 60
    assert pool.wires == sampler.wires
    for circuit in pool:
        assert len(circuit) == sampler.length
        assert sampler.depth is None or depth(circuit) <= sampler.depth
        for row in circuit:
            assert row[0] in sampler.gates
            if len(wires_of(row)) == 2:
                allowed = sampler.coupling_of.get(row[0], sampler.coupling).pairs.tolist()
                assert list(wires_of(row)) in allowed


def test_hopeless_spaces_are_given_up_with_advice(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 40_000)
    sampler = paper(6, 28, 5)
    with pytest.raises(CircuitError) as error:
        sample(sampler, 10, rng())
    said = str(error.value)
    for word in ("depth: 0 of 40960", "28 gates on 6 wires", "depth of 5 or less", "gate by gate", "greater depth"):
        assert word in said
    assert len(sample(replace(sampler, reject="gate"), 10, rng())) == 10


LINE = coupling("line", 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wires": 0}, ["wires: expected a whole number, found 0", "1 .. 127"]),
        ({"length": 0}, ["length: expected a whole number, found 0", "1 .. 1000"]),
        ({"length": 2.5}, ["length", "2.5"]),
        ({"depth": 0}, ["depth: expected a whole number, found 0"]),
        ({"depth": True}, ["depth", "True"]),
        ({"length": 21}, ["21 gates do not fit into depth 5 on 4 wires, at most 20"]),
        ({"reject": "gat"}, ["reject: found 'gat'", "did you mean 'gate'?"]),
        ({"gates": {}}, ["the gate set is empty"]),
        ({"gates": {"CNOTT": 1}}, ["no gate 'CNOTT'", "did you mean 'CNOT'?"]),
        ({"gates": {"RX": 0}}, ["RX has the weight 0", "1e-06 .. 1000000"]),
        ({"gates": {"RX": math.inf}}, ["RX has the weight inf"]),
        ({"gates": {"RX": math.nan}}, ["RX has the weight nan"]),
        ({"gates": {"RX": "much"}}, ["RX has the weight 'much'"]),
        ({"gates": {"RX": 1}}, ["coupling_of: no two-qubit gate 'CNOT'"]),
        ({"coupling_of": {"RX": LINE}}, ["coupling_of: no two-qubit gate 'RX'", "CNOT, CZ, SWAP"]),
        ({"coupling": coupling("line", 5)}, ["coupling: a coupling map of 5 wires, the register has 4"]),
        ({"coupling_of": {"CZ": coupling("line", 3)}}, ["CZ: a coupling map of 3 wires"]),
    ],
)
def test_impossible_spaces_are_refused(change, words):
    with pytest.raises(CircuitError) as error:
        replace(paper(), **change)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_one_wire_takes_no_two_qubit_gates():
    with pytest.raises(CircuitError, match="CNOT has no pair of wires to act on in a register of 1"):
        paper(1, 5)
    assert len(sample(Sampler(1, {"H": 1, "RX": 1}, 5, None, coupling("all", 1)), 9, rng())) == 9


def test_a_negative_count_is_refused():
    with pytest.raises(CircuitError, match="count"):
        sample(paper(), -1, rng())
