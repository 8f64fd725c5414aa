"""BOHB's way to choose (Falkner et al. 2018): TPE on one rung, a third of the configs drawn at random.

The rung is the highest that enough trials have reached; all that were there are compared by their values there,
whatever became of them since. Meant to go with a scheduler that stops trials at rungs, such as hyperband or asha.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from search.ledger import Trial
from search.strategies import draw_evenly, generator
from search.strategies._optuna import Record
from search.strategies.tpe import suggested
from spaces.domains import Int, Uniform
from spaces.space import Config as Point
from spaces.space import Group, draws
from spaces.study import Goal

TARGETS = "many"
COIN = 2**32 - 1  # the stream of random numbers that says whether a config is drawn at random


@dataclass(frozen=True)
class Config:
    """When the model takes over, and how much is left to chance."""

    observations: Annotated[int, Int(0, 10_000)] = 0  # trials that make a rung count; 0: three more than knobs
    share: Annotated[float, Uniform(0, 1)] = 1 / 3  # of configs that are drawn at random
    candidates: Annotated[int, Int(1, 10_000)] = 64  # configs scored for each suggestion


def build(config: Config, space: Group, goal: Goal) -> Bohb:
    """BOHB's model over a space."""
    return Bohb(config, space, goal)


class Bohb:
    """Models where good configs lie at the highest rung of which enough is known."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.known: dict[str, Trial] = {}
        self.rung, self.record = 0, Record(space, goal, curves=False)
        self.knobs = 0  # of the config that has most

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = snapshot = replace(trial, rungs=list(trial.rungs))
        self.knobs = max(self.knobs, len(draws(self.space, trial.config)))
        self._tell(snapshot)

    def ask(self, number: int) -> Point:
        rung = self.highest()
        if not rung or generator(self.goal.seed, number, COIN).random() < self.config.share:
            return draw_evenly(self.space, self.goal.seed, number)
        if rung != self.rung:
            self.rung, self.record = rung, Record(self.space, replace(self.goal, epochs=rung), curves=False)
            for trial in self.known.values():
                self._tell(trial)
        return suggested(self.record, number, self.config.candidates)

    def highest(self) -> int:
        """The epoch of the highest rung that enough trials have reached; 0 if there is none."""
        reached: dict[int, int] = {}
        for trial in self.known.values():
            for rung in trial.rungs if not trial.failed else ():
                if self.goal.values(rung.metrics) is not None:
                    reached[rung.epoch] = reached.get(rung.epoch, 0) + 1
        enough = self.config.observations or self.knobs + 3
        return max((epoch for epoch, count in reached.items() if count >= enough), default=0)

    def _tell(self, trial: Trial) -> None:
        """Tells the model of a trial as it was at the rung; one that is not there yet is pending if it runs."""
        at = [rung for rung in trial.rungs if rung.epoch == self.rung]
        if at or trial.failed or not trial.waiting:
            self.record.tell(replace(trial, rungs=at, until=self.rung, origin=0))
        else:
            self.record.forget(trial)
