"""The study: what a YAML file asks for, checked whole and turned into typed values.

The sections of a study are configs like any component's: frozen dataclasses whose fields carry type,
bounds and default once. What may stand under `space` is said by the objective (its `PARTS`), and what
may be named comes from the catalogue that the caller hands in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from spaces import reading
from spaces.components import Catalogue, Component, Pick
from spaces.document import Node, StudyError, shown
from spaces.domains import Domain, Int, Uniform
from spaces.expressions import parse, resolve
from spaces.goal import Goal, read_goal
from spaces.knobs import knobs
from spaces.space import Config, Either, Group, Same, Sequence, Switch, allowed, below, leaves, step_path, walk
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
    per: str = ""  # a switch: each of its branches is searched by itself, with so many trials of its own
    repeats: Annotated[int, Int(0, 1000)] = 0  # further seeds with which the finalists are run, for mean and interval
    finalists: Annotated[int, Int(1, 1000)] = 3  # of the best configs, how many are repeated


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
    resources: Resources
    warm_start: tuple[Node, ...]  # the folders of earlier runs to learn from
    document: Node = field(repr=False, compare=False)

    @property
    def trials(self) -> int:
        """How many configs are tried in all."""
        return sum(share.trials for share in self.shares) if self.shares else self.budget.trials


SEARCH = ("strategy", "scheduler", "metric", "mode", "subject_to", "warm_start")
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
    search.known([*reading.names(Draws), *SEARCH], "search setting")
    seed = reading.config(_without(search, *SEARCH), Draws).seed
    spending = sections.get("budget", Node({}, document.origin, "budget"))
    budget = reading.config(_without(spending, "branches"), Budget)
    return Study(
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
        goal=read_goal(search, terms.METRICS, budget.epochs, seed),
        resources=_section(sections, "resources", Resources, document),
        warm_start=_paths(search.value.get("warm_start")),
        document=document,
    )


def read_space(node: Node | None, document: Node, parts: Mapping[str, Part], catalogue: Catalogue) -> Group:
    """The space under `node`: each part that the objective declares, as the study or its default has it, and what
    must hold of it (`where`)."""
    node = node or Node({}, document.origin, "space")
    given = node.known((*parts, "where"), "space part")
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
        if isinstance(part, SomeOf) and isinstance(child.value, dict) and "sequence" in child.value:
            (steps,) = child.known(("sequence",), "setting beside 'sequence'").values()
            tree[name] = reading.sequence(steps, shelf)
            continue
        options, branches[name] = reading.choices(child, shelf)
        if isinstance(part, SomeOf):
            tree[name] = Group(options)
            continue
        if not options:
            raise child.wrong(f"no {name} is left to choose from", shelf.names())
        tree[name] = Switch(options, _compatible(part.serves, branches, child) if part.serves else {})
    return constrained(united(Group(tree)), given.get("where"))


def united(space: Group) -> Group:
    """The space with each knob that is to be the same as another tied to it."""
    targets = dict(_domains(space, ""))

    def tied(node: SpaceNode) -> SpaceNode:
        match node:
            case reading.Wanted():
                try:
                    path = resolve(node.path, list(targets))
                except ValueError as error:
                    raise node.node.wrong(f"no knob to be the same as: {error}") from None
                return node.found(path, targets[path])
            case Group(parts):
                return Group({name: tied(part) for name, part in parts.items()})
            case Switch(branches, only):
                return Switch({name: tied(branch) for name, branch in branches.items()}, only)  # type: ignore[misc]
            case Either(ways):
                return Either({name: tied(way) for name, way in ways.items()})
            case Sequence(steps, length, repeat):
                return Sequence({name: tied(step) for name, step in steps.items()}, length, repeat)  # type: ignore[misc]
        return node

    return Group({name: tied(part) for name, part in space.parts.items()})


def _domains(node: SpaceNode, path: str) -> Iterator[tuple[str, Domain]]:
    """Every place with a value of its own, drawn or settled, by its dotted name."""
    match node:
        case Group(children) | Switch(children) | Either(children):
            for name, child in children.items():
                yield from _domains(child, below(path, name))
        case Sequence(steps, _, repeat):
            for name, child in steps.items() if not repeat else ():
                yield from _domains(child, step_path(node, path, 0, name))
        case Same():
            pass
        case _:
            yield path, node


def constrained(space: Group, node: Node | None) -> Group:
    """The space with the conditions that a study states about it.

    Raises:
        StudyError: one that cannot be read, or all of them together let next to nothing through.
    """
    if node is None:
        return space
    known = list(dict.fromkeys(_nameable(space)))
    where = []
    for item in node.value if isinstance(node.value, list) else [node]:
        try:
            where.append(parse(reading.text(item), known))
        except StudyError:
            raise
        except ValueError as error:
            raise item.wrong(f"'{shown(str(item.value))}' is no condition on knobs: {error}") from None
    made = Group(space.parts, tuple(where))
    if not satisfiable(made):
        kept = ", ".join(f"'{rule.text}' by {kept_share(Group(space.parts, (rule,))):.1%}" for rule in where)
        raise node.wrong(f"of {TRIES} configs drawn at random none keeps to this: {kept}", "conditions that can be met")
    return made


def _nameable(space: Group) -> Iterator[str]:
    """What conditions may speak of: knobs, settled values, switches; below an `either`, also without its ways."""
    drawn = [knob.name.partition("[")[0] for knob in knobs(space)]
    yield from (
        *dict(_domains(space, "")),
        *drawn,
        *(n for n, part in space.parts.items() if isinstance(part, Switch)),
    )
    eithers = [path for path in drawn if any(other.startswith(f"{path}.") for other in drawn)]
    rng = np.random.default_rng(0)
    for _ in range(TRIES // 10 if eithers else 0):
        yield from leaves(walk(space, lambda name, domain: domain.sample(rng)))


TRIES = 2000  # configs drawn to see whether conditions can be met


def satisfiable(space: Group) -> bool:
    """Whether random draws find a config that is allowed."""
    return any(allowed(space, config) for config in _sampled(space))


def kept_share(space: Group) -> float:
    """The share of configs that is allowed."""
    return sum(allowed(space, config) for config in _sampled(space)) / TRIES


def _sampled(space: Group) -> Iterator[Config]:
    rng = np.random.default_rng(0)
    return (walk(space, lambda name, domain: domain.sample(rng)) for _ in range(TRIES))


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
        if "branches" in node.value:
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
