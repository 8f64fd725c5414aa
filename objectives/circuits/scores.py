"""Scores of circuits that cost no training, of whole pools at once.

path_count                how many ways lead through the circuit's graph
expressibility            how far its states are from Haar-random ones, by the histogram of their fidelities
frame_potential           the same by a moment of the fidelities
entangling_capability     how entangled its states are
weakest_entanglement      the same of the wire that is so the least
gradient_variance         how much of a gradient there is to train by; `gradient_variances` tells the parameters apart
relative_fluctuation      how much its cost varies, on the scale of the observable
learnability              the same, on the scale of a landscape that is known to be learnable

All but the first average over `samples` settings of a circuit's parameters, independent and uniform in [0, 2π). These
are drawn circuit by circuit, with a number for each column of `theta`, so that the first scores of a pool are the
scores of its first circuits. A circuit without parameters has but one state: what its scores then are, each says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import comb, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from objectives.circuits.batch import Batch, states
from objectives.circuits.evaluate import fitting
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.coupling import whole
from spaces.circuits.gates import wires_of
from spaces.circuits.pool import Pool
from spaces.circuits.structure import parameter_indices, predecessors, used_wires

CHUNK = 2**20  # numbers that are held at a time, or those of one circuit if they are more
BLOCK = 256  # states that are compared with all others at a time
MOST = 10**6  # samples, bins or moments


def path_count(pool: Pool) -> NDArray[np.float64]:
    """The number of paths from START to END through the graph of each circuit: (B,).

    Nodes are START, the gates and END; an edge leads from the last node on a wire to the next. Edges are not counted
    twice: neither two gates that follow each other on both wires, nor several wires without gates, which join START to
    END, make more than one way. A circuit without gates has 1. Whole numbers, exact up to 2^53 and rounded at each
    gate beyond; as they grow no faster than Fibonacci's, they are finite up to 1400 gates.

    The zero-cost proxy of He et al., "Training-Free Quantum Architecture Search", AAAI 2024.
    """
    before, rows = predecessors(pool), np.arange(len(pool))
    width = np.where(pool.slots, wires_of()[pool.op], 0)
    followed = np.zeros((len(pool), pool.op.shape[1] + 1), np.int32)  # the last column is START, whose index is END
    np.add.at(followed, (rows[:, None, None], before), 1)
    ways = np.ones((len(pool), pool.op.shape[1] + 1))
    for slot in range(pool.op.shape[1]):
        first, second = before[:, slot].T
        other = (width[:, slot] == 2) & (first != second)
        ways[:, slot] = ways[rows, first] + np.where(other, ways[rows, second], 0)
    last = followed[:, :-1] < width  # on some wire no gate follows
    return (ways[:, :-1] * last).sum(1) + ~used_wires(pool).all(1)


def expressibility(pool: Pool, samples: int, rng: np.random.Generator, bins: int = 75) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence, in nats, of the states' fidelities from those of Haar-random states: (B,).

    D = Σ_k p_k ln(p_k / q_k) over equal bins of F = |⟨ψ(θ)|ψ(θ')⟩|² in [0, 1]: p_k is the share of the pairs of
    `samples` states, q_k the integral of P_Haar(F) = (N-1)(1-F)^(N-2). It is 0 for an expressive circuit and at most
    (N-1) ln(bins), which is the value of a circuit without parameters. Few samples make it too large, for Haar-random
    states by (bins-1) / (2 · number of pairs) or less.

    Sim, Johnson and Aspuru-Guzik, Adv. Quantum Technol. 2, 1900070 (2019), with their 75 bins. They draw new states for
    each pair; here all pairs of `samples` states count, which have the same distribution and scatter less.

    Raises:
        CircuitError: fewer than 2 samples, circuits that read inputs, more states of one circuit than fit into memory.
    """
    whole(bins, "bins", MOST)
    counts = np.zeros((len(pool), bins), np.int64)
    for rows, fidelities in _fidelities(pool, samples, rng):
        index = np.minimum((fidelities * bins).astype(np.int64), bins - 1)
        index += bins * np.arange(len(index))[:, None]
        counts[rows] += np.bincount(index.ravel(), minlength=len(index) * bins).reshape(-1, bins)
    share = counts / (samples * (samples - 1) // 2)
    return xlogy(share, share).sum(1) - share @ _log_haar(2**pool.wires, bins)


def _log_haar(size: int, bins: int) -> NDArray[np.float64]:
    """The logarithms of the shares (1-a)^(N-1) - (1-b)^(N-1) of Haar-random fidelities in equal bins [a, b): (bins,).

    Taken as logarithms throughout, since the shares themselves are 0 in floating point from 10 wires on.
    """
    left = np.arange(bins, 0, -1) / bins
    shares = (size - 1) * np.log(left)
    shares[:-1] += np.log(-np.expm1((size - 1) * np.log(left[1:] / left[:-1])))
    return shares


def frame_potential(pool: Pool, samples: int, rng: np.random.Generator, order: int = 2) -> NDArray[np.float64]:
    """The frame potential of the states, the mean of |⟨ψ(θ)|ψ(θ')⟩|^(2t) for t = `order`: (B,).

    Never below `haar_frame_potential`, up to the scatter of its estimate, and equal to it where the states are a
    t-design; 1 for a circuit without parameters. The estimate is the mean over all pairs of `samples` states and has no
    bias.

    Renes, Blume-Kohout, Scott and Caves, J. Math. Phys. 45, 2171 (2004); Sim et al. 2019.

    Raises:
        CircuitError: as `expressibility`, or an order below 1.
    """
    whole(order, "order", MOST)
    total = np.zeros(len(pool))
    for rows, fidelities in _fidelities(pool, samples, rng):
        total[rows] += (fidelities**order).sum(1)
    return total / (samples * (samples - 1) // 2)


def haar_frame_potential(wires: int, order: int = 2) -> float:
    """The frame potential of Haar-random states, the least there is: 1 / binomial(N + t - 1, t)."""
    return 1 / comb(2**wires + order - 1, order)


def entangling_capability(pool: Pool, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean entanglement of the states by the measure of Meyer and Wallach: (B,).

    Q = 2 (1 - mean over the wires of tr ρ_q²): 0 for product states, to rounding, and 1 where every wire is maximally
    entangled with the rest, as in GHZ states; (N-2)/(N+1) for Haar-random states. Without parameters it is the Q of the
    circuit's one state.

    Sim et al. 2019; Meyer and Wallach, J. Math. Phys. 43, 4273 (2002); in this form Brennen, Quantum Inf.
    Comput. 3, 619 (2003).

    Raises:
        CircuitError: fewer than 2 samples, circuits that read inputs, more wires than memory allows.
    """
    return _entropies(pool, samples, rng, lambda wires: wires.mean(-1))


def weakest_entanglement(pool: Pool, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How entangled that wire is which is so the least, by the mean over the states: (B,).

    A state's is min_q 2 (1 - tr ρ_q²), from 0, where some wire is in a product with the rest (to rounding), to 1, where
    every wire is maximally entangled. Where Meyer and Wallach's measure is the mean over the wires, and large also for
    a pair beside idle wires, this one asks for all of them, as most ground states do. Raises what
    `entangling_capability` does.
    """
    return _entropies(pool, samples, rng, lambda wires: wires.min(-1))


def _entropies(
    pool: Pool, samples: int, rng: np.random.Generator, over: Callable[[NDArray], NDArray]
) -> NDArray[np.float64]:
    """The mean over states of what `over` makes of their wires' entropies (..., n): (B,)."""
    found, step = np.empty(len(pool)), max(1, CHUNK // 2**pool.wires)
    for rows, copies in _drawn(pool, samples, rng, 2**pool.wires):
        parts = (states(copies[first : first + step]) for first in range(0, len(copies), step))
        found[rows] = np.concatenate([over(wire_entropies(part)) for part in parts]).reshape(-1, samples).mean(1)
    return found


def meyer_wallach(vectors: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Q of normalised states (..., N); see `entangling_capability`: (...)."""
    return wire_entropies(vectors).mean(-1)


def wire_entropies(vectors: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The linear entropy 2 (1 - tr ρ_q²) of each wire q of normalised states (..., N), from 0 to 1: (..., n)."""
    wires = vectors.shape[-1].bit_length() - 1
    found = np.empty((*vectors.shape[:-1], wires))
    for wire in range(wires):
        parts = vectors.reshape(*vectors.shape[:-1], 2**wire, 2, -1)
        zero, one = parts[..., 0, :], parts[..., 1, :]
        coherence = np.einsum("...ij,...ij->...", zero, one.conj())
        weights = [np.einsum("...ij,...ij->...", part, part.conj()).real for part in (zero, one)]
        found[..., wire] = 4 * (weights[0] * weights[1] - (coherence.real**2 + coherence.imag**2))  # 4 det ρ_q
    return found


def gradient_variances(pool: Pool, task: Task, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The variance of each component ∂C/∂θ_p of the cost's gradient, NaN where no gate reads θ_p: (B, P).

    Unbiased from `samples` gradients. P counts the parameters of the circuits as the task runs them, see
    `evaluate.fitting`. Sampled circuits number them as their gates stand, so that column 0 is the first parameter's, by
    which barren plateaus are usually shown.

    McClean et al., Nat. Commun. 9, 4812 (2018).

    Raises:
        CircuitError: fewer than 2 samples, circuits that do not fit the task, more wires than memory allows.
    """
    pool = fitting(pool, task)
    columns, found = pool.theta.shape[1], np.empty(pool.theta.shape)
    for rows, copies in _drawn(pool, samples, rng, columns):
        gradients = Batch().costs(copies, task)[1].reshape(len(copies) // samples, samples, columns)
        found[rows] = gradients.var(1, ddof=1)
    return np.where(_read(pool), found, np.nan)


def gradient_variance(pool: Pool, task: Task, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean over a circuit's parameters of `gradient_variances`, 0 if it has none: (B,). Raises what they do."""
    found = gradient_variances(pool, task, samples, rng)
    return np.nansum(found, 1) / np.maximum((~np.isnan(found)).sum(1), 1)


def relative_fluctuation(pool: Pool, task: Task, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The standard deviation of the cost over the landscape, in units of the observable's size: (B,).

    std C(θ) / ‖c‖₂ for the observable Σ_P c_P P over Pauli words P. The identity left out, this norm is the standard
    deviation of the eigenvalues. It is 1/√(N+1) for Haar-random states, the mark of a barren plateau, and 0 for a
    circuit without parameters or an observable that is constant. The variance is unbiased from `samples` costs. Where a
    task has several samples, the norm is the mean of their observables'.

    Published under this name is another scale, see `learnability`.

    Raises:
        CircuitError: as `gradient_variances`.
    """
    scale = _inverse([_two_norm(o) for o in task.observables], task)
    return _deviation(fitting(pool, task), task, samples, rng) * scale


def learnability(pool: Pool, task: Task, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The standard deviation of the cost, in units of that of a landscape that is known to be learnable: (B,).

    √(2M) std C(θ) / ‖c‖₁ for a circuit of M parameters and the observable Σ_P c_P P, the identity left out. The
    standard is the landscape (‖c‖₁ / M) Σ_p cos θ_p, as of an RX and a Z on every wire, whose value thus is 1; barren
    plateaus and too small a reach make it small. It is 0 without parameters and for an observable that is constant.
    Otherwise as `relative_fluctuation`.

    The relative fluctuation of Zhang, Zhu and Wang, "Predicting quantum learnability from landscape fluctuation",
    arXiv:2406.11805.

    Raises:
        CircuitError: as `gradient_variances`.
    """
    pool = fitting(pool, task)
    scale = np.sqrt(2 * _read(pool).sum(1)) * _inverse([_one_norm(o) for o in task.observables], task)
    return _deviation(pool, task, samples, rng) * scale


def _deviation(pool: Pool, task: Task, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The standard deviation of the cost of circuits as the task runs them: (B,)."""
    found = np.empty(len(pool))
    for rows, copies in _drawn(pool, samples, rng, pool.theta.shape[1]):
        costs = Batch().costs(copies, task, gradients=False)[0].reshape(-1, samples)
        found[rows] = (costs - costs[:, :1]).std(1, ddof=1)  # exactly 0 where all costs are equal
    return found


def _inverse(norms: list[float], task: Task) -> float:
    """One over the mean of the norms of the samples' observables; 0 for 0."""
    mean = float(np.mean(np.array(norms)[task.which]))
    return 1 / mean if mean > 0 else 0.0


def _two_norm(observable: Observable) -> float:
    """√(Σ_P c_P²) over the Pauli words P but the identity, which is √(tr H²/N - (tr H/N)²)."""
    size, targets, weights = 2**observable.wires, observable.targets, observable.weights
    identity = (observable.masks == 0)[:, None]
    centred = observable.diagonals - identity * observable.diagonals[:, :1]  # first, so that a constant is exactly 0
    centred -= identity * centred.mean(1, keepdims=True)
    words = replace(observable, diagonals=centred, targets=targets[:0], weights=weights[:0])
    overlaps = np.abs(targets.conj() @ targets.T) ** 2
    squares = (np.abs(centred) ** 2).sum() + weights @ (2 * words.expectation(targets) + overlaps @ weights)
    return float(np.sqrt(max(0.0, squares / size - (weights.sum() / size) ** 2)))


def _one_norm(observable: Observable) -> float:
    """Σ_P |c_P| over the Pauli words P but the identity.

    The coefficients of a mask's words are the Walsh-Hadamard transform of its diagonal, up to phases. Projectors have
    words of all N masks, which takes N² log N operations.
    """
    size = 2**observable.wires
    index, total = np.arange(size), 0.0
    diagonals = dict(zip(observable.masks.tolist(), observable.diagonals, strict=True))
    for mask in range(size) if len(observable.targets) else diagonals:
        weighted = observable.targets * observable.weights[:, None]
        words = diagonals.get(mask, 0) + (weighted * observable.targets[:, index ^ mask].conj()).sum(0)  # H[i, i ⊕ m]
        for wire in range(observable.wires):
            pair = words.reshape(2**wire, 2, -1)
            words = np.stack([pair[:, 0] + pair[:, 1], pair[:, 0] - pair[:, 1]], 1)
        found = np.abs(words).reshape(size) / size
        total += float(found[1:].sum() if mask == 0 else found.sum())
    return total


def _read(pool: Pool) -> NDArray[np.bool_]:
    """Which parameters some gate of each circuit reads: (B, P)."""
    index, columns = parameter_indices(pool), pool.theta.shape[1]
    row, slot, k = np.nonzero((index >= 0) & (index < columns))
    found = np.zeros((len(pool), columns), bool)
    found[row, index[row, slot, k]] = True
    return found


def _fidelities(pool: Pool, samples: int, rng: np.random.Generator) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Some circuits, and the fidelities of some of the pairs of `samples` states of each; every pair comes once."""
    for rows, copies in _drawn(pool, samples, rng, 2**pool.wires + min(samples, BLOCK)):
        found = states(copies).reshape(-1, samples, 2**pool.wires)
        for first in range(0, samples - 1, BLOCK):
            overlaps = found[:, first : first + BLOCK] @ found[:, first:].conj().transpose(0, 2, 1)
            i, j = np.triu_indices(overlaps.shape[1], 1, overlaps.shape[2])
            pairs = overlaps[:, i, j]
            yield rows, pairs.real**2 + pairs.imag**2


def _drawn(pool: Pool, samples: int, rng: np.random.Generator, numbers: int) -> Iterator[tuple[slice, Pool]]:
    """Some circuits at a time, and their copies at random angles, `samples` of each, one circuit after the other.

    They are as many as `CHUNK` allows, a copy needing so many `numbers`. Which come together does not change an angle.
    """
    whole(samples, "samples", MOST, least=2)
    step = max(1, CHUNK // (samples * (numbers + 1)))
    for first in range(0, len(pool), step):
        rows = np.arange(first, min(first + step, len(pool))).repeat(samples)
        angles = rng.uniform(0, 2 * pi, (len(rows), pool.theta.shape[1]))
        yield slice(first, first + step), replace(pool[rows], theta=angles)
