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
from spaces.claims import FLOORS, Claim, check_metrics, configs, read_claim, settled
from spaces.components import Catalogue, Component, Pick
from spaces.conditions import kept_share as kept_share
from spaces.document import Node, shown
from spaces.domains import Int, Uniform
from spaces.goal import Goal as Goal
from spaces.goal import read_goal
from spaces.parts import OneOf as OneOf  # which objectives import from here, beside the study
from spaces.parts import Part as Part
from spaces.parts import SomeOf as SomeOf
from spaces.parts import read_space
from spaces.space import Config, Group, Switch


@dataclass(frozen=True)
class Budget:
    """How much a study may spend."""

    trials: Annotated[int, Int(1, 1_000_000)] = 24  # configs tried
    epochs: Annotated[int, Int(1, 1_000_000)] = 20  # passes over the data of a trial that is not stopped early
    trial_timeout: Annotated[float, Uniform(0, 1e9)] = 0.0  # seconds without a rung after which a trial hangs; 0: never
    retries: Annotated[int, Int(0, 1000)] = 2  # times that a trial is taken up again whose worker died or hung
    per: str = ""  # a switch: each of its branches is searched by itself, with so many trials of its own
    repeats: Annotated[int, Int(0, 1000)] = 0  # further seeds with which the finalists are run, for mean and interval
    finalists: Annotated[int, Int(1, 1000)] = 3  # of the best configs, how many are repeated

    @property
    def confirming(self) -> int:
        """Trials, at most, that repeat finalists."""
        return self.repeats * self.finalists


@dataclass(frozen=True)
class Own:
    """What a branch may spend instead of the others' budget; 0: as they do."""

    trials: Annotated[int, Int(0, 1_000_000)] = 0
    epochs: Annotated[int, Int(0, 1_000_000)] = 0


@dataclass(frozen=True)
class Share:
    """What the search of one branch may spend."""

    branch: str
    trials: int
    epochs: int


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
class Draws:
    """Where everything that is drawn comes from."""

    seed: Annotated[int, Int(0, 2**31 - 1)] = 0


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
    shares: tuple[Share, ...]  # of the budget, where it is `per` branch
    strategy: Pick
    scheduler: Pick
    goal: Goal
    metrics: Mapping[str, Any]  # what trials give: the objective's, and those of components that the space names
    resources: Resources
    warm_start: tuple[Node, ...]  # the folders of earlier runs to learn from
    document: Node = field(repr=False, compare=False)
    claim: Claim | None = None
    paired: tuple[Config, ...] = ()  # instead of a search: configs that take turns, in each turn all with the same seed

    @property
    def trials(self) -> int:
        """How many configs are tried in all."""
        return sum(share.trials for share in self.shares) if self.shares else self.budget.trials


SEARCH = ("strategy", "scheduler", "metric", "mode", "subject_to", "warm_start")
SECTIONS = ("name", "about", "objective", "data", "space", "probe", "budget", "search", "resources", "claim")
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
    search.known([*reading.names(Draws), *SEARCH], "search setting")
    seed = reading.config(_without(search, *SEARCH), Draws).seed
    metrics = {**terms.METRICS, **_own_metrics(space, terms.PARTS, catalogue)}
    spending = sections.get("budget", Node({}, document.origin, "budget"))
    budget = reading.config(_without(spending, "branches"), Budget)
    study = Study(
        name=name,
        about=about,
        objective=objective,
        data=data,
        space=space,
        probe=_section(sections, "probe", terms.Probe, document) if terms.Probe else None,
        budget=budget,
        shares=_shares(spending, budget, space),
        strategy=_pick(search, "strategy", "tpe", catalogue),
        scheduler=_pick(search, "scheduler", "asha", catalogue),
        goal=read_goal(search, metrics, budget.epochs, seed),
        metrics=metrics,
        resources=_section(sections, "resources", Resources, document),
        warm_start=_paths(search.value.get("warm_start")),
        document=document,
        claim=read_claim(sections.get("claim")),
    )
    for full in (False, True) if study.claim and study.claim.full else (False,):
        variants(study, catalogue, full)
    return study


def variants(study: Study, catalogue: Catalogue, full: bool = False) -> dict[str, Study]:
    """The studies of a claim's variants and of its mutation, which leave nothing open; none where nothing is claimed.

    Raises:
        StudyError: what is wrong with one of them, and where.
    """
    if study.claim is None:
        return {}
    base = read_study(study.claim.base(study.document, full), catalogue)
    settled(base.space, base.document)
    found = {n: read_study(d, catalogue) for n, d in study.claim.documents(study.document, full).items()}
    configs(study.claim, {name: (variant.space, variant.document) for name, variant in found.items()})
    check_metrics(study.claim, {**dict.fromkeys(FLOORS, base.metrics), **{n: v.metrics for n, v in found.items()}})
    return found


def _own_metrics(space: Group, parts: Mapping[str, Part], catalogue: Catalogue) -> dict[str, Any]:
    """The metrics that components of the space give beside the objective's."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        node = space.parts[name]
        named = node.branches if isinstance(node, Switch) else node.parts if isinstance(node, Group) else {}
        if not isinstance(part, type):
            for one in named:
                found |= catalogue[part.kind].load(one).metrics
    return found


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
    if not isinstance(node.value, dict):
        return node  # whoever reads it will say what is wrong
    return Node({k: v for k, v in node.value.items() if k not in names}, node.origin, node.path)


def _paths(node: Node | None) -> tuple[Node, ...]:
    """The paths at a node that is one or a list of them."""
    items = [] if node is None else node.value if isinstance(node.value, list) else [node]
    for item in items:
        reading.text(item)
    return tuple(items)


def _shares(node: Node, budget: Budget, space: Group) -> tuple[Share, ...]:
    """What each branch of the switch `budget.per` may spend, `budget.branches` saying which differ."""
    if not budget.per:
        if "branches" in node.value and node.value["branches"].value:
            raise node.value["branches"].wrong("which switch are these branches of? Say it by budget.per")
        return ()
    switches = {name: part for name, part in space.parts.items() if isinstance(part, Switch)}
    if budget.per not in switches:
        raise node.value["per"].wrong(f"the space has no switch '{budget.per}'", switches, near=budget.per)
    branches = switches[budget.per].branches
    given = node.value["branches"].known(branches, budget.per) if "branches" in node.value else {}
    shares = []
    for branch in branches:
        own = reading.config(given[branch], Own) if branch in given else Own()
        shares.append(Share(branch, own.trials or budget.trials, own.epochs or budget.epochs))
    return tuple(shares)
