"""Depth, the graph of gates and light cones against PennyLane and NetworkX; counts against plain Python."""

from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.circuits import structure
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import END, CircuitError, Pool

WIRES = 4
BELL = [("H", 0), ("CNOT", 0, 1), ("CNOT", 0, 1), ("X", 1), ("RX", 3, 0.1)]


@st.composite
def circuits(draw, most=12):
    """A circuit of any gates, readable."""
    found = []
    for gate in draw(st.lists(st.sampled_from(GATES), max_size=most)):
        wires = draw(st.permutations(range(WIRES)))[: gate.wires]
        found.append((gate.name, *wires, *(draw(st.floats(-7, 7)) for _ in range(gate.parameters))))
    return found


pools = st.lists(circuits(), min_size=1, max_size=4).map(lambda found: Pool.of(WIRES, found))


@st.composite
def shared_pools(draw):
    """Circuits whose gates read parameters anywhere in a table of five, and three inputs behind it."""
    pool = draw(pools)
    parameter = pool.parameter.copy()
    for row, slot in np.argwhere(pool.parameter >= 0):
        count = GATES[pool.op[row, slot]].parameters
        parameter[row, slot] = draw(st.sampled_from([*range(6 - count), *range(5, 9 - count)]))
    return replace(pool, parameter=parameter, theta=np.tile([0.1, 0.2, 0.3, 0.4, 0.5], (len(pool), 1)))


def wires_of(gate):
    return gate[1 : 1 + GATES[CODES[gate[0]]].wires]


def graph_of(circuit):
    """The gates' graph, by place: an edge to the next gate on each wire."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(len(circuit)))
    for wire in range(WIRES):
        line = [k for k, gate in enumerate(circuit) if wire in wires_of(gate)]
        graph.add_edges_from(pairwise(line), wire=wire)
    return graph


@settings(max_examples=60, deadline=None)
@given(pools)
def test_depth_and_layers_are_those_of_the_graph(pool):
    layers, depths = structure.levels(pool), structure.depth(pool)
    for row, circuit in enumerate(pool):
        operators = [qml.RX(0.1, w) if len(w) == 1 else qml.CNOT(w) for w in map(list, map(wires_of, circuit))]
        assert depths[row] == qml.tape.QuantumScript(operators).graph.get_depth()
        graph = nx.DiGraph(graph_of(circuit))
        for layer, gates in enumerate(nx.topological_generations(graph), 1):
            assert set(layers[row, list(gates)]) <= {layer}
        assert not layers[row, len(circuit) :].any()


@settings(max_examples=60, deadline=None)
@given(pools)
def test_predecessors_are_the_graphs_edges(pool):
    found = structure.predecessors(pool)
    for row, circuit in enumerate(pool):
        graph = graph_of(circuit)
        for slot, gate in enumerate(circuit):
            edges = {data["wire"]: source for source, _, data in graph.in_edges(slot, data=True)}
            assert found[row, slot].tolist() == ([edges.get(w, END) for w in wires_of(gate)] + [END])[:2]
        assert (found[row, len(circuit) :] == END).all()


def test_a_gate_behind_one_gate_on_both_wires_has_it_twice_and_equal_gates_are_told_apart():
    pool = Pool.of(WIRES, [BELL, []])
    assert structure.predecessors(pool)[0].tolist() == [[-1, -1], [0, -1], [1, 1], [2, -1], [-1, -1]]
    assert structure.depth(pool).tolist() == [4, 0]
    assert structure.two_qubit_gates(pool).tolist() == [2, 0]
    assert structure.parameter_count(pool).tolist() == [1, 0]
    assert structure.used_wires(pool).tolist() == [[True, True, False, True], [False] * 4]
    assert structure.blocks(pool).tolist() == [[0, 0, 2, 3], [0, 1, 2, 3]]


@settings(max_examples=60, deadline=None)
@given(pools, st.lists(st.integers(0, WIRES - 1), max_size=2))
def test_light_cones_are_the_ancestors_of_what_is_measured(pool, measured):
    cone = structure.light_cone(pool, measured)
    for row, circuit in enumerate(pool):
        graph = graph_of(circuit)
        last = [max((k for k, g in enumerate(circuit) if w in wires_of(g)), default=None) for w in measured]
        expected = set().union(*({k} | nx.ancestors(graph, k) for k in last if k is not None))
        assert set(np.flatnonzero(cone[row])) == expected


def test_a_light_cone_of_no_wire_is_refused():
    with pytest.raises(CircuitError, match=r"no wire 4 .* 0\.\.3"):
        structure.light_cone(Pool.of(WIRES, [BELL]), [0, 4])


@settings(max_examples=60, deadline=None)
@given(pools)
def test_blocks_are_connected_components(pool):
    for row, circuit in enumerate(pool):
        graph = nx.Graph([wires_of(g) for g in circuit if len(wires_of(g)) == 2])
        graph.add_nodes_from(range(WIRES))
        parts = list(nx.connected_components(graph))
        assert structure.entangling_blocks(pool)[row] == len(parts)
        assert structure.connected(pool)[row] == (len(parts) == 1)
        assert all(structure.blocks(pool)[row, w] == min(part) for part in parts for w in part)
        assert set(np.flatnonzero(structure.used_wires(pool)[row])) == {w for g in circuit for w in wires_of(g)}


@settings(max_examples=60, deadline=None)
@given(shared_pools())
def test_counts_are_those_of_plain_python(pool):
    columns = pool.theta.shape[1]
    for row, circuit in enumerate(pool):
        names = [gate[0] for gate in circuit]
        assert structure.gate_counts(pool)[row].tolist() == [names.count(gate.name) for gate in GATES]
        assert structure.two_qubit_gates(pool)[row] == sum(len(wires_of(gate)) == 2 for gate in circuit)
        reads = [set(pool.parameter[row, k] + np.arange(GATES[CODES[g]].parameters)) for k, g in enumerate(names)]
        assert structure.parameter_count(pool)[row] == len({p for read in reads for p in read if p < columns})
        for slot, mine in enumerate(reads):
            others = set().union(*reads[:slot], *reads[slot + 1 :], range(columns, columns + 9))
            assert structure.unshared(pool)[row, slot] == bool(mine and not mine & others)


@settings(max_examples=100, deadline=None)
@given(shared_pools(), st.randoms(use_true_random=False))
def test_compact_drops_gates_and_keeps_what_the_others_read(pool, random):
    keep = np.array([[random.random() < 0.6 for _ in row] for row in pool.op], bool).reshape(pool.op.shape)
    found = structure.compact(pool, keep)
    assert found.op.shape == pool.op.shape
    for row, gates in enumerate(found.checked()):  # each parameter has a value of its own, so all can be read off
        assert gates == [gate for gate, kept in zip(pool.gates(row), keep[row], strict=False) if kept]
    counts = structure.parameter_count(found)
    assert found.theta.shape[1] == counts.max()
    for row, gates in enumerate(found):
        read = structure.parameter_indices(found)[row]
        own = read[(read != END) & (read < found.theta.shape[1])]
        assert set(own) == set(range(counts[row]))  # without gaps
        values = [a for g in gates for a in g[1 + len(wires_of(g)) :] if isinstance(a, float)]
        assert len(set(values)) == counts[row]  # shared exactly where it was shared


def test_parameters_are_numbered_as_they_are_first_read_and_blocks_stay_side_by_side():
    pool = Pool.of(2, [[("RX", 0, 0.0), ("RY", 0, 0.0), ("U3", 1, 0.0, 0.0, 0.0), ("RZ", 1, 0.0)]])
    theta = np.arange(7)[None] / 10
    found = structure.renumbered(replace(pool, parameter=np.array([[5, 3, 1, 7]]), theta=theta))
    assert found.parameter.tolist() == [[0, 3, 1, 4]]  # 3 belongs to U3's block 1, 2, 3; 7 is the first input
    assert found.theta.tolist() == [[0.5, 0.1, 0.2, 0.3]]
    assert found.inputs == 1
    with pytest.raises(CircuitError, match="circuit 0, gate 2 reads a parameter and an input"):
        structure.renumbered(replace(pool, parameter=np.array([[5, 3, 6, 7]]), theta=theta))


def test_pools_without_circuits_or_without_gates_are_fine():
    for pool in (Pool.of(3, []), Pool.of(3, [[]])):
        assert structure.depth(pool).tolist() == [0] * len(pool)
        assert structure.light_cone(pool, [1]).shape == pool.op.shape
        assert structure.unshared(pool).shape == pool.op.shape
        assert structure.used_wires(pool).shape == (len(pool), 3)
        assert len(structure.compact(pool, pool.slots)) == len(structure.predecessors(pool)) == len(pool)
        assert structure.gate_counts(pool).sum() == 0
        assert structure.parameter_count(pool).sum() == 0
