"""The latents of a pool under an embedding, trained once for a pool and a config however many searches use them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives import SHELVES
from objectives.circuits.cache import kept
from spaces.circuits.pool import Pool

FORMAT = 1  # of the kept files


def latents(
    pool: Pool,
    name: str,
    config: Any = None,
    seed: int = 0,
    threads: int = 1,
    tell: Callable[[dict], None] = lambda metrics: None,
) -> NDArray[np.float32]:
    """The vectors (B, d) of a pool's circuits by the embedding `name`, fitted on the pool itself.

    `config` is its `Config`, its default if None; `tell` hears the metrics of every epoch. The result is kept under
    the pool's structure, the config and the seed.

    Raises:
        CircuitError: circuits with gates outside the embedding's gate set.
    """
    component = SHELVES["embedding"].load(name)
    config = component.config() if config is None else config
    key = (FORMAT, name, asdict(config), seed, threads, _structure(pool))
    make = partial(_fitted, pool, component, config, seed, threads, tell)
    return kept("latents", key, ("latents",), make)["latents"]


def _fitted(
    pool: Pool, component: Any, config: Any, seed: int, threads: int, tell: Callable[[dict], None]
) -> dict[str, NDArray]:
    embedding = component.build(config, pool.wires, pool.op.shape[1])
    for metrics in embedding.fit(pool, seed, threads):
        tell(metrics)
    return {"latents": embedding.embed(pool)}


def _structure(pool: Pool) -> str:
    """A digest of all that an embedding sees of circuits: not the angles."""
    content = hashlib.sha256(str(pool.wires).encode())
    for array in (pool.op, pool.wire, pool.length):
        content.update(str(array.shape).encode() + array.tobytes())
    return content.hexdigest()
