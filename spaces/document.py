"""YAML with a memory: every value of a document knows its file, its line and its path.

`parse` reads YAML 1.2 (so `off` is a word and `1e-4` a number) into a tree of `Node`s. Whoever reads the
tree complains through the node at hand, `raise node.wrong(...)`, and the user sees

    study.yaml:7: space.method.simclrr: there is no method 'simclrr'
      allowed: barlow_twins, byol, simclr, ...
      did you mean 'simclr'?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.scalarbool import ScalarBoolean

DEEPEST = 40  # levels of nesting; beyond it a document is a mistake


class StudyError(ValueError):
    """Something that a user wrote cannot be used; the message says where, what was found and what is allowed."""


def complaint(where: str, found: str, allowed: Iterable[str] | str = (), near: str | None = None) -> str:
    """The one form of every message about bad input."""
    options = allowed if isinstance(allowed, str) else ", ".join(allowed)
    lines = [f"{where}: {found}" if where else found]
    if options:
        lines.append(f"  allowed: {options}")
    if near is not None and not isinstance(allowed, str):
        close = difflib.get_close_matches(near, list(allowed), n=1, cutoff=0.5)
        lines += [f"  did you mean '{close[0]}'?"] if close else []
    return "\n".join(lines)


@dataclass(frozen=True)
class Node:
    """A value of a document: a scalar, a mapping of names to nodes, or a list of nodes.

    Attributes:
        value: the value itself, its children being nodes again.
        origin: the file and line it stands in, or the flag that set it.
        path: its dotted path from the top of the document.
    """

    value: Any
    origin: str
    path: str = ""

    def wrong(self, found: str, allowed: Iterable[str] | str = (), near: str | None = None) -> StudyError:
        """The error to raise about this node."""
        where = f"{self.origin}: {self.path}" if self.path else self.origin
        return StudyError(complaint(where, found, allowed, near))

    def mapping(self, of: str) -> Mapping[str, Node]:
        """The children of a mapping, by name; raises StudyError if this is none."""
        if not isinstance(self.value, dict):
            raise self.wrong(f"expected {of}, found {describe(self)}")
        return self.value

    def known(self, names: Iterable[str], what: str) -> Mapping[str, Node]:
        """The children of a mapping whose keys must all be in `names`."""
        names = list(names)
        children = self.mapping(f"a mapping of {what}s")
        for name, child in children.items():
            if name not in names:
                raise child.wrong(f"there is no {what} '{name}'", names, near=name)
        return children

    def plain(self) -> Any:
        """The value without its memory: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def describe(node: Node) -> str:
    """What a node holds, in words for a message."""
    if node.value is None:
        return "nothing"
    if isinstance(node.value, dict):
        return "a mapping" if node.value else "an empty mapping"
    if isinstance(node.value, list):
        return f"a list of {len(node.value)}" if node.value else "an empty list"
    kind = {bool: "true/false", int: "number", float: "number", str: "text"}.get(type(node.value), "value")
    return f"the {kind} {node.value!r}" if kind != "true/false" else str(node.value).lower()


def parse(text: str, file: str) -> Node:
    """The document in `text`; `file` names it in messages.

    Raises:
        StudyError: not YAML, a key that stands twice, keys that are not text, an alias inside what it names, more
            than `DEEPEST` levels, or an empty document.
    """
    try:
        _untangled(text, file)
        loaded = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        key = (error.problem or "").split('"')
        name = key[1] if len(key) > 1 else "?"
        raise StudyError(complaint(_place(error, file), f"the key '{name}' stands twice in one mapping")) from None
    except MarkedYAMLError as error:
        problem = " ".join((error.problem or error.context or "not YAML").split())
        raise StudyError(complaint(_place(error, file), f"not valid YAML: {problem}")) from None
    except StudyError:
        raise
    except (YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(complaint(file, f"not valid YAML: {reason}")) from None
    if loaded is None:
        raise StudyError(complaint(file, "the document is empty"))
    return _remember(loaded, file, 0, "", 0)


def _untangled(text: str, file: str) -> None:
    """Refuses what cannot become a tree: an alias inside what it names, and nesting without end."""
    named: dict[str, NodeEvent] = {}
    around: list[NodeEvent] = []
    for event in YAML(typ="rt").parse(text):
        where = f"{file}:{event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            if any(named.get(event.anchor) is outer for outer in around):
                raise StudyError(complaint(where, f"the alias *{event.anchor} stands inside what it names"))
        elif isinstance(event, NodeEvent) and event.anchor:
            named[event.anchor] = event
        if isinstance(event, CollectionStartEvent):
            around.append(event)
        elif isinstance(event, CollectionEndEvent):
            around.pop()
        if len(around) > DEEPEST:
            raise StudyError(complaint(where, f"nested more than {DEEPEST} levels deep"))


def _place(error: MarkedYAMLError, file: str) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{file}:{mark.line + 1}" if mark else file


def _remember(loaded: Any, file: str, line: int, path: str, depth: int) -> Node:
    origin = f"{file}:{line + 1}"
    here = Node(None, origin, path)
    if depth > DEEPEST:  # by aliases, each of which holds the one before
        raise here.wrong(f"nested more than {DEEPEST} levels deep")
    if getattr(getattr(loaded, "tag", None), "value", None) is not None:
        raise here.wrong(f"YAML tags are not used here, found {loaded.tag.value}")
    if isinstance(loaded, CommentedMap):
        named: dict[str, Node] = {}
        for key, value in loaded.items():
            at = loaded.lc.data[key][0] if key in (loaded.lc.data or {}) else line
            if not isinstance(key, str):
                raise Node(None, f"{file}:{at + 1}", path).wrong(f"a key must be text, found {key!r}")
            name = str(key)
            named[name] = _remember(value, file, at, f"{path}.{name}" if path else name, depth + 1)
        return Node(named, origin, path)
    if isinstance(loaded, CommentedSeq):
        lines = [loaded.lc.data[i][0] if i in (loaded.lc.data or {}) else line for i in range(len(loaded))]
        items = [
            _remember(v, file, at, f"{path}[{i}]", depth + 1)
            for i, (v, at) in enumerate(zip(loaded, lines, strict=True))
        ]
        return Node(items, origin, path)
    return Node(_scalar(loaded, here), origin, path)


def _scalar(loaded: Any, here: Node) -> Any:
    """Plain Python scalars for ruamel's, which remember their spelling."""
    if loaded is None or isinstance(loaded, bool):
        return loaded
    if isinstance(loaded, ScalarBoolean):
        return bool(loaded)
    for kind in (int, float, str):
        if isinstance(loaded, kind):
            return kind(loaded)
    found = f"the {type(loaded).__name__} {loaded}"
    raise here.wrong(f"expected text, a number or true/false, found {found}", "text in quotes")


def assign(root: Node, setting: str) -> Node:
    """The document with one value replaced, as `--set budget.trials=8` asks; the right side is YAML.

    Raises:
        StudyError: the setting has no `=`, or its path runs through something that is no mapping.
    """
    flag = f"--set {setting}"
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise StudyError(complaint(flag, "expected a dotted path and a value", "--set budget.trials=8"))
    keys = path.strip().split(".")
    value = parse(text, flag) if text.strip() else Node(None, flag)
    return _replace(root, keys, _moved(value, flag, path.strip()), flag)


def _replace(node: Node, keys: list[str], value: Node, flag: str) -> Node:
    if not keys:
        return value
    if isinstance(node.value, dict):
        children = node.value
    elif isinstance(node.value, str) or node.value is None:
        # `method: simclr` opened up by `--set method.simclr.temperature=0.2`
        children = {} if node.value is None else {node.value: Node("default", node.origin, f"{node.path}.{node.value}")}
    else:
        raise Node(None, flag, node.path).wrong(f"{describe(node)} has no '{keys[0]}' in it")
    child = children.get(keys[0], Node(None, flag, f"{node.path}.{keys[0]}" if node.path else keys[0]))
    if child.value in ("default", "search", "off") and keys[1:]:
        child = replace(child, value={})
    return replace(node, value={**children, keys[0]: _replace(child, keys[1:], value, flag)})


def _moved(node: Node, flag: str, path: str) -> Node:
    """The node and all below it, as if it stood at `path` of the document."""
    value = node.value
    if isinstance(value, dict):
        value = {name: _moved(child, flag, f"{path}.{name}") for name, child in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, flag, f"{path}[{i}]") for i, child in enumerate(value)]
    return Node(value, flag, path)
