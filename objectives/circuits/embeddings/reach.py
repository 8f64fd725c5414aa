"""What a circuit can reach: the extremes of local expectation values over a few settings of its angles.

A circuit c with angles θ makes states ρ(θ). Whatever the task, training minimises a linear function of them, so what
can be had is a value of the support function of the circuit's states,

    h_c(A) = max_θ tr(A ρ_c(θ)),    min_θ ⟨H⟩ = -h_c(-H)

A circuit is known by h_c as a convex set is by its support function, and two circuits with alike h_c earn alike on
every task. The sketch of h_c here takes A from the Pauli words on one and two wires, and θ from `settings` draws, the
same for all circuits: of each ⟨A⟩ the mean, the largest and the smallest value. Linear in ρ, these do not tell
correlation from a mixture, so the same three are taken of what only entangled states have,

    ⟨P_a P_b⟩ - ⟨P_a⟩⟨P_b⟩    connected correlations of pairs of wires
    1 - |r_a|²                 mixedness of each wire, with its Bloch vector r_a

Each of the four blocks is scaled to unit variance, the last two times `entanglement`, and the principal components of
all are the vector, with a mean square of 1 per dimension over the circuits it was fitted on.

A setting gives angles to the k-th gate with angles on each wire, counted by its first one, the lower of two that may be
exchanged. So the vector is a function of the circuit's graph: the order of gates on different wires does not enter, nor
do the circuit's own angles or which gates share them.

No label is used and no task is known, but circuits are run: one state per setting. What that is worth beside vectors
that see the gates alone is measured in `benchmarks/RESULTS.md`. `gin_reach` and `gru_reach` predict the vector from the
graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, combinations
from math import prod
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from objectives.circuits.batch import states
from objectives.circuits.embedding import CHUNK, Embedding, chunks
from objectives.features import spread
from spaces.circuits.canonical import sorted_wires
from spaces.circuits.gates import MAX_PARAMETERS, parameters_of
from spaces.circuits.pool import END, CircuitError, Pool
from spaces.domains import Int, Uniform

LEARNT = 20_000  # circuits that scales and components are fitted on, at most
AMPLITUDES = 2**16  # of states that are held at a time, about
NOTHING = 1e-12  # variance that is but rounding
STATE = ("angles", "centre", "components")


@dataclass(frozen=True)
class Config:
    """How much of what a circuit can reach is looked at, and how much of that is kept."""

    settings: Annotated[int, Int(1, 256, log=True)] = 8  # draws of the angles, the same for all circuits
    entanglement: Annotated[float, Uniform(0, 3)] = 0.3  # weight of correlation and mixedness beside expectation
    latent: Annotated[int, Int(2, 128, log=True)] = 16  # principal components that are kept


class Reach:
    """Scales and components are learnt; d is `latent`, or the rank of the sketches where that is less.

    Attributes:
        angles: of each setting, by wire and number on it, (settings, wires * slots * 3); none before `fit`.
        centre: the mean sketch, (F,).
        components: what takes a sketch, less its mean, to the vector, (F, d).
    """

    def __init__(self, config: Config, wires: int, slots: int) -> None:
        self.config, self.wires, self.slots = config, wires, slots
        self.angles, self.centre, self.components = np.empty((0, 0)), np.empty(0), np.empty((0, 0))

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        """Learns at once, from circuits spread over the pool; there are no epochs to tell of."""
        if len(self.angles):
            return
        if len(pool) < 2:
            raise CircuitError(f"found {len(pool)} circuits; principal components take 2 at least")
        shape = self.config.settings, self.wires * self.slots * MAX_PARAMETERS
        angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, shape)
        rows = spread(np.arange(len(pool)), LEARNT)
        self._learn(self._sketches(pool[rows], angles, threads), len(rows))
        self.angles = angles
        yield from ()

    def _learn(self, sketches: Iterator[NDArray[np.float64]], count: int) -> None:
        """Scales of the blocks and components of all, from `count` sketches (B, F) that come in pieces."""
        first = next(sketches)
        origin = first.mean(axis=0)  # near the mean, so that what does not vary comes out as 0
        total, squares = np.zeros(len(origin)), np.zeros((len(origin), len(origin)))
        for sketch in chain([first], sketches):
            moved = sketch - origin
            total += moved.sum(axis=0)
            squares += moved.T @ moved
        mean = total / count
        covariance = squares / count - np.outer(mean, mean)
        scale = _scale(covariance.diagonal(), self.wires, self.config.entanglement)
        last, most = len(scale) - 1, min(self.config.latent, len(scale))
        scaled = scale[:, None] * covariance * scale
        variances, directions = eigh(scaled, subset_by_index=[len(scale) - most, last])
        kept = slice(None, -1 - max(1, int((variances > NOTHING).sum())), -1)  # the largest first
        variances, directions = variances[kept], directions[:, kept]
        directions *= np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0))
        self.centre = origin + mean
        self.components = scale[:, None] * directions / np.sqrt(max(variances.mean(), NOTHING))

    def embed(self, pool: Pool) -> NDArray[np.float32]:
        """The principal components of the circuits' sketches: (B, d)."""
        if not len(self.angles):
            raise RuntimeError("an embedding that has not been fitted yet")
        sketches = self._sketches(pool, self.angles, torch.get_num_threads())
        return np.concatenate([(sketch - self.centre) @ self.components for sketch in sketches]).astype(np.float32)

    def _sketches(self, pool: Pool, angles: NDArray, threads: int) -> Iterator[NDArray[np.float64]]:
        """Mean, largest and smallest over the settings of what `sketched` gives, piece by piece: (B, F) each."""
        for part in chunks(pool, max(1, min(CHUNK, AMPLITUDES >> self.wires))):
            placed = self._placed(part)
            settings = (replace(placed, theta=np.broadcast_to(row, (len(part), len(row)))) for row in angles)
            yield extremes(np.concatenate(sketched(states(at, threads=threads)), axis=1) for at in settings)

    def _placed(self, pool: Pool) -> Pool:
        """The circuits, whose gates have their angles from where a setting has those for their wire and number."""
        if pool.wires != self.wires:
            raise CircuitError(f"circuits on {pool.wires} wires; the embedding is one of circuits on {self.wires}")
        longest = int(pool.length.max(initial=0))
        if longest > self.slots:
            raise CircuitError(f"a circuit of {longest} gates; the embedding is one of at most {self.slots} gates")
        if pool.inputs:
            raise CircuitError("circuits that read inputs reach states only once they are given data")
        pool = sorted_wires(pool)
        takes = pool.slots & (parameters_of()[pool.op] > 0)
        wire = np.where(takes, pool.wire[..., 0], 0).astype(np.int64)
        upto = (takes[..., None] & (wire[..., None] == np.arange(self.wires))).cumsum(axis=1)
        number = np.take_along_axis(upto, wire[..., None], axis=2)[..., 0] - 1
        return replace(pool, parameter=np.where(takes, (wire * self.slots + number) * MAX_PARAMETERS, END))

    def state_dict(self) -> dict[str, Any]:
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in STATE:
            setattr(self, name, state[name].numpy().copy())


def _scale(variances: NDArray[np.float64], wires: int, entanglement: float) -> NDArray[np.float64]:
    """What a sketch is multiplied by, (F,): each block to unit variance, then the last two times `entanglement`."""
    pairs = wires * (wires - 1) // 2
    block = np.tile(np.repeat(np.arange(4), (3 * wires, 9 * pairs, 9 * pairs, wires)), 3)
    total = np.bincount(block, variances, 4)
    weights = np.array([1, 1, entanglement, entanglement]) / np.sqrt(np.maximum(total, NOTHING))
    return np.where(total > NOTHING, weights, 0)[block]


def extremes(drawn: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean, largest and smallest of arrays (B, F): (B, 3 F)."""
    values = iter(drawn)
    total = next(values).copy()
    largest, smallest, count = total.copy(), total.copy(), 1
    for value in values:
        total += value
        np.maximum(largest, value, out=largest)
        np.minimum(smallest, value, out=smallest)
        count += 1
    return np.concatenate([total / count, largest, smallest], axis=1)


def sketched(psi: NDArray[np.complex128]) -> list[NDArray[np.float64]]:
    """What is looked at of states (B, 2^n): four arrays (B, F).

    Expectation values of the Pauli words on one wire, 3 n, and on two, 9 n (n - 1) / 2; the connected correlations of
    the latter; and each wire's mixedness, n.
    """
    count, wires = len(psi), psi.shape[1].bit_length() - 1
    tensor = psi.reshape(count, *[2] * wires)
    pairs = np.array([*combinations(range(wires), 2)], int).reshape(-1, 2)
    local = np.stack([_expected(tensor, (a,)) for a in range(wires)], axis=1)  # (B, n, 3)
    joint = np.empty((count, len(pairs), 3, 3))
    for k, (a, b) in enumerate(pairs):
        joint[:, k] = _expected(tensor, (a, b)).reshape(count, 3, 3)
    alone = local[:, pairs[:, 0], :, None] * local[:, pairs[:, 1], None, :]
    blocks = local, joint, joint - alone, 1 - (local**2).sum(axis=2)
    return [block.reshape(count, prod(block.shape[1:])) for block in blocks]


PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
WORDS = {1: PAULIS, 2: np.einsum("aij,bkl->abikjl", PAULIS, PAULIS).reshape(9, 4, 4)}


def _expected(tensor: NDArray[np.complex128], wires: tuple[int, ...]) -> NDArray[np.float64]:
    """Expectation values of the Pauli words on some wires in states (B, 2, ..., 2): (B, 3) or (B, 9)."""
    count, words = len(tensor), WORDS[len(wires)]
    front = np.moveaxis(tensor, [1 + wire for wire in wires], range(1, 1 + len(wires)))
    front = front.reshape(count, 2 ** len(wires), 2 ** (tensor.ndim - 1 - len(wires)))
    reduced = front @ front.conj().swapaxes(1, 2)  # the wires' density matrix
    # of Hermitian matrices tr(W ρ) is the sum of products of all their real and imaginary parts
    return reduced.reshape(count, words[0].size).view(float) @ words.reshape(len(words), -1).view(float).T


def build(config: Config, wires: int, slots: int) -> Embedding:
    """The sketch of circuits of at most `slots` gates on `wires` wires."""
    return Reach(config, wires, slots)
