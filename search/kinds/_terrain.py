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
from objectives.kinds import Setting
from search.kinds._drawing import Drawing
from spaces.circuits.canonical import digest
from spaces.circuits.pool import Pool
from spaces.circuits.space import CircuitSpace
from spaces.components import Shelf

SEARCHERS = Shelf("searcher", "search.latent.searchers")
BLIND = ("random",)  # searchers that look at no latent: nothing is embedded for them


class Terrain:
    """What a trial of a setting searches.

    Attributes:
        sampler: the space of circuits.
        pool: all circuits, those that joined behind those drawn.
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
        self.blind, component = name in BLIND, SEARCHERS.load(name)
        vectors = np.zeros((len(self.pool), 1), np.float32) if self.blind else self._embedded(latents)
        self.searcher = component.build(component.config(**knobs), vectors, setting.seed)

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
        vectors: NDArray = np.zeros((len(circuits), 1)) if self.blind else self.embedding.embed(circuits)
        self.known.update(digest(circuits).tolist())
        self.searcher.extend(vectors)
        self.pool = Pool.stack([self.pool, circuits])
