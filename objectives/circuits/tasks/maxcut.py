"""Max-cut: E = -(n/2)(1 - ⟨H⟩), H = 1/2 Σ_edges w (Z Z - 1), which is -(n/2)(1 + expected cut).

The published cost (Sun et al., Quantum 10, 1994), factor n/2 included: its reward, E over its least value, is
(1 + cut) / (1 + largest cut), a shifted ratio. Thresholds 0.95 (4 wires) and 0.925 (8 wires). The optimum is a product
state, so this task never asks for entanglement. `paper4` is the cycle of four with cut 4, `paper8` their 15 edges with
cut 12; references -10 and -52.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree.ElementTree import ParseError

import numpy as np

from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks._files import located, text
from spaces.circuits.pool import CircuitError
from spaces.document import complaint
from spaces.domains import Choice, Int, Uniform

if TYPE_CHECKING:
    import networkx

PAPER = {
    "paper4": [(0, 1), (1, 2), (2, 3), (0, 3)],
    "paper8": [
        (0, 1), (0, 6), (0, 7), (1, 2), (1, 6), (2, 4), (2, 7), (3, 7), (3, 6), (4, 5), (4, 6), (5, 1), (5, 6), (5, 7),
        (6, 7),
    ],
}  # fmt: skip
FEW_WIRES, MANY_WIRES = 0.95, 0.925  # the published thresholds of 4 and of 8 wires
MANY = 8
MOST_WIRES = 24  # of a graph in a file
CLOSE = 1e-3  # of the lightest edge: how near to the largest cut the expected cut must come


@dataclass(frozen=True)
class Config:
    """Which graph."""

    graph: Annotated[str, Choice("paper4", "paper8", "cycle", "complete", "regular", "erdos_renyi", "file")] = (
        "paper4"  # `paper4`, `paper8` and `file` bring their own number of wires
    )
    wires: Annotated[int, Int(2, 20)] = 8  # nodes of the graph, a qubit each
    degree: Annotated[int, Int(1, 19)] = 3  # `regular`: edges at each node
    probability: Annotated[float, Uniform(0.0, 1.0)] = 0.5  # `erdos_renyi`: of each edge
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # `regular`, `erdos_renyi`: which one
    path: str = ""  # `file`: .graphml, or an edge `a b` or `a b weight` a line


def build(config: Config) -> Task:
    """The task of cutting the config's graph; edges weigh 1 unless a file says otherwise.

    Raises:
        CircuitError: a graph that does not exist, has no edges, or a file that holds none.
    """
    wires, edges = _wired(_graph(config), config.path or config.graph)
    words = ["".join("Z" if q in pair else "I" for q in range(wires)) for pair in edges]
    weights = np.array(list(edges.values()))
    half = wires / 2
    observable = Observable.of_paulis(
        wires, ["I" * wires, *words], [-half * (1 + weights.sum() / 2), *(half * weights / 2)]
    )
    least = float(observable.diagonals.real.sum(0).min())
    largest = -least / half - 1
    return Task(
        name=f"max-cut of {config.graph} on {wires} wires",
        wires=wires,
        observables=(observable,),
        reference=least,
        threshold=FEW_WIRES if wires < MANY else MANY_WIRES,
        strict=least + half * CLOSE * float(np.abs(weights).min()),
        meaning=f"the largest cut, {largest:.6g}, in expectation; a product state reaches it",
        ground=least,
    )


def _graph(config: Config) -> networkx.Graph:
    import networkx

    wires, seed = config.wires, config.seed
    match config.graph:
        case "cycle":
            return networkx.cycle_graph(wires) if wires > 2 else networkx.path_graph(2)
        case "complete":
            return networkx.complete_graph(wires)
        case "regular":
            if config.degree >= wires or config.degree * wires % 2:
                what = f"no graph of {wires} nodes has {config.degree} edges at each"
                raise CircuitError(complaint("degree", what, "below the number of wires; one of the two even"))
            return networkx.random_regular_graph(config.degree, wires, seed=seed)
        case "erdos_renyi":
            return networkx.gnp_random_graph(wires, config.probability, seed=seed)
        case "file":
            return _read(config.path)
    graph = networkx.Graph()
    graph.add_edges_from(PAPER[config.graph])
    return graph


def _read(path: str) -> networkx.Graph:
    import networkx

    file = located(path, "a graph, .graphml or a list of edges")
    try:
        if file.suffix == ".graphml":
            return networkx.read_graphml(file)
    except (ParseError, networkx.NetworkXException, KeyError, ValueError, OSError) as error:
        raise CircuitError(complaint(str(file), f"cannot be read as GraphML ({error})")) from None
    graph = networkx.Graph()
    for number, line in enumerate(text(file).splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        if len(words) not in (2, 3):
            raise CircuitError(complaint(f"{file}:{number}", f"found {line.strip()!r}", "`a b` or `a b weight`"))
        if graph.has_edge(*words[:2]):
            raise CircuitError(complaint(f"{file}:{number}", f"the edge {words[0]} {words[1]} stands twice"))
        graph.add_edge(*words[:2], weight=_weight(words[2] if words[2:] else 1, f"{file}:{number}"))
    return graph


def _wired(graph: networkx.Graph, source: str) -> tuple[int, dict[tuple[int, int], float]]:
    """The number of wires, and the weights of the edges between them.

    Nodes become wires in the order of their numbers, or in the file's where one of them is not named by a number.
    """
    nodes = list(graph)
    if graph.is_directed() or graph.is_multigraph():
        raise CircuitError(f"{source}: a graph without directions and without parallel edges is needed")
    if len(nodes) > MOST_WIRES:
        raise CircuitError(f"{source}: found {len(nodes)} nodes, at most {MOST_WIRES} can be simulated")
    if all(str(node).isdecimal() for node in nodes):
        nodes.sort(key=lambda node: int(str(node)))
    wire = {node: q for q, node in enumerate(nodes)}
    edges = {}
    for a, b, data in graph.edges(data=True):
        if a == b:
            raise CircuitError(f"{source}: an edge joins {a} to itself")
        edges[wire[a], wire[b]] = _weight(data.get("weight", 1), f"{source}: edge {a} {b}")
    if not edges:
        raise CircuitError(f"{source}: the graph has no edges")
    return len(nodes), edges


def _weight(written: Any, where: str) -> float:
    try:
        weight = float(written)
    except (TypeError, ValueError):
        weight = float("nan")
    if not np.isfinite(weight) or weight == 0:
        raise CircuitError(complaint(where, f"the weight is {written!r}", "a finite number that is not 0"))
    return weight
