"""The rungs of trials on disk: what a trial had reached, and the state that it goes on from.

    t0007/rung-000009.safetensors   the state: weights, optimiser, streams of random numbers
    t0007/rung-000009.json          config, metrics and seconds, and the checksum of the state

The state is written first and the result vouches for it, so a rung is there whole or not at all. A state that is torn
or damaged all the same is passed over for the one before, and without any the trial starts anew, a fork from what its
parent had come to: the same seed leads to the same numbers, so all that is lost is time.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from typing import Any

from search.checkpoint import Damaged, pack, unpack
from search.folder import Folder
from search.ledger import Rung
from spaces.space import Config

KEPT = 2  # states of a trial that may go on: the last, and the one before in case the last is damaged
STATES = (".safetensors", ".pt")  # the second is of runs of schema 1


def save_rung(folder: Folder, id: str, config: Config, rung: Rung, state: dict[str, Any], kept: int = KEPT) -> None:
    """Makes a rung durable, and keeps as many of the trial's states; raises OSError where it cannot be written."""
    content, trials = pack(state), folder.trials
    result = {"config": config, "epoch": rung.epoch, "metrics": rung.metrics, "seconds": rung.seconds}
    result["state"] = {"bytes": len(content), "crc": f"{zlib.crc32(content):08x}"}
    trials.write(f"{_stem(id, rung.epoch)}.safetensors", content)
    trials.write(f"{_stem(id, rung.epoch)}.json", json.dumps(result, allow_nan=False).encode())
    drop_states(folder, id, kept)


def saved_rungs(folder: Folder, id: str, config: Config) -> list[Rung]:
    """The rungs on disk of the trial `id` with this config, in order; what is not whole does not count."""
    found = []
    for name in folder.trials.names(id):
        if name.startswith("rung-") and name.endswith(".json"):
            result = _result(folder, f"{id}/{name}")
            if result is not None and result.get("config", config) == config:
                found.append(Rung(result["epoch"], result["metrics"], result["seconds"]))
    return found


def has_state(folder: Folder, id: str, epoch: int) -> bool:
    """Whether the state of a trial after the rung at `epoch` is kept."""
    return bool({f"rung-{epoch:06d}{ending}" for ending in STATES} & set(folder.trials.names(id)))


def load_state(folder: Folder, id: str, epoch: int) -> dict[str, Any]:
    """The state of a trial after the rung at `epoch`, on the CPU.

    Raises:
        Damaged: it is missing, torn, or not what the result vouches for.
    """
    stem, trials = _stem(id, epoch), folder.trials
    try:
        content = trials.read(f"{stem}.safetensors")
    except FileNotFoundError:
        return _load_pickled(folder, stem)
    result = _result(folder, f"{stem}.json")
    if result is None or result.get("state", {}).get("crc") != f"{zlib.crc32(content):08x}":
        raise Damaged("its result does not vouch for it")
    return unpack(content)


def last_state(folder: Folder, id: str, epoch: int, after: int = 0) -> dict[str, Any] | None:
    """The last whole state of a trial at or before `epoch` and after `after`; None where there is none."""
    for earlier in sorted(_epochs(folder, id), reverse=True) if epoch > after else ():
        if after < earlier <= epoch:
            try:
                return load_state(folder, id, earlier)
            except Damaged:
                continue
    return None


def drop_states(folder: Folder, id: str, kept: int, before: float = math.inf) -> None:
    """Removes the states of a trial before an epoch, but the last `kept` of all; its results stay."""
    epochs = sorted(_epochs(folder, id))
    for epoch in epochs[: max(len(epochs) - kept, 0)]:
        for ending in STATES if epoch < before else ():
            folder.trials.remove(f"{_stem(id, epoch)}{ending}")


def _stem(id: str, epoch: int) -> str:
    return f"{id}/rung-{epoch:06d}"


def _epochs(folder: Folder, id: str) -> set[int]:
    """The epochs of which a state is kept."""
    names = folder.trials.names(id)
    return {int(name[5:11]) for name in names if name.startswith("rung-") and name.endswith(STATES)}


def _result(folder: Folder, name: str) -> dict[str, Any] | None:
    try:
        result = json.loads(folder.trials.read(name))
        return result if {"epoch", "metrics", "seconds"} <= result.keys() else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _load_pickled(folder: Folder, stem: str) -> dict[str, Any]:
    """A state as schema 1 kept it; nothing but plain data is unpickled."""
    import torch

    try:
        content = folder.trials.read(f"{stem}.pt")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything on a broken file
        raise Damaged(f"no state of this rung can be read: {type(error).__name__}") from None
