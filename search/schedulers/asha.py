"""Asynchronous successive halving: many trials start, the best third of each rung goes on.

Trials pause at every rung and are taken up again from their checkpoint when they turn out to be among the
best 1/eta of all that have reached that rung; nothing waits for a rung to fill (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", Algorithm 2). What is promoted depends on the record alone.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from search.ledger import Trial
from search.schedulers._ranking import Step, values
from spaces.domains import Int
from spaces.study import Goal


@dataclass(frozen=True)
class Config:
    """The shape of the ladder."""

    eta: Annotated[int, Int(2, 10)] = 3  # one in so many is promoted; each rung is so many times longer
    levels: Annotated[int, Int(1, 10)] = 3  # rungs, the last being the full budget


def build(config: Config, goal: Goal) -> Asha:
    """The scheduler for trials of the goal's length."""
    return Asha(config.eta, rungs(config, goal), goal)


def rungs(config: Config, goal: Goal) -> tuple[int, ...]:
    """The ladder: the goal's epochs, and an eta-th of them at each level below; of equal rungs there is one."""
    return tuple(sorted({max(1, round(goal.epochs / config.eta**level)) for level in range(config.levels)}))


class Asha:
    """A ladder of rungs, each `eta` times as long as the one before."""

    def __init__(self, eta: int, rungs: tuple[int, ...], goal: Goal) -> None:
        self.eta, self.rungs, self.goal = eta, rungs, goal
        self.steps = [Step(rung, longer) for rung, longer in pairwise(rungs)]
        self.trials: dict[str, Trial] = {}

    def first(self, number: int) -> int:
        return self.rungs[0]

    def tell(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        known = values(trial, self.goal)
        for step in self.steps:
            step.tell(trial, known.get(step.rung))

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """The best promotable trial of the highest rung that has one.

        Once no one is at work and no trial will come, the best of a rung too thin to promote anyone goes on all the
        same, so that every study ends with a trial of full length.
        """
        for step in reversed(self.steps):
            quota = len(step.reached.order) // self.eta
            if idle and not coming and quota == 0:
                quota = 1
            for key in step.paused.order:
                if step.reached.before(key) >= quota:
                    break
                if key[-1] in ready:
                    return self.trials[key[-1]], step.longer
        return None
