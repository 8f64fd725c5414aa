"""Repaired graphs against a plain search for the nearest gate, there and back again, and what garbage becomes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.circuits import structure
from spaces.circuits.canonical import digest
from spaces.circuits.coupling import coupling
from spaces.circuits.encoding import decode, encode
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.repair import EDGES, repaired
from spaces.circuits.sampler import Sampler, paper, sample
from spaces.circuits.variation import mutate

PAPER = tuple(paper().gates)
WAYS = [("signed", "same"), ("signed", "ordered"), ("binary", "same")]
ways = pytest.mark.parametrize("way", WAYS, ids="-".join)


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def samplers(draw):
    wires = draw(st.integers(1, 5))
    kinds = [gate.name for gate in GATES if gate.wires <= wires]
    names = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6, unique=True))
    depth = draw(st.none() | st.integers(1, 8))
    length = draw(st.integers(1, max(1, wires * (depth or 4) // 2)))
    maps = {name: coupling("directed_line", wires) for name in names if GATES[CODES[name]].wires == 2}
    own = {name: maps[name] for name in draw(st.sets(st.sampled_from(sorted(maps))))} if maps else {}
    shared = coupling(draw(st.sampled_from(["all", "ring", "directed_ring"])), wires)
    weights = dict.fromkeys(["RX", *names], 1.0)
    return Sampler(wires, weights, length, depth, shared, own, "gate")


@st.composite
def spaces(draw):
    """A space, and a gate set in another order that has more."""
    sampler = draw(samplers())
    names = [*sampler.gates, *draw(st.sets(st.sampled_from([g.name for g in GATES if g.name not in sampler.gates])))]
    return sampler, tuple(draw(st.permutations(names)))


def lawful(pool, sampler):
    """Whether all circuits are of the sampler's space, but for the number of gates, and have some."""
    pool.checked()
    allowed = {name: sampler.pairs(name).tolist() for name in sampler.gates if GATES[CODES[name]].wires == 2}
    gates = [gate for circuit in pool for gate in circuit]
    deep = sampler.depth is not None and (structure.depth(pool) > sampler.depth).any()
    return (
        not deep
        and all(gate[0] in sampler.gates for gate in gates)
        and all(list(gate[1:3]) in allowed[gate[0]] for gate in gates if gate[0] in allowed)
        and pool.length.min(initial=1) >= 1
        and pool.length.max(initial=1) <= sampler.length
        and (pool.parameters == structure.parameter_count(pool)).all()
        and (np.array([sum(GATES[CODES[g[0]]].parameters for g in c) for c in pool]) == pool.parameters).all()
    )


@ways
@settings(max_examples=60, deadline=None, derandomize=True)
@given(spaces(), st.booleans(), st.integers(0, 2**32))
def test_circuits_of_the_space_come_back_through_noise(way, space, inherit, seed):
    sampler, gates = space
    drawn = sample(sampler, 8, rng(seed))
    pool = Pool.stack([drawn, mutate(drawn, sampler, rng(seed), 0.5)])  # which has shorter ones
    graphs = encode(pool, gates, *way)
    noise = rng(seed)
    soft = [x + noise.uniform(-0.49, 0.49, x.shape) for x in (graphs.nodes, graphs.adjacency)]
    parents = pool if inherit else None
    for nodes, edges in ((graphs.nodes, graphs.adjacency), soft, [x.astype(np.float32) for x in soft]):
        found = repaired(nodes, edges, sampler, gates, *way, rng=rng(), parents=parents).checked()
        again = encode(found, gates, *way)
        assert (again.nodes == graphs.nodes).all()
        assert (again.adjacency == graphs.adjacency).all()
        assert way[0] == "binary" or (digest(found, parameters=inherit) == digest(pool, parameters=inherit)).all()


@ways
@settings(max_examples=40, deadline=None, derandomize=True)
@given(spaces(), st.integers(0, 2**32))
def test_what_decode_reads_stays(way, space, seed):
    """Types of any scale of which the true one is the largest, positions and edges that round to the true ones."""
    sampler, gates = space
    pool, noise = sample(sampler, 8, rng(seed)), rng(seed)
    graphs = encode(pool, gates, *way)
    types = len(gates) + 2
    kinds = noise.uniform(-1, 1, (*graphs.nodes.shape[:2], types)) * noise.choice([0.01, 1, 100])
    kinds += graphs.nodes[..., :types] * (np.ptp(kinds, -1, keepdims=True) + 1e-3)
    true = graphs.nodes[..., types:]
    positions = np.where(true == 0, noise.uniform(-0.49, 0.49, true.shape), true * noise.uniform(0.51, 3, true.shape))
    nodes = np.concatenate([kinds, positions], -1)
    edges = graphs.adjacency + noise.uniform(-0.49, 0.49, graphs.adjacency.shape)
    read, valid = decode(nodes, edges, gates, *way)
    assert valid.all()
    found = repaired(nodes, edges, sampler, gates, *way, rng=rng())
    assert (encode(found, gates, *way).nodes == encode(read, gates, *way).nodes).all()


@ways
@settings(max_examples=60, deadline=None, derandomize=True)
@given(spaces(), st.integers(1, 8), st.booleans(), st.integers(0, 2**32))
def test_garbage_becomes_circuits_of_the_space(way, space, slots, inherit, seed):
    sampler, gates = space
    noise, width = rng(seed), slots + 2
    nodes = noise.normal(size=(20, width, len(gates) + 2 + sampler.wires)) * noise.choice([0.1, 1, 10], (20, 1, 1))
    edges = noise.normal(size=(20, width, width)) * 5
    for array in (nodes, edges):
        strange = noise.random(array.shape) < 0.05
        array[strange] = noise.choice([np.nan, np.inf, -np.inf, 1e300, -1e300], strange.sum())
    nodes[0], edges[1], nodes[2] = 0, 0, np.nan
    parents = None
    if inherit:
        some = sample(replace(sampler, length=min(slots, sampler.length)), 20, rng(seed))
        parents = Pool.of(sampler.wires, [*some, [("RX", 0, 0.0)] * slots])[:20]
    found = repaired(nodes, edges, sampler, gates, *way, rng=rng(seed), parents=parents)
    assert lawful(found, sampler)
    assert found.op.shape == (20, slots)
    if parents is not None and sampler.depth is None:
        assert found.length.tolist() == np.minimum(parents.length, sampler.length).tolist()
    assert (found.theta >= 0).all()
    assert (found.theta < 2 * np.pi).all() or inherit
    again = repaired(nodes, edges, sampler, gates, *way, rng=rng(seed), parents=parents)
    assert [a.tobytes() for a in found.arrays().values()] == [a.tobytes() for a in again.arrays().values()]


def row_of(name, wires, gates, way, n):
    """The row of a gate's node, written down from the encoding's description."""
    row = np.zeros(len(gates) + 2 + n)
    row[1 + gates.index(name)] = 1
    for k, q in enumerate(wires):
        ordered = len(wires) == 2 and way[0] == "signed" and (way[1] == "ordered" or name in ("CNOT", "CRX"))
        row[len(gates) + 2 + q] = -1 if ordered and k == 0 else 1
    return row


def plainly(nodes, edges, sampler, gates, way, length):
    """The gates of one graph, each the nearest of all that fit, found by trying every one."""
    n = sampler.wires
    top = n if way[0] == "signed" else 1
    nodes = np.concatenate([nodes[:, : len(gates) + 2], nodes[:, len(gates) + 2 :].clip(-1, 1)], 1)
    last, height, circuit = [0] * n, [0] * n, []
    for v in range(1, length + 1):
        best = None
        for name in sampler.gates:
            places = sampler.pairs(name).tolist() if GATES[CODES[name]].wires == 2 else [[q] for q in range(n)]
            for wires in places:
                layer = 1 + max(height[q] for q in wires)
                implied = np.zeros(len(nodes))
                for q in wires:
                    implied[last[q]] = implied[last[q]] + 1 if way[0] == "signed" else 1
                far = ((nodes[v] - row_of(name, wires, gates, way, n)) ** 2).sum()
                far += EDGES * ((edges[:, v].clip(0, top) - implied) ** 2).sum()
                if layer <= sampler.depth and (best is None or far < best[0] - 1e-9):
                    best = far, name, wires, layer
        if best is not None:
            _, name, wires, layer = best
            circuit.append((name, *wires))
            for q in wires:
                last[q], height[q] = v, layer
    return circuit


@ways
@pytest.mark.parametrize(("wires", "depth"), [(2, 7), (3, 4), (4, 3)])
def test_every_gate_is_the_nearest_that_fits(way, wires, depth):
    names = ("H", "U3", "CNOT", "CZ", "CRX")
    own = {"CNOT": coupling("directed_line", wires)}
    sampler = Sampler(wires, dict.fromkeys(names, 1.0), 6, depth, coupling("all", wires), own)
    gates, noise = ("CZ", "X", *names[:3], "CRX"), rng(wires)
    nodes, edges = noise.normal(0, 0.6, (150, 9, 8 + wires)), noise.normal(0.3, 0.8, (150, 9, 9))
    nodes[:, :-1, 7] = -9  # END
    nodes[:, :, 8:] *= 2
    found = repaired(nodes, edges, sampler, gates, *way, rng=rng())
    shortened = 0
    for row, circuit in enumerate(found):
        expected = plainly(nodes[row], edges[row], sampler, gates, way, 6)
        count = [1 + (GATES[CODES[gate[0]]].wires == 2) for gate in circuit]
        assert [gate[: 1 + k] for gate, k in zip(circuit, count, strict=True)] == expected
        shortened += len(circuit) < 6
    assert shortened > 3 or wires == 2  # some are left out


def test_edges_decide_where_positions_do_not():
    """H 0, then X on either wire: by its edge from H or from START."""
    sampler = Sampler(2, {"H": 1.0, "X": 1.0}, 2, None, coupling("all", 2))
    pool = Pool.of(2, [[("H", 0), ("X", 0)], [("H", 0), ("X", 1)]])
    graphs = encode(pool, ("H", "X"), "signed")
    nodes = graphs.nodes.astype(float)
    nodes[:, 2, 4:] = 0.5
    found = repaired(nodes, graphs.adjacency, sampler, ("H", "X"), "signed", rng=rng())
    assert list(found) == list(pool)
    nodes[:, 2, 4:] = [0.2, 0.8]  # positions count for more
    found = repaired(nodes, graphs.adjacency, sampler, ("H", "X"), "signed", rng=rng())
    assert [circuit[1] for circuit in found] == [("X", 1)] * 2


def ended(where, start=None):
    """How many gates a graph of six slots of X has that reads END at some nodes, and START at another."""
    sampler = Sampler(1, {"X": 1.0}, 4, None, coupling("all", 1))
    graphs = encode(Pool.of(1, [[("X", 0)] * 6]), ("X",), "signed")
    nodes = graphs.nodes[:, :].copy()
    nodes[:, where, :3] = [0, 0, 1]
    if start is not None:
        nodes[:, start, :3] = [1, 0, 0]
    free = replace(sampler, length=9)
    return [int(repaired(nodes, graphs.adjacency, s, ("X",), "signed", rng=rng()).length[0]) for s in (free, sampler)]


def test_where_circuits_end():
    assert ended([]) == [6, 4]
    assert ended([3, 5]) == [2, 2]
    assert ended([1, 2, 3]) == [1, 1]  # never none
    assert ended([0, 1, 5]) == [4, 4]  # START is START, and the first gate a gate
    assert ended([6], start=2) == [5, 4]


def test_parents_say_how_long_children_are():
    graphs = encode(Pool.of(1, [[("X", 0)] * 4] * 4), ("X",), "signed")
    parents = Pool.of(1, [[], [("X", 0)] * 2, [("X", 0)] * 3, [("X", 0)] * 4])
    sampler = Sampler(1, {"X": 1.0}, 3, None, coupling("all", 1))
    found = repaired(graphs.nodes, graphs.adjacency, sampler, ("X",), "signed", rng=rng(), parents=parents)
    assert found.length.tolist() == [1, 2, 3, 3]


def test_a_gate_that_would_be_too_deep_gives_way_to_the_nearest_that_fits_or_goes():
    sampler = Sampler(3, {"X": 1.0, "H": 1.0, "CZ": 1.0}, 5, 2, coupling("all", 3))
    pool = Pool.of(3, [[("CZ", 0, 1), ("CZ", 0, 1), ("CZ", 0, 1), ("X", 2), ("H", 0)]])
    graphs = encode(pool, PAPER, "signed")
    found = repaired(graphs.nodes, graphs.adjacency, sampler, PAPER, "signed", rng=rng())
    assert [gate[:2] for gate in found.gates(0)] == [("CZ", 0), ("CZ", 0), ("X", 2), ("X", 2)]
    only = replace(sampler, gates={"CZ": 1.0})
    found = repaired(graphs.nodes, graphs.adjacency, only, PAPER, "signed", rng=rng())
    assert list(found) == [[("CZ", 0, 1)] * 2]


def test_angles_come_from_the_parents_where_gates_survive():
    names = ("RX", "RY", "U3", "H", "CNOT", "CRX")
    sampler = Sampler(2, dict.fromkeys(names, 1.0), 6, None, coupling("all", 2))
    parents = Pool.of(
        2,
        [
            [
                ("RX", 0, -1.0),
                ("U3", 1, -2.0, -3.0, -4.0),
                ("H", 0),
                ("CRX", 0, 1, -5.0),
                ("RY", 0, -6.0),
                ("RX", 1, -7.0),
            ]
        ],
    )
    child = Pool.of(
        2,
        [
            [
                ("RY", 1, 0.0),
                ("U3", 0, 0.0, 0.0, 0.0),
                ("RX", 0, 0.0),
                ("RX", 1, 0.0),
                ("U3", 0, 0.0, 0.0, 0.0),
                ("H", 0),
            ]
        ],
    )
    graphs = encode(child, names, "signed")
    found = repaired(graphs.nodes, graphs.adjacency, sampler, names, "signed", rng=rng(), parents=parents)
    assert [gate[: 1 + GATES[CODES[gate[0]]].wires] for gate in found.gates(0)] == [
        gate[: 1 + GATES[CODES[gate[0]]].wires] for gate in child.gates(0)
    ]
    angles = found.theta[0].tolist()
    assert angles[:4] == [-1.0, -2.0, -3.0, -4.0]
    assert angles[5] == -5.0
    assert min(angles[4], *angles[6:]) >= 0
    assert len(angles) == 9


def test_places_in_the_graph_count_and_shared_parameters_and_inputs_do_not():
    sampler = Sampler(1, {"RX": 1.0}, 3, None, coupling("all", 1))
    parents = Pool.of(1, [[("RX", 0, 0.0)] * 4])
    parents = replace(parents, parameter=np.array([[0, 2, 0, 1]]), theta=np.array([[-1.0, -2.0]]))
    graphs = encode(parents, ("RX",), "signed")
    found = repaired(graphs.nodes, graphs.adjacency, sampler, ("RX",), "signed", rng=rng(), parents=parents)
    assert found.inputs == 0
    assert found.parameter.tolist() == [[0, 1, 2, -1]]
    assert found.theta[0, [0, 2]].tolist() == [-1.0, -1.0]
    assert 0 <= found.theta[0, 1] < 2 * np.pi


def test_fresh_angles_are_those_of_the_sampler():
    pool = sample(paper(), 2000, rng())
    graphs = encode(pool, PAPER, "signed")
    found = repaired(graphs.nodes, graphs.adjacency, paper(), PAPER, "signed", rng=rng())
    angles = found.theta[np.arange(found.theta.shape[1]) < found.parameters[:, None]]
    assert found.parameters.tolist() == pool.parameters.tolist()
    shares = np.histogram(angles, 8, (0, 2 * np.pi))[0] / len(angles)
    np.testing.assert_allclose(shares, 1 / 8, atol=0.01)


@ways
def test_what_is_no_number_counts_as_nothing_and_infinity_as_one(way):
    pool = sample(paper(), 50, rng())
    graphs = encode(pool, PAPER, *way)
    soft = [x.astype(float) for x in (graphs.nodes, graphs.adjacency)]
    for array in soft:
        array[array == 0] = rng().choice([np.nan, -np.inf], (array == 0).sum())
        array[array == 1] = np.inf
    found = repaired(*soft, paper(), PAPER, *way, rng=rng())
    assert (encode(found, PAPER, *way).nodes == graphs.nodes).all()


def test_no_graphs_are_no_circuits():
    found = repaired(np.zeros((0, 5, 17)), np.zeros((0, 5, 5)), paper(), PAPER, "signed", rng=rng())
    assert (len(found), found.op.shape) == (0, (0, 3))


@pytest.mark.parametrize(
    ("nodes", "edges", "gates", "parents", "words"),
    [
        ((2, 5, 16), (2, 5, 5), PAPER, None, r"\(2, 5, 16\).*\n.*13 types \+ 4 wires"),
        ((2, 5), (2, 5, 5), PAPER, None, r"nodes \(2, 5\)"),
        ((2, 2, 17), (2, 2, 2), PAPER, None, "at least 3 nodes"),
        ((3, 5, 17), (2, 5, 5), PAPER, None, r"adjacency \(2, 5, 5\)"),
        ((2, 5, 17), (2, 5, 4), PAPER, None, r"adjacency \(2, 5, 4\)"),
        ((2, 5, 16), (2, 5, 5), PAPER[:-1], None, "SWAP of the space is not in the graphs' gate set"),
        ((2, 5, 17), (2, 5, 5), PAPER, (4, 2, 2), "2 circuits of 2 slots on 4 wires, the graphs 2 of 3 on 4"),
        ((2, 5, 17), (2, 5, 5), PAPER, (4, 1, 3), "1 circuits of 3 slots"),
        ((2, 5, 17), (2, 5, 5), PAPER, (3, 2, 3), "on 3 wires"),
    ],
)
def test_what_does_not_fit_is_refused(nodes, edges, gates, parents, words):
    made = None
    if parents:
        wires, count, length = parents
        made = Pool.of(wires, [[("X", 0)] * length] * count)
    with pytest.raises(CircuitError, match=words):
        repaired(np.zeros(nodes), np.zeros(edges), paper(), gates, "signed", rng=rng(), parents=made)


def test_unknown_schemes_and_numbers_that_are_not_real_are_refused():
    nodes, edges = np.zeros((1, 5, 17)), np.zeros((1, 5, 5))
    with pytest.raises(CircuitError, match="scheme: found 'singed'"):
        repaired(nodes, edges, paper(), PAPER, "singed", rng=rng())
    with pytest.raises(CircuitError, match="complex128"):
        repaired(nodes.astype(complex), edges, paper(), PAPER, "signed", rng=rng())
