"""Max-cut, against cuts counted over all bit strings."""

from itertools import product
from pathlib import Path

import networkx
import numpy as np
import pytest

from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks.maxcut import Config, _graph, build
from spaces.circuits.pool import CircuitError


def cuts(wires: int, edges: list[tuple[int, int, float]]) -> np.ndarray:
    """The cut of every bit string, in the order of basis indices."""
    return np.array([sum(w for a, b, w in edges if bits[a] != bits[b]) for bits in product((0, 1), repeat=wires)])


def costs(task: Task) -> np.ndarray:
    return task.observables[0].expectation(np.eye(2**task.wires))


def test_published_constants_of_four_wires() -> None:
    task = build(Config(graph="paper4"))
    assert (task.wires, task.reference, task.ground, task.threshold) == (4, -10, -10, 0.95)
    assert task.reward(costs(task)[:1]) == pytest.approx(0.2)  # |0...0>
    plus = np.full(16, 0.25)
    assert task.reward(task.observables[0].expectation(plus)) == pytest.approx(0.6)


def test_published_constants_of_eight_wires() -> None:
    task = build(Config(graph="paper8"))
    assert (task.wires, task.reference, task.ground, task.threshold) == (8, -52, -52, 0.925)
    assert len(task.observables[0].masks) == 1
    assert task.solved(costs(task)).sum() == 6  # optimal bit strings


def test_the_published_formula() -> None:
    task, edges = build(Config(graph="cycle", wires=5)), [(q, (q + 1) % 5) for q in range(5)]
    words = ["".join("Z" if q in edge else "I" for q in range(5)) for edge in edges]
    hamiltonian = Observable.of_paulis(5, [*words, "IIIII"], [0.5] * 5 + [-2.5]).matrix().toarray()
    expected = -(5 / 2) * (np.eye(32) - hamiltonian)
    np.testing.assert_allclose(task.observables[0].matrix().toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("graph", ["cycle", "complete", "regular", "erdos_renyi"])
@pytest.mark.parametrize("wires", [4, 6, 9])
def test_costs_and_the_largest_cut_are_those_of_brute_force(graph: str, wires: int) -> None:
    degree = 4 if wires == 9 else 3
    config = Config(graph=graph, wires=wires, degree=degree, seed=1)
    task = build(config)
    found = cuts(wires, [(a, b, 1) for a, b in _graph(config).edges])
    np.testing.assert_allclose(costs(task), -wires / 2 * (1 + found), atol=1e-12)
    assert task.ground == task.reference == pytest.approx(-wires / 2 * (1 + found.max()))
    np.testing.assert_array_equal(task.solved(costs(task)), found == found.max())


def test_random_graphs_are_seeded_and_of_their_kind() -> None:
    regular = [_graph(Config(graph="regular", wires=10, seed=seed)) for seed in (0, 0, 1)]
    assert {degree for _, degree in regular[0].degree} == {3}
    assert set(regular[0].edges) == set(regular[1].edges) != set(regular[2].edges)
    assert _graph(Config(graph="erdos_renyi", wires=8, probability=1.0)).number_of_edges() == 28


def test_an_edge_list_has_weights_and_nodes_in_order(tmp_path: Path) -> None:
    file = tmp_path / "graph.txt"
    file.write_text("# a b weight\n10 2 0.5\n2, 7\n7 10 -1.5  # negative\n")
    task = build(Config(graph="file", path=str(file)))
    found = cuts(3, [(0, 2, 0.5), (0, 1, 1), (1, 2, -1.5)])
    np.testing.assert_allclose(costs(task), -1.5 * (1 + found), atol=1e-12)
    assert task.reference == pytest.approx(-1.5 * (1 + 1.5))
    np.testing.assert_array_equal(task.solved(costs(task)), found == found.max())


def test_graphml_is_read_with_its_weights(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", weight=2.0)
    graph.add_edge("b", "c", weight=0.25)
    networkx.write_graphml(graph, tmp_path / "graph.graphml")
    task = build(Config(graph="file", path=str(tmp_path / "graph.graphml")))
    np.testing.assert_allclose(costs(task), -1.5 * (1 + cuts(3, [(0, 1, 2), (1, 2, 0.25)])), atol=1e-12)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("0 1\n1\n", r"graph\.txt:2: found '1'"),
        ("0 1\n1 0\n", r"graph\.txt:2: the edge 1 0 stands twice"),
        ("0 1 heavy\n", r"graph\.txt:1: the weight is 'heavy'"),
        ("0 1 nan\n", r"graph\.txt:1: the weight is 'nan'"),
        ("0 1 0\n", r"graph\.txt:1: the weight is '0'"),
        ("0 0\n", "joins 0 to itself"),
        ("# nothing\n", "no edges"),
        ("".join(f"0 {k}\n" for k in range(1, 30)), "found 30 nodes, at most 24"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, written: str, complaint: str) -> None:
    (tmp_path / "graph.txt").write_text(written)
    with pytest.raises(CircuitError, match=complaint):
        build(Config(graph="file", path=str(tmp_path / "graph.txt")))


@pytest.mark.parametrize(("written", "complaint"), [("<graphml", "GraphML"), ("<html></html>", "GraphML")])
def test_what_is_no_graphml_is_refused(tmp_path: Path, written: str, complaint: str) -> None:
    (tmp_path / "graph.graphml").write_text(written)
    with pytest.raises(CircuitError, match=complaint):
        build(Config(graph="file", path=str(tmp_path / "graph.graphml")))


def test_a_directed_graph_is_refused(tmp_path: Path) -> None:
    networkx.write_graphml(networkx.DiGraph([(0, 1)]), tmp_path / "graph.graphml")
    with pytest.raises(CircuitError, match="without directions"):
        build(Config(graph="file", path=str(tmp_path / "graph.graphml")))


@pytest.mark.parametrize(("wires", "degree"), [(5, 3), (4, 4)])
def test_regular_graphs_that_do_not_exist_are_refused(wires: int, degree: int) -> None:
    with pytest.raises(CircuitError, match=f"no graph of {wires} nodes has {degree} edges"):
        build(Config(graph="regular", wires=wires, degree=degree))


def test_a_graph_without_edges_is_refused() -> None:
    with pytest.raises(CircuitError, match="no edges"):
        build(Config(graph="erdos_renyi", probability=0.0))
