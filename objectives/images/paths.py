"""Where a study's data lies."""

from __future__ import annotations

from pathlib import Path

from objectives.images.images import DataError


def locate(path: str, expected: str) -> Path:
    """The path, `~` expanded, relative to the working directory.

    Raises:
        DataError: it is empty, or nothing is there; `expected` says what should be.
    """
    if not path:
        raise DataError(f"no path is set; expected {expected}")
    try:
        found = Path(path).expanduser()
        there = found.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a NUL in it, or nobody's home
        raise DataError(f"{path[:80]!r}: this is no path ({error}); expected {expected}") from None
    if not there:
        raise DataError(f"{found}: nothing is there; expected {expected}")
    return found
