"""Schedulers, one a file: which trial goes on, and how far; a pure function of the rungs on record."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from search.ledger import Trial
from spaces.domains import Choice, Domain, Ordinal
from spaces.knobs import knobs
from spaces.space import Config
from spaces.study import Study


class Scheduler(Protocol):
    """Built by a module's `build(config, goal)`; by `build(config, goal, space, tunable)` if the module states
    `FORKS = True`.

    What it answers depends on the last word about each trial alone, not on how many there were nor on their order. A
    scheduler is therefore rebuilt by telling it every trial of the ledger once.

    Attributes:
        rungs: the epochs after which trials report, ascending; the last is the whole budget of a trial.
    """

    rungs: tuple[int, ...]

    def first(self, number: int) -> int:
        """The epoch that a new trial of that number may run to; 0 where none is to begin now."""
        ...

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial as it stands now: asked, at a rung, promoted, or failed; a later word replaces an
        earlier. What becomes of the trial counts only once it is told."""
        ...

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """A waiting trial that deserves more, and the epoch that it may run to; None where no one does.

        Args:
            ready: the ids of those that have reached what they were let run to, and pause.
            coming: whether the strategy has more trials to offer, and the budget room for them.
            idle: whether nobody is at work; if no trial is coming either, waiting for more evidence is pointless.
        """
        ...


@dataclass(frozen=True)
class Fork:
    """A new trial that takes up the state of `parent` after its rung at epoch `start`, and runs to `until` by a config
    of its own."""

    parent: Trial
    start: int
    until: int
    config: Config


@runtime_checkable
class Forking(Scheduler, Protocol):
    """A scheduler that also has trials taken up by others."""

    def fork(self, number: int) -> Fork | None:
        """The trial `number`, if a fork is due; its random numbers come from the seed and this number."""
        ...

    def oldest(self) -> int:
        """The epoch before which, as things stand, no fork will begin."""
        ...


def forks(study: Study) -> bool:
    """Whether trials of the study may be taken up by others."""
    return bool(getattr(study.scheduler.component.module, "FORKS", False))


def build_scheduler(study: Study) -> Scheduler:
    """The study's scheduler.

    Raises:
        StudyError: it changes knobs of trials under way, and there is none that can bear it.
    """
    if not forks(study):
        built: Scheduler = study.scheduler.build(study.goal)
        return built
    name, prefixes = study.scheduler.component.name, getattr(study.objective.module, "TUNABLE", ())
    if not prefixes:
        what = f"'{name}' changes knobs of trials under way, and a trial of '{study.objective.name}' has none to change"
        raise study.scheduler.node.wrong(what, "another scheduler")
    if not any(tunable(knob.name, knob.domain, prefixes) for knob in knobs(study.space)):
        what = f"'{name}' changes knobs of trials under way, and this study varies none that may change"
        raise study.scheduler.node.wrong(what, [f"space.{prefix}" for prefix in prefixes])
    forking: Scheduler = study.scheduler.build(study.goal, study.space, prefixes)
    return forking


def tunable(name: str, domain: Domain, prefixes: tuple[str, ...]) -> bool:
    """Whether a knob may change under way: its dotted name is one of the prefixes or lies beneath one, and its values
    have an order, as those of a switch have not."""
    ordered = isinstance(domain, Ordinal) or not isinstance(domain, Choice)
    return ordered and any(name == prefix or name.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)
