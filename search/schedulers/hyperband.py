"""Asynchronous Hyperband: successive halving at several degrees of haste at once, for early values that may mislead.

A bracket is a ladder of asynchronous successive halving. The hastiest starts at the lowest rung and gives up most
trials there; each other starts a rung higher, and the last one stops nobody early. Trials are dealt out so that every
bracket spends about as much: of K brackets, the one with s rungs below the last gets ceil(K / (s + 1) eta^s) trials in
each round (Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", Algorithm 1).
In which bracket a trial runs depends on its number alone, and brackets take turns as evenly as whole trials allow.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated

from search.ledger import Trial
from search.schedulers import asha
from spaces.domains import Int
from spaces.study import Goal


@dataclass(frozen=True)
class Config:
    """The shape of the ladders."""

    eta: Annotated[int, Int(2, 10)] = 3  # one in so many is promoted; each rung is so many times longer
    levels: Annotated[int, Int(1, 10)] = 3  # rungs of the longest ladder, and so brackets; the last is the full budget


def build(config: Config, goal: Goal) -> Hyperband:
    """The scheduler for trials of the goal's length."""
    return Hyperband(config.eta, asha.rungs(asha.Config(config.eta, config.levels), goal), goal)


class Hyperband:
    """Brackets side by side, the hastiest first."""

    def __init__(self, eta: int, rungs: tuple[int, ...], goal: Goal) -> None:
        self.rungs = rungs
        self.brackets = [asha.Asha(eta, rungs[start:], goal) for start in range(len(rungs))]
        self.deal = Deal(shares(eta, len(rungs)))

    def first(self, number: int) -> int:
        return self._bracket(number).rungs[0]

    def tell(self, trial: Trial) -> None:
        self._bracket(trial.number).tell(trial)

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """The promotable trial that gets furthest; where several brackets have one, that of the hastiest.

        At the end, every bracket takes its best to full length.
        """
        found = [choice for bracket in self.brackets if (choice := bracket.promote(ready, coming, idle))]
        return max(found, key=lambda choice: choice[1], default=None)

    def _bracket(self, number: int) -> asha.Asha:
        return self.brackets[self.deal.bracket(number)]


def shares(eta: int, count: int) -> list[int]:
    """The trials of each of `count` brackets in a round, the hastiest first."""
    return [-(-count * eta**below // (below + 1)) for below in reversed(range(count))]


class Deal:
    """Which bracket each trial is in: always the one that lies furthest behind its share of a round."""

    def __init__(self, shares: list[int]) -> None:
        self.shares, self.round = shares, sum(shares)
        self.given = [0] * len(shares)
        self.turns: list[int] = []  # as far as anyone has asked

    def bracket(self, number: int) -> int:
        """The bracket of a trial, counted from the hastiest."""
        place = number % self.round
        while len(self.turns) <= place:
            turn = len(self.turns) + 1
            behind = [share * turn - self.round * given for share, given in zip(self.shares, self.given, strict=True)]
            self.turns.append(behind.index(max(behind)))
            self.given[self.turns[-1]] += 1
        return self.turns[place]
