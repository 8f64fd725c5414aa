"""Tree-structured Parzen estimators (Bergstra et al. 2011), by Optuna: multivariate, and aware of branches.

The model is told the truth. A trial at its full length is complete; one stopped at a rung is pruned there, with
its curve; one that runs is pending; one that failed ranks behind all others, so that its region is avoided. Of several
metrics, the fronts that no other trial dominates count as good (Ozaki et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.ledger import Trial
from search.strategies import draw_evenly, generator
from search.strategies._optuna import Record
from spaces.domains import Int
from spaces.space import Config as Point
from spaces.space import Group
from spaces.study import Goal

TARGETS = "many"


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
        self.record = Record(space, goal, curves=True)

    def tell(self, trial: Trial) -> None:
        self.record.tell(trial)

    def ask(self, number: int) -> Point:
        if number + self.record.earlier < self.startup:
            return draw_evenly(self.space, self.goal.seed, number)
        return suggested(self.record, number, self.config.candidates)


def suggested(record: Record, number: int, candidates: int) -> Point:
    """What the model of a record holds for the best config of those that it draws; of ever fewer, should that be
    forbidden: the best of many lies where the model knows least, one alone among the good ones that are allowed."""

    def sampler(stream: int) -> Parzen:
        rng = generator(record.goal.seed, number, stream)
        return Parzen(
            n_startup_trials=0,
            n_ei_candidates=max(candidates >> stream, 1),
            multivariate=True,
            constant_liar=True,
            seed=int(rng.integers(2**31)),
        )

    return record.ask(sampler, number)


class Parzen(TPESampler):
    """Optuna's TPE, with a model of several knobs for each group of knobs that only come together.

    As Optuna's own `group=True`, without looking at every trial at every suggestion.
    """

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        known: dict[frozenset[str], dict[str, BaseDistribution]] = {}
        for other in told:
            known.setdefault(frozenset(other.distributions), other.distributions)
        groups: list[set[str]] = []
        for names in known:
            rest = set(names).difference(*groups)
            groups = [part for group in groups for part in (group & names, group - names) if part]
            groups += [rest] if rest else []
        found = {name: domain for domains in known.values() for name, domain in domains.items()}
        self.groups = [{name: found[name] for name in sorted(group) if not found[name].single()} for group in groups]
        return {name: domain for group in self.groups for name, domain in group.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for group in self.groups:
            values |= super().sample_relative(study, trial, group)
        return values
