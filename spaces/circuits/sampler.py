"""The space of circuits, and random circuits from it: the sampler of Sun et al., Quantum 10, 1994.

A circuit is drawn gate by gate. The gate's type is drawn by weight; its first wire uniformly from the wires that have
a partner for this gate (a one-qubit gate: from all); its second wire uniformly from the partners of the first. Where
wires differ in their number of partners, this is not the uniform distribution over pairs: a wire is as often first
as any other. A circuit deeper than `depth` is thrown away whole (`reject="circuit"`, the paper's), or the gate that
would make it so is drawn anew (`"gate"`, a circuit in which no gate fits any more being thrown away). The latter keeps
far more candidates but is another distribution: one-qubit gates, which fit more often, become more frequent.
Angles are uniform in [0, 2 pi), each a parameter of its own, numbered as the gates stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.coupling import Coupling, coupling, whole
from spaces.circuits.gates import CODES, GATE_SETS, GATES, MAX_WIRES
from spaces.circuits.pool import END, MOST_WIRES, CircuitError, Pool, own_parameters
from spaces.document import complaint
from spaces.domains import Uniform

LONGEST = 1000  # gates of a circuit
WEIGHT = Uniform(1e-6, 1e6)  # of a gate in its set
CHUNK = 8192  # candidates drawn at a time; part of what a seed means
PATIENCE = 1_000_000  # candidates after which the share that is kept is judged,
HOPELESS = 1e-5  # and the share under which sampling gives up
REJECT = ("circuit", "gate")


@dataclass(frozen=True)
class Sampler:
    """A space of circuits with `length` gates each.

    Attributes:
        wires: the register's size n.
        gates: the gate set, each name with its weight, in the order in which encodings number the types.
        length: the number of gates of every circuit.
        depth: the largest number of layers of a circuit, each gate in the first layer that is free on its wires;
            None: any.
        coupling: the pairs of wires that two-qubit gates act on.
        coupling_of: the same for single gates, in place of `coupling`.
        reject: what is drawn anew when a circuit gets too deep, the whole `circuit` or the last `gate`.

    Raises:
        CircuitError: a value out of range, an unknown gate, a map of another register, a two-qubit gate without a
            pair to act on, or more gates than fit into so many layers.
    """

    wires: int
    gates: Mapping[str, float]
    length: int
    depth: int | None
    coupling: Coupling
    coupling_of: Mapping[str, Coupling] = field(default_factory=dict)
    reject: str = "circuit"

    def __post_init__(self) -> None:
        whole(self.wires, "wires", MOST_WIRES)
        whole(self.length, "length", LONGEST)
        if self.depth is not None:
            whole(self.depth, "depth", LONGEST)
        if self.reject not in REJECT:
            raise CircuitError(complaint("reject", f"found {self.reject!r}", REJECT, near=str(self.reject)))
        _weights(self.gates)
        self._coupled()
        if self.depth is not None and self.length > self.depth * self.wires:
            most = self.depth * self.wires
            raise CircuitError(
                f"length: {self.length} gates do not fit into depth {self.depth} on {self.wires} wires, at most {most}"
            )

    def _coupled(self) -> None:
        two = [name for name in self.gates if GATES[CODES[name]].wires == MAX_WIRES]
        for name in self.coupling_of:
            if name not in two:
                raise CircuitError(complaint("coupling_of", f"no two-qubit gate {name!r}", two, near=str(name)))
        for name, found in [("coupling", self.coupling), *self.coupling_of.items()]:
            if found.wires != self.wires:
                raise CircuitError(f"{name}: a coupling map of {found.wires} wires, the register has {self.wires}")
        for name in two:
            if not len(self.pairs(name)):
                raise CircuitError(f"gates: {name} has no pair of wires to act on in a register of {self.wires}")

    def pairs(self, name: str) -> NDArray[np.int8]:
        """The directed pairs of wires that the two-qubit gate `name` may act on: (E, 2)."""
        return self.coupling_of.get(name, self.coupling).pairs


def paper(wires: int = 4, length: int = 10, depth: int | None = 5) -> Sampler:
    """The paper's space: eleven gates of equal weight, CNOT from q to q + 1 mod n, CZ and SWAP on any pair."""
    gates = dict.fromkeys(GATE_SETS["paper"], 1.0)
    return Sampler(wires, gates, length, depth, *paper_couplings(wires, gates))


def paper_couplings(wires: int, gates: Iterable[str]) -> tuple[Coupling, dict[str, Coupling]]:
    """The map of all gates but CNOT, any pair, and that of CNOT if it is among them, from q to q + 1 mod n."""
    return coupling("all", wires), {"CNOT": coupling("directed_ring", wires)} if "CNOT" in gates else {}


def sample(sampler: Sampler, count: int, rng: np.random.Generator) -> Pool:
    """`count` random circuits, one after the other as they were drawn.

    Candidates are drawn `CHUNK` at a time whatever `count` is. So the first circuits are the same for every `count`,
    and `rng` is advanced by whole chunks.

    Raises:
        CircuitError: a negative `count`, or fewer than one in 10^5 of 10^6 candidates shallow enough.
    """
    whole(count, "count", 2**31 - 1, least=0)
    slot = _Slot.of(sampler)
    chunks: list[Pool] = []
    drawn = kept = 0
    while not chunks or kept < count:
        chunks.append(_chunk(sampler, slot, rng))
        drawn, kept = drawn + CHUNK, kept + len(chunks[-1])
        if drawn >= PATIENCE and kept < HOPELESS * drawn:
            raise CircuitError(_hopeless(sampler, kept, drawn))
    pool = Pool.stack(chunks)[:count]
    return replace(pool, theta=pool.theta[:, : int(pool.parameters.max(initial=0))])


@dataclass(frozen=True)
class _Slot:
    """The distribution of one gate: its K placements (a type on certain wires) and their shares."""

    op: NDArray[np.int8]  # (K,)
    wire: NDArray[np.int8]  # (K, 2), END for no second wire
    reach: NDArray[np.int8]  # (K, 2), the first wire again for no second wire
    share: NDArray[np.float64]  # (K,), sums to 1

    @staticmethod
    def of(sampler: Sampler) -> _Slot:
        op, wire, share = [], [], []
        for name, weight in sampler.gates.items():
            if GATES[CODES[name]].wires == 1:
                pairs = np.array([(q, END) for q in range(sampler.wires)], np.int8)
            else:
                pairs = sampler.pairs(name)
            firsts, index, partners = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
            op.append(np.full(len(pairs), CODES[name], np.int8))
            wire.append(pairs)
            share.append(weight / len(firsts) / partners[index])
        wires, shares = np.concatenate(wire), np.concatenate(share)
        reach = np.where(wires == END, wires[:, :1], wires)
        return _Slot(np.concatenate(op), wires, reach, shares / shares.sum())

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.intp]:
        """Placements, by share."""
        upto = np.cumsum(self.share)
        upto[-1] = 1  # whatever rounding made of it
        return np.searchsorted(upto, rng.random(size), side="right")

    def redraw(self, free: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
        """For each row of `free` (M, n) a placement on its free wires only, by share; 0 if there is none."""
        fits = free[:, self.reach[:, 0]] & free[:, self.reach[:, 1]]
        upto = np.cumsum(fits * self.share, axis=1)
        return np.argmax(upto > rng.random((len(free), 1)) * upto[:, -1:], axis=1)


def _chunk(sampler: Sampler, slot: _Slot, rng: np.random.Generator) -> Pool:
    """The circuits shallow enough among `CHUNK` candidates."""
    limit = sampler.length if sampler.depth is None else sampler.depth
    placement = slot.draw((CHUNK, sampler.length), rng)
    height = np.zeros((CHUNK, sampler.wires), np.int16)  # how many layers each wire has filled
    rows = np.arange(CHUNK)
    for s in range(sampler.length):
        first, second = slot.reach[placement[:, s]].T
        top = np.maximum(height[rows, first], height[rows, second]) + 1
        if sampler.reject == "gate" and (top > limit).any():
            deep = top > limit
            placement[deep, s] = slot.redraw(height[deep] < limit, rng)
            first, second = slot.reach[placement[:, s]].T
            top = np.maximum(height[rows, first], height[rows, second]) + 1
        height[rows, first] = height[rows, second] = top
    placement = placement[height.max(1) <= limit]  # too deep at any gate is too deep in the end
    op = slot.op[placement]
    parameter, used = own_parameters(op)
    theta = np.zeros((len(op), int(used.max(initial=0))))
    theta[np.arange(theta.shape[1]) < used[:, None]] = 2 * math.pi * rng.random(int(used.sum()))
    length = np.full(len(op), sampler.length, np.int32)
    return Pool(sampler.wires, op, slot.wire[placement], parameter, length, theta)


def _weights(gates: Mapping[str, float]) -> None:
    if not gates:
        raise CircuitError(complaint("gates", "the gate set is empty", CODES))
    for name, weight in gates.items():
        if name not in CODES:
            raise CircuitError(complaint("gates", f"no gate {name!r}", CODES, near=str(name)))
        if not WEIGHT.contains(weight):
            raise CircuitError(complaint("gates", f"{name} has the weight {weight!r}", str(WEIGHT)))


def _hopeless(sampler: Sampler, kept: int, drawn: int) -> str:
    better = "" if sampler.reject == "gate" else ", or reject gate by gate"
    return (
        f"depth: {kept} of {drawn} random circuits of {sampler.length} gates on {sampler.wires} wires have a depth of"
        f" {sampler.depth} or less, a share of {kept / drawn:.1g};\n"
        f"  allow a greater depth or fewer gates{better}"
    )
