"""What a search is after: one metric or several, and the bounds within which they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spaces.document import Node, describe
from spaces.expressions import Expression, parse

MODES = ("max", "min")
SECONDS = "seconds"  # that a trial has worked: the one metric that the search measures, and no two runs alike


@dataclass(frozen=True)
class Target:
    """A metric that is to become large (`max`) or small (`min`)."""

    metric: str
    mode: str

    @property
    def sign(self) -> int:
        """1 to maximise, -1 to minimise: times a value, more is better."""
        return 1 if self.mode == "max" else -1


@dataclass(frozen=True)
class Goal:
    """What a search is after, at the end of `epochs`.

    Args:
        metric: the leading metric, by which trials are ranked.
        mode: whether it is to become large or small.
        epochs: the whole length of a trial.
        seed: of everything that is drawn.
        others: further metrics, to be traded against it.
        bounds: conditions on metrics without which a trial does not count.
    """

    metric: str
    mode: str
    epochs: int
    seed: int = 0
    others: tuple[Target, ...] = ()
    bounds: tuple[Expression, ...] = ()

    @property
    def sign(self) -> int:
        """That of the leading metric."""
        return self.targets[0].sign

    @property
    def targets(self) -> tuple[Target, ...]:
        """All metrics, the leading one first."""
        return (Target(self.metric, self.mode), *self.others)

    @property
    def timed(self) -> bool:
        """Whether the search must measure what trials take."""
        named = [target.metric for target in self.others] + [full for bound in self.bounds for _, full in bound.names]
        return SECONDS in named

    def values(self, metrics: Mapping[str, float]) -> tuple[float, ...] | None:
        """What was reached, more being better everywhere; None where a metric is missing."""
        if any(target.metric not in metrics for target in self.targets):
            return None
        return tuple(target.sign * metrics[target.metric] for target in self.targets)

    def excess(self, metrics: Mapping[str, float]) -> float:
        """By how much the bounds are missed, in all; 0 where they hold."""
        return sum(bound.excess(metrics) for bound in self.bounds)


def read_goal(search: Node, metrics: Mapping[str, Any], epochs: int, seed: int) -> Goal:
    """The goal that a study's `search` section states, by the metrics that its objective gives.

    `metric` is a name or a list of them, the first leading; `mode` likewise, by default as each metric says;
    `subject_to` is a condition on metrics, or a list of them. Beside the objective's metrics, all but the leading one
    may be `seconds`.
    """
    given = search.value
    node = given.get("metric", search)
    names = _words(given.get("metric"), "the name of a metric") or {next(iter(metrics)): node}
    if not names or ("metric" in given and not given["metric"].value):
        raise node.wrong(f"expected the name of a metric, found {describe(node)}", metrics)
    for number, (name, place) in enumerate(names.items()):
        if name not in metrics and not (number and name == SECONDS):
            raise place.wrong(f"no probe gives the metric '{name}'", metrics, near=name)
    modes = _modes(given.get("mode"), ["min" if name == SECONDS else metrics[name].mode for name in names])
    targets = [Target(name, mode) for name, mode in zip(names, modes, strict=True)]
    bounds = []
    for text, place in _words(given.get("subject_to"), "a condition").items():
        try:
            bounds.append(parse(text, [*metrics, SECONDS]))
        except ValueError as error:
            raise place.wrong(f"'{text}' is no condition on metrics: {error}") from None
    return Goal(targets[0].metric, targets[0].mode, epochs, seed, tuple(targets[1:]), tuple(bounds))


def _modes(node: Node | None, usual: list[str]) -> list[str]:
    if node is None or node.value == "auto":
        return usual
    items = list(node.value) if isinstance(node.value, list) else [node]
    if len(items) != len(usual):
        raise node.wrong(f"expected {len(usual)} modes, one a metric, found {len(items)}", MODES)
    for item in items:
        if item.value not in (*MODES, "auto"):
            near = item.value if isinstance(item.value, str) else None
            raise item.wrong(f"expected a mode, found {describe(item)}", (*MODES, "auto"), near=near)
    return [usual[i] if item.value == "auto" else item.value for i, item in enumerate(items)]


def _words(node: Node | None, what: str) -> dict[str, Node]:
    """The texts at a node that is one or a list of them, with their places."""
    found: dict[str, Node] = {}
    for item in [] if node is None else node.value if isinstance(node.value, list) else [node]:
        if not isinstance(item.value, str) or not item.value.strip():
            raise item.wrong(f"expected {what}, found {describe(item)}")
        if item.value in found:
            raise item.wrong(f"'{item.value}' is named twice")
        found[item.value] = item
    return found
