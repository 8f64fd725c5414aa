"""Asynchronous successive halving: many trials start, the best third of each rung goes on.

Trials pause at every rung and are taken up again from their checkpoint when they turn out to be among the
best 1/eta of all that have reached that rung; nothing waits for a rung to fill (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", Algorithm 2). What is promoted depends on the record alone.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Annotated

from search.ledger import Trial
from spaces.domains import Int
from spaces.study import Goal


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

    def promote(self, trials: Sequence[Trial], ready: Set[str], exhausted: bool) -> tuple[Trial, int] | None:
        """The best promotable trial of the highest rung that has one.

        Once the budget of trials is exhausted, the best of a rung too thin to promote anyone goes on all the
        same, so that every study ends with a trial of full length.
        """
        for rung, longer in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            reached = [(self._score(trial, rung), trial) for trial in trials if trial.epoch >= rung]
            reached.sort(key=lambda pair: (-pair[0], pair[1].number))
            quota = len(reached) // self.eta
            if exhausted and quota == 0:
                quota = 1
            for _, trial in reached[:quota]:
                if trial.id in ready and trial.until == rung:
                    return trial, longer
        return None

    def _score(self, trial: Trial, rung: int) -> float:
        return self.goal.sign * next(r.metrics[self.goal.metric] for r in trial.rungs if r.epoch == rung)
