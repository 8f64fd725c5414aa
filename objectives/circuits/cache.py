"""Results that take long, kept on disk under a hash of all that they depend on.

The folder is `$PRETUNE_CACHE`, else `$XDG_CACHE_HOME/pretune`, else `~/.cache/pretune`; it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from spaces.circuits.pool import DAMAGE
from spaces.files import write_whole

Arrays = dict[str, NDArray]


def kept(kind: str, key: object, names: Sequence[str], make: Callable[[], Arrays]) -> Arrays:
    """The arrays `names` that were kept for a key (whose `repr` says all that decides them), or made and put there.

    Of several processes that want the same at once, one makes it and the others wait. A damaged file is made anew;
    where nothing can be written, a warning says so and the result is given all the same.
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    file = folder() / f"{kind}-{digest}.npz"
    if (found := _read(file, names)) is not None:
        return found
    with _alone(file):
        if (found := _read(file, names)) is not None:
            return found
        made = make()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **made)
        try:
            write_whole(file, buffer.getvalue())
        except OSError as error:
            warnings.warn(f"{file}: nothing can be kept for next time ({error})", stacklevel=3)
        return made


def _read(file: Path, names: Sequence[str]) -> Arrays | None:
    """The arrays of a file, or None where it is missing or damaged."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except DAMAGE:
        return None


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """While one process is within, others wait; nobody does where the folder cannot be written."""
    lock = FileLock(file.with_suffix(".lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def folder() -> Path:
    """Where results are kept."""
    if chosen := os.environ.get("PRETUNE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pretune"
