"""Asynchronous successive halving: many trials start, the best third of each rung goes on.

Trials pause at every rung and are taken up again from their checkpoint when they turn out to be among the
best 1/eta of all that have reached that rung; nothing waits for a rung to fill (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", Algorithm 2). What is promoted depends on the record alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from search.ledger import Trial
from spaces.domains import Int
from spaces.study import Goal

Key = tuple[float, int, str]  # of a trial at a rung: the better, or else the earlier, comes first; then its id


@dataclass(frozen=True)
class Config:
    """The shape of the ladder."""

    eta: Annotated[int, Int(2, 10)] = 3  # one in so many is promoted; each rung is so many times longer
    levels: Annotated[int, Int(1, 10)] = 3  # rungs, the last being the full budget


def build(config: Config, goal: Goal) -> Asha:
    """The scheduler for trials of the goal's length."""
    return Asha(config, goal)


class Asha:
    """A ladder of rungs, each `eta` times as long as the one before."""

    def __init__(self, config: Config, goal: Goal) -> None:
        self.eta, self.goal = config.eta, goal
        lengths = {max(1, round(goal.epochs / config.eta**level)) for level in range(config.levels)}
        self.rungs = tuple(sorted(lengths))
        self.first = self.rungs[0]
        self.steps = [Step(rung, longer) for rung, longer in pairwise(self.rungs)]
        self.trials: dict[str, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        values = {} if trial.failed else {rung.epoch: rung.metrics.get(self.goal.metric) for rung in trial.rungs}
        for step in self.steps:
            value = values.get(step.rung)
            key = None if value is None else (-self.goal.sign * value, trial.number, trial.id)
            step.reached.place(trial.id, key)
            step.paused.place(trial.id, key if trial.until == step.rung else None)

    def promote(self, ready: Set[str], exhausted: bool) -> tuple[Trial, int] | None:
        """The best promotable trial of the highest rung that has one.

        Once the budget of trials is exhausted, the best of a rung too thin to promote anyone goes on all the
        same, so that every study ends with a trial of full length.
        """
        for step in reversed(self.steps):
            quota = len(step.reached.order) // self.eta
            if exhausted and quota == 0:
                quota = 1
            for key in step.paused.order:
                if bisect_left(step.reached.order, key) >= quota:
                    break
                if key[-1] in ready:
                    return self.trials[key[-1]], step.longer
        return None


class Ranking:
    """Trials from best to worst. Keeping it in order costs a search each time, whatever was told before."""

    def __init__(self) -> None:
        self.order: list[Key] = []
        self.keys: dict[str, Key] = {}

    def place(self, id: str, key: Key | None) -> None:
        """Puts a trial where it belongs now; nowhere, without a key."""
        before = self.keys.pop(id, None)
        if key is not None:
            self.keys[id] = key
        if key == before:
            return
        if before is not None:
            del self.order[bisect_left(self.order, before)]
        if key is not None:
            insort(self.order, key)


class Step:
    """From a rung to the next: who has reached the rung, and who of them has not gone on."""

    def __init__(self, rung: int, longer: int) -> None:
        self.rung, self.longer = rung, longer
        self.reached, self.paused = Ranking(), Ranking()
