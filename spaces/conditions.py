"""What must hold of a config: conditions that a study states about its knobs, and whether they can be met at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from spaces import reading
from spaces.document import Node, StudyError, shown
from spaces.domains import Fixed
from spaces.expressions import Expression, parse
from spaces.knobs import knobs
from spaces.space import Config, Either, Group, Sequence, Switch, allowed, below, named, step_path, walk
from spaces.space import Node as SpaceNode

MOST = 32  # conditions of a space
MOST_TEXT = 2000  # their characters in all
TRIES = 2000  # configs drawn at most to see whether conditions can be met
ENOUGH = 50  # configs to which a condition applies, of which one must meet it


def constrained(space: Group, node: Node | None) -> Group:
    """The space with the conditions that a study states about it.

    Raises:
        StudyError: one that cannot be read, or that next to no config meets, or all of them together.
    """
    if node is None:
        return space
    places, further = nameable(space)
    where = []
    items = node.value if isinstance(node.value, list) else [node]
    if len(items) > MOST:
        raise node.wrong(f"{len(items)} conditions are too many", f"at most {MOST}")
    for item in items:
        try:
            where.append(parse(reading.text(item), places, further))
        except StudyError:
            raise
        except ValueError as error:
            raise item.wrong(f"'{shown(str(item.value))}' is no condition on knobs: {error}") from None
    if sum(len(rule.text) for rule in where) > MOST_TEXT:
        raise node.wrong(f"the conditions have more than {MOST_TEXT:,} characters together")
    made = Group(space.parts, tuple(where))
    if where:
        _satisfiable(made, items, node)
    return made


def _satisfiable(space: Group, items: list[Node], node: Node) -> None:
    """Draws configs until one is allowed and each condition has been met by one to which it applies.

    Raises:
        StudyError: there seems to be none.
    """
    unmet, found, count = dict(zip(space.where, items, strict=True)), False, 0
    applied, kept = Counter[Expression](), Counter[Expression]()
    for config in _sampled(space):
        count += 1
        values = named(space, config)
        held = [rule for rule in space.where if rule.holds(values)]
        found = found or len(held) == len(space.where)
        kept.update(held)
        applies = [rule for rule in unmet if rule.applies(values)]
        applied.update(applies)
        unmet = {rule: item for rule, item in unmet.items() if not (rule in applies and rule in held)}
        if found and not unmet:
            return
    for rule, item in unmet.items():
        if applied[rule] >= ENOUGH:
            what = f"of {applied[rule]} configs drawn at random to which '{rule.text}' applies none meets it"
            raise item.wrong(what, "conditions that can be met")
    if not found:
        rare = sorted(space.where, key=lambda rule: kept[rule])[:5]
        shares = ", ".join(f"'{rule.text}' by {kept[rule] / count:.1%}" for rule in rare)
        raise node.wrong(
            f"of {count} configs drawn at random none keeps to this: {shares}", "conditions that can be met"
        )


def nameable(space: Group) -> tuple[list[str], list[str]]:
    """What conditions may speak of: the places of a config; and further, the places in the tree where these differ,
    having the ways of an `either` in their names, or being what was chosen at one, at a switch or in a sequence."""
    drawn = [*dict(_tree(space, "")), *(knob.name.partition("[")[0] for knob in knobs(space))]
    places = dict.fromkeys(_places(space, ""))
    return list(places), [name for name in dict.fromkeys(drawn) if name not in places]


def _places(node: SpaceNode, path: str) -> Iterator[str]:
    """Where a config has values and choices, but for those in lists, by the paths that `leaves` gives them."""
    match node:
        case Group(children) | Switch(children):
            if isinstance(node, Switch):
                yield path
            for name, child in children.items():
                yield from _places(child, below(path, name))
        case Either(ways):
            for way in ways.values():
                yield from _places(way, path)
        case Sequence():
            pass
        case _:
            yield path


def _tree(node: SpaceNode, path: str) -> Iterator[tuple[str, None]]:
    """The switches and settled values of the tree, by the paths that `flat` gives them."""
    match node:
        case Group(children) | Switch(children) | Either(children):
            if isinstance(node, Switch):
                yield path, None
            for name, child in children.items():
                yield from _tree(child, below(path, name))
        case Sequence(steps, _, repeat):
            for name, child in steps.items() if not repeat else ():
                yield from _tree(child, step_path(node, path, 0, name))
        case Fixed():
            yield path, None


def kept_share(space: Group) -> float:
    """The share of configs that is allowed."""
    kept = [allowed(space, config) for config in _sampled(space)]
    return sum(kept) / len(kept)


def _sampled(space: Group) -> Iterator[Config]:
    """Random configs, always the same, and fewer of them where each takes long."""
    rng = np.random.default_rng(0)
    effort = len(knobs(space)) + sum(len(rule.text) for rule in space.where) // 10
    tries = min(TRIES, max(100, 100_000 // max(effort, 1)))
    return (walk(space, lambda name, domain: domain.sample(rng)) for _ in range(tries))
