"""Coupling maps: on which pairs of wires a two-qubit gate may act.

A map is a set of *directed* pairs (first wire, second wire); a name without `directed` in it gives both directions.

    all            every pair
    line, ring     q and q + 1; a ring also joins the last wire to the first
    directed_line, directed_ring    from q to q + 1 only; the ring is the CNOT rule of Sun et al., Quantum 10, 1994
    grid           neighbours on rows x columns, wires row by row; the most square grid unless its shape is given
    heavy_hex      the heavy-hexagon lattice of odd code distance d, (5 d^2 - 2 d - 1) / 2 wires
                   (Chamberland et al., Phys. Rev. X 10, 011022, 2020): d rows of d data and d - 1 flag wires in turn,
                   (d + 1) / 2 wires between two rows joining what stands above one another, so that an inner cell is a
                   hexagon with a wire on each of its edges
    edges          any list of pairs, both directions
    directed       any list of pairs as they stand
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.pool import MOST_WIRES, CircuitError
from spaces.document import complaint

if TYPE_CHECKING:
    import networkx

FARTHEST = 99  # the largest distance of a heavy-hexagon lattice
NAMES = ("all", "line", "ring", "directed_line", "directed_ring", "grid", "heavy_hex", "edges", "directed")
SHAPED = {  # what may be written behind a name
    "grid": "[rows, columns]",
    "heavy_hex": f"an odd code distance, 3 .. {FARTHEST}",
    "edges": "a list of pairs such as [[0, 1], [1, 2]]",
    "directed": "a list of pairs such as [[0, 1], [1, 2]]",
}


@dataclass(frozen=True, eq=False)
class Coupling:
    """The pairs of wires, first wire first, that a two-qubit gate may act on: int8 (E, 2), in order, none twice.

    Only a register of one wire has a map without pairs.

    Raises:
        CircuitError: a wire outside the register or joined to itself, no pairs, or something else than pairs.
    """

    wires: int
    pairs: NDArray[np.int8]

    def __post_init__(self) -> None:
        whole(self.wires, "wires", MOST_WIRES)
        pairs = _array(self.pairs)
        for first, second in pairs.tolist():
            if not (0 <= first < self.wires and 0 <= second < self.wires):
                raise CircuitError(f"the pair [{first}, {second}] leaves the register, wires 0..{self.wires - 1}")
            if first == second:
                raise CircuitError(f"the pair [{first}, {second}] joins a wire to itself")
        if self.wires > 1 and not len(pairs):
            raise CircuitError(f"a coupling map of {self.wires} wires needs at least one pair")
        pairs = np.unique(pairs, axis=0).astype(np.int8)
        pairs.setflags(write=False)
        object.__setattr__(self, "pairs", pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coupling) and self.wires == other.wires and np.array_equal(self.pairs, other.pairs)

    def __hash__(self) -> int:
        return hash((self.wires, self.pairs.tobytes()))


def coupling(name: str, wires: int, shape: Any = None) -> Coupling:
    """The map of that name on `wires` wires; `shape` is what `SHAPED` says, and must be given for lists of pairs.

    A heavy-hexagon lattice (the smallest that is large enough unless `shape` gives its distance) lends its first
    `wires` wires in breadth-first order from a corner; they hang together.

    Raises:
        CircuitError: an unknown name, or a shape that is none or does not fit the register.
    """
    whole(wires, "wires", MOST_WIRES)
    if name not in NAMES:
        raise CircuitError(complaint("", f"there is no coupling map {name!r}", NAMES, near=str(name)))
    if shape is not None and name not in SHAPED:
        raise CircuitError(complaint("", f"the coupling map '{name}' has no shape, found {shape!r}", SHAPED))
    if shape is None and name in ("edges", "directed"):
        raise CircuitError(complaint("", f"the coupling map '{name}' needs its pairs", SHAPED[name]))
    ring = [(q, (q + 1) % wires) for q in range(wires) if wires > 1]
    match name:
        case "all":
            return _map(wires, list(permutations(range(wires), 2)))
        case "line":
            return _map(wires, ring[:-1], both=True)
        case "directed_line":
            return _map(wires, ring[:-1])
        case "ring" | "directed_ring":
            return _map(wires, ring, both=name == "ring")
        case "grid":
            return _map(wires, _grid(wires, shape), both=True)
        case "heavy_hex":
            return _map(wires, _heavy_hex(wires, shape), both=True)
        case _:
            return _map(wires, shape, both=name == "edges")


def of_graph(graph: networkx.Graph) -> Coupling:
    """The edges of a NetworkX graph whose nodes are the wires 0..n-1: directed if the graph is.

    Raises:
        CircuitError: other nodes, no edges, a self loop.
    """
    wires = graph.number_of_nodes()
    if set(graph.nodes) != set(range(wires)):
        found = ", ".join(map(repr, list(graph.nodes)[:4]))
        raise CircuitError(
            complaint("", f"the graph's nodes are {found}, ...; they must be its wires", f"0..{wires - 1}")
        )
    return _map(wires, [(a, b) for a, b in graph.edges()], both=not graph.is_directed())


def whole(value: Any, what: str, most: int, least: int = 1) -> int:
    """The value, if it is a whole number from `least` to `most`; else a CircuitError about `what`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise CircuitError(complaint(what, f"expected a whole number, found {value!r}", f"{least} .. {most}"))
    return int(value)


def _map(wires: int, pairs: Any, both: bool = False) -> Coupling:
    found = _array(pairs)
    return Coupling(wires, np.concatenate([found, found[:, ::-1]]) if both else found)


def _array(pairs: Any) -> NDArray:
    """Pairs as an integer array (E, 2), none of its numbers checked."""
    try:
        found = np.array(list(pairs))
    except (TypeError, ValueError):  # no list at all, or one of unequal parts
        found = np.array("?")
    if found.shape == (0,):
        return np.zeros((0, 2), np.int64)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iu":
        raise CircuitError(complaint("", f"expected pairs of wires, found {pairs!r}", SHAPED["edges"]))
    return found


def _grid(wires: int, shape: Any) -> list[tuple[int, int]]:
    rows = next(r for r in range(isqrt(wires), 0, -1) if wires % r == 0)
    if shape is None:
        shape = (rows, wires // rows)
    sides = list(shape) if isinstance(shape, (list, tuple)) else []
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise CircuitError(complaint("", f"a grid has two sides, found {shape!r}", SHAPED["grid"]))
    rows, columns = sides
    if rows * columns != wires:
        raise CircuitError(f"a grid of {rows} x {columns} has {rows * columns} wires, the register {wires}")
    right = [(r * columns + c, r * columns + c + 1) for r, c in product(range(rows), range(columns - 1))]
    down = [(q, q + columns) for q in range(wires - columns)]
    return right + down


def _heavy_hex(wires: int, distance: Any) -> list[tuple[int, int]]:
    if distance is None:
        distance = next(d for d in range(3, FARTHEST, 2) if _hex_wires(d) >= wires)
    if type(distance) is not int or not 3 <= distance <= FARTHEST or distance % 2 == 0:
        raise CircuitError(complaint("", f"no heavy-hexagon lattice of distance {distance!r}", SHAPED["heavy_hex"]))
    if _hex_wires(distance) < wires:
        raise CircuitError(
            f"a heavy-hexagon lattice of distance {distance} has {_hex_wires(distance)} wires, the register {wires}"
        )
    neighbours: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for a, b in _lattice(distance):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    reached = [(0, 0)]
    for place in reached:  # the list grows while it is walked
        if len(reached) >= wires:
            break
        reached += [other for other in neighbours[place] if other not in reached]
    number = {place: q for q, place in enumerate(reached[:wires])}
    return [(q, number[b]) for a, q in number.items() for b in neighbours[a] if b in number]


def _hex_wires(distance: int) -> int:
    return (5 * distance**2 - 2 * distance - 1) // 2


def _lattice(distance: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The edges between places (y, x): rows of wires at even y, the wires that join two rows at odd y."""
    width = 2 * distance - 2  # the last x of a row: data wires at even x, flag wires at odd x
    along = [((2 * r, x), (2 * r, x + 1)) for r in range(distance) for x in range(width)]
    across = []
    for y in range(1, 2 * distance - 1, 2):
        # every second flag wire, by turns the odd and the even ones, and the corner that they leave open
        columns = [*range(1, width, 4), width] if y % 4 == 1 else [0, *range(3, width, 4)]
        across += [((y + side, x), (y, x)) for x in columns for side in (-1, 1)]
    return along + across
