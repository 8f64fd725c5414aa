"""Embeddings fitted to a pool, once for a pool and a config however many searches use them; and taken elsewhere.

Fits lie in the cache (`objectives.circuits.cache`) with their weights, latents beside them. An embedding that is to
leave the cache is written as files (`exported`) and read from them (`restored`):

    embedding.json          which embedding, its config, register and slots, and the plain values of its state
    embedding.safetensors   the tensors of its state, one in a dict as `name.key`; no file where there are none
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from objectives import SHELVES
from objectives.circuits.cache import kept
from objectives.circuits.embedding import Embedding
from spaces.circuits.pool import CircuitError, Pool
from spaces.components import Component

FORMAT = 1  # of the kept files
TRAINING = ("optimizer", "draws")  # of a state: what only further training needs, and stays behind
CARD, WEIGHTS = "embedding.json", "embedding.safetensors"
Tell = Callable[[dict[str, float]], None]


def fitted(
    pool: Pool,
    name: str,
    config: Any = None,
    seed: int = 0,
    threads: int = 1,
    tell: Tell = lambda metrics: None,
) -> Embedding:
    """The embedding `name`, fitted on a pool: it embeds any circuits of its register, and generates if it can.

    `config` is its `Config`, its default if None; `tell` hears the metrics of every epoch. What was learnt is kept
    under the pool's structure (its angles are not seen), the config, the seed and the threads, and gives the same
    vectors, to the byte, when it is read again. An embedding without state is made anew each time.

    Raises:
        CircuitError: circuits with gates outside the embedding's gate set, or too few of them.
    """
    component = SHELVES["embedding"].load(name)
    config = component.config() if config is None else config
    embedding = component.build(config, pool.wires, pool.op.shape[1])

    def make() -> dict[str, NDArray]:
        for metrics in embedding.fit(pool, seed, threads):
            tell(metrics)
        return {"state": _packed(embedding.state_dict())}

    if not embedding.state_dict():
        make()
        return embedding
    found = kept("embedding", _key(pool, component, config, seed, threads), ("state",), make)
    embedding.load_state_dict(_unpacked(found["state"]))
    return embedding


def latents(
    pool: Pool,
    name: str,
    config: Any = None,
    seed: int = 0,
    threads: int = 1,
    tell: Tell = lambda metrics: None,
) -> NDArray[np.float32]:
    """The vectors (B, d) of a pool's circuits by the embedding `name`, fitted on the pool itself.

    Arguments are those of `fitted`, which is asked where the vectors themselves are not kept.

    Raises:
        CircuitError: as `fitted`.
    """
    component = SHELVES["embedding"].load(name)
    config = component.config() if config is None else config

    def make() -> dict[str, NDArray]:
        return {"latents": fitted(pool, name, config, seed, threads, tell).embed(pool)}

    return kept("latents", _key(pool, component, config, seed, threads), ("latents",), make)["latents"]


def exported(embedding: Embedding, name: str, config: Any, wires: int, slots: int) -> dict[str, bytes]:
    """The files of a fitted embedding, by name; `config`, `wires` and `slots` are what it was built from."""
    from safetensors.torch import save

    plain: dict[str, Any] = {}
    weights: dict[str, torch.Tensor] = {}
    for key, value in embedding.state_dict().items():
        if key in TRAINING:
            continue
        if isinstance(value, dict):
            weights |= {f"{key}.{path}": weight for path, weight in value.items()}
        elif isinstance(value, torch.Tensor):
            weights[key] = value
        else:
            plain[key] = value
    card = {"format": FORMAT, "embedding": name, "config": asdict(config), "wires": wires, "slots": slots}
    files = {CARD: (json.dumps(card | {"state": plain}, indent=2) + "\n").encode()}
    if weights:
        files[WEIGHTS] = save({path: weight.cpu().contiguous() for path, weight in weights.items()})
    return files


def restored(folder: Path) -> Embedding:
    """The embedding whose files lie in a folder, ready to embed and to generate; it cannot be trained any further.

    Raises:
        CircuitError: no such files there, or damaged ones.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        card = json.loads((folder / CARD).read_bytes())
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']}, this version reads {FORMAT}")
        component = SHELVES["embedding"].load(card["embedding"])
        embedding: Embedding = component.build(component.config(**card["config"]), card["wires"], card["slots"])
        if state := embedding.state_dict():
            weights = load((folder / WEIGHTS).read_bytes()) | card["state"]
            embedding.load_state_dict({key: _found(key, value, weights) for key, value in state.items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CircuitError(f"{folder}: no embedding can be read here: {type(error).__name__}: {reason}") from None
    return embedding


def _found(key: str, fresh: Any, weights: dict[str, Any]) -> Any:
    """What a state holds at a key: what was written of it, or the fresh one's own where only training needs it."""
    if key in TRAINING:
        return fresh
    if isinstance(fresh, dict):
        return {path[len(key) + 1 :]: weight for path, weight in weights.items() if path.startswith(f"{key}.")}
    return weights[key]


def _key(pool: Pool, component: Component, config: Any, seed: int, threads: int) -> tuple:
    """All that decides a fit."""
    return FORMAT, component.name, asdict(config), seed, threads, _structure(pool)


def _structure(pool: Pool) -> str:
    """A digest of all that an embedding sees of circuits: not the angles."""
    content = hashlib.sha256(str(pool.wires).encode())
    for array in (pool.op, pool.wire, pool.length):
        content.update(str(array.shape).encode() + array.tobytes())
    return content.hexdigest()


def _packed(state: dict[str, Any]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _unpacked(content: NDArray[np.uint8]) -> dict[str, Any]:
    return torch.load(io.BytesIO(content.tobytes()), map_location="cpu", weights_only=True)
