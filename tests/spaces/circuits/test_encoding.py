"""Encodings by hand, against a brute-force oracle of a circuit's edges, and there and back again."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.circuits.encoding import FAULTS, Encoding, decode, encode, faults
from spaces.circuits.gates import CODES, GATE_SETS, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample

PAPER = GATE_SETS["paper"]
ALL = tuple(CODES)


def wires_of(row):
    return row[1 : 1 + GATES[CODES[row[0]]].wires]


def oracle(circuit, wires, nodes):
    """How many wires join each two nodes: those on which both stand and nothing in between does."""
    touched = [set(range(wires)), *(set(wires_of(row)) for row in circuit), set(range(wires))]
    edges = np.zeros((nodes, nodes), int)
    for i, j in combinations(range(len(touched)), 2):
        edges[i, j] = len((touched[i] & touched[j]) - set().union(*touched[i + 1 : j]))
    return edges


def same(one, other):
    return np.array_equal(one.nodes, other.nodes) and np.array_equal(one.adjacency, other.adjacency)


def test_two_cnots_in_a_row_are_joined_by_one_edge_of_two_wires():
    """H 0, CNOT 01, CNOT 01, X 1 on three wires: no edge from H to the second CNOT, wire 2 passes by."""
    pool = Pool.of(3, [[("H", 0), ("CNOT", 0, 1), ("CNOT", 0, 1), ("X", 1)]])
    signed, binary = (encode(pool, ("CNOT", "H", "X"), scheme) for scheme in ("signed", "binary"))
    edges = [
        [0, 1, 1, 0, 0, 1],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 2, 0, 0],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ]
    nodes = [
        [1, 0, 0, 0, 0, 1, 1, 1],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, -1, 1, 0],
        [0, 1, 0, 0, 0, -1, 1, 0],
        [0, 0, 0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1, 1, 1],
    ]
    assert signed.adjacency.tolist() == [edges]
    assert signed.nodes.tolist() == [nodes]
    assert binary.adjacency.tolist() == np.minimum([edges], 1).tolist()
    assert binary.nodes.tolist() == np.abs([nodes]).tolist()
    assert {x.dtype for e in (signed, binary) for x in (e.nodes, e.adjacency)} == {np.dtype(np.int8)}


def test_repeated_gates_are_told_apart_by_position():
    """X 0, X 0, X 0: a chain, though the three are equal."""
    edges = encode(Pool.of(1, [[("X", 0)] * 3]), ("X",), "signed").adjacency[0]
    assert edges.tolist() == np.eye(5, k=1, dtype=int).tolist()


def test_shorter_circuits_end_behind_their_last_gate_and_an_empty_one_at_once():
    pool = Pool.of(2, [[("X", 0), ("CZ", 1, 0)], [("X", 1)], []])
    found = encode(pool, ("X", "CZ"), "signed")
    assert found.nodes[1].tolist() == [[1, 0, 0, 0, 1, 1], [0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1], [0] * 6]
    assert found.nodes[2].tolist() == [[1, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0] * 6, [0] * 6]
    assert found.adjacency[1].tolist() == [[0, 1, 1, 0], [0, 0, 1, 0], [0] * 4, [0] * 4]
    assert found.adjacency[2].tolist() == [[0, 2, 0, 0], [0] * 4, [0] * 4, [0] * 4]


@pytest.mark.parametrize(("sign", "expected"), [("same", [[1, 1], [1, 1]]), ("ordered", [[-1, 1], [1, -1]])])
def test_the_sign_of_gates_whose_wires_may_be_exchanged(sign, expected):
    pool = Pool.of(2, [[("SWAP", 0, 1), ("RZZ", 1, 0, 0.1)]])
    nodes = encode(pool, ("SWAP", "RZZ"), "signed", sign).nodes
    assert nodes[0, 1:3, 4:].tolist() == expected
    assert encode(pool, ("SWAP", "RZZ"), "binary", sign).nodes[0, 1:3, 4:].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(("wires", "length"), [(2, 6), (4, 10), (7, 15)])
def test_edges_are_those_of_the_oracle_and_every_node_passes_its_wires_on(wires, length):
    pool = sample(paper(wires, length, None), 400, np.random.default_rng(0))
    signed, binary = (encode(pool, PAPER, scheme) for scheme in ("signed", "binary"))
    for row, circuit in enumerate(pool):
        edges = oracle(circuit, wires, length + 2)
        assert (signed.adjacency[row] == edges).all()
        assert (binary.adjacency[row] == (edges > 0)).all()
        degrees = [len(wires_of(gate)) for gate in circuit]
        assert signed.adjacency[row].sum(1).tolist() == [wires, *degrees, 0]
        assert signed.adjacency[row].sum(0).tolist() == [0, *degrees, wires]
        assert signed.nodes[row, 1:-1, 1:12].argmax(1).tolist() == [PAPER.index(gate[0]) for gate in circuit]
    assert (signed.nodes[..., :13].sum(2) == 1).all()


def test_the_longest_way_from_start_to_end_is_the_depth():
    """H 0, CNOT 01, X 2, CNOT 12, Z 0: three layers, one on the other."""
    pool = Pool.of(3, [[("H", 0), ("CNOT", 0, 1), ("X", 2), ("CNOT", 1, 2), ("Z", 0)]])
    graph = nx.DiGraph(encode(pool, PAPER, "binary").adjacency[0])
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.dag_longest_path_length(graph, weight=None) == 4


@st.composite
def pools(draw, names=ALL):
    wires = draw(st.integers(1, 4))
    usable = [name for name in names if GATES[CODES[name]].wires <= wires]

    def gate():
        found = GATES[CODES[draw(st.sampled_from(usable))]]
        on = draw(st.permutations(range(wires)))[: found.wires]
        return (found.name, *on, *[0.0] * found.parameters)

    lengths = draw(st.lists(st.integers(0, 6), max_size=4))
    return Pool.of(wires, [[gate() for _ in range(length)] for length in lengths])


def told(row, ordered):
    """A gate as its encoding tells it, the lower wire first where that does not order its wires."""
    on = wires_of(row)
    return (row[0], *(on if ordered(GATES[CODES[row[0]]]) else sorted(on)), *row[1 + len(on) :])


ORDERED = {
    ("signed", "same"): lambda gate: not gate.symmetric,
    ("signed", "ordered"): lambda gate: True,
    ("binary", "same"): lambda gate: False,
    ("binary", "ordered"): lambda gate: False,
}


@pytest.mark.parametrize("way", ORDERED, ids="-".join)
@settings(deadline=None, derandomize=True, max_examples=120)
@given(pool=pools(), seed=st.integers(0, 2**32 - 1))
def test_there_and_back_again_and_through_noise(way, pool, seed):
    found = encode(pool, ALL, *way)
    back, valid = decode(found.nodes, found.adjacency, ALL, *way)
    assert valid.all()
    assert valid.shape == (len(pool),)
    assert list(back.checked()) == [[told(row, ORDERED[way]) for row in circuit] for circuit in pool]
    assert same(encode(back, ALL, *way), found)
    rng = np.random.default_rng(seed)
    nodes, edges = (x + rng.uniform(-0.49, 0.49, x.shape) for x in (found.nodes, found.adjacency))
    again, valid = decode(nodes.astype(np.float32), edges, ALL, *way)
    assert valid.all()
    assert list(again) == list(back)
    assert faults(nodes, edges, ALL, *way) == dict.fromkeys(FAULTS, 0)


def test_types_are_the_largest_entry_and_large_positions_count_as_one():
    found = encode(Pool.of(2, [[("X", 0), ("CNOT", 1, 0)]]), PAPER, "signed")
    nodes = found.nodes * 7.0 - np.where(np.arange(15) < 13, 9.0, 0)
    assert list(decode(nodes, found.adjacency * 1.2, PAPER, "signed")[0]) == [[("X", 0), ("CNOT", 1, 0)]]


@pytest.mark.parametrize("way", ORDERED, ids="-".join)
@settings(deadline=None, derandomize=True, max_examples=250)
@given(pool=pools(("RX", "U3", "CNOT", "CZ", "SWAP")), data=st.data())
def test_a_damaged_graph_is_valid_only_if_it_is_still_an_encoding(way, pool, data):
    gates = ("RX", "U3", "CNOT", "CZ", "SWAP")
    found = encode(pool, gates, *way)
    if not len(pool):
        return
    types, (count, width) = len(gates) + 2, found.nodes.shape[:2]
    index = st.integers(0, width - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        row, v = data.draw(st.integers(0, count - 1)), data.draw(index)
        match data.draw(st.sampled_from(["type", "position", "edge"])):
            case "type":
                found.nodes[row, v, :types] = np.arange(types) == data.draw(st.integers(0, types - 1))
            case "position":
                found.nodes[row, v, types + data.draw(st.integers(0, pool.wires - 1))] = data.draw(st.integers(-1, 1))
            case "edge":
                most = pool.wires if way[0] == "signed" else 1
                found.adjacency[row, v, data.draw(index)] = data.draw(st.integers(0, most))
    back, valid = decode(found.nodes, found.adjacency, gates, *way)
    encoded = encode(back.checked(), gates, *way)
    still = [
        (encoded.nodes[r] == found.nodes[r]).all() and (encoded.adjacency[r] == found.adjacency[r]).all()
        for r in range(count)
    ]
    assert valid.tolist() == still
    assert not back.length[~valid].any()
    assert not back.slots[~valid].any()
    assert sum(faults(found.nodes, found.adjacency, gates, *way).values()) == (~valid).sum()


GOOD = Pool.of(3, [[("H", 0), ("CNOT", 0, 1), ("CZ", 2, 1)], [("X", 2)]])
NODES, EDGES = 0, 1  # which array a damage hits

DAMAGE = [
    ("start_end", "no START", NODES, (0, 0, slice(0, 2)), [0, 1]),
    ("start_end", "no END", NODES, (0, 4, slice(0, 13)), np.eye(13)[1]),
    ("start_end", "a gate behind END", NODES, (1, 3, 4), 1),
    ("start_end", "a position behind END", NODES, (1, 3, 14), -1),
    ("start_end", "END before the last gate", NODES, (0, 2, slice(0, 13)), np.eye(13)[12]),
    ("start_end", "infinite behind END", NODES, (1, 4, 2), -np.inf),
    ("start_end", "no number at START", NODES, (0, 0, 5), np.nan),
    ("gates", "START among the gates", NODES, (0, 2, slice(0, 13)), np.eye(13)[0]),
    ("gates", "no number for a type", NODES, (0, 2, 3), np.nan),
    ("gates", "no number for a position", NODES, (0, 2, 14), np.nan),
    ("wires", "H on no wire", NODES, (0, 1, 13), 0.4),
    ("wires", "H on two wires", NODES, (0, 1, 15), 0.6),
    ("wires", "H with a minus", NODES, (0, 1, 13), -1),
    ("wires", "CNOT without its control", NODES, (0, 2, 13), 0),
    ("wires", "CNOT without its target", NODES, (0, 2, 14), 0),
    ("wires", "CNOT with two targets", NODES, (0, 2, 13), 1),
    ("wires", "CNOT on three wires", NODES, (0, 2, 15), 1),
    ("wires", "CZ with a minus", NODES, (0, 3, 14), -1),
    ("wires", "START without a wire", NODES, (0, 0, 13), 0),
    ("wires", "END without a wire", NODES, (1, 2, 15), 0),
    ("edges", "an edge missing", EDGES, (0, 1, 2), 0.4),
    ("edges", "an edge too many", EDGES, (0, 1, 3), 0.5),
    ("edges", "an edge of two wires", EDGES, (0, 1, 2), 1.5),
    ("edges", "an edge backwards", EDGES, (0, 3, 2), 1),
    ("edges", "an edge to itself", EDGES, (0, 2, 2), 1),
    ("edges", "an edge behind END", EDGES, (1, 2, 3), 1),
    ("edges", "no number for an edge", EDGES, (0, 4, 0), np.nan),
    ("edges", "infinitely less than no edge", EDGES, (0, 4, 0), -np.inf),
    ("edges", "the gates exchanged but not their edges", NODES, (0, slice(1, 3)), None),
]


@pytest.mark.parametrize(
    ("fault", "array", "index", "value"), [(d[0], *d[2:]) for d in DAMAGE], ids=[d[1] for d in DAMAGE]
)
def test_every_fault_is_found_and_named(fault, array, index, value):
    found = encode(GOOD, PAPER, "signed")
    arrays = [found.nodes.astype(float), found.adjacency.astype(float)]
    arrays[array][index] = arrays[array][index][::-1].copy() if value is None else value
    pool, valid = decode(*arrays, PAPER, "signed")
    assert valid.tolist() == [index[0] != 0, index[0] != 1]
    assert [len(circuit) > 0 for circuit in pool] == valid.tolist()
    assert faults(*arrays, PAPER, "signed") == {name: int(name == fault) for name in FAULTS}


def test_other_circuits_do_not_mind_an_invalid_one():
    pool = sample(paper(), 50, np.random.default_rng(2))
    found = encode(pool, PAPER, "signed", "ordered")
    found.adjacency[::7, 2, 1] = 1
    back, valid = decode(found.nodes, found.adjacency, PAPER, "signed", "ordered")
    assert valid.tolist() == [row % 7 != 0 for row in range(50)]
    for row in range(50):
        assert [gate[0] for gate in back.gates(row)] == ([gate[0] for gate in pool.gates(row)] if valid[row] else [])
        assert back.length[row] == (10 if valid[row] else 0)


def test_random_numbers_are_hardly_ever_a_circuit():
    rng = np.random.default_rng(0)
    nodes, edges = rng.normal(size=(500, 8, 17)), rng.normal(size=(500, 8, 8))
    pool, valid = decode(nodes, edges, PAPER, "signed")
    assert not valid.any()
    assert pool.length.tolist() == [0] * 500
    assert sum(faults(nodes, edges, PAPER, "signed").values()) == 500


def test_decoded_angles_are_zero_and_parameters_their_own():
    pool = Pool.of(2, [[("U3", 0, 1.0, 2.0, 3.0), ("CNOT", 0, 1), ("RX", 1, 0.5)], [("X", 0)]])
    found = encode(pool, PAPER, "signed")
    back, _ = decode(found.nodes, found.adjacency, PAPER, "signed")
    assert list(back) == [[("U3", 0, 0.0, 0.0, 0.0), ("CNOT", 0, 1), ("RX", 1, 0.0)], [("X", 0)]]
    assert back.parameter.tolist() == pool.parameter.tolist()
    assert back.theta.shape == (2, 4)


def test_no_circuits_are_no_graphs():
    found = encode(Pool.of(3, []), PAPER, "binary")
    assert isinstance(found, Encoding)
    assert found.nodes.shape == (0, 2, 16)
    pool, valid = decode(found.nodes, found.adjacency, PAPER, "binary")
    assert len(pool) == len(valid) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((("H", "CNOT"), "signed"), ["circuit 0, gate 2", "CZ is not in the gate set", "H, CNOT"]),
        ((PAPER, "singed"), ["scheme: found 'singed'", "binary, signed", "did you mean 'signed'?"]),
        ((PAPER, "signed", "some"), ["symmetric_sign: found 'some'", "ordered, same", "did you mean 'same'?"]),
        ((("H", "CNTO"), "signed"), ["no gate 'CNTO'", "did you mean 'CNOT'?"]),
        ((("H", "H"), "signed"), ["none twice", "['H', 'H']"]),
        (((), "signed"), ["at least one gate"]),
    ],
)
def test_what_cannot_be_encoded_is_refused(arguments, words):
    with pytest.raises(CircuitError) as error:
        encode(GOOD, *arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("nodes", "edges", "words"),
    [
        (np.zeros((2, 5, 13)), np.zeros((2, 5, 5)), r"13 types \+ wires"),
        (np.zeros((2, 5)), np.zeros((2, 5, 5)), r"nodes \(2, 5\)"),
        (np.zeros((2, 1, 16)), np.zeros((2, 1, 1)), "at least 2 nodes"),
        (np.zeros((2, 5, 16)), np.zeros((2, 5, 4)), r"adjacency \(2, 5, 4\)"),
        (np.zeros((2, 5, 16)), np.zeros((3, 5, 5)), r"adjacency \(3, 5, 5\)"),
        (np.zeros((2, 5, 16), complex), np.zeros((2, 5, 5)), "complex128"),
        (np.zeros((2, 5, 16)), np.full((2, 5, 5), "x"), "real numbers"),
    ],
)
def test_arrays_that_are_no_graphs_are_refused(nodes, edges, words):
    with pytest.raises(CircuitError, match=words):
        decode(nodes, edges, PAPER, "signed")
