"""Reading what a user's file holds; every complaint names the file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.pool import CircuitError
from spaces.document import complaint


def located(path: str, expected: str) -> Path:
    """The file at `path`, `~` expanded, relative to the working directory.

    Raises:
        CircuitError: no path is set, or no file is there; `expected` says what should be.
    """
    if not path:
        raise CircuitError(complaint("path", f"no file is named; expected {expected}"))
    try:
        found = Path(path).expanduser()
        there = found.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a NUL in it, or nobody's home
        raise CircuitError(complaint("path", f"{path[:80]!r} is no path ({error}); expected {expected}")) from None
    if not there:
        what = "this is a folder" if found.is_dir() else "no such file"
        raise CircuitError(complaint(str(found), f"{what}; expected {expected}"))
    return found


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        CircuitError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CircuitError(complaint(str(path), f"cannot be read as text ({error})")) from None


def array(path: Path) -> NDArray[np.complex128]:
    """The one array of numbers in an `.npy`, an `.npz` or a text file; nothing is unpickled.

    Raises:
        CircuitError: the file cannot be read, holds several arrays, or something else than numbers.
    """
    try:
        loaded = np.load(path, allow_pickle=False) if path.suffix in (".npy", ".npz") else np.loadtxt(path, complex)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded as archive:
                if len(archive.files) != 1:
                    found = ", ".join(archive.files) or "no array"
                    raise CircuitError(complaint(str(path), f"found {found}; expected a single array"))
                loaded = archive[archive.files[0]]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, CircuitError):
            raise
        raise CircuitError(complaint(str(path), f"cannot be read as an array of numbers ({error})")) from None
    if loaded.dtype.kind not in "iufc":
        raise CircuitError(complaint(str(path), f"found an array of {loaded.dtype}; expected numbers"))
    return loaded.astype(complex)
