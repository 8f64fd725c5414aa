"""The study: what a YAML file asks for, checked whole and turned into typed values.

The sections of a study are configs like any component's: frozen dataclasses whose fields carry type,
bounds and default once. What may stand under `space` is said by the objective (its `PARTS`), and what
may be named comes from the catalogue that the caller hands in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from spaces import reading
from spaces.components import Catalogue, Component, Pick
from spaces.document import Node, shown
from spaces.domains import Choice, Int, Uniform
from spaces.space import Group, Switch
from spaces.space import Node as SpaceNode


@dataclass(frozen=True)
class OneOf:
    """A part of the space that is one component of a shelf: the study's `kind: {name: knobs, ...}`."""

    kind: str
    default: tuple[str, ...] = ()  # taken where the study is silent; without it the study must speak
    serves: str = ""  # the part whose needs this one's offers must meet


@dataclass(frozen=True)
class SomeOf:
    """A part of the space that is a sequence of a shelf's components, in the order in which the study names them."""

    kind: str
    default: tuple[str, ...] = ()


Part = OneOf | SomeOf | type


@dataclass(frozen=True)
class Budget:
    """How much a study may spend."""

    trials: Annotated[int, Int(1, 1_000_000)] = 24  # configs tried
    epochs: Annotated[int, Int(1, 1_000_000)] = 20  # passes over the data of a trial that is not stopped early
    trial_timeout: Annotated[float, Uniform(0, 1e9)] = 0.0  # seconds without a rung after which a trial hangs; 0: never
    retries: Annotated[int, Int(0, 1000)] = 2  # times that a trial is taken up again whose worker died or hung


@dataclass(frozen=True)
class Resources:
    """What one trial occupies."""

    cpu: Annotated[float, Uniform(0, 1024)] = 1.0  # cores, also its number of threads
    gpu: Annotated[float, Uniform(0, 64)] = 0.0  # devices; 0.25 lets four trials share one
    concurrent: Annotated[int, Int(0, 100_000)] = 0  # trials at a time; 0: as many as the machine holds
    keep: Annotated[int, Int(0, 1_000_000)] = (
        3  # best trials whose states stay on disk; others keep theirs while they may go on
    )


@dataclass(frozen=True)
class Aim:
    """What is optimised, and the seed of everything that is drawn."""

    metric: str = ""  # empty: the objective's own first choice
    mode: Annotated[str, Choice("auto", "max", "min")] = "auto"  # auto: as the metric says
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0


@dataclass(frozen=True)
class Goal:
    """What a search is after: a metric at the end of `epochs`, the more the better (`max`) or the less (`min`)."""

    metric: str
    mode: str
    epochs: int
    seed: int = 0

    @property
    def sign(self) -> int:
        """1 to maximise, -1 to minimise: times a value, more is better."""
        return 1 if self.mode == "max" else -1


@dataclass(frozen=True)
class Study:
    """A checked study. `space` is the tree that strategies explore; the rest says how and on what."""

    name: str
    about: str
    objective: Component
    data: Pick | None
    space: Group
    probe: Any
    budget: Budget
    strategy: Pick
    scheduler: Pick
    goal: Goal
    resources: Resources
    document: Node = field(repr=False, compare=False)


SECTIONS = ("name", "about", "objective", "data", "space", "probe", "budget", "search", "resources")
LONGEST_NAME = 64
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")  # some file systems drop a dot at the end


def read_study(document: Node, catalogue: Catalogue) -> Study:
    """The study that a document describes, every name, type and range in it checked.

    `catalogue["objective"]` finds the objective; its module says, beside `Config` and `build`, which `PARTS` its
    space has, which `METRICS` it gives (name to `mode`), and its `Probe` config, or None.

    Raises:
        StudyError: at the first thing that is wrong, with its place.
    """
    sections = document.mapping("a study (a mapping with name, data, space, ...)")
    document.known(SECTIONS, "section")
    name = _name(sections.get("name"), document)
    about = reading.text(sections["about"]) if "about" in sections else ""
    objective = reading.component(
        sections.get("objective", Node("representation", document.origin, "objective")), catalogue["objective"]
    )
    terms = objective.module
    data = _data(sections.get("data"), document, catalogue, terms.DATA)
    space = read_space(sections.get("space"), document, terms.PARTS, catalogue)
    search = sections.get("search", Node({}, document.origin, "search"))
    search.known([*reading.names(Aim), "strategy", "scheduler"], "search setting")
    aim = reading.config(_without(search, "strategy", "scheduler"), Aim)
    budget = _section(sections, "budget", Budget, document)
    return Study(
        name=name,
        about=about,
        objective=objective,
        data=data,
        space=space,
        probe=_section(sections, "probe", terms.Probe, document) if terms.Probe else None,
        budget=budget,
        strategy=_pick(search, "strategy", "tpe", catalogue),
        scheduler=_pick(search, "scheduler", "asha", catalogue),
        goal=_goal(search, aim, terms.METRICS, budget.epochs),
        resources=_section(sections, "resources", Resources, document),
        document=document,
    )


def read_space(node: Node | None, document: Node, parts: Mapping[str, Part], catalogue: Catalogue) -> Group:
    """The space under `node`: each part that the objective declares, as the study or its default has it."""
    node = node or Node({}, document.origin, "space")
    given = node.known(parts, "space part")
    tree: dict[str, SpaceNode] = {}
    branches: dict[str, dict[str, Component]] = {}
    for name, part in parts.items():
        child = given.get(name)
        if isinstance(part, type):
            tree[name] = reading.space(child, part)
            continue
        shelf = catalogue[part.kind]
        if child is None and not part.default and isinstance(part, OneOf):
            raise node.wrong(f"the space names no {name}", shelf.names())
        path = f"space.{name}"
        child = child or Node({n: Node("default", node.origin, f"{path}.{n}") for n in part.default}, node.origin, path)
        options, branches[name] = reading.choices(child, shelf)
        if isinstance(part, SomeOf):
            tree[name] = Group(options)
            continue
        if not options:
            raise child.wrong(f"no {name} is left to choose from", shelf.names())
        tree[name] = Switch(options, _compatible(part.serves, branches, child) if part.serves else {})
    return Group(tree)


def _compatible(
    other: str, branches: Mapping[str, Mapping[str, Component]], node: Node
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Which of this part's branches meet the needs of each branch of the part `other`."""
    *_, mine = branches.values()
    limits = {}
    for name, component in branches[other].items():
        able = tuple(b for b, c in mine.items() if component.needs <= c.offers)
        if not able:
            wants = ", ".join(sorted(component.needs))
            raise node.wrong(f"{other} '{name}' needs {wants}, which none of {', '.join(mine)} offers")
        if len(able) < len(mine):
            limits[name] = able
    return {other: limits} if limits else {}


def _name(node: Node | None, document: Node) -> str:
    if node is None:
        raise document.wrong("the study has no name")
    name = reading.text(node)
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        what = f"a name becomes a folder; found '{shown(name)}'"
        if strange := next((c for c in name if not c.isascii()), ""):  # it may look like one that is allowed
            what += f", where '{shown(strange)}' is {unicodedata.name(strange, 'no letter')}"
        allowed = "English letters, digits and . _ - after a letter or digit"
        raise node.wrong(what, f"{allowed}, {LONGEST_NAME} at most, no dot at the end")
    return name


def _data(node: Node | None, document: Node, catalogue: Catalogue, wanted: bool) -> Pick | None:
    if not wanted:
        if node is not None:
            raise node.wrong("this objective takes no data")
        return None
    if node is None:
        raise document.wrong("the study names no data", catalogue["data"].names())
    return reading.pick(node, catalogue["data"])


def _pick(search: Node, kind: str, default: str, catalogue: Catalogue) -> Pick:
    node = search.value.get(kind, Node(default, search.origin, f"search.{kind}"))
    return reading.pick(node, catalogue[kind])


def _section(sections: Mapping[str, Node], name: str, config: type, document: Node) -> Any:
    return reading.config(sections.get(name, Node({}, document.origin, name)), config)


def _without(node: Node, *names: str) -> Node:
    return Node({k: v for k, v in node.value.items() if k not in names}, node.origin, node.path)


def _goal(search: Node, aim: Aim, metrics: Mapping[str, Any], epochs: int) -> Goal:
    metric = aim.metric or next(iter(metrics))
    node = search.value.get("metric", search)
    if metric not in metrics:
        raise node.wrong(f"no probe gives the metric '{metric}'", metrics, near=metric)
    return Goal(metric, metrics[metric].mode if aim.mode == "auto" else aim.mode, epochs, aim.seed)
