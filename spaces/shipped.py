"""Studies by name: those that ship with pretune lie in `spaces/library/`, all others are found by their path."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from spaces.document import Node, StudyError, complaint, parse
from spaces.inclusion import Source, included

LIBRARY = Path(__file__).parent / "library"
LARGEST = 2**16  # bytes of a study's file, read in 0.8 s at worst (see MOST_VALUES); a shipped one has 2,000
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how such a file begins, or one in UTF-32


def shipped() -> dict[str, Path]:
    """The shipped studies: name to file; those of a folder bear its name, as in `circuits/h2`, and come last."""
    paths = sorted(LIBRARY.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(LIBRARY).with_suffix("").as_posix(): path for path in paths}


def open_study(name: str) -> Node:
    """The document of a study, by its shipped name or by the path of its file, with all that it includes.

    Raises:
        StudyError: there is no such study, or its file is none, is too large, or is no readable YAML.
    """
    return included(_source(name, _path(name)))


def _source(name: str, path: Path) -> Source:
    """The study in a file. It finds others by their shipped names, or by paths that start where it lies."""

    def opened(name: str, node: Node) -> Source:
        try:
            return _source(name, path.parent / _path(name))
        except StudyError as error:
            raise node.wrong(f"the study to include cannot be read: {error}") from None

    return Source(_read(name, path), os.path.realpath(path), opened)


def _path(name: str) -> Path:
    try:
        return shipped().get(name) or Path(name).expanduser()
    except RuntimeError as error:  # ~ of nobody
        raise StudyError(complaint(name, f"cannot be read: {error}")) from None


def _read(name: str, path: Path) -> Node:
    """The document in a file."""
    try:
        raw = _content(path, name)
    except StudyError:
        raise
    except FileNotFoundError:
        what = "there is no study of this name and no such file"
        raise StudyError(complaint(name, what, shipped(), near=name)) from None
    except (OSError, ValueError) as error:  # a name with NUL
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise StudyError(complaint(name, f"cannot be read: {reason}")) from None
    return parse(_decoded(raw, _shown(path)), _shown(path))


def _content(path: Path, name: str) -> bytes:
    """What a file holds; a pipe or a device could be waited for without end."""
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe" if stat.S_ISFIFO(kind) else "a device or a socket"
        raise StudyError(complaint(name, f"this is {what}, not a study", "the path of a YAML file"))
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # it may have become a pipe since
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise StudyError(complaint(name, "the file is too large for a study", f"at most {LARGEST:,} bytes"))
    return raw


def _decoded(raw: bytes, file: str) -> str:
    if raw.startswith(UTF16):
        raise StudyError(complaint(f"{file}:1", "the file is in UTF-16 or UTF-32", "UTF-8"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{file}:{len((raw[: error.start] + b'.').splitlines())}"
        raise StudyError(complaint(where, f"the byte 0x{raw[error.start]:02x} is not UTF-8", "UTF-8")) from None


def _shown(path: Path) -> str:
    """The path as messages show it: short for what ships."""
    return path.relative_to(LIBRARY).as_posix() if path.is_relative_to(LIBRARY) else str(path)
