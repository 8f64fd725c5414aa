"""Circuits as vectors: what an embedding is, and how well it rebuilds, invents and predicts.

reconstruction   how much of a circuit's graph a decoder gives back
generation       how many of its inventions are circuits, different ones, new ones
smoothness       whether neighbours earn alike
reward_probes    how well simple regressions read rewards off the vectors
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from objectives.features import spread
from spaces.circuits.canonical import digest
from spaces.circuits.encoding import Encoding, Scheme, Sign, decode, encode, faults
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.pool import CircuitError, Pool
from spaces.domains import Choice

CHUNK = 1024  # circuits that are embedded at a time
NEIGHBOURS = 10
QUERIES = 10_000  # circuits whose neighbours are looked up, at most
HELD_OUT = 0.2  # share of the circuits that regressions are scored on
PENALTIES = np.logspace(-3, 5, 17)  # of ridge regression, times the squared weights, for features of unit variance
HALF = 0.5


class Embedding(Protocol):
    """A map from circuits to vectors, learnt without labels.

    The life of an embedding: built by `build(config, wires, slots)` for circuits of at most `slots` gates on `wires`
    wires; fitted, by going through all of `fit`; from then on `embed` is a fixed function of single circuits.
    """

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        """Learns from a pool, on so many CPU threads; yields metrics after every epoch, if it trains at all.

        Nothing happens until the iterator is asked. Stopped after some epoch and asked again, on the same embedding
        or on another one with the same state, it goes on with the next epoch; the seed then has no meaning any more.
        The result is that of an unbroken fit, on a CPU to the byte if the pool and the threads are the same.

        Raises:
            CircuitError: circuits on another register, with gates outside the gate set, or too few of them.
        """
        ...

    def embed(self, pool: Pool) -> NDArray[np.float32]:
        """A vector for each circuit: (B, d); on as many threads as PyTorch is set to.

        Raises:
            CircuitError: circuits on another register or with gates outside the gate set.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that was learnt and all that a continued `fit` needs to equal an unbroken one."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken, by an embedding of the same config and register."""
        ...


@dataclass(frozen=True)
class Graphs:
    """How circuits become graphs (`spaces.circuits.encoding`): the knobs that all embeddings share."""

    gates: Annotated[str, Choice(*GATE_SETS)] = "paper"  # the gate set; a pool may use any part of it
    scheme: Annotated[str, Choice(*get_args(Scheme))] = "signed"  # positions and edges: 0/1, or signs and counts
    symmetric_sign: Annotated[str, Choice(*get_args(Sign))] = "same"  # the signs of gates whose wires may be exchanged

    @property
    def types(self) -> int:
        """The number of types of nodes: the gates, START and END."""
        return len(GATE_SETS[self.gates]) + 2

    def encoded(self, pool: Pool, wires: int) -> Encoding:
        """The graphs of a pool on so many wires.

        Raises:
            CircuitError: circuits on another register or with gates outside the gate set.
        """
        if pool.wires != wires:
            raise CircuitError(f"circuits on {pool.wires} wires; the embedding is one of circuits on {wires}")
        return encode(pool, GATE_SETS[self.gates], self.scheme, self.symmetric_sign)  # type: ignore[arg-type]


def chunks(pool: Pool, size: int = CHUNK) -> Iterator[Pool]:
    """The pool in pieces, at least one."""
    return (pool[at : at + size] for at in range(0, max(len(pool), 1), size))


def reconstruction(true: Encoding, nodes: ArrayLike, adjacency: ArrayLike, types: int) -> dict[str, float]:
    """How much of some graphs their reconstructions (B, V, F) and (B, V, V) give back; nodes that are none left out.

    `acc_ops`: share of the nodes whose largest of the first `types` entries is the true type. `acc_qubit`: share of
    the positions that are right when counted from 0.5 or -0.5 on. `acc_adj`: share of the pairs of nodes, first before
    second, whose edge rounds to the true one. `mean_corr_adj` and `mean_fal_pos_adj`: the mean reconstruction where
    there is an edge, and where there is none. After Sun et al., Quantum 10, 1994, whose edges were 0 or 1.
    """
    nodes, adjacency = np.asarray(nodes), np.asarray(adjacency)
    live = np.asarray(true.nodes.any(-1))
    kind = nodes[..., :types].argmax(-1) == true.nodes[..., :types].argmax(-1)
    found = nodes[..., types:]
    position = (found >= HALF).astype(np.int8) - (found <= -HALF)
    pairs = np.triu(live[:, :, None] & live[:, None, :], 1)
    edges, guess = true.adjacency[pairs], adjacency[pairs]
    return {
        "acc_ops": float(kind[live].mean()),
        "acc_qubit": float((position == true.nodes[..., types:])[live].mean()),
        "acc_adj": float((np.floor(guess + HALF) == edges).mean()),
        "mean_corr_adj": float(guess[edges > 0].mean(dtype=np.float64)),
        "mean_fal_pos_adj": float(guess[edges == 0].mean(dtype=np.float64)) if (edges == 0).any() else 0.0,
    }


def generation(nodes: ArrayLike, adjacency: ArrayLike, pool: Pool, graphs: Graphs) -> dict[str, float]:
    """What invented graphs (B, V, F) and (B, V, V) are worth beside the pool that was learnt from.

    `validity`: share that are the encoding of a circuit, by `decode`. `loose_validity`: share that have START first,
    END last and gates in between, all that the paper asks for. `uniqueness` and `novelty`: of the valid ones, the
    share of different circuits, and the share that the pool does not hold, both up to commuting exchanges; 0 where
    none is valid. Circuits that the encoding cannot tell apart count as one.
    """
    how = GATE_SETS[graphs.gates], graphs.scheme, graphs.symmetric_sign
    found, valid = decode(nodes, adjacency, *how)  # type: ignore[arg-type]
    wrong = faults(nodes, adjacency, *how)  # type: ignore[arg-type]
    known = [digest(_as_decoded(part, graphs)) for part in chunks(pool)]
    names = digest(found[valid])
    return {
        "validity": float(valid.mean()),
        "loose_validity": 1 - (wrong["start_end"] + wrong["gates"]) / len(valid),
        "uniqueness": len(np.unique(names)) / max(len(names), 1),
        "novelty": float((~np.isin(names, np.concatenate(known))).mean()) if len(names) else 0.0,
    }


def _as_decoded(pool: Pool, graphs: Graphs) -> Pool:
    """The circuits as the encoding tells them."""
    made = graphs.encoded(pool, pool.wires)
    return decode(made.nodes, made.adjacency, GATE_SETS[graphs.gates], graphs.scheme, graphs.symmetric_sign)[0]  # type: ignore[arg-type]


def smoothness(vectors: NDArray, rewards: NDArray, neighbours: int = NEIGHBOURS) -> float:
    """Correlation between a circuit's reward and the mean reward of its nearest neighbours, itself left out.

    Euclidean neighbours among all the vectors (B, d), looked up for at most `QUERIES` of them, evenly spaced. 0 where
    either does not vary.

    Raises:
        ValueError: arrays that do not fit each other, numbers that are not finite, or no more circuits than
            neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    _checked(vectors, rewards, neighbours + 1)
    rows = spread(np.arange(len(vectors)), QUERIES)
    index = NearestNeighbors(n_neighbors=neighbours + 1, algorithm="brute").fit(vectors)
    found = index.kneighbors(vectors[rows], return_distance=False)
    other = found != rows[:, None]
    other[other.all(1), -1] = False  # more copies of the circuit than neighbours: it is not even among them
    around = rewards[found[other].reshape(len(rows), neighbours)].mean(1)
    return _correlation(rewards[rows], around)


def reward_probes(vectors: NDArray, rewards: NDArray, seed: int = 0) -> dict[str, float]:
    """What the rewards (B,) of circuits owe to their vectors (B, d): `smoothness`, and the score of two regressions.

    Ridge regression (on standardised vectors, its strength by leave-one-out) and the mean of the ten nearest, fitted
    on a random part and scored on the other `HELD_OUT` by R² and by Spearman's rank correlation.

    Raises:
        ValueError: as `smoothness`.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    held = round(HELD_OUT * len(vectors))
    _checked(vectors, rewards, NEIGHBOURS + 1 + held)
    order = np.random.default_rng(seed).permutation(len(vectors))
    test, train = order[:held], order[held:]
    scores = {"smoothness": smoothness(vectors, rewards)}
    for name, model in (
        ("ridge", make_pipeline(StandardScaler(), RidgeCV(PENALTIES))),
        ("knn", KNeighborsRegressor(NEIGHBOURS, algorithm="brute")),
    ):
        guess = model.fit(vectors[train], rewards[train]).predict(vectors[test])
        scores[f"{name}_r2"] = float(r2_score(rewards[test], guess))
        scores[f"{name}_spearman"] = _correlation(rankdata(rewards[test]), rankdata(guess))
    return scores


def _checked(vectors: NDArray, rewards: NDArray, least: int) -> None:
    if vectors.ndim != 2 or rewards.shape != vectors.shape[:1] or len(vectors) < max(least, 2):
        found = f"vectors {vectors.shape} and rewards {rewards.shape}"
        raise ValueError(f"probes need vectors (B, d) and rewards (B,) of at least {least} circuits, got {found}")
    if not (np.isfinite(vectors).all() and np.isfinite(rewards).all()):
        raise ValueError("probes need finite vectors and rewards")


def _correlation(a: NDArray, b: NDArray) -> float:
    """Pearson's; 0 where either does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0
