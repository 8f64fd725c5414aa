"""The claim of a study: what a published system says of itself, as conditions on trials that anyone can run.

    claim:
      says: codes that use all prototypes equally keep a representation from collapse
      source: SwAV (arXiv 2006.09882), section 3.1
      published: 75.3 % linear accuracy on ImageNet          # optional
      unseen: the gain of multi-crop; measured 0.866         # optional: what was published and is not seen here
      seeds: 5                                               # optional
      variants:                                              # what is compared, all with the same seeds
        swav: {}                                             # the study as it stands
        free: {space.method.swav.iterations: 0}              # with settings as `--set` takes them
      holds:                                                 # of each variant's metrics at the end, in every seed
        - swav.few_shot_accuracy >= free.few_shot_accuracy + 0.05
      mutation:                                              # a mistake that must make the claim fail
        name: codes without equal use
        of: swav
        set: {space.method.swav.iterations: 0}
      full: {budget.epochs: 200}                             # optional: settings of the full budget

A variant changes the space alone: data, budget and probes are the same for all. Every knob is settled.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from spaces import reading
from spaces.document import Node, placed, shown
from spaces.domains import Int, Value
from spaces.expressions import Expression, parse
from spaces.goal import SECONDS
from spaces.space import Config, Group, allowed, walk

Settings = Mapping[str, Node]
FLOORS = ("raw", "untrained")  # what objectives call the floors that they measure, for conditions to speak of
PARTS = ("says", "source", "published", "unseen", "seeds", "variants", "holds", "mutation", "full")
MUTATED = "mutation"  # beside the names of variants
LARGER = ("budget", "data", "space", "probe", "resources")  # sections that the full budget may change


@dataclass(frozen=True)
class Evidence:
    """How much of it a claim wants."""

    seeds: Annotated[int, Int(2, 10_000)] = 5  # of each variant


@dataclass(frozen=True)
class Condition:
    """A comparison of numbers, made of `VARIANT.METRIC`s."""

    expression: Expression
    node: Node = field(repr=False, compare=False)

    @property
    def needs(self) -> dict[str, list[str]]:
        """The metrics that it speaks of, by variant."""
        found: dict[str, list[str]] = {}
        for name, _ in self.expression.names:
            variant, _, metric = name.partition(".")
            found.setdefault(variant, []).append(metric)
        return found


@dataclass(frozen=True)
class Mutation:
    """A mistake that must make the claim fail: the variant `of`, made wrong by the settings."""

    name: str
    of: str
    settings: Settings
    node: Node = field(repr=False, compare=False)


@dataclass(frozen=True)
class Claim:
    """What is claimed, by whom, and what must hold of the variants for it to be so; the first condition leads."""

    says: str
    source: str
    published: str
    unseen: str
    seeds: int
    variants: Mapping[str, Settings]
    holds: tuple[Condition, ...]
    mutation: Mutation
    full: Settings
    node: Node = field(repr=False, compare=False)

    def documents(self, document: Node, full: bool = False) -> dict[str, Node]:
        """The studies of the variants and, as `MUTATED`, of the mutation, none with a claim of its own."""
        base = self.base(document, full)
        found = {name: _changed(base, settings) for name, settings in self.variants.items()}
        return {**found, MUTATED: _changed(found[self.mutation.of], self.mutation.settings)}

    def base(self, document: Node, full: bool = False) -> Node:
        """The study that the variants change, with the settings of the full budget if that is wanted."""
        sections = document.mapping("a study")
        bare = Node({name: part for name, part in sections.items() if name != "claim"}, document.origin, document.path)
        return _changed(bare, self.full) if full else bare

    def place(self, name: str) -> Node:
        """Where the claim speaks of a variant, or of its mutation."""
        if name == MUTATED:
            return self.mutation.node
        return self.node.mapping("a claim")["variants"].mapping("variants")[name]


def _changed(document: Node, settings: Settings) -> Node:
    for path, node in settings.items():
        document = placed(document, path, node, node.origin)
    return document


def read_claim(node: Node | None) -> Claim | None:
    """The claim at a node, or None where there is none, or it is off; what its settings lead to `configs` will see.

    Raises:
        StudyError: a part is missing, or is not what it should be.
    """
    if node is None or node.value in (None, "off"):
        return None
    node.mapping("a claim (a mapping with says, source, variants, holds, mutation)")
    parts = node.known(PARTS, "part of a claim")
    for name, what in (("says", "says nothing"), ("source", "names no source"), ("variants", "has no variants")):
        if name not in parts:
            raise node.wrong(f"the claim {what}", f"{name}: ...")
    more = Node({name: part for name, part in parts.items() if name == "seeds"}, node.origin, node.path)
    variants = _variants(parts["variants"])
    mutation = _mutation(parts.get("mutation"), variants, node)
    return Claim(
        says=reading.text(parts["says"]),
        source=reading.text(parts["source"]),
        published=_optional(parts.get("published")),
        unseen=_optional(parts.get("unseen")),
        seeds=reading.config(more, Evidence).seeds,
        variants=variants,
        holds=_conditions(parts.get("holds"), variants, node),
        mutation=mutation,
        full=_full(parts.get("full")),
        node=node,
    )


def _optional(node: Node | None) -> str:
    return "" if node is None else reading.text(node)


def _variants(node: Node) -> dict[str, Settings]:
    found: dict[str, Settings] = {}
    for name, child in node.mapping("variants by name, each with its settings").items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or keyword.iskeyword(name) or name == MUTATED:
            what = f"'{shown(name)}' cannot be a variant's name, by which conditions call it"
            raise child.wrong(what, f"letters, digits and _, and not '{MUTATED}'")
        found[name] = _settings(child)
    if not found:
        raise node.wrong("the claim has no variants", "at least one, such as `ours: {}`")
    return found


def _settings(node: Node, sections: Iterable[str] = ("space",)) -> Settings:
    """Settings by dotted paths, each in one of the sections."""
    found = node.mapping("settings, such as {space.optimizer.lr: 0.01}")
    for path, child in found.items():
        if path.partition(".")[0] not in sections or not all(path.split(".")):
            what = f"'{shown(path)}' cannot be set here"
            if tuple(sections) == ("space",):
                what += ": variants differ in the space alone, and share all else"
            raise child.wrong(what, [f"{section}. ..." for section in sections])
    return found


def _mutation(node: Node | None, variants: Iterable[str], claim: Node) -> Mutation:
    if node is None:
        raise claim.wrong("the claim has no mutation: a mistake that must make it fail", "mutation: {name, of, set}")
    parts = node.known(("name", "of", "set"), "part of a mutation")
    for name in ("name", "of", "set"):
        if name not in parts:
            raise node.wrong(f"the mutation has no '{name}'", "name, of, set")
    of = reading.text(parts["of"])
    if of not in variants:
        raise parts["of"].wrong(f"there is no variant '{shown(of)}' to make wrong", variants, near=of)
    return Mutation(reading.text(parts["name"]), of, _settings(parts["set"]), node)


def _full(node: Node | None) -> Settings:
    return {} if node is None else _settings(node, LARGER)


def _conditions(node: Node | None, variants: Mapping[str, Settings], claim: Node) -> tuple[Condition, ...]:
    wanted = "conditions such as `ours.linear_accuracy >= plain.linear_accuracy + 0.05`"
    if node is None:
        raise claim.wrong("the claim has no conditions", f"holds: a list of {wanted}")
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        raise node.wrong("the claim has no conditions", f"a list of {wanted}")
    return tuple(_condition(item, variants) for item in items)


def _condition(node: Node, variants: Mapping[str, Settings]) -> Condition:
    text = reading.text(node)
    try:
        condition = Condition(parse(text, None), node)
    except ValueError as error:
        raise node.wrong(f"'{shown(text)}' is no condition on metrics: {error}") from None
    if not condition.expression.compares:
        raise node.wrong(f"'{shown(text)}' does not compare two numbers", ">=, >, <=, <, one of them")
    for variant, metrics in condition.needs.items():
        known = dict.fromkeys((*variants, *FLOORS))
        if not all(metrics):
            raise node.wrong(f"'{shown(variant)}' names no metric of a variant", f"{next(iter(variants))}.METRIC")
        if variant not in known:
            raise node.wrong(f"there is no variant '{shown(variant)}'", known, near=variant)
    return condition


def configs(claim: Claim, spaces: Mapping[str, tuple[Group, Node]]) -> dict[str, Config]:
    """The config of each variant and, as `MUTATED`, of the mutation, from their spaces and documents.

    Raises:
        StudyError: a space leaves something open, two variants are the same, or the mutation changes nothing.
    """
    found: dict[str, Config] = {}
    for name, (space, document) in spaces.items():
        config = settled(space, document)
        twin = next((other for other, known in found.items() if known == config), "")
        if twin and name != MUTATED:
            raise claim.place(name).wrong(f"the variant '{name}' is the same as '{twin}'")
        found[name] = config
    if found[MUTATED] == found[claim.mutation.of]:
        raise claim.mutation.node.wrong(f"the mutation changes nothing: it equals the variant '{claim.mutation.of}'")
    return found


def check_metrics(claim: Claim, given: Mapping[str, Mapping[str, object]]) -> None:
    """Refuses conditions on metrics that a variant, or a floor, will not give.

    A metric's twins on other images and the parts of a loss are declared nowhere; `search.verdicts` sees to them.

    Raises:
        StudyError: such a condition, with the metrics that there are.
    """
    for condition in claim.holds:
        for variant, metrics in condition.needs.items():
            made_wrong = given[MUTATED] if variant == claim.mutation.of else given[variant]
            for metric in metrics:
                known = [*(name for name in given[variant] if name in made_wrong), SECONDS]
                if metric.removeprefix("test_").removeprefix("valid_") not in known and not metric.startswith("loss"):
                    what = f"'{variant}' gives no metric '{shown(metric)}'"
                    raise condition.node.wrong(what, sorted(known), near=metric)


def settled(space: Group, document: Node) -> Config:
    """The one config of a space that leaves nothing open."""
    open_: dict[str, str] = {}

    def draw(name: str, domain: object) -> Value:
        open_[name] = str(domain)
        first: Value = domain.grid(2)[0]  # type: ignore[attr-defined]
        return first

    config = walk(space, draw)
    if open_:
        name, domain = next(iter(open_.items()))
        what = f"a claim's space leaves nothing open; found {name.rpartition('.')[2]}: {domain}"
        raise _nearest(document, f"space.{name}").wrong(what, "one value, one component; or `claim: off` to search")
    if not allowed(space, config):
        raise _nearest(document, "space.where").wrong("the claim's config does not keep to the conditions")
    return config


def _nearest(document: Node, path: str) -> Node:
    """The node at a dotted path, or the last on the way to it that there is."""
    for name in path.split("."):
        if not isinstance(document.value, dict) or name not in document.value:
            break
        document = document.value[name]
    return document
