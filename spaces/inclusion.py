"""Studies built on others: `include: quickstart`, or a path beside the study, or a list of them, later ones winning.

A mapping is laid over the one it includes, name by name. What a choice of one thing consists of (a range, the data,
a strategy) is replaced whole, as are lists and values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from spaces.document import Node, describe
from spaces.reading import FORMS

MOST = 16  # files that go into one study
WHOLE = ("data", "objective", "search.strategy", "search.scheduler")
MARKS = (*FORMS, "sequence")  # keys by which a mapping is known to state one thing

Open = Callable[[str, Node], tuple[str, Node]]
"""From what a study calls another (and where) to what identifies that one, and its document."""


def included(document: Node, identity: str, opened: Open) -> Node:
    """The document with those that it includes beneath it.

    Raises:
        StudyError: an `include` that is no name, cannot be opened, leads back to itself, or goes on for too long.
    """
    count = 0

    def complete(document: Node, chain: tuple[str, ...]) -> Node:
        nonlocal count
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
            name, found = opened(item.value, item)
            if name in chain:
                raise item.wrong(f"'{item.value}' includes itself: {' -> '.join((*chain[chain.index(name) :], name))}")
            found = complete(found, (*chain, name))
            base = found if base is None else laid_over(found, base)
        own = replace(document, value={k: v for k, v in document.value.items() if k != "include"})
        return own if base is None else laid_over(own, base)

    return complete(document, (identity,))


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
