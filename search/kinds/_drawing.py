"""The pool that a search chooses from: drawn from a space, and sieved by a score that needs no training.

A sieve is a prior (as in He et al., "Training-Free Quantum Architecture Search", AAAI 2024): many circuits are drawn,
and the share with the best score is kept, in the order in which they were drawn.

    paths            most ways through the circuit's graph
    expressibility   states nearest to Haar-random ones
    entanglement     the wire that is entangled the least is so the most; what holds all solutions of a task whose
                     ground state entangles every wire, H2's among them, within the best hundredth of the paper's space
    meyer_wallach    wires are entangled the most on average; for ground states that leave some wires alone
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.cache import kept
from objectives.circuits.scores import entangling_capability, expressibility, path_count, weakest_entanglement
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import Sampler, sample
from spaces.circuits.structure import two_qubit_gates
from spaces.domains import Choice, Int, Log

FORMAT = 1  # of the kept files
ROUNDS = 100  # draws of the whole count at most, until enough circuits have few enough two-qubit gates
DECIMALS = 9  # of scores: beyond, rounding decides, which differs from machine to machine
SCORES: dict[str, Callable[[Pool, np.random.Generator], NDArray[np.float64]]] = {  # the more the better
    "paths": lambda pool, rng: path_count(pool),
    "expressibility": lambda pool, rng: -expressibility(pool, 32, rng),
    "entanglement": lambda pool, rng: weakest_entanglement(pool, 4, rng),
    "meyer_wallach": lambda pool, rng: entangling_capability(pool, 4, rng),
}


def share(count: int, keep: float) -> int:
    """How many of so many circuits a share is: whole ones, rounding aside."""
    return int(count * keep + 1e-9)


@dataclass(frozen=True)
class Drawing:
    """Which circuits there are to choose from; trials of one drawing and one embedding share both."""

    count: Annotated[int, Int(1, 10_000_000, log=True)] = 10_000  # circuits drawn
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # of the circuits and of the embedding; a trial's own is the search's
    sieve: Annotated[str, Choice("none", *SCORES)] = "none"  # the score by which some are kept
    keep: Annotated[float, Log(1e-5, 1.0)] = 0.1  # share that a sieve keeps
    two_qubit_gates: Annotated[int, Int(0, 10_000)] = 10_000  # in a circuit, at most

    @property
    def size(self) -> int:
        """How many circuits the pool has."""
        return self.count if self.sieve == "none" else share(self.count, self.keep)

    def pool(self, sampler: Sampler) -> Pool:
        """The circuits to choose from, the same for the same drawing and sampler.

        Raises:
            CircuitError: hardly any circuit is shallow enough or has so few two-qubit gates, or more wires than memory
                allows.
        """
        drawn = self._drawn(sampler)
        return drawn if self.sieve == "none" else drawn[self._kept(drawn)]

    def _drawn(self, sampler: Sampler) -> Pool:
        """As many circuits as are wanted; those with too many two-qubit gates are drawn anew."""
        rng, parts, missing = np.random.default_rng(self.seed), list[Pool](), self.count
        for _ in range(ROUNDS):
            parts.append(self.allowed(sample(sampler, self.count, rng))[:missing])
            missing -= len(parts[-1])
            if not missing:
                return Pool.stack(parts) if len(parts) > 1 else parts[0]
        found, most = self.count - missing, self.two_qubit_gates
        what = f"found {found} of {self.count} circuits with {most} two-qubit gates or fewer"
        raise CircuitError(f"{what}, in {ROUNDS * self.count} draws")

    def allowed(self, pool: Pool) -> Pool:
        """The circuits with no more two-qubit gates than may be."""
        return pool[two_qubit_gates(pool) <= self.two_qubit_gates]

    def _kept(self, pool: Pool) -> NDArray[np.int64]:
        """The rows that the sieve keeps, ascending; of equal scores the first."""
        content = hashlib.sha256(str(pool.wires).encode())
        for array in pool.arrays().values():
            content.update(array.tobytes())

        def make() -> dict[str, NDArray]:
            scores = SCORES[self.sieve](pool, np.random.default_rng(self.seed)).round(DECIMALS)
            return {"rows": np.sort(np.argsort(-scores, kind="stable")[: self.size])}

        return kept("sieve", (FORMAT, asdict(self), content.hexdigest()), ("rows",), make)["rows"]
