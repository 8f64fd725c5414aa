"""The selector: the strategy of the shelf that suits the space, the goal and how many trials there were already.

While trials are few, a Gaussian process finds the best in spaces of any shape, conditional ones included: `gp`, and
`ehvi` for up to four targets. What it costs grows with the trials and the width of the space, so that later, or where
there are very many knobs, others take over from what was told: `cmaes` where all knobs are numbers that every config
has, else `tpe`, which serves several targets as well. As Optuna's AutoSampler chooses, but that there a space with
conditions or choices is left to TPE from the start, and several targets to NSGA-II in the end: on problems of known
answer the process was better on the former, and TPE on the latter (benchmarks/searchers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Annotated, Any

from search.ledger import Trial
from search.strategies import Strategy
from search.strategies._encoding import Encoding
from search.strategies.cmaes import numeric
from spaces.domains import Int
from spaces.knobs import knobs
from spaces.space import Config as Point
from spaces.space import Group
from spaces.study import Goal

TARGETS = "many"
MOST_TARGETS = 4  # beyond, a hypervolume takes too long
WIDEST = 150  # columns of the space as a cube, beyond which a Gaussian process has nothing to go by


@dataclass(frozen=True)
class Config:
    """When trials are no longer few."""

    few: Annotated[int, Int(0, 10_000)] = 200  # trials that a Gaussian process chooses


def build(config: Config, space: Group, goal: Goal) -> Auto:
    """The selector over a space."""
    return Auto(config, space, goal)


class Auto:
    """Leaves each trial to the strategy that is the best for it.

    Attributes:
        chosen: the name of the one that was asked last, or will be asked first.
    """

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.wide = Encoding(space).width > WIDEST
        self.known: dict[str, Trial] = {}
        self.built: dict[str, Strategy] = {}
        self.chosen = self.choice(0)

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = snapshot = replace(trial, rungs=list(trial.rungs))
        for strategy in self.built.values():
            strategy.tell(snapshot)

    def ask(self, number: int) -> Point | None:
        self.chosen = self.choice(number)
        return self._strategy(self.chosen).ask(number)

    def choice(self, number: int) -> str:
        """The name of the strategy for a trial."""
        targets = len(self.goal.targets)
        if number < self.config.few and not self.wide and targets <= MOST_TARGETS:
            return "gp" if targets == 1 else "ehvi"
        return "cmaes" if targets == 1 and plain(self.space) else "tpe"

    def _strategy(self, name: str) -> Strategy:
        """One of the shelf, imported and told what is known when it is first asked."""
        if name not in self.built:
            module: Any = import_module(f"search.strategies.{name}")
            settings = {"startup": self.config.few} if name == "cmaes" else {}
            strategy: Strategy = module.build(module.Config(**settings), self.space, self.goal)
            for trial in self.known.values():
                strategy.tell(trial)
            self.built[name] = strategy
        return self.built[name]


def plain(space: Group) -> bool:
    """Whether a space is a cube: all knobs are numbers, or have an order, and apply to every config."""
    return {knob.name for knob in knobs(space) if knob.domain.size > 1} == set(numeric(space))
