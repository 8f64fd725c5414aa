"""Circuits that no pool holds: children of the best circuits that a search has trained so far.

mutate   a parent's gates are replaced, rewired, brought in, deleted, swapped (`spaces.circuits.variation`), at will
         after its end was exchanged for that of another parent
decode   a parent's latents get noise, a decoder makes a graph of them, and the nearest circuit of the space to this
         graph is the child (`spaces.circuits.repair`)

Children start near their parents' angles where a gate survives: by mutation what is not touched; by decoding a gate
with as many parameters as its parent's at the same place. Not right there, since where a parent has come to rest the
child's gradient often vanishes, too: the Bell state's children stop at 0.41 of its fidelity in the mean, those that
start 0.3 radians off at 0.45, as do those that start anywhere, which take a fifth more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from objectives import SHELVES
from objectives.circuits.embedding import Embedding, Graphs
from spaces.circuits.canonical import digest
from spaces.circuits.encoding import decode
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.repair import repaired
from spaces.circuits.sampler import Sampler
from spaces.circuits.structure import depth
from spaces.circuits.variation import crossover, mutate
from spaces.document import complaint
from spaces.domains import Choice, Int, Log, Uniform

ROUNDS = 10  # how often as many candidates are made as children are wanted, before fewer must do


@dataclass(frozen=True)
class Generation:
    """How many circuits a search invents, and how."""

    children: Annotated[int, Int(0, 256)] = 0  # new circuits a round, at most; 0: none are invented
    how: Annotated[str, Choice("mutate", "decode", "both")] = "mutate"  # both: half the children each
    parents: Annotated[int, Int(1, 256, log=True)] = 16  # the best circuits so far, each as likely a parent
    rate: Annotated[float, Uniform(0.01, 1.0)] = 0.1  # mutations a gate
    crossed: Annotated[float, Uniform(0.0, 1.0)] = 0.0  # share of mutants that end as another parent does
    reach: Annotated[float, Log(0.1, 3.0)] = 0.6  # noise before decoding, in deviations of the parents' node latents
    jitter: Annotated[float, Uniform(0.0, 3.0)] = 0.3  # deviation of normal noise on the angles at the start, radians


@runtime_checkable
class Decoding(Embedding, Protocol):
    """An embedding with a way back, from moved latents to graphs."""

    @property
    def config(self) -> Graphs:
        """How circuits become graphs."""
        ...

    def moved(
        self, pool: Pool, shifts: ArrayLike, noise: float, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The graphs of a pool's circuits, their latents moved: nodes (B, V, F) and adjacency (B, V, V)."""
        ...


@dataclass(frozen=True)
class Tally:
    """What came of one way of making children.

    Attributes:
        made: candidates.
        valid: those that were circuits as they came: decoded graphs before repair (`encoding.decode`), mutants
            within the space's limits.
        distinct: different circuits among the candidates, after repair, up to commuting exchanges.
        novel: those of the distinct that were new.
    """

    made: int = 0
    valid: int = 0
    distinct: int = 0
    novel: int = 0

    def rates(self) -> dict[str, float]:
        """`validity`, `uniqueness` and `novelty`: the shares of the made, of the made, of the distinct; 0 of none."""
        return {
            "validity": self.valid / max(self.made, 1),
            "uniqueness": self.distinct / max(self.made, 1),
            "novelty": self.novel / max(self.distinct, 1),
        }


@dataclass(frozen=True)
class Invented:
    """Children, no two alike and none known before.

    Attributes:
        pool: the C circuits at the angles where their training starts.
        parent: the row of each one's parent, with a crossover the first one's: (C,).
        tallies: what it took, by `mutate` and `decode`, as far as they were asked.
    """

    pool: Pool
    parent: NDArray[np.int64]
    tallies: dict[str, Tally]


Batch = tuple[Pool, NDArray[np.int64], int]  # candidates, their parents, and how many were valid as they came
Make = Callable[[int], Batch]


def children(
    config: Generation,
    embedding: Embedding | None,
    parents: Pool,
    sampler: Sampler,
    rng: np.random.Generator,
    known: Set[bytes],
) -> Invented:
    """At most `config.children` new circuits of the sampler's space, whose parents are drawn from `parents` evenly.

    `parents` are circuits of the space at their trained angles; `config.parents`, how many of the best these are, is
    for the search to obey. `known` are the digests (`canonical.digest`) of circuits that are not new, as bytes; the
    parents are not new in any case. The embedding is asked for decoding only, and must have been fitted.

    Raises:
        CircuitError: no parents, or parents that do not fit the sampler or the embedding; or `decode` wanted of an
            embedding that cannot.
    """
    if not len(parents):
        raise CircuitError("no parents to have children")
    half = config.children // 2
    both = {"mutate": config.children - half, "decode": half}
    quotas = both if config.how == "both" else {config.how: config.children}
    makes: dict[str, Make] = {"mutate": partial(_mutants, config, parents, sampler, rng)}
    if "decode" in quotas:
        makes["decode"] = partial(_decoded, config, _decoding(config, embedding), parents, sampler, rng)
    pools, rows, tallies, seen = [parents[:0]], [], {}, set(digest(parents).tolist())
    for way, quota in quotas.items():
        made, tallies[way] = _bred(makes[way], quota, known, seen)
        pools += [pool for pool, _ in made]
        rows += [parent for _, parent in made]
    pool = Pool.stack(pools)
    used = np.arange(int(pool.parameters.max(initial=0))) < pool.parameters[:, None]
    theta = pool.theta[:, : used.shape[1]] + config.jitter * rng.standard_normal(used.shape)
    pool = replace(pool, theta=np.where(used, theta, 0.0))
    return Invented(pool, np.concatenate([np.zeros(0, np.int64), *rows]), tallies)


def _bred(
    make: Make, quota: int, known: Set[bytes], seen: set[bytes]
) -> tuple[list[tuple[Pool, NDArray[np.int64]]], Tally]:
    """Up to `quota` new circuits and their parents, in parts; their names and those of all candidates join `seen`."""
    parts, own, wanted = [], set[bytes](), quota
    made = valid = novel = 0
    for _ in range(ROUNDS):
        if not wanted:
            break
        pool, parent, sound = make(quota)
        new = []
        for row, name in enumerate(digest(pool).tolist()):
            if name not in own and name not in seen and name not in known:
                new.append(row)
            own.add(name)
        made, valid, novel = made + quota, valid + sound, novel + len(new)
        taken = np.array(new[:wanted], np.int64)
        parts.append((pool[taken], parent[taken]))
        wanted -= len(taken)
    seen |= own
    return parts, Tally(made, valid, len(own), novel)


def _mutants(config: Generation, parents: Pool, sampler: Sampler, rng: np.random.Generator, count: int) -> Batch:
    first, second = rng.integers(len(parents), size=(2, count))
    other = np.where(rng.random(count) < config.crossed, second, first)  # crossed with itself a circuit stays
    pool = mutate(crossover(parents[first], parents[other], rng), sampler, rng, config.rate)
    fits = pool.length <= sampler.length
    if sampler.depth is not None:
        fits &= depth(pool) <= sampler.depth
    return pool[fits], first[fits], int(fits.sum())


def _decoded(
    config: Generation, embedding: Decoding, parents: Pool, sampler: Sampler, rng: np.random.Generator, count: int
) -> Batch:
    parent = rng.integers(len(parents), size=count)
    pool, graphs = parents[parent], embedding.config
    how: Any = (GATE_SETS[graphs.gates], graphs.scheme, graphs.symmetric_sign)
    soft = embedding.moved(pool, 0.0, config.reach, int(rng.integers(2**63)))
    _, valid = decode(*soft, *how)
    return repaired(*soft, sampler, *how, rng=rng, parents=pool), parent, int(valid.sum())


def decoders() -> list[str]:
    """The names of the embeddings that can decode."""
    shelf = SHELVES["embedding"]
    built = {name: shelf.load(name).build(shelf.load(name).config(), 4, 1) for name in shelf.names()}
    return [name for name, embedding in built.items() if isinstance(embedding, Decoding)]


def _decoding(config: Generation, embedding: Embedding | None) -> Decoding:
    if isinstance(embedding, Decoding):
        return embedding
    name = type(embedding).__module__.rpartition(".")[2] if embedding else "no embedding"
    allowed = f"how: mutate; or an embedding that decodes, {', '.join(decoders())}"
    raise CircuitError(complaint("how", f"'{config.how}' needs an embedding that decodes, found {name}", allowed))
