"""Studies built on others: `include: quickstart`, or a path beside the study, or a list of them, later ones winning.

A mapping is laid over the one it includes, name by name. What a choice of one thing consists of (a range, the data,
a strategy) is replaced whole, as are lists and values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from spaces.document import Node, describe
from spaces.reading import FORMS

MOST = 16  # files that go into one study
WHOLE = ("data", "objective", "search.strategy", "search.scheduler")
MARKS = (*FORMS, "sequence")  # keys by which a mapping is known to state one thing


@dataclass(frozen=True)
class Source:
    """A study's document, what tells it from others however it is called, and how it finds those that it includes."""

    document: Node
    identity: str
    opened: Callable[[str, Node], Source]  # by what the study calls another, and where


def included(source: Source) -> Node:
    """The document with those that it includes beneath it.

    Raises:
        StudyError: an `include` that is no name, cannot be opened, leads back to itself, or goes on for too long.
    """
    count = 0

    def complete(source: Source, chain: dict[str, str]) -> Node:
        nonlocal count
        document = source.document
        if not isinstance(document.value, dict) or "include" not in document.value:
            return document
        node = document.value["include"]
        base: Node | None = None
        for item in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(item.value, str) or not item.value.strip():
                raise item.wrong(f"expected the name or path of a study, found {describe(item)}")
            count += 1
            if count > MOST:
                raise item.wrong(f"more than {MOST} files are included")
            below = source.opened(item.value, item)
            if below.identity in chain:
                way = [*chain.values()][[*chain].index(below.identity) + 1 :]
                raise item.wrong(f"this leads back to a study that is being read: {' -> '.join((*way, item.value))}")
            found = complete(below, {**chain, below.identity: item.value})
            found.mapping("a study (a mapping with name, data, space, ...)")
            base = found if base is None else laid_over(found, base)
        own = replace(document, value={k: v for k, v in document.value.items() if k != "include"})
        return own if base is None else laid_over(own, base)

    return complete(source, {source.identity: ""})


def laid_over(upper: Node, lower: Node) -> Node:
    """The upper document with what it does not say filled in from the lower one."""
    if not (isinstance(upper.value, dict) and isinstance(lower.value, dict)) or upper.path in WHOLE:
        return upper
    if any(mark in document.value for mark in MARKS for document in (upper, lower)):
        return upper
    merged = dict(lower.value)
    for name, child in upper.value.items():
        merged[name] = laid_over(child, merged[name]) if name in merged else child
    return replace(upper, value=merged)
