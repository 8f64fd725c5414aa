"""Mutants and children stay in their space, every move is made, and what is not touched stays."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.circuits import structure
from spaces.circuits.coupling import coupling
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import Sampler, paper, sample
from spaces.circuits.variation import crossover, mutate


def lawful(gate, sampler):
    name, count = gate[0], GATES[CODES[gate[0]]].wires
    wires = gate[1 : 1 + count]
    return name in sampler.gates and (count == 1 or list(wires) in sampler.pairs(name).tolist())


@st.composite
def samplers(draw):
    wires = draw(st.integers(2, 5))
    names = ["RX", *draw(st.lists(st.sampled_from([g.name for g in GATES if g.name != "RX"]), max_size=5, unique=True))]
    depth = draw(st.integers(2, 8))
    length = draw(st.integers(1, max(1, wires * depth // 3)))  # not so many that hardly any circuit fits
    maps = {name: coupling("directed_line", wires) for name in names if GATES[CODES[name]].wires == 2}
    own = {name: maps[name] for name in draw(st.sets(st.sampled_from(sorted(maps))))} if maps else {}
    return Sampler(wires, dict.fromkeys(names, 1.0), length, depth, coupling("ring", wires), own, "gate")


@settings(max_examples=60, deadline=None)
@given(samplers(), st.floats(0, 1), st.integers(0, 2**32))
def test_mutants_stay_in_their_space(sampler, rate, seed):
    pool = sample(sampler, 40, np.random.default_rng(seed))
    found = mutate(pool, sampler, np.random.default_rng(seed), rate).checked()
    again = mutate(pool, sampler, np.random.default_rng(seed), rate)
    assert list(found) == list(again)
    assert (structure.depth(found) <= sampler.depth).all()
    assert found.length.min() >= 1
    assert found.length.max() <= sampler.length
    assert all(lawful(gate, sampler) for circuit in found for gate in circuit)
    assert (found.parameters == structure.parameter_count(found)).all()  # numbered without gaps


def test_at_rate_zero_nothing_changes_and_the_rate_is_how_many_moves_a_circuit_makes():
    sampler, rng = paper(), np.random.default_rng(0)
    pool = sample(sampler, 4000, rng)
    before = list(pool)
    assert list(mutate(pool, sampler, rng, 0)) == before
    still = np.mean([a == b for a, b in zip(mutate(pool, sampler, rng, 0.1), before, strict=True)])
    assert 0.9**10 < still < 0.9**10 + 0.12  # circuits without a move, and with one that changed nothing
    assert list(pool) == before


def moves_between(old, new):
    """Which single moves lead from one circuit to another; none if it takes more."""
    if old == new:
        return {"none"}
    if len(new) != len(old):
        short, long, name = (old, new, "insert") if len(new) > len(old) else (new, old, "delete")
        return {name} if any(long[:k] + long[k + 1 :] == short for k in range(len(long))) else set()
    different = [k for k in range(len(old)) if old[k] != new[k]]
    if len(different) > 1:
        k = different[0]
        turned = [*old[:k], old[k + 1], old[k], *old[k + 2 :]]
        return {"swap"} if turned == new else set()
    (name, *rest), (other, *after) = old[different[0]], new[different[0]]
    if name != other:
        return {"replace"}
    count = GATES[CODES[name]].wires
    angles_stay, wires_stay = rest[count:] == after[count:], rest[:count] == after[:count]
    return {"rewire"} if angles_stay else {"perturb", "replace"} if wires_stay else {"replace"}


def test_every_move_is_made_and_nothing_else():
    sampler = Sampler(4, dict.fromkeys(["RX", "U3", "CNOT"], 1.0), 8, None, coupling("all", 4))
    pool = sample(replace(sampler, length=5), 4000, np.random.default_rng(0))
    # at this rate hardly any circuit makes more than one move
    seen = Counter()
    for old, new in zip(pool, mutate(pool, sampler, np.random.default_rng(1), 0.02), strict=True):
        seen.update(moves_between(old, new) or {"more"})
    each = len(pool) * 5 * 0.02 / 6
    assert seen["more"] < 0.01 * len(pool)  # two moves: 5 over 2 times 0.02 squared is 0.4 %
    assert all(0.6 * each < seen[move] < 1.5 * each for move in ("insert", "delete", "swap", "perturb", "rewire"))
    assert seen["replace"] > 0.6 * each


def test_a_full_circuit_makes_room_for_what_comes_in_and_the_last_gate_stays():
    sampler = Sampler(2, {"RX": 1.0, "CZ": 1.0}, 3, None, coupling("all", 2))
    pool = sample(sampler, 500, np.random.default_rng(0))
    found = mutate(pool, sampler, np.random.default_rng(0), 1.0)
    assert found.length.max() == 3
    assert found.length.min() >= 1
    single = replace(sampler, length=1)
    pool = sample(single, 300, np.random.default_rng(0))
    found = mutate(pool, single, np.random.default_rng(1), 1.0)
    assert set(found.length) == {1}
    assert list(found) != list(pool)


def test_circuits_that_cannot_move_within_the_depth_stay_as_they_were():
    sampler = Sampler(2, {"CZ": 1.0, "RX": 1.0}, 2, 1, coupling("all", 2))
    deep = Pool.of(2, [[("CZ", 0, 1)] * 6] * 50)  # no few moves bring it to depth 1
    found = mutate(deep, sampler, np.random.default_rng(0), 0.1)
    assert list(found) == list(deep)


def test_shared_parameters_and_inputs_survive():
    sampler = Sampler(2, {"RX": 1.0, "RY": 1.0}, 6, None, coupling("all", 2))
    pool = Pool.of(2, [[("RX", 0, 0.0), ("RY", 0, 0.0), ("RX", 1, 0.0), ("RY", 1, 0.0)]] * 400)
    pool = replace(pool, parameter=np.tile([0, 1, 0, 2], (400, 1)), theta=np.tile([0.25, 0.5], (400, 1)))
    found = mutate(pool, sampler, np.random.default_rng(0), 0.2)
    assert found.inputs == 1
    kept = 0
    for circuit in found:
        assert all(gate[2] == "x0" or isinstance(gate[2], float) for gate in circuit)
        angles = [gate[2] for gate in circuit if gate[0] == "RX"]
        kept += len(angles) == 2 and angles[0] == angles[1] != 0.25  # perturbed, and both of them
    assert kept > 5
    assert all("x0" in [gate[2] for gate in c] for c in mutate(pool, sampler, np.random.default_rng(0), 0.0))


@settings(max_examples=60, deadline=None)
@given(samplers(), st.integers(0, 2**32))
def test_children_begin_as_one_parent_and_end_as_the_other(sampler, seed):
    rng = np.random.default_rng(seed)
    first, second = sample(sampler, 40, rng), sample(sampler, 40, rng)
    child = crossover(first, second, rng).checked()
    assert child.op.shape == first.op.shape
    assert (structure.depth(child) <= np.maximum(structure.depth(first), structure.depth(second))).all()
    layers = structure.levels(first), structure.levels(second)
    for row, gates in enumerate(child):
        one, two = first.gates(row), second.gates(row)
        options = [
            [gate for gate, layer in zip(one, layers[0][row], strict=False) if layer <= cut]
            + [gate for gate, layer in zip(two, layers[1][row], strict=False) if layer > cut]
            for cut in range(1, first.op.shape[1] + 1)
        ]
        assert gates in options
        mixed = [o for cut, o in enumerate(options, 1) if cut < layers[1][row].max() and len(o) <= first.op.shape[1]]
        assert gates in mixed or (not mixed and gates == one)
    assert (child.parameters == structure.parameter_count(child)).all()


def test_crossover_mixes_and_keeps_shared_parameters_and_inputs_apart():
    blank = Pool.of(1, [[("RX", 0, 0.0)] * 4] * 200)
    first = replace(blank, parameter=np.tile([0, 0, 2, 3], (200, 1)), theta=np.full((200, 2), 0.25))
    second = replace(blank, parameter=np.tile([0, 1, 1, 2], (200, 1)), theta=np.full((200, 2), 0.75))
    child = crossover(first, second, np.random.default_rng(0))
    options = {
        (0.25, 0.75, 0.75, "x0"): [0, 1, 1],
        (0.25, 0.25, 0.75, "x0"): [0, 0, 1],
        (0.25, 0.25, "x0", "x0"): [0, 0],
    }
    seen = Counter()
    for row, gates in enumerate(child):
        angles = tuple(gate[2] for gate in gates)
        seen[angles] += 1
        numbers = child.parameter[row][child.parameter[row] < child.theta.shape[1]]
        assert numbers.tolist() == options[angles]
    assert set(seen) == set(options)
    assert min(seen.values()) > 40  # of 200 over three cuts


def test_requests_that_make_no_sense_are_refused():
    sampler, rng = paper(3, 4, 4), np.random.default_rng(0)
    pool = sample(sampler, 3, rng)
    with pytest.raises(CircuitError, match=r"rate: found 1.5"):
        mutate(pool, sampler, rng, 1.5)
    with pytest.raises(CircuitError, match="for 4 wires cannot mutate circuits on 3"):
        mutate(pool, paper(4), rng, 0.1)
    with pytest.raises(CircuitError, match="3 circuits of 4 slots on 3 wires and 2 circuits of 4 slots"):
        crossover(pool, pool[:2], rng)
    assert len(mutate(pool[:0], sampler, rng, 0.5)) == 0
    assert len(crossover(pool[:0], pool[:0], rng)) == 0
    empty = Pool.of(3, [[], []])
    assert crossover(empty, empty, rng).length.tolist() == [0, 0]
    assert mutate(empty, sampler, rng, 1.0).length.max() <= 1
