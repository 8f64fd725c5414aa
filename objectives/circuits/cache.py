"""Results that take long, kept on disk under a hash of all that they depend on.

The folder is `$PRETUNE_CACHE`, else `$XDG_CACHE_HOME/pretune`, else `~/.cache/pretune`; it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.pool import DAMAGE
from spaces.files import write_whole

Arrays = dict[str, NDArray]


def kept(kind: str, key: object, names: Sequence[str], make: Callable[[], Arrays]) -> Arrays:
    """The arrays `names` that were kept for a key (whose `repr` says all that decides them), or made and put there.

    A damaged file is made anew; where nothing can be written, a warning says so and the result is given all the same.
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    file = folder() / f"{kind}-{digest}.npz"
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except DAMAGE:
        made = make()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **made)
    try:
        write_whole(file, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"{file}: nothing can be kept for next time ({error})", stacklevel=3)
    return made


def folder() -> Path:
    """Where results are kept."""
    if chosen := os.environ.get("PRETUNE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pretune"
