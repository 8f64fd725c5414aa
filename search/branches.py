"""Budgets per branch: every branch of a switch is searched by itself, with trials, rungs and a model of its own.

To the sweep it looks like one strategy and one scheduler. Trials of the branches take turns, each as often as its
share of the trials asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from search.ledger import Trial
from search.schedulers import Scheduler, build_scheduler, forks
from search.strategies import Strategy
from spaces.space import Config, Group, Switch
from spaces.study import Share, Study


def strategy(study: Study) -> Strategy:
    """What chooses a study's configs."""
    if study.shares:
        return Searches(study)
    built: Strategy = study.strategy.build(study.space, study.goal)
    return built


def scheduler(study: Study) -> Scheduler:
    """What decides how far a study's trials go.

    Raises:
        StudyError: it changes knobs of trials under way, which this study cannot bear.
    """
    if not study.shares:
        return build_scheduler(study)
    if forks(study):
        name = study.scheduler.component.name
        raise study.scheduler.node.wrong(
            f"'{name}' trains one population, which has no budget per branch", "asha, none"
        )
    return Ladders(study)


def ladder(study: Study, config: Config, rungs: tuple[int, ...]) -> tuple[int, ...]:
    """The rungs of a trial: those of all, or those of its branch."""
    if not study.shares:
        return rungs
    branch = _branch(config, study.budget.per)
    (share,) = (share for share in study.shares if share.branch == branch)
    made: Scheduler = study.scheduler.build(replace(study.goal, epochs=share.epochs))
    return made.rungs


def turns(shares: tuple[Share, ...]) -> list[tuple[str, int]]:
    """The branch of each trial by number, and which of that branch's trials it is, from 0.

    Each branch's trials are spread evenly over all; of those due at the same time, the branch named first goes first.
    """
    due = [((n + 0.5) / share.trials, place, n) for place, share in enumerate(shares) for n in range(share.trials)]
    return [(shares[place].branch, n) for _, place, n in sorted(due)]


def narrowed(space: Group, switch: str, branch: str) -> Group:
    """The space with one branch left at a switch."""
    part = space.parts[switch]
    assert isinstance(part, Switch)
    return Group({**space.parts, switch: Switch({branch: part.branches[branch]}, part.only)}, space.where)


class Searches:
    """A strategy for each branch, asked in turns."""

    def __init__(self, study: Study) -> None:
        self.switch, self.turns = study.budget.per, turns(study.shares)
        self.inner: Mapping[str, Strategy] = {
            share.branch: study.strategy.build(
                narrowed(study.space, self.switch, share.branch), replace(study.goal, epochs=share.epochs)
            )
            for share in study.shares
        }

    def ask(self, number: int) -> Config | None:
        """The config of trial `number`; None at the end, or where a branch has nothing left to try."""
        if number >= len(self.turns):
            return None
        branch, turn = self.turns[number]
        return self.inner[branch].ask(turn)

    def tell(self, trial: Trial) -> None:
        self.inner[_branch(trial.config, self.switch)].tell(trial)


class Ladders:
    """A scheduler for each branch, whose trials compete with each other alone."""

    def __init__(self, study: Study) -> None:
        self.switch, self.turns = study.budget.per, turns(study.shares)
        self.shares = {share.branch: share.trials for share in study.shares}
        self.inner: Mapping[str, Scheduler] = {
            share.branch: study.scheduler.build(replace(study.goal, epochs=share.epochs)) for share in study.shares
        }
        self.rungs = tuple(sorted({rung for ladder in self.inner.values() for rung in ladder.rungs}))
        self.asked: dict[str, set[str]] = {branch: set() for branch in self.inner}
        self.working: dict[str, set[str]] = {branch: set() for branch in self.inner}

    def first(self, number: int) -> int:
        branch, turn = self.turns[number]
        return self.inner[branch].first(turn)

    def tell(self, trial: Trial) -> None:
        branch = _branch(trial.config, self.switch)
        self.inner[branch].tell(trial)
        self.asked[branch].add(trial.id)
        at_work = not (trial.failed or trial.waiting)
        (self.working[branch].add if at_work else self.working[branch].discard)(trial.id)

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """The first branch's choice that has one; a branch is at its end when its own trials are."""
        for branch, ladder in self.inner.items():
            more = coming and len(self.asked[branch]) < self.shares[branch]
            choice = ladder.promote(ready, more, idle or not self.working[branch])
            if choice is not None:
                return choice
        return None


def _branch(config: Config, switch: str) -> str:
    chosen: dict[str, Any] = config[switch]
    return next(iter(chosen))
