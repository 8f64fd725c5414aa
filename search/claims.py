"""Claims as they are run: found by name, each a run of its own in `runs/claims`, gone on with where it was left.

The trials of a claim are those of its variants and of its mutation, each with the same seeds, full length, one rung.
They go through the ordinary sweep. What they say is read off the ledger, by `search.verdicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search import run as runs
from search.folder import Folder
from search.ledger import Event, History, Ledger, Trial, read
from search.sweep import Executor, Observer
from search.verdicts import Outcome, outcome, require, turns
from spaces.claims import Claim, configs, read_claim
from spaces.document import Node, StudyError, complaint, parse, placed
from spaces.shipped import open_study, shipped
from spaces.space import Config
from spaces.study import Study, read_study, variants

RUNS = runs.RUNS / "claims"
SHELF = "claims/"  # how the names of shipped ones begin
BUDGETS = ("quick", "full")
FORCED = "search: {strategy: random, scheduler: {none: {reports: 1}}}"  # nothing is chosen, and no trial stops early


@dataclass(frozen=True)
class Plan:
    """A claim, ready to be run.

    Attributes:
        claim: what is claimed.
        study: the study that runs it: its configs take turns, all with the same seeds.
        variants: the studies of the variants and of the mutation.
        configs: theirs, by name.
        seeds: how many are wanted.
        budget: `quick`, or `full` where the claim has such a budget and it is wanted.
        last: the folder of its last run, if there is one.
    """

    claim: Claim
    study: Study
    variants: Mapping[str, Study]
    configs: Mapping[str, Config]
    seeds: int
    budget: str
    among: Path

    @property
    def name(self) -> str:
        """What the claim is called."""
        return self.study.name.removesuffix("-full") if self.budget == "full" else self.study.name

    @property
    def last(self) -> Folder | None:
        """The folder of its last run, if there is one."""
        return runs.last_folder(self.study, None, among=self.among)


def names() -> list[str]:
    """The claims that ship with pretune."""
    return [name.removeprefix(SHELF) for name in shipped() if name.startswith(SHELF)]


def document(name: str) -> Node:
    """The study that makes a claim, by its short name, as that of any study, or by the path of its file.

    Raises:
        StudyError: there is none, or it claims nothing.
    """
    if f"{SHELF}{name}" not in shipped() and name not in shipped() and not Path(name).exists():
        what = "there is no claim of this name and no such file"
        raise StudyError(complaint(name, what, names(), near=name))
    found = open_study(f"{SHELF}{name}" if f"{SHELF}{name}" in shipped() else name)
    if read_claim(found.mapping("a study").get("claim")) is None:
        raise found.wrong("this study claims nothing: it has no section `claim`", names())
    return found


def plan(name: str, seeds: int | None = None, budget: str = "quick", among: Path = RUNS) -> Plan:
    """A claim, checked.

    Args:
        name: a claim's name, or the path of a study that makes one.
        seeds: how many of each variant; by default as the claim says.
        budget: `quick` or `full`; a claim that knows no other budget has the quick one.
        among: the folder in which the run is to lie.

    Raises:
        StudyError: what is wrong with it, and where.
    """
    given = read_study(document(name), runs.CATALOGUE)
    claim = given.claim
    assert claim is not None
    full = budget == "full" and bool(claim.full)
    studies = variants(given, runs.CATALOGUE, full)
    found = configs(claim, {name: (study.space, study.document) for name, study in studies.items()})
    wanted = claim.seeds if seeds is None else seeds
    if wanted < 2:
        raise StudyError(complaint("--seeds", f"an interval needs two seeds, found {wanted}", "2 or more"))
    study = _study(claim, given, full)
    study = replace(study, name=f"{study.name}-full" if full else study.name, paired=tuple(_distinct(found.values())))
    trials = wanted * len(study.paired)
    spending = replace(study.budget, trials=trials, per="", repeats=0)
    return Plan(claim, replace(study, budget=spending, shares=()), studies, found, wanted, BUDGETS[full], among)


def _study(claim: Claim, given: Study, full: bool) -> Study:
    """The study as it stands, under the budget, with what is forced upon claims; its document tells of the claim."""
    base = claim.base(given.document, full)
    for section, part in parse(FORCED, "a claim").mapping("settings").items():
        for key, value in part.mapping("settings").items():
            base = placed(base, f"{section}.{key}", value, value.origin)
    told = Node({**base.value, "claim": claim.node}, base.origin, base.path)
    return replace(read_study(base, runs.CATALOGUE), document=told, claim=claim)


def _distinct(given: Iterable[Config]) -> list[Config]:
    """Each config once: the mutation may be what a control is."""
    found: list[Config] = []
    for config in given:
        if config not in found:
            found.append(config)
    return found


def recorded(planned: Plan) -> Outcome | None:
    """What the last run of a claim has come to, if it is over and has seeds enough.

    Raises:
        StudyError: the claim has changed since that run.
    """
    folder = planned.last
    if folder is None:
        return None
    history, _ = read(folder.ledger)
    _unchanged(planned, history)
    enough = len(turns(history, planned.configs)) >= planned.seeds
    return outcome(planned.claim, planned.configs, history) if history.finished and enough else None


def _unchanged(planned: Plan, history: History) -> None:
    try:
        runs.unchanged(planned.study, history)
    except StudyError as error:
        raise StudyError(f"{error}\n  or run it anew: --again") from None


def load_data(planned: Plan) -> Any:
    """The data of a claim, held against every variant.

    Raises:
        StudyError: they cannot be read, or a variant cannot serve them.
    """
    data = runs.load_data(planned.study)
    for variant in planned.variants.values():
        variant.objective.module.check(variant, data)
    return data


def begin(planned: Plan, data: Any, again: bool = False) -> tuple[Folder, Ledger]:
    """The folder and ledger of a claim's run: its last one, to go on with, or a new one.

    Raises:
        StudyError: the claim or its data have changed since, or the folder cannot be used.
    """
    last = None if again else planned.last
    if last is not None:
        _unchanged(planned, read(last.ledger)[0])
        return last, runs.resume(planned.study, last, data)
    folder = runs.new_folder(planned.study, None, among=planned.among)
    return folder, runs.start(planned.study, folder, data)


def run(planned: Plan, data: Any, folder: Folder, ledger: Ledger, observe: Observer, execute: Executor) -> Outcome:
    """Runs a claim until all its seeds are done; what came of it.

    Raises:
        Interrupted: a signal stopped it.
        StudyError: a condition speaks of a metric that trials turn out not to have; or as `search.run.sweep`.
    """

    def watch(event: Event, history: History) -> None:
        observe(event, history)
        if event["event"] == "asked":  # not at a rung, within a trial, whose own fault it would be taken for
            require(planned.claim, _first(planned, history), history)

    history = runs.sweep(planned.study, data, folder, ledger, watch, execute)
    return outcome(planned.claim, planned.configs, history)


def _first(planned: Plan, history: History) -> dict[str, Trial]:
    """The first trial of each variant that has come to its rung."""
    found: dict[str, Trial] = {}
    for trial in history.trials.values():
        for name in planned.claim.variants:
            if trial.rungs and trial.config == planned.configs[name]:
                found.setdefault(name, trial)
    return found
