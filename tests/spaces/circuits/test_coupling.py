"""Coupling maps against NetworkX's and rustworkx's graphs, and what is refused."""

import networkx as nx
import numpy as np
import pytest
import rustworkx

from spaces.circuits.coupling import NAMES, SHAPED, Coupling, coupling, of_graph
from spaces.circuits.pool import CircuitError


def both(graph):
    """The directed pairs of an undirected graph."""
    return {(a, b) for a, b in graph.edges} | {(b, a) for a, b in graph.edges}


def pairs(found):
    listed = [tuple(pair) for pair in found.pairs.tolist()]
    assert len(set(listed)) == len(listed)
    assert found.pairs.dtype == np.int8
    return set(listed)


@pytest.mark.parametrize("wires", [2, 3, 4, 6, 7])
def test_named_maps_are_their_graphs(wires):
    ring = nx.cycle_graph(wires) if wires > 2 else nx.path_graph(2)
    assert pairs(coupling("all", wires)) == both(nx.complete_graph(wires))
    assert pairs(coupling("line", wires)) == both(nx.path_graph(wires))
    assert pairs(coupling("ring", wires)) == both(ring)
    assert pairs(coupling("directed_line", wires)) == {(q, q + 1) for q in range(wires - 1)}
    assert pairs(coupling("directed_ring", wires)) == {(q, (q + 1) % wires) for q in range(wires)}


@pytest.mark.parametrize(
    ("wires", "shape", "sides"),
    [
        (6, None, (2, 3)),
        (12, None, (3, 4)),
        (9, None, (3, 3)),
        (7, None, (1, 7)),
        (6, [3, 2], (3, 2)),
        (6, (6, 1), (6, 1)),
    ],
)
def test_grids_join_neighbours_row_by_row(wires, shape, sides):
    places = {(r, c): r * sides[1] + c for r in range(sides[0]) for c in range(sides[1])}
    expected = nx.relabel_nodes(nx.grid_2d_graph(*sides), places)
    assert pairs(coupling("grid", wires, shape)) == both(expected)


@pytest.mark.parametrize(("distance", "wires"), [(3, 19), (5, 57), (7, 115)])
def test_heavy_hex_is_the_lattice_of_its_distance(distance, wires):
    graph = nx.Graph(list(rustworkx.generators.heavy_hex_graph(distance).edge_list()))
    found = nx.Graph(list(pairs(coupling("heavy_hex", wires, distance))))
    assert len(graph) == wires
    assert nx.is_isomorphic(graph, found)
    assert pairs(coupling("heavy_hex", wires)) == both(found)


def test_part_of_a_heavy_hex_hangs_together_and_keeps_every_edge_of_it():
    whole = nx.Graph(list(pairs(coupling("heavy_hex", 57, 5))))
    for wires in range(2, 57):
        part = nx.Graph(list(pairs(coupling("heavy_hex", wires, 5))))
        assert len(part) == wires
        assert nx.is_connected(part)
        assert both(part) == both(whole.subgraph(range(wires)))


def test_lists_of_pairs_and_graphs():
    assert pairs(coupling("directed", 4, [[2, 0], [0, 1], [2, 0]])) == {(2, 0), (0, 1)}
    assert pairs(coupling("edges", 4, np.array([[2, 0], [0, 1]]))) == {(2, 0), (0, 2), (0, 1), (1, 0)}
    graph = nx.erdos_renyi_graph(8, 0.4, seed=1)
    assert pairs(of_graph(graph)) == both(graph)
    arrows = nx.gnp_random_graph(8, 0.3, seed=1, directed=True)
    assert pairs(of_graph(arrows)) == set(arrows.edges)


def test_equal_maps_are_equal_and_cannot_be_changed():
    one, other = coupling("ring", 3), coupling("all", 3)
    assert one == other
    assert hash(one) == hash(other)
    assert one != coupling("directed_ring", 3)
    assert coupling("line", 3) != coupling("edges", 4, [[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="read-only"):
        one.pairs[0, 0] = 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SHAPED])
def test_one_wire_has_the_empty_map(name):
    assert coupling(name, 1).pairs.shape == (0, 2)


HEXES = "an odd code distance, 3 .. 99"


@pytest.mark.parametrize(
    ("name", "wires", "shape", "words"),
    [
        ("rign", 4, None, ["no coupling map 'rign'", "all, line, ring", "did you mean 'ring'?"]),
        (["ring"], 4, None, ["no coupling map ['ring']"]),
        ("ring", 4, 3, ["'ring' has no shape, found 3", "grid, heavy_hex, edges, directed"]),
        ("edges", 4, None, ["'edges' needs its pairs", "[[0, 1], [1, 2]]"]),
        ("edges", 4, [[0, 4]], ["[0, 4] leaves the register, wires 0..3"]),
        ("edges", 4, [[-1, 2]], ["[-1, 2] leaves the register"]),
        ("edges", 4, [[0, 2**40]], ["leaves the register"]),
        ("directed", 4, [[0, 1], [2, 2]], ["[2, 2] joins a wire to itself"]),
        ("directed", 4, [], ["4 wires needs at least one pair"]),
        ("edges", 4, [[0, 1, 2]], ["expected pairs of wires, found [[0, 1, 2]]"]),
        ("edges", 4, [[0, 1], [2]], ["expected pairs of wires"]),
        ("edges", 4, [[0, 1.5]], ["expected pairs of wires"]),
        ("edges", 4, [["a", "b"]], ["expected pairs of wires"]),
        ("edges", 4, [[0, 10**400]], ["expected pairs of wires"]),
        ("edges", 4, [0, 1], ["expected pairs of wires, found [0, 1]"]),
        ("edges", 4, "01", ["expected pairs of wires, found '01'"]),
        ("edges", 4, 5, ["expected pairs of wires, found 5"]),
        ("grid", 6, [2, 2], ["2 x 2 has 4 wires, the register 6"]),
        ("grid", 6, [6], ["a grid has two sides, found [6]", "[rows, columns]"]),
        ("grid", 6, [-2, -3], ["a grid has two sides"]),
        ("grid", 6, 6, ["a grid has two sides, found 6"]),
        ("heavy_hex", 20, 3, ["distance 3 has 19 wires, the register 20"]),
        ("heavy_hex", 4, 4, ["no heavy-hexagon lattice of distance 4", HEXES]),
        ("heavy_hex", 4, 1, ["no heavy-hexagon lattice of distance 1", HEXES]),
        ("heavy_hex", 4, 10**9 + 1, [HEXES]),
        ("heavy_hex", 4, [3], ["distance [3]", HEXES]),
        ("line", 0, None, ["wires: expected a whole number, found 0", "1 .. 127"]),
        ("line", 128, None, ["found 128"]),
        ("line", 2.0, None, ["found 2.0"]),
        ("line", True, None, ["found True"]),
    ],
)  # fmt: skip
def test_impossible_maps_are_refused(name, wires, shape, words):
    with pytest.raises(CircuitError) as error:
        coupling(name, wires, shape)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_impossible_graphs_are_refused():
    with pytest.raises(CircuitError, match=r"nodes are 1, 2, 3, \.\.\.; they must be its wires"):
        of_graph(nx.Graph([(1, 2), (2, 3)]))
    with pytest.raises(CircuitError, match="joins a wire to itself"):
        of_graph(nx.Graph([(0, 1), (1, 1)]))
    with pytest.raises(CircuitError, match="at least one pair"):
        of_graph(nx.empty_graph(3))
    with pytest.raises(CircuitError, match="at least one pair"):
        Coupling(2, np.zeros((0, 2), np.int8))
