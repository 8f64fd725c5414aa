"""The median stopping rule: a trial goes on unless it is worse than most were at its age.

At every rung the best value that a trial has had so far is held against the running averages of the others that have
reached the rung, each the mean of a trial's values up to there; it goes on unless it is worse than their median
(Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization", section 3.2.2; there the others are those
that are complete). Unlike successive halving, it needs no rung to fill: a trial that does well is never kept waiting.
What is decided depends on the record alone, and holds for now: a trial that was left behind goes on after all when
worse ones that come later draw the median down.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from search.ledger import Trial
from search.schedulers._ranking import Key, Ranking, values
from search.schedulers.none import spread
from spaces.domains import Int
from spaces.study import Goal


@dataclass(frozen=True)
class Config:
    """How often trials are judged, and from when on."""

    reports: Annotated[int, Int(1, 1000)] = 5  # rungs, evenly spaced over the epochs
    grace: Annotated[int, Int(1, 10_000)] = 5  # others at a rung before anyone is held against them


def build(config: Config, goal: Goal) -> Median:
    """The scheduler for trials of the goal's length."""
    return Median(spread(goal.epochs, config.reports), config.grace, goal)


class Median:
    """Lets those through that are not worse than the median."""

    def __init__(self, rungs: tuple[int, ...], grace: int, goal: Goal) -> None:
        self.rungs, self.grace, self.goal = rungs, grace, goal
        self.steps = [Step(rung, longer) for rung, longer in pairwise(rungs)]
        self.trials: dict[str, Trial] = {}

    def first(self, number: int) -> int:
        return self.rungs[0]

    def tell(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        known = values(trial, self.goal)
        for step in self.steps:
            step.tell(trial, known)

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """Of the highest rung that has one, the trial with the best value so far that is not worse than the median.

        The best of a rung never is, so that every study ends with a trial of full length.
        """
        for step in reversed(self.steps):
            for key in step.paused.order:
                if key > step.hopeless(self.grace):
                    break
                if key[-1] in ready and step.passes(key, self.grace):
                    return self.trials[key[-1]], step.longer
        return None


class Step:
    """From a rung to the next: the running averages of all that have reached the rung, and the best values of those
    who have not gone on."""

    def __init__(self, rung: int, longer: int) -> None:
        self.rung, self.longer = rung, longer
        self.averages, self.paused = Ranking(), Ranking()

    def tell(self, trial: Trial, known: dict[int, float]) -> None:
        """Takes note of a trial and its values by rung."""
        seen = [value for epoch, value in known.items() if epoch <= self.rung]
        reached = self.rung in known
        self.averages.place(trial.id, (-mean(seen), trial.number, trial.id) if reached else None)
        paused = reached and trial.until == self.rung
        self.paused.place(trial.id, (-max(seen), trial.number, trial.id) if paused else None)

    def passes(self, key: Key, grace: int) -> bool:
        """Whether the best value of a trial here is as good as the median of the others' averages, or these are too
        few to tell."""
        own = bisect_left(self.averages.order, self.averages.keys[key[-1]])
        others = len(self.averages.order) - 1
        return others < grace or key[0] <= self._median(own)

    def hopeless(self, grace: int) -> Key:
        """A key beyond which nobody passes: the median for the one whose own average is the best."""
        few = len(self.averages.order) - 1 < grace
        return (float("inf") if few else self._median(0), 2**63, "")

    def _median(self, left_out: int) -> float:
        """The median of the averages but for the one at that place; their signs are turned, as in keys."""
        count = len(self.averages.order) - 1
        low, high = (self.averages.order[place + (place >= left_out)][0] for place in ((count - 1) // 2, count // 2))
        return low / 2 + high / 2  # their sum may be beyond the greatest number


def mean(values: list[float]) -> float:
    """The mean; never beyond the least and the greatest, be it by a rounding, nor lost where the sum is too large."""
    return min(max(sum(value / len(values) for value in values), min(values)), max(values))
