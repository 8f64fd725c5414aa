"""The nearest circuit of a space to any soft graph: decoded graphs that are no encoding become circuits.

A decoder gives real numbers for types, positions and edges (`encoding`), which seldom are the encoding of a circuit.
They are read node by node in their order, which is the order of the gates. Every node between START and END becomes
a placement, a gate of the space on wires that its coupling map allows, and among those that do not make the circuit
too deep it becomes the nearest: that with the least

    |row of the node - row of the placement|² + EDGES |edges to the node - edges that the placement implies|²

where a placement implies edges from the last gates on its wires, as these were read before, or from START. Types are
taken as they are, so the larger their scale the more they count; positions and edges count as no more than an
encoding can have, and what is no number as 0. Of placements equally near the first is taken, by the order of the
sampler's gates and then of the wires.

A graph that `encoding.decode` reads as a circuit of the space becomes just this circuit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spaces.circuits.encoding import Scheme, Sign, encode
from spaces.circuits.gates import CODES, GATES, MAX_PARAMETERS, parameters_of
from spaces.circuits.pool import END, CircuitError, Pool, own_parameters
from spaces.circuits.sampler import Sampler
from spaces.circuits.structure import compact, parameter_indices
from spaces.document import complaint

EDGES = 0.25  # an edge's weight beside a position's: decoders rebuild edges, the products of nodes, less well


def repaired(
    nodes: ArrayLike,
    adjacency: ArrayLike,
    sampler: Sampler,
    gates: Sequence[str],
    scheme: Scheme,
    symmetric_sign: Sign = "same",
    *,
    rng: np.random.Generator,
    parents: Pool | None = None,
) -> Pool:
    """The circuits of the sampler's space that are nearest to graphs (B, V, F) and (B, V, V) over the set `gates`.

    The first node is START and the last no gate, whatever they say. A circuit ends before the first node that reads
    END as in `decode`, its largest type, but not before its first gate and not behind the sampler's `length`; nodes
    that read START inside are gates. With `parents` (B,), circuits whose graphs these once were, a circuit has as
    many gates as its parent instead. A gate for which no placement fits into the sampler's `depth` is left out. So
    circuits may have fewer gates than the sampler's have, never none.

    Angles are uniform in [0, 2 pi), each a parameter of its own; a gate with as many parameters as its parent's at
    its place in the graph starts at its parent's angles. Inputs are no angles.

    Raises:
        CircuitError: arrays of shapes that do not fit each other, the set, the register or the parents; graphs
            without room for a gate; a gate of the space that is not in the set; an unknown scheme, sign or gate name.
    """
    options = _Placements.of(sampler, gates, scheme, symmetric_sign)
    soft = np.asarray(nodes), np.asarray(adjacency)
    _fitting(*soft, len(gates) + 2, sampler.wires, parents)
    row, edge = (np.nan_to_num(x.astype(float), nan=0.0, posinf=1.0, neginf=0.0) for x in soft)
    length = _ends(row[..., : len(gates) + 2]) if parents is None else parents.length
    chosen = _nearest(row, edge, np.clip(length, 1, sampler.length), options, sampler.depth)
    op = np.where(chosen == END, END, options.op[chosen]).astype(np.int8)
    takes = np.where(op == END, 0, parameters_of()[op])
    parameter = np.where(takes > 0, np.arange(op.shape[1]) * MAX_PARAMETERS, END)
    theta = 2 * math.pi * rng.random((*op.shape, MAX_PARAMETERS))
    if parents is not None:
        kept, angles = _angles(parents, takes)
        theta = np.where(kept, angles, theta)
    whole = np.full(len(op), op.shape[1])
    flat = theta.reshape(len(op), MAX_PARAMETERS * op.shape[1])
    pool = Pool(sampler.wires, op, options.wire[chosen], parameter, whole, flat)
    return compact(pool, op != END)


@dataclass(frozen=True)
class _Placements:
    """The K gates on wires that a space allows, and how an encoding tells them.

    Attributes:
        op, wire: as in a pool: (K,) and (K, 2).
        reach: the wires, the first again for no second: (K, 2).
        kind: the type's column in a node's row: (K,).
        side: the positions on the two wires, 0 on no second: (K, 2).
        wires: the register's size n.
        weighted: whether edges count wires.
    """

    op: NDArray[np.int8]
    wire: NDArray[np.int8]
    reach: NDArray[np.int8]
    kind: NDArray[np.int64]
    side: NDArray[np.int8]
    wires: int
    weighted: bool

    @staticmethod
    def of(sampler: Sampler, gates: Sequence[str], scheme: Scheme, symmetric_sign: Sign) -> _Placements:
        op, wire = [], []
        alone = np.stack([np.arange(sampler.wires), np.full(sampler.wires, END)], 1)
        for name in sampler.gates:
            if name not in gates:
                raise CircuitError(complaint("gates", f"{name} of the space is not in the graphs' gate set", gates))
            wire.append(alone if GATES[CODES[name]].wires == 1 else sampler.pairs(name))
            op.append(np.full(len(wire[-1]), CODES[name], np.int8))
        ops, wires = np.concatenate(op), np.concatenate(wire).astype(np.int8)
        parameter, _ = own_parameters(ops[:, None])
        ones, theta = np.ones(len(ops), np.int32), np.zeros((len(ops), MAX_PARAMETERS))
        single = Pool(sampler.wires, ops[:, None], wires[:, None], parameter, ones, theta)
        row = encode(single, gates, scheme, symmetric_sign).nodes[:, 1]
        reach = np.where(wires == END, wires[:, :1], wires)
        side = np.take_along_axis(row[:, len(gates) + 2 :], reach.astype(np.intp), 1) * (wires != END)
        kind = row[:, : len(gates) + 2].argmax(1)
        return _Placements(ops, wires, reach, kind, side, sampler.wires, scheme == "signed")


def _ends(types: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many gates stand before the first END behind the first gate, of types (B, V, T): (B,)."""
    found = types.argmax(-1) == types.shape[-1] - 1
    found[:, :2], found[:, -1] = False, True
    return found.argmax(1) - 1


def _nearest(
    row: NDArray[np.float64],
    edge: NDArray[np.float64],
    length: NDArray[np.integer],
    options: _Placements,
    depth: int | None,
) -> NDArray[np.int64]:
    """The placement that each node but START and the last becomes, `END` for none: (B, V - 2)."""
    (count, width, features), wires = row.shape, options.wires
    first, second = options.reach.T
    kinds, position = row[..., : features - wires], row[..., features - wires :].clip(-1, 1)
    edge = edge.clip(0, wires if options.weighted else 1)
    rows, limit = np.arange(count), math.inf if depth is None else depth
    last, height = np.zeros((2, count, wires), np.int64)  # the last node on each wire, and the layers below it
    chosen = np.full((count, width - 2), END, np.int64)
    for v in range(1, width - 1):
        score = kinds[:, v, options.kind] + _agreement(position[:, v], edge[rows[:, None], last, v], last, options)
        layer = np.maximum(height[:, first], height[:, second]) + 1
        fits = (v <= length)[:, None] & (layer <= limit)
        best = np.where(fits, score, -np.inf).argmax(1)
        live = rows[fits[rows, best]]
        found = chosen[live, v - 1] = best[live]
        for wire in (first[found], second[found]):
            last[live, wire], height[live, wire] = v, layer[live, found]
    return chosen


def _agreement(
    position: NDArray[np.float64], edge: NDArray[np.float64], last: NDArray[np.int64], options: _Placements
) -> NDArray[np.float64]:
    """Half of what placements take off the squared errors of positions (B, n) and of edges (B, n): (B, K).

    A position of sign s takes off 2 s p - 1 where the graph has p. The edges are those from the `last` node on each
    wire; one of one wire takes off 2 a - 1 where the graph has a, one of two wires 4 a - 4.
    """
    (first, second), side = options.reach.T, options.side
    two = side[:, 1] != 0
    own = EDGES * (edge - 0.5)
    joined = two & (last[:, first] == last[:, second])  # both wires come from one node
    twice = EDGES if options.weighted else own[:, second]
    places = side[:, 0] * position[:, first] + side[:, 1] * position[:, second]  # wires exchanged: the same to the bit
    edges = own[:, first] + np.where(two, own[:, second], 0) - np.where(joined, twice, 0)
    return places + edges - (1 + two) / 2


def _angles(parents: Pool, takes: NDArray[np.integer]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which angles (B, S, 3) gates with `takes` (B, S) parameters have from their parents', and these."""
    index, columns = parameter_indices(parents), parents.theta.shape[1]
    has = (index != END).sum(2)
    kept = (index != END) & (index < columns) & (has == takes)[..., None]
    angles = np.zeros(index.shape)
    row, slot, k = np.nonzero(kept)
    angles[row, slot, k] = parents.theta[row, index[row, slot, k]]
    return kept, angles


def _fitting(nodes: NDArray, adjacency: NDArray, types: int, wires: int, parents: Pool | None) -> None:
    """Refuses arrays that are no graphs of `types` types of nodes on the register, or not those of the parents."""
    shape = nodes.shape
    graphs = len(shape) == 3 and shape[1] >= 3 and shape[2] == types + wires
    if not graphs or adjacency.shape != (*shape[:2], shape[1]):
        raise CircuitError(
            f"no graphs of circuits on {wires} wires: nodes {shape} and adjacency {adjacency.shape}\n"
            f"  allowed: (B, V, {types} types + {wires} wires) and (B, V, V), at least 3 nodes"
        )
    if nodes.dtype.kind not in "biuf" or adjacency.dtype.kind not in "biuf":
        raise CircuitError(f"no graphs: real numbers are wanted, found {nodes.dtype} and {adjacency.dtype}")
    if parents is not None and (parents.wires, *parents.op.shape) != (wires, shape[0], shape[1] - 2):
        raise CircuitError(
            f"the parents are {len(parents)} circuits of {parents.op.shape[1]} slots on {parents.wires} wires, "
            f"the graphs {shape[0]} of {shape[1] - 2} on {wires}"
        )
