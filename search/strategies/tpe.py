"""Tree-structured Parzen estimators (Bergstra et al. 2011), by Optuna: multivariate, and aware of branches.

The model is told the truth. A trial at its full length is complete; one stopped at a rung is pruned there, with
its curve; one that runs is pending; one that failed ranks behind all others, so that its region is avoided.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.ledger import Trial
from search.strategies import draw_evenly, generator
from spaces.domains import Choice, Domain, Int, Log, Uniform, Value
from spaces.space import Config as Point
from spaces.space import Group, flat, walk
from spaces.study import Goal

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Config:
    """When the model takes over, and how widely it looks."""

    startup: Annotated[int, Int(1, 10_000)] = 10  # random trials before the model is asked; every branch twice at least
    candidates: Annotated[int, Int(1, 10_000)] = 24  # configs scored for each suggestion


def build(config: Config, space: Group, goal: Goal) -> Tpe:
    """TPE over a space."""
    return Tpe(config, space, goal)


class Tpe:
    """Models where good configs lie, and draws there."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        branches = [2 * len(part.branches) for part in space.parts.values() if hasattr(part, "branches")]
        self.startup = max(config.startup, *branches, 1)
        self.known: dict[str, FrozenTrial] = {}

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = self._frozen(trial)

    def ask(self, number: int) -> Point:
        if number < self.startup:
            return draw_evenly(self.space, self.goal.seed, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=0,
                n_ei_candidates=self.config.candidates,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=int(generator(self.goal.seed, number).integers(2**31)),
            )
        study = optuna.create_study(direction=f"{self.goal.mode}imize", sampler=sampler)
        study.add_trials(self.known.values())
        trial = study.ask()
        return walk(self.space, lambda name, domain: suggest(trial, name, domain))

    def _frozen(self, trial: Trial) -> FrozenTrial:
        """The trial in Optuna's terms."""
        drawn = draws(self.space, trial.config)
        curve = {rung.epoch: rung.metrics[self.goal.metric] for rung in trial.rungs}
        value = None
        if trial.failed:
            state, curve = TrialState.PRUNED, {}  # pruned without a value: ranked last
        elif not trial.waiting:
            state = TrialState.RUNNING
        elif trial.epoch < self.goal.epochs:
            state = TrialState.PRUNED
        else:
            state, value = TrialState.COMPLETE, trial.value(self.goal.metric)
        return create_trial(
            state=state,
            value=value,
            params={name: value for name, (_, value) in drawn.items()},
            distributions={name: distribution(domain) for name, (domain, _) in drawn.items()},
            intermediate_values=curve,
        )


def draws(space: Group, config: Point) -> dict[str, tuple[Domain, Value]]:
    """What a strategy must have drawn to arrive at a config: name to domain and value."""
    values, found = flat(space, config), {}

    def draw(name: str, domain: Domain) -> Value:
        value = values[name.partition("[")[0]]
        found[name] = domain, value
        return value

    walk(space, draw)
    return found


def suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    """The value that Optuna suggests for a knob."""
    match domain:
        case Uniform(low, high) | Log(low, high):
            return trial.suggest_float(name, low, high, log=isinstance(domain, Log))
        case Int(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(options):
            return trial.suggest_categorical(name, options)
    raise TypeError(f"a fixed value is not drawn: {domain}")


def distribution(domain: Domain) -> BaseDistribution:
    """Optuna's counterpart of a domain."""
    match domain:
        case Uniform(low, high):
            return FloatDistribution(low, high)
        case Log(low, high):
            return FloatDistribution(low, high, log=True)
        case Int(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(options):
            return CategoricalDistribution(options)
    raise TypeError(f"a fixed value is not drawn: {domain}")
