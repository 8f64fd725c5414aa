"""What chooses a study's configs and how far they go, where that is more than one strategy and one scheduler.

Budgets per branch: every branch of a switch is searched by itself, with trials, rungs and a model of its own.

To the sweep it looks like one strategy and one scheduler. Trials of the branches take turns, each as often as its
share of the trials asks for. Paired configs: nothing is searched, they take turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from search.ledger import Trial
from search.schedulers import Scheduler, build_scheduler, forks
from search.strategies import Strategy
from spaces.space import Config, Group, Switch
from spaces.study import Study


def strategy(study: Study) -> Strategy:
    """What chooses a study's configs."""
    if study.paired:
        return Listed(study.paired)
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


class Listed:
    """Configs that take turns: trial `number` has the one at that place, counted round and round."""

    def __init__(self, configs: tuple[Config, ...]) -> None:
        self.configs = configs

    def ask(self, number: int) -> Config:
        return self.configs[number % len(self.configs)]

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""


class Turns:
    """Whose turn it is: the branch that is furthest behind its share, counting the trials that were told."""

    def __init__(self, study: Study) -> None:
        self.switch, self.shares = study.budget.per, study.shares
        self.told: dict[str, set[str]] = {share.branch: set() for share in study.shares}

    def tell(self, trial: Trial) -> str:
        """Counts a trial; its branch. Those of earlier runs are no part of the budget."""
        branch = _branch(trial.config, self.switch)
        if trial.number >= 0:
            self.told[branch].add(trial.id)
        return branch

    def next(self) -> tuple[str, int] | None:
        """The branch of the next trial, and which of its trials that will be, from 0; None where all have theirs."""
        open_ = [share for share in self.shares if len(self.told[share.branch]) < share.trials]
        if not open_:
            return None
        share = min(open_, key=lambda share: (len(self.told[share.branch]) + 0.5) / share.trials)
        return share.branch, len(self.told[share.branch])

    def left(self, branch: str) -> bool:
        """Whether a branch has trials to come."""
        return any(len(self.told[share.branch]) < share.trials for share in self.shares if share.branch == branch)


def narrowed(space: Group, switch: str, branch: str) -> Group:
    """The space with one branch left at a switch."""
    part = space.parts[switch]
    assert isinstance(part, Switch)
    return Group({**space.parts, switch: Switch({branch: part.branches[branch]}, part.only)}, space.where)


class Searches:
    """A strategy for each branch, asked in turns."""

    def __init__(self, study: Study) -> None:
        self.turns = Turns(study)
        self.inner: Mapping[str, Strategy] = {
            share.branch: study.strategy.build(
                narrowed(study.space, study.budget.per, share.branch), replace(study.goal, epochs=share.epochs)
            )
            for share in study.shares
        }

    def ask(self, number: int) -> Config | None:
        """The config of the next trial; None at the end, or where a branch has nothing left to try."""
        due = self.turns.next()
        return None if due is None else self.inner[due[0]].ask(due[1])

    def tell(self, trial: Trial) -> None:
        self.inner[self.turns.tell(trial)].tell(trial)


class Ladders:
    """A scheduler for each branch, whose trials compete with each other alone."""

    def __init__(self, study: Study) -> None:
        self.turns = Turns(study)
        self.inner: Mapping[str, Scheduler] = {
            share.branch: study.scheduler.build(replace(study.goal, epochs=share.epochs)) for share in study.shares
        }
        self.rungs = tuple(sorted({rung for ladder in self.inner.values() for rung in ladder.rungs}))
        self.working: dict[str, set[str]] = {branch: set() for branch in self.inner}

    def first(self, number: int) -> int:
        due = self.turns.next()
        return 0 if due is None else self.inner[due[0]].first(due[1])

    def tell(self, trial: Trial) -> None:
        branch = self.turns.tell(trial)
        self.inner[branch].tell(trial)
        at_work = not (trial.failed or trial.waiting)
        (self.working[branch].add if at_work else self.working[branch].discard)(trial.id)

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """The first branch's choice that has one; a branch is at its end when its own trials are."""
        for branch, ladder in self.inner.items():
            more = coming and self.turns.left(branch)
            choice = ladder.promote(ready, more, idle or not self.working[branch])
            if choice is not None:
                return choice
        return None


def _branch(config: Config, switch: str) -> str:
    chosen: dict[str, Any] = config[switch]
    return next(iter(chosen))
