"""Files that are either there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

DRAFT = ".part"  # the end of the name of a file that is being written


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that after any crash it is either there whole or as it was before.

    Each writer has a draft of its own beside the file, so that of several at once the last to finish wins. Only a
    writer that is killed leaves its draft.

    Raises:
        OSError: it cannot be written; the file is as it was before.
    """
    _settle(path.parent)
    draft = path.with_name(draft_name(path.name))
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def draft_name(name: str) -> str:
    """A name for the draft of a file that no other writer has, on this machine or another."""
    return f"{name}.{os.getpid()}-{secrets.token_hex(4)}{DRAFT}"


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Makes a folder and those above it, where they are missing, as durable as what is to lie in them."""
    if not folder.is_dir():
        _settle(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
