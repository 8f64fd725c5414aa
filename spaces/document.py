"""YAML with a memory: every value of a document knows its file, its line and its path.

`parse` reads YAML 1.2 (so `off` is a word and `1e-4` a number) into a tree of `Node`s. Whoever reads the
tree complains through the node at hand, `raise node.wrong(...)`, and the user sees

    study.yaml:7: space.method.simclrr: there is no method 'simclrr'
      allowed: barlow_twins, byol, simclr, ...
      did you mean 'simclr'?

A document is data and may come from anybody: it has no tags, nothing in it is run, and its text, its nesting and what
its aliases stand for are bounded before they are expanded. What a message repeats of it is short and in plain signs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

DEEPEST = 40  # levels of nesting; beyond it a document is a mistake
# ruamel.yaml reads a value in 40 µs at worst and a KB without values (comments, long text) in 1.3 ms, on one core of a
# server: the two bounds below are 0.8 s and 0.7 s.
MOST_VALUES = 20_000  # keys and values of a document, those counted again that an alias repeats
MOST_TEXT = 2**19  # characters of a document, and of its keys and values once aliases are followed
LONGEST_NUMBER = 1000  # characters; Python itself refuses to read or print some thousands of digits
LONGEST_PATH = 200  # characters of a dotted path that are kept

# The core schema of YAML 1.2.2, section 10.3.2, and `_` between digits.
NULL = ("", "~", "null", "Null", "NULL")
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WHOLE = re.compile(
    r"[-+]?(?:0x(?=.*[\da-fA-F])[\da-fA-F_]+|0o(?=.*[0-7])[0-7_]+|0b(?=.*[01])[01_]+|\d[\d_]*)", re.ASCII
)
FRACTION = re.compile(r"[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?", re.ASCII)
UNBOUNDED = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
DATE = re.compile(r"\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d.*", re.ASCII)  # of YAML 1.1
MERGE = "<<"  # the key, of YAML 1.1, of mappings whose entries are taken over
# What YAML allows, without the line breaks that only some programs count and the mark that belongs at a file's start.
FOREIGN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class StudyError(ValueError):
    """Something that a user wrote cannot be used; the message says where, what was found and what is allowed."""


def shown(text: str, most: int = 80) -> str:
    """A text for a message: on one line, cut in its middle if it is long, what does not print escaped."""
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} … {text[len(text) - most // 3 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complaint(where: str, found: str, allowed: Iterable[str] | str = (), near: str | None = None) -> str:
    """The one form of every message about bad input."""
    names = allowed if isinstance(allowed, str) else list(allowed)
    options = names if isinstance(names, str) else ", ".join(names)
    said = [shown(line, 500) for line in found.split("\n")]
    lines = [f"{shown(where, 500)}: {said[0]}" if where else said[0], *said[1:]]
    if options:
        lines.append("\n".join(shown(line, 4000) for line in f"  allowed: {options}".split("\n")))
    if near is not None and not isinstance(names, str):
        close = difflib.get_close_matches(near, names, n=1, cutoff=0.5)
        lines += [f"  did you mean '{shown(close[0])}'?"] if close else []
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
                raise child.wrong(f"there is no {what} '{shown(name)}'", names, near=name)
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
    return f"the {kind} {shown(repr(node.value))}" if kind != "true/false" else str(node.value).lower()


def parse(text: str, file: str) -> Node:
    """The document in `text`; `file` names it in messages.

    Raises:
        StudyError: not YAML, tags, a key that stands twice, keys that are not text, dates, an alias inside what it
            names, more than `DEEPEST` levels, `MOST_VALUES` values or `MOST_TEXT` characters, or an empty document.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MOST_TEXT:
        raise StudyError(complaint(file, f"the document has {len(text):,} characters; expected at most {MOST_TEXT:,}"))
    if foreign := FOREIGN.search(text):
        line = len(text[: foreign.start() + 1].splitlines())
        raise StudyError(
            complaint(f"{file}:{line}", f"not valid YAML: the character {foreign[0]!a} may not stand here")
        )
    reader = _Reader(file, len(text.splitlines()))
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except MarkedYAMLError as error:
        problem = " ".join((error.problem or error.context or "not YAML").split())
        mark = error.problem_mark or error.context_mark
        raise reader.wrong(f"not valid YAML: {problem}", mark.line if mark else reader.line) from None
    except StudyError:
        raise
    except (YAMLError, ValueError) as error:
        raise reader.wrong(f"not valid YAML: {str(error).splitlines()[0]}") from None
    if reader.root is None or reader.root.value is None:
        raise StudyError(complaint(file, "the document is empty"))
    return reader.root


@dataclass
class _Open:
    """A mapping or list of which the end has not been read yet."""

    node: Node  # its value is filled in place
    anchor: str | None
    before: tuple[int, int]  # values and characters that the document had when it began
    key: str | None = None  # the one whose value is awaited
    line: int = 0  # of this key
    merging: bool = False  # the value awaited is that of `<<`
    merged: dict[str, Node] | None = None


class _Reader:
    """Builds the tree from the events that ruamel.yaml tells one by one, so that reading can end early."""

    def __init__(self, file: str, lines: int) -> None:
        self.file, self.lines = file, lines
        self.line = 0  # of the event at hand
        self.root: Node | None = None
        self.open: list[_Open] = []
        self.named: dict[str, tuple[Node, int, int]] = {}  # anchors: what they name, its values and characters
        self.values = self.characters = self.documents = 0

    def take(self, event: Event) -> None:
        """Takes in the next event."""
        self.line = event.start_mark.line
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.wrong("not valid YAML: expected a single document")
        elif isinstance(event, AliasEvent):
            self._put(self._followed(event.anchor))
        elif isinstance(event, CollectionEndEvent):
            ended = self.open.pop()
            if ended.merged:
                own = dict(ended.node.value)
                ended.node.value.clear()
                ended.node.value.update(ended.merged | own)
            self._name(ended.anchor, ended.node, ended.before)
            self._put(ended.node)
        elif isinstance(event, NodeEvent):
            self._begin(event)

    def _begin(self, event: NodeEvent) -> None:
        """A scalar, or the beginning of a mapping or list."""
        here, before = self._here(), (self.values, self.characters)
        if (tag := getattr(event, "tag", None)) is not None:
            raise here.wrong(f"YAML tags are not used here, found {shown(tag)}")
        self._count(1, len(event.value) if isinstance(event, ScalarEvent) else 0)
        if isinstance(event, ScalarEvent):
            plain = not event.style
            if plain and event.value == MERGE and self._awaits_key():
                self._key(MERGE, merging=True)
                return
            node = Node(_scalar(event.value, here) if plain else event.value, here.origin, here.path)
            self._name(event.anchor, node, before)
            self._put(node)
            return
        if self._awaits_key():
            found = "a mapping" if isinstance(event, MappingStartEvent) else "a list"
            raise here.wrong(f"a key must be text, found {found}")
        if len(self.open) == DEEPEST:
            raise self.wrong(f"nested more than {DEEPEST} levels deep")
        made: Any = {} if isinstance(event, MappingStartEvent) else []
        self.named.pop(event.anchor, None)
        self.open.append(_Open(Node(made, here.origin, here.path), event.anchor, before))

    def _put(self, node: Node) -> None:
        """Puts a node where it stands: at the top, into a list, or as the key or the value of a mapping."""
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.key is None:
            if not isinstance(node.value, str):
                found = describe(node) if isinstance(node.value, (dict, list)) else shown(repr(node.value))
                raise self._here().wrong(f"a key must be text, found {found}")
            self._key(node.value)
        elif top.merging:
            top.merged = self._merged(node)
            top.key, top.merging = None, False
        else:
            top.node.value[top.key] = node
            top.key = None

    def _key(self, name: str, merging: bool = False) -> None:
        top = self.open[-1]
        if top.merged is not None if merging else name in top.node.value:
            raise self.wrong(f"the key '{shown(name)}' stands twice in one mapping")
        top.key, top.line, top.merging = name, self.line, merging

    def _awaits_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].node.value, dict) and self.open[-1].key is None

    def _here(self) -> Node:
        """Where the next value comes to stand: it begins with its key. A key itself stands at its mapping."""
        if not self.open:
            return Node(None, self._origin(0))
        top = self.open[-1]
        if isinstance(top.node.value, list):
            return Node(None, self._origin(self.line), _below(top.node.path, len(top.node.value)))
        if top.key is None:
            return Node(None, self._origin(self.line), top.node.path)
        return Node(None, self._origin(top.line), _below(top.node.path, top.key))

    def _followed(self, anchor: str) -> Node:
        """What an alias stands for, as if it were written here."""
        if any(outer.anchor == anchor for outer in self.open) and anchor not in self.named:
            raise self.wrong(f"the alias *{shown(anchor)} stands inside what it names")
        if anchor not in self.named:
            raise self.wrong(f"not valid YAML: found undefined alias '{shown(anchor)}'")
        node, values, characters = self.named[anchor]
        self._count(values, characters)
        here = self._here()
        if len(self.open) + _depth(node) > DEEPEST:
            raise here.wrong(f"nested more than {DEEPEST} levels deep")
        return _moved(replace(node, origin=here.origin), here.path)

    def _merged(self, node: Node) -> dict[str, Node]:
        """The entries that `<<` takes over; of several mappings, the first that has a key gives it."""
        mappings = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(mapping.value, dict) for mapping in mappings):
            raise node.wrong(f"not valid YAML: {MERGE} takes a mapping or a list of mappings, found {describe(node)}")
        path = self.open[-1].node.path
        merged: dict[str, Node] = {}
        for mapping in mappings:
            merged |= {k: _moved(v, _below(path, k)) for k, v in mapping.value.items() if k not in merged}
        return merged

    def _name(self, anchor: str | None, node: Node, before: tuple[int, int]) -> None:
        if anchor:
            self.named[anchor] = (node, self.values - before[0], self.characters - before[1])

    def _count(self, values: int, characters: int) -> None:
        self.values += values
        self.characters += characters
        for size, most, what in (
            (self.values, MOST_VALUES, "keys and values"),
            (self.characters, MOST_TEXT, "characters"),
        ):
            if size > most:
                raise self.wrong(f"with its aliases followed, the document has more than {most:,} {what}")

    def _origin(self, line: int) -> str:
        return f"{self.file}:{max(1, min(line + 1, self.lines))}"  # what is missing at the end is missed beyond it

    def wrong(self, found: str, line: int | None = None) -> StudyError:
        """The error to raise about the event at hand, or about a line, counted from 0."""
        return StudyError(complaint(self._origin(self.line if line is None else line), found))


def _below(path: str, step: str | int) -> str:
    """The path of a child; long ones are cut, since every node keeps its own."""
    below = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}" if path else step
    return shown(below, LONGEST_PATH)


def _depth(node: Node) -> int:
    """Levels of mappings and lists; 0 for a scalar."""
    below = node.value.values() if isinstance(node.value, dict) else node.value
    return 1 + max(map(_depth, below), default=0) if isinstance(node.value, (dict, list)) else 0


def _scalar(written: str, here: Node) -> Any:
    """What a plain scalar means."""
    if written in NULL:
        return None
    if written in TRUTH:
        return TRUTH[written]
    if DATE.fullmatch(written):
        what = f"expected text, a number or true/false, found the date {shown(written)}"
        raise here.wrong(what, "text in quotes")
    whole = WHOLE.fullmatch(written)
    if not whole and not FRACTION.fullmatch(written):
        unbounded = UNBOUNDED.fullmatch(written)
        return float(written.lower().replace(".", "")) if unbounded else written
    if len(written) > LONGEST_NUMBER:
        raise here.wrong(f"found a number of {len(written):,} characters; expected at most {LONGEST_NUMBER:,}")
    digits = written.replace("_", "")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits.lstrip("-+")[:2], 10)
    return int(digits, base) if whole else float(digits)


def assign(root: Node, setting: str) -> Node:
    """The document with one value replaced, as `--set budget.trials=8` asks; the right side is YAML.

    Raises:
        StudyError: the setting has no `=`, or its path is too deep or runs through something that is no mapping.
    """
    flag = f"--set {shown(setting)}"
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise StudyError(complaint(flag, "expected a dotted path and a value", "--set budget.trials=8"))
    value = parse(text, flag) if text.strip() else Node(None, flag)
    return placed(root, path.strip(), _moved(value, "", flag), flag)


def placed(root: Node, path: str, value: Node, flag: str) -> Node:
    """The document with the value at a dotted path replaced; `flag` says in messages who asked for it."""
    keys = path.split(".")
    if len(keys) > DEEPEST:
        raise StudyError(complaint(flag, f"a path of {len(keys):,} steps", f"at most {DEEPEST}"))
    return _replace(root, keys, _moved(value, shown(path, LONGEST_PATH)), flag)


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


def _moved(node: Node, path: str, origin: str | None = None) -> Node:
    """The node and all below it, as if it stood at `path` of the document, and had been written in `origin`."""
    value = node.value
    if isinstance(value, dict):
        value = {name: _moved(child, _below(path, name), origin) for name, child in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, _below(path, i), origin) for i, child in enumerate(value)]
    return Node(value, origin or node.origin, path)
