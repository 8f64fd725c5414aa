"""The circuits that a search may choose from, as its searcher knows them: a pool, its latents, and who joins it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives import SHELVES
from objectives.circuits.generation import Generation
from objectives.circuits.latents import fitted, latents
from objectives.features import spread
from objectives.kinds import Setting
from search.kinds._drawing import Drawing
from spaces.circuits.canonical import digest
from spaces.circuits.pool import Pool
from spaces.circuits.space import CircuitSpace
from spaces.components import Shelf

SEARCHERS = Shelf("searcher", "search.latent.searchers")
PLANE = 10_000  # circuits that the plane of a map is fitted to, at most


class Landscape:
    """What a trial of a setting searches.

    Attributes:
        sampler: the space of circuits.
        pool: all circuits, those that joined behind those drawn.
        blind: whether the searcher looks at no latents; they are 0 then.
        latents: of all circuits, (B, d).
        searcher: told nothing yet.
        known: the digests of all circuits.

    Raises:
        StudyError: no circuit fits the space, or the embedding cannot read them.
    """

    def __init__(self, setting: Setting, wires: int) -> None:
        self.config: dict[str, Any] = setting.config
        self.seed, self.threads = self.config["pool"]["seed"], setting.threads
        self.sampler = CircuitSpace(**self.config["circuits"]).sampler(wires)
        self.drawn = self.pool = Drawing(**self.config["pool"]).pool(self.sampler)
        ((name, knobs),) = self.config["searcher"].items()
        component = SEARCHERS.load(name)
        self.blind = getattr(component.module, "BLIND", False)  # then nothing is embedded
        self.latents: NDArray[np.float32] = _none(self.pool) if self.blind else self._embedded(latents)
        self.searcher = component.build(component.config(**knobs), self.latents, setting.seed)

    def _embedded(self, how: Callable[..., Any]) -> Any:
        """What `latents` or `fitted` makes of the drawn circuits."""
        ((name, knobs),) = self.config["embedding"].items()
        return how(self.drawn, name, SHELVES["embedding"].load(name).config(**knobs), self.seed, self.threads)

    @cached_property
    def embedding(self) -> Any:
        """The embedding, learnt from the drawn circuits; None where nobody asks for it."""
        decodes = Generation(**self.config["generation"]).how != "mutate"
        return self._embedded(fitted) if decodes or not self.blind else None

    @cached_property
    def known(self) -> set[bytes]:
        return set(digest(self.pool).tolist())

    def extend(self, circuits: Pool) -> None:
        """Takes circuits into the pool, behind those there."""
        vectors = _none(circuits) if self.blind else self.embedding.embed(circuits)
        self.known.update(digest(circuits).tolist())
        self.searcher.extend(vectors)
        self.pool, self.latents = Pool.stack([self.pool, circuits]), np.concatenate([self.latents, vectors])

    @cached_property
    def plane(self) -> dict[str, NDArray[np.float64]]:
        """The plane in which the latents of the drawn circuits spread most; the same for all trials of a pool."""
        return plane(spread(self.latents[: len(self.drawn)], PLANE))

    def unvisited(self, visited: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """The indices of circuits other than those, evenly spread over the pool, at most so many."""
        return spread(np.setdiff1d(np.arange(len(self.pool)), visited), most)


def _none(pool: Pool) -> NDArray[np.float32]:
    """Latents for a searcher that looks at none."""
    return np.zeros((len(pool), 1), np.float32)


def plane(vectors: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The plane of the first two principal components of vectors (N, d).

    `origin`, their mean (d,); `axes` (d, 2), the largest entry of each positive, so that no sign is a matter of chance;
    `shares` of the variance (2,). The second axis is 0 where d is 1.
    """
    origin = vectors.mean(0, dtype=np.float64)
    centred = vectors - origin
    values, axes = np.linalg.eigh(centred.T @ centred)
    values, axes = np.maximum(values[::-1], 0.0), axes[:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(len(axes))])
    missing = max(0, 2 - len(values))
    shares = values / max(values.sum(), np.finfo(float).tiny)
    return {
        "origin": origin,
        "axes": np.pad(axes, ((0, 0), (0, missing)))[:, :2],
        "shares": np.pad(shares, (0, missing))[:2],
    }
