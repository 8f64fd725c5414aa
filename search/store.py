"""Where the files of trials lie: a folder, or any place that fsspec reaches.

Files are small and written whole; names are relative, such as `t0003/rung-000009.json`. A store is no more than where
it lies: it is cheap to make, and workers elsewhere are sent it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spaces.document import StudyError, complaint
from spaces.files import DRAFT, draft_name, write_whole

Content = bytes  # a store's `bytes` is something else
PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"  # of a name: such names mean the same wherever files lie
NAME = re.compile(f"{PART}(/{PART})*")
LOCAL = ("file", "local")
# Where a file appears whole at the end of its upload, so that it needs no draft; and within a process.
OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "tos", "memory"}


class Store(Protocol):
    """What every store does.

    Every method raises ValueError for a name that could leave the store or that another store would read differently,
    and OSError where the place fails.
    """

    def read(self, name: str) -> Content:
        """The content of a file; raises FileNotFoundError if there is none."""
        ...

    def write(self, name: str, content: Content) -> None:
        """Writes a file so that after any crash it is either there whole or as it was before."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, sorted; none if there is no such folder. "" is the store."""
        ...

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        ...

    def bytes(self, folder: str = "") -> int:
        """The size of all that lies in a folder, at any depth."""
        ...

    def local(self, name: str) -> Path | None:
        """The path of a file on this machine or one that it shares, None if it lies elsewhere."""
        ...

    def sweep(self) -> None:
        """Removes the drafts that killed writers left; nobody may be writing."""
        ...


def open_store(where: str | Path) -> Store:
    """The store at a path or URL.

    Raises:
        StudyError: nothing here can reach such a URL.
    """
    if isinstance(where, Path) or "://" not in where:
        return _Local(Path(where).absolute())
    protocol, _, rest = where.partition("://")
    if protocol in LOCAL:
        return _Local(Path(rest).absolute())
    for part in where.split("::"):
        _check_protocol(where, part.partition("://")[0])
    return _Remote(where)


@dataclass(frozen=True)
class _Local:
    """A folder of this machine's, or one that it shares with others."""

    root: Path

    def read(self, name: str) -> Content:
        return (self.root / _checked(name)).read_bytes()

    def write(self, name: str, content: Content) -> None:
        write_whole(self.root / _checked(name, new=True), content)

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / _checked_folder(folder)) as entries:
                return sorted(entry.name for entry in entries if _listed(entry.name) and entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, name: str) -> None:
        (self.root / _checked(name)).unlink(missing_ok=True)

    def bytes(self, folder: str = "") -> int:
        total = 0
        for path in _files(self.root / _checked_folder(folder)):
            with suppress(FileNotFoundError):  # it went meanwhile
                total += path.lstat().st_size
        return total

    def local(self, name: str) -> Path | None:
        return self.root / _checked(name, new=True)

    def sweep(self) -> None:
        for path in _files(self.root):
            if path.name.endswith(DRAFT):
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Remote:
    """Any other place, by its URL.

    A file is as durable as the place makes what it has accepted, and replaced at once if renaming does that there.
    """

    url: str

    def read(self, name: str) -> Content:
        _checked(name)
        with _reached(self.url) as (files, root):
            return files.cat_file(_joined(root, name))

    def write(self, name: str, content: Content) -> None:
        _checked(name, new=True)
        with _reached(self.url) as (files, root):
            path = _joined(root, name)
            if _puts_whole(files):
                files.pipe_file(path, content)
                return
            folder, _, last = path.rpartition("/")
            draft = _joined(folder, draft_name(last))
            files.makedirs(folder, exist_ok=True)
            try:
                files.pipe_file(draft, content)
                files.mv(draft, path)
            except BaseException:
                with suppress(Exception):
                    files.rm_file(draft)
                raise

    def names(self, folder: str) -> list[str]:
        _checked_folder(folder)
        with _reached(self.url) as (files, root):
            path = _joined(root, folder)
            files.invalidate_cache()  # others write here, too
            try:
                entries = files.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        inside = [entry["name"] for entry in entries if entry["type"] == "file"]
        names = [name.rpartition("/")[2] for name in inside if name.strip("/") != path.strip("/")]
        return sorted(name for name in names if _listed(name))

    def remove(self, name: str) -> None:
        _checked(name)
        with _reached(self.url) as (files, root), suppress(FileNotFoundError):
            files.rm_file(_joined(root, name))

    def bytes(self, folder: str = "") -> int:
        _checked_folder(folder)
        with _reached(self.url) as (files, root):
            files.invalidate_cache()
            found = files.find(_joined(root, folder), detail=True)
        return sum(entry.get("size") or 0 for entry in found.values())

    def local(self, name: str) -> Path | None:
        _checked(name, new=True)
        return None

    def sweep(self) -> None:
        with _reached(self.url) as (files, root):
            if not _puts_whole(files):
                files.invalidate_cache()
                for path in files.find(root):
                    if path.endswith(DRAFT):
                        with suppress(FileNotFoundError):
                            files.rm_file(path)


@contextmanager
def _reached(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL (fsspec keeps it) and the store's path there; whatever fails is an OSError."""
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(url)
        yield files, root or ""
    except OSError:
        raise
    except Exception as error:  # each client has its own
        raise OSError(f"{url}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _check_protocol(url: str, protocol: str) -> None:
    from fsspec.registry import available_protocols, get_filesystem_class

    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        hint = " ".join(str(error).split())
        raise StudyError(complaint(url, f"a package is missing for '{protocol}': {hint}")) from None
    except ValueError:
        found = f"there is no protocol '{protocol}'"
        raise StudyError(complaint(url, found, sorted(available_protocols()), near=protocol)) from None


def _puts_whole(files: Any) -> bool:
    names = files.protocol
    return bool(OBJECTS.intersection([names] if isinstance(names, str) else names))


def _checked(name: str, new: bool = False) -> str:
    """A name that lies in the store; a new one is none that drafts have."""
    if not NAME.fullmatch(name) or (new and name.endswith(DRAFT)):
        raise ValueError(f"a store has no file {name[:80]!r}")
    return name


def _checked_folder(folder: str) -> str:
    return _checked(folder) if folder else ""


def _listed(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not name.endswith(DRAFT)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def _joined(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder.endswith("/") or not folder or not name else f"{folder}/{name}"
