"""Circuits as graphs for a graph network: the two published encodings of a pool, and the way back.

The nodes are START, a circuit's gates in their order, and END; an edge runs from the last node on a wire to the next.
START stands before every wire's first gate, END behind its last, so that a wire without gates joins START to END.

A node's row is a one-hot type over [START, the gate set in its order, END] and then a position for each wire:

    binary  1 on every wire that the gate touches; an edge is 0 or 1
            (He et al., GSQAS, 2023; the first encoding of Sun et al., Quantum 10, 1994)
    signed  -1 on the first and +1 on the second wire of a two-qubit gate, +1 on the wire of any other;
            an edge carries the number of wires that it stands for (Sun et al., the improved encoding)

START and END have 1 on every wire. The paper leaves open how a gate whose wires may be exchanged is signed:
`symmetric_sign` is `same` (+1, +1), which keeps the symmetry, or `ordered` (-1, +1) as the wires are stored.
A circuit shorter than the longest has its END directly behind its last gate and all-zero nodes behind that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spaces.circuits.gates import CODES, GATES, MAX_WIRES, symmetric, wires_of
from spaces.circuits.pool import END, MOST_WIRES, CircuitError, Pool, own_parameters
from spaces.document import complaint

Scheme = Literal["binary", "signed"]
Sign = Literal["ordered", "same"]
FAULTS = ("start_end", "gates", "wires", "edges")


@dataclass(frozen=True)
class Encoding:
    """B circuits of at most S gates as graphs of V = S + 2 nodes.

    Attributes:
        nodes: types and positions: int8 (B, V, F), F = gates of the set + 2 + wires.
        adjacency: edges from the row's to the column's node, strictly upper triangular: int8 (B, V, V).
    """

    nodes: NDArray[np.int8]
    adjacency: NDArray[np.int8]


def encode(pool: Pool, gates: Sequence[str], scheme: Scheme, symmetric_sign: Sign = "same") -> Encoding:
    """The graphs of a pool whose gates are all of the set `gates`; angles are not encoded.

    Raises:
        CircuitError: a gate that is not in the set, or an unknown scheme, sign or gate name.
    """
    book = _Book.of(gates, scheme, symmetric_sign)
    kind = _kinds(pool, book)
    count, width = kind.shape
    nodes = np.zeros((count, width, len(book.code) + pool.wires), np.int8)
    rows = np.arange(count)
    for v in range(width):
        live = rows[kind[:, v] != END]
        nodes[live, v, kind[live, v]] = 1
    position = nodes[..., len(book.code) :]
    position[:, 0] = 1
    position[rows, pool.length + 1] = 1
    wire = np.where(pool.slots[..., None], pool.wire, END)
    for s, k in product(range(width - 2), range(MAX_WIRES)):
        live = rows[wire[:, s, k] != END]
        negative = (k == 0) & (book.minus[kind[live, s + 1]] > 0)
        position[live, s + 1, wire[live, s, k]] = np.where(negative, -1, 1)
    edges = _edges(wire, pool.length, pool.wires)
    return Encoding(nodes, edges if book.weighted else (edges > 0).astype(np.int8))


def decode(
    nodes: ArrayLike, adjacency: ArrayLike, gates: Sequence[str], scheme: Scheme, symmetric_sign: Sign = "same"
) -> tuple[Pool, NDArray[np.bool_]]:
    """The circuits of graphs (B, V, F) and (B, V, V), and which of them are valid: (B,).

    The graphs may be real-valued, as a decoder gives them: a node's type is its largest entry, a position counts from
    0.5 or -0.5 on, an edge is rounded to a number of wires (`binary`: to 0 or 1). A graph is valid if it then is the
    encoding of a circuit: START first; gates of the set up to the first END, and behind it only nodes without any
    type or position of 0.5; for every node the right number of positions of each sign; and exactly the edges which
    these positions imply, so no cycle either. Numbers that are not finite are wrong.

    Invalid graphs come back as circuits without gates. Angles are 0, each a parameter of its own. Where positions
    do not tell the wires' order (`binary`, and gates of the same sign), the lower wire comes first.

    Raises:
        CircuitError: arrays of shapes that do not fit each other or the set, an unknown scheme, sign or gate name.
    """
    pool, wrong = _read(nodes, adjacency, _Book.of(gates, scheme, symmetric_sign))
    return pool, wrong.sum(0) == 0


def faults(
    nodes: ArrayLike, adjacency: ArrayLike, gates: Sequence[str], scheme: Scheme, symmetric_sign: Sign = "same"
) -> dict[str, int]:
    """How many graphs `decode` finds invalid and why, each counted once, under the first of these that holds.

    `start_end`: no START first, no END, or something behind it. `gates`: no gate of the set in between. `wires`: a
    wrong number or sign of positions. `edges`: not the edges which the positions imply. The first two alone are what
    the paper calls invalid.
    """
    _, wrong = _read(nodes, adjacency, _Book.of(gates, scheme, symmetric_sign))
    first = np.argmax(wrong, axis=0)[wrong.any(0)]
    return {name: int((first == k).sum()) for k, name in enumerate(FAULTS)}


@dataclass(frozen=True)
class _Book:
    """A gate set under a scheme, by type (T,): START, the gates, END."""

    code: NDArray[np.int8]  # the code in `GATES`, END for START and END
    plus: NDArray[np.int8]  # how many positions are +1, END for all
    minus: NDArray[np.int8]  # how many positions are -1
    weighted: bool  # whether edges count wires

    @staticmethod
    def of(gates: Sequence[str], scheme: str, symmetric_sign: str) -> _Book:
        for name, found, allowed in (
            ("scheme", scheme, ("binary", "signed")),
            ("symmetric_sign", symmetric_sign, ("ordered", "same")),
        ):
            if found not in allowed:
                raise CircuitError(complaint(name, f"found {found!r}", allowed, near=str(found)))
        for name in gates:
            if name not in CODES:
                raise CircuitError(complaint("gates", f"no gate {name!r}", CODES, near=str(name)))
        if not gates or len(set(gates)) < len(gates):
            raise CircuitError(f"gates: a set of at least one gate is wanted, none twice, found {list(gates)}")
        codes = np.array([CODES[name] for name in gates], np.int8)
        signed = (wires_of()[codes] == MAX_WIRES) & (~symmetric()[codes] | (symmetric_sign == "ordered"))
        minus = (signed & (scheme == "signed")).astype(np.int8)
        code, plus = (np.pad(x, 1, constant_values=END) for x in (codes, wires_of()[codes] - minus))
        return _Book(code, plus, np.pad(minus, 1), scheme == "signed")


def _kinds(pool: Pool, book: _Book) -> NDArray[np.int16]:
    """The type of every node, END where there is none: (B, S + 2)."""
    kind_of = np.full(len(GATES), END, np.int16)
    kind_of[book.code[1:-1]] = np.arange(1, len(book.code) - 1)
    kind = np.full((len(pool), pool.op.shape[1] + 2), END, np.int16)
    kind[:, 0] = 0
    kind[:, 1:-1] = np.where(pool.slots, kind_of[pool.op], END)
    foreign = np.argwhere(pool.slots & (kind[:, 1:-1] == END))
    if len(foreign):
        row, slot = foreign[0]
        names = [GATES[code].name for code in book.code[1:-1]]
        name = GATES[pool.op[row, slot]].name
        raise CircuitError(complaint(f"circuit {row}, gate {slot}", f"{name} is not in the gate set", names))
    kind[np.arange(len(pool)), pool.length + 1] = len(book.code) - 1
    return kind


def _edges(wire: NDArray[np.int8], length: NDArray[np.int32], wires: int) -> NDArray[np.int8]:
    """How many wires run from each node to each other, for gates on `wire` (B, S, 2): (B, S + 2, S + 2)."""
    count, slots = wire.shape[:2]
    edges = np.zeros((count, slots + 2, slots + 2), np.int8)
    last = np.zeros((count, wires), np.int32)  # the last node on each wire
    rows = np.arange(count)
    for s, k in product(range(slots), range(MAX_WIRES)):
        live = rows[wire[:, s, k] != END]
        on = wire[live, s, k]
        edges[live, last[live, on], s + 1] += 1
        last[live, on] = s + 1
    for q in range(wires):
        edges[rows, last[:, q], length + 1] += 1
    return edges


def _read(nodes: ArrayLike, adjacency: ArrayLike, book: _Book) -> tuple[Pool, NDArray[np.bool_]]:
    """The circuits, those that are wrong without gates, and what is wrong with each, by `FAULTS`: (4, B)."""
    nodes, adjacency, types = np.asarray(nodes), np.asarray(adjacency), len(book.code)
    _fitting(nodes, adjacency, types)
    kind, last = nodes[..., :types].argmax(-1), types - 1
    finite = np.isfinite(nodes).all(-1)
    kind[~finite] = END
    position = (nodes[..., types:] >= 0.5).astype(np.int8) - (nodes[..., types:] <= -0.5)
    wires = position.shape[-1]
    length = np.argmax(kind[:, 1:] == last, axis=1)  # up to the first END; 0 if there is none

    slot = np.arange(kind.shape[1]) - 1  # of each node
    inside, behind = (slot >= 0) & (slot < length[:, None]), slot > length[:, None]
    gate = (kind > 0) & (kind < last)
    blank = finite & ~position.any(-1) & (nodes[..., :types] < 0.5).all(-1)
    ended = np.take_along_axis(kind, length[:, None] + 1, 1)[:, 0] == last
    plus, minus = (np.where(x == END, wires, x)[kind] for x in (book.plus, book.minus))
    fits = ((position > 0).sum(-1) == plus) & ((position < 0).sum(-1) == minus)
    op = np.where(inside & gate, book.code[kind], END)[:, 1:-1]
    wire = _wires(position[:, 1:-1], op, minus[:, 1:-1] > 0)
    implied = _edges(wire, length, wires)
    rounded = np.clip(np.floor(adjacency + 0.5), 0, wires if book.weighted else 1)
    rounded[~np.isfinite(adjacency)] = END

    start_end = (kind[:, 0] != 0) | ~ended | (behind & ~blank).any(1)
    edges = (rounded != (implied if book.weighted else implied > 0)).any((1, 2))
    wrong = np.stack([start_end, (inside & ~gate).any(1), (~behind & ~fits).any(1), edges])
    bad = wrong.any(0)
    op[bad], wire[bad], length[bad] = END, END, 0
    parameter, used = own_parameters(op)
    return Pool(wires, op, wire, parameter, length, np.zeros((len(op), used.max(initial=0)))), wrong


def _fitting(nodes: NDArray, adjacency: NDArray, types: int) -> None:
    """Refuses arrays that are no graphs of `types` types of nodes."""
    graphs = nodes.ndim == 3 and nodes.shape[1] >= 2 and types < nodes.shape[2] <= types + MOST_WIRES
    if not graphs or adjacency.shape != (*nodes.shape[:2], nodes.shape[1]):
        raise CircuitError(
            f"no graphs: nodes {nodes.shape} and adjacency {adjacency.shape}\n"
            f"  allowed: (B, V, {types} types + wires) and (B, V, V), at least 2 nodes"
        )
    if nodes.dtype.kind not in "biuf" or adjacency.dtype.kind not in "biuf":
        raise CircuitError(f"no graphs: real numbers are wanted, found {nodes.dtype} and {adjacency.dtype}")


def _wires(position: NDArray[np.int8], op: NDArray[np.int8], signed: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The wires (B, S, 2) of gates at `position` (B, S, n); any wires where positions do not fit the gate."""
    lowest = np.argmax(position > 0, -1)
    highest = position.shape[-1] - 1 - np.argmax(position[..., ::-1] > 0, -1)
    negative = np.argmax(position < 0, -1)
    pairs = np.where(signed[..., None], np.stack([negative, lowest], -1), np.stack([lowest, highest], -1))
    count = np.where(op == END, 0, wires_of()[op])
    return np.where(np.arange(MAX_WIRES) < count[..., None], pairs, END).astype(np.int8)
