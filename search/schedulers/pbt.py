"""Population based training: knobs change while trials run, by taking up the better ones with knobs slightly altered.

A population of trials runs from rung to rung. Whoever is among the worst fifth of all that have reached a rung does
not go on; in its place a new trial, a fork, takes up the state of one of the best fifth at that rung (exploit) with a
config of its own (explore): every number that may change under way is multiplied by 0.8 or 1.2 or, now and then,
drawn anew; all else is inherited, switches above all (Jaderberg et al. 2017, "Population Based Training of Neural
Networks", truncation selection). Nothing waits for a rung to fill. With one worker, those least advanced go first, so
that the population advances rung by rung.

A fork counts as a trial. The strategy is asked for the first population alone, and the study ends when that is
trained, `budget.trials` spent or not; once it is spent, the worst are stopped and nobody takes their place. Of a trial
that fails, the place is taken likewise, or by a new trial if it had not reached any rung. All this is decided from the
record, random numbers coming from the seed and the number of the new trial. What the record says may change: one that
was left behind without being replaced goes on after all once enough that are worse have come.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np

from search.ledger import Trial
from search.schedulers import Fork, tunable
from search.schedulers import _ranking as ranking
from search.schedulers.none import spread
from spaces.domains import Domain, Int, Log, Ordinal, Uniform, Value
from spaces.space import Config as Point
from spaces.space import Group, allowed, draws, walk
from spaces.study import Goal

FORKS = True
FACTORS = (0.8, 1.2)  # by one of which a number is multiplied
TRIES = 100  # configs drawn for a child before it inherits its parent's, where constraints forbid them


@dataclass(frozen=True)
class Config:
    """How large the population is, how often it is judged, and how boldly it changes."""

    population: Annotated[int, Int(2, 10_000)] = 10  # trials that run side by side
    reports: Annotated[int, Int(1, 1000)] = 10  # rungs, evenly spaced over the epochs; the last judges nobody
    share: Annotated[float, Uniform(0.0, 0.5)] = 0.2  # of those at a rung: so many are replaced, by as many of the best
    resample: Annotated[float, Uniform(0.0, 1.0)] = 0.25  # chance of a knob to be drawn anew


def build(config: Config, goal: Goal, space: Group, tunable: tuple[str, ...]) -> Pbt:
    """The scheduler for trials of the goal's length; knobs beneath the paths `tunable` may change under way."""
    return Pbt(config, goal, space, tunable)


class Pbt:
    """A population under way."""

    def __init__(self, config: Config, goal: Goal, space: Group, tunable: tuple[str, ...]) -> None:
        self.config, self.goal, self.space, self.tunable = config, goal, space, tunable
        self.rungs = spread(goal.epochs, config.reports)
        self.steps = [Step(rung, longer) for rung, longer in pairwise(self.rungs)]
        self.trials: dict[str, Trial] = {}
        self.fresh: set[str] = set()  # asked of the strategy, and not failed before their first rung
        self.running: dict[str, int] = {}  # the epochs of those that have further to go
        self.complete: set[str] = set()

    def first(self, number: int) -> int:
        return self.rungs[0] if self._short() else 0

    def tell(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        known = ranking.values(trial, self.goal)
        for step in self.steps:
            step.tell(trial, known.get(step.rung))
        _note(self.fresh, trial, not trial.parent and not (trial.failed and trial.epoch == 0))
        _note(self.complete, trial, not trial.failed and trial.epoch >= self.rungs[-1])
        self.running.pop(trial.id, None)
        if not (trial.failed or trial.waiting):
            self.running[trial.id] = trial.epoch

    def promote(self, ready: Set[str], coming: bool, idle: bool) -> tuple[Trial, int] | None:
        """Of the lowest rung that has one, the best trial that pauses there and is not among the worst; no one before
        the population is complete.

        Where nobody would get to the end, as when others fail late, the best of those left behind goes on.
        """
        if coming and self._short():
            return None
        for step in self.steps:
            key = next((key for key in step.hopeful(self.config.share) if key[-1] in ready), None)
            if key is not None:
                return self.trials[key[-1]], step.longer
        for step in reversed(self.steps if idle and not self.complete else []):
            for key in step.paused.order:
                if key[-1] in ready:
                    return self.trials[key[-1]], step.longer
        return None

    def fork(self, number: int) -> Fork | None:
        """A child of one of the best at the lowest rung where there is a place to take and nobody left to go on."""
        for step in self.steps:
            order = step.reached.order
            if step.open and order and not step.hopeful(self.config.share):
                rng = np.random.default_rng([self.goal.seed, number, *b"pbt"])
                best = order[: max(1, worst(len(order), self.config.share))]
                parent = self.trials[best[int(rng.integers(len(best)))][-1]]
                return Fork(parent, step.rung, step.longer, self._explored(parent.config, rng))
        return None

    def oldest(self) -> int:
        """The lowest rung with a place to take, or with someone on the way who may leave one there."""
        places = [step.rung for step in self.steps if step.open]
        return max(self.rungs[0], min([*places, *self.running.values()], default=self.rungs[-1]))

    def _short(self) -> bool:
        """Whether the population is not complete yet."""
        return len(self.fresh) < self.config.population

    def _explored(self, config: Point, rng: np.random.Generator) -> Point:
        """A config near another, as far as it may differ."""
        drawn = draws(self.space, config)

        def draw(name: str, domain: Domain) -> Value:
            if name not in drawn or not domain.contains(drawn[name][1]):  # of a step that the parent did not have
                return domain.sample(rng)
            value = drawn[name][1]
            if not tunable(name, domain, self.tunable):
                return value
            return domain.sample(rng) if rng.random() < self.config.resample else perturbed(domain, value, rng)

        for _ in range(TRIES):
            found = walk(self.space, draw)
            if allowed(self.space, found):
                return found
        return config


class Step(ranking.Step):
    """From a rung to the next, with those who take the places of others there."""

    def __init__(self, rung: int, longer: int) -> None:
        super().__init__(rung, longer)
        self.forks: set[str] = set()  # that begin here
        self.failed: set[str] = set()  # that came no further

    def tell(self, trial: Trial, value: float | None) -> None:
        super().tell(trial, value)
        _note(self.forks, trial, bool(trial.parent) and trial.origin == self.rung)
        _note(self.failed, trial, trial.failed and trial.epoch == self.rung)

    @property
    def open(self) -> bool:
        """Whether more have come to their end here than forks have taken places."""
        return len(self.paused.order) + len(self.failed) > len(self.forks)

    def hopeful(self, share: float) -> list[ranking.Key]:
        """Those who pause here and may go on, the best first."""
        if not self.open:
            return []
        spared = len(self.reached.order) - worst(len(self.reached.order), share)
        return [key for key in self.paused.order if self.reached.before(key) < spared]


def worst(count: int, share: float) -> int:
    """How many of so many are the worst, and how many the best."""
    return int(count * share)


def perturbed(domain: Domain, value: Value, rng: np.random.Generator) -> Value:
    """A value near another: a number times 0.8 or 1.2, at least a step away if it has steps, within its domain; the
    option before or after of those in an order."""
    factor = FACTORS[int(rng.integers(2))]
    match domain:
        case Uniform(step=0.0) | Log():
            return min(max(value * factor, domain.low), domain.high)
        case Uniform() | Int():
            steps = round(value * (factor - 1) / domain.step) or (1 if factor > 1 else -1)
            moved = value + steps * domain.step
            return domain.from_unit(domain.to_unit(min(max(moved, domain.low), domain.high)))
        case Ordinal(options):
            place = domain.index(value) + (1 if factor > 1 else -1)
            return options[min(max(place, 0), len(options) - 1)]
    raise TypeError(f"nothing is near in {domain}")


def _note(ids: set[str], trial: Trial, belongs: bool) -> None:
    """Puts a trial into a set, or takes it out."""
    (ids.add if belongs else ids.discard)(trial.id)
