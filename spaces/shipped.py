"""Studies by name: those that ship with pretune lie in `spaces/library/`, all others are found by their path."""

from __future__ import annotations

from pathlib import Path

from spaces.document import Node, StudyError, complaint, parse

LIBRARY = Path(__file__).parent / "library"


def shipped() -> dict[str, Path]:
    """The shipped studies: name to file; those of a folder bear its name, as in `circuits/h2`, and come last."""
    paths = sorted(LIBRARY.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(LIBRARY).with_suffix("").as_posix(): path for path in paths}


def open_study(name: str) -> Node:
    """The document of a study, by its shipped name or by the path of its file.

    Raises:
        StudyError: there is no such study, or its file is no readable YAML.
    """
    path = shipped().get(name, Path(name).expanduser())
    if path.is_dir():
        raise StudyError(complaint(name, "this is a folder, not a study", "the path of a YAML file"))
    try:
        return parse(path.read_text(encoding="utf-8"), _shown(path))
    except FileNotFoundError:
        what = "there is no study of this name and no such file"
        raise StudyError(complaint(name, what, shipped(), near=name)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(complaint(name, f"cannot be read: {error}")) from None


def _shown(path: Path) -> str:
    """The path as messages show it: short for what ships."""
    return path.relative_to(LIBRARY).as_posix() if path.is_relative_to(LIBRARY) else str(path)
