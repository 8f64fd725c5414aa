"""Optuna's samplers behind this project's contract: a study of Optuna's that always says what the ledger says.

What Optuna is told is the truth, so that its models are of final values. Of a goal of one metric, a trial at its full
length is complete, one stopped at a rung is pruned there with its curve, and one that runs is pending. Where curves
mean nothing to the sampler, or there are several metrics, a stopped trial counts with the values that it had, as if
it missed a bound by next to nothing: behind all that are complete, in front of all that miss a real bound. One that
failed, or whose metric is missing, ranks behind all others, so that its region is avoided.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeGuard

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search.ledger import Trial
from search.strategies import key, permitted
from spaces.domains import Choice, Domain, Int, Log, Ordinal, Uniform, Value
from spaces.space import Config, Group, draws, walk
from spaces.study import Goal

optuna.logging.set_verbosity(optuna.logging.ERROR)

NEXT_TO_NOTHING = 1e-200  # by which the best stopped trial misses a bound; the one after it twice, three times so much
TRIES = 6  # suggestions of a model before a config is drawn at random
BIRTH = datetime(2000, 1, 1)  # of every trial: when it was asked is of no account


class Record:
    """The trials so far, as an Optuna study that grows with them.

    Args:
        space: what is searched.
        goal: what for.
        curves: whether the sampler reads the curves of pruned trials, as TPE does; of one metric only.
        attributes: what the sampler finds noted down at every complete trial.
    """

    def __init__(self, space: Group, goal: Goal, curves: bool, attributes: Mapping[str, Any] | None = None) -> None:
        self.space, self.goal = space, goal
        self.curves, self.attributes = curves and not goal.others, attributes or {}
        self.entries: dict[str, Entry] = {}
        self._storage = Storage()
        directions = [f"{target.mode}imize" for target in goal.targets]
        self._study = optuna.create_study(
            storage=self._storage, directions=directions, sampler=optuna.samplers.RandomSampler(seed=0)
        )

    @property
    def earlier(self) -> int:
        """How many of the trials are of earlier runs."""
        return sum(entry.number < 0 for entry in self.entries.values())

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial, in place of what was known of it before."""
        self.entries[trial.id] = self._entry(trial)

    def forget(self, trial: Trial) -> None:
        """Takes a trial out again."""
        self.entries.pop(trial.id, None)

    def ask(self, sampler: Callable[[int], BaseSampler], number: int) -> Config:
        """What a sampler suggests: `sampler(0)`, or if that is forbidden or not new, `sampler(1)`, and so on."""
        entries = sorted(self.entries.values(), key=lambda entry: entry.number)
        self._rank_stopped([entry for entry in entries if entry.stopped])
        for place, entry in enumerate(entries):
            entry.frozen.number = entry.frozen._trial_id = place
        self._storage.known = [entry.frozen for entry in entries]
        seen = {entry.config for entry in entries}

        def draw(stream: int) -> Config:
            self._study.sampler = sampler(stream)
            trial = self._study.ask()
            return walk(self.space, lambda name, domain: suggest(trial, name, domain))

        return permitted(self.space, self.goal.seed, number, draw, TRIES, seen)

    def _entry(self, trial: Trial) -> Entry:
        goal, short = self.goal, trial.epoch < self.goal.epochs
        curve = {rung.epoch: goal.values(rung.metrics) for rung in trial.rungs}
        reached = curve.get(trial.epoch)
        if trial.failed or (trial.waiting and reached is None):
            return self._made(trial, TrialState.PRUNED, {}, excess=float("inf"))
        if not trial.waiting:
            return self._made(trial, TrialState.RUNNING, curve)
        excess = goal.excess(trial.rungs[-1].metrics) if goal.bounds else None
        if short and self.curves:
            return self._made(trial, TrialState.PRUNED, curve, excess)
        return self._made(trial, TrialState.COMPLETE, curve, excess, reached, short)

    def _made(
        self,
        trial: Trial,
        state: TrialState,
        curve: Mapping[int, Values | None],
        excess: float | None = None,
        reached: Values | None = None,
        stopped: bool = False,
    ) -> Entry:
        """The trial in Optuna's terms."""
        drawn = draws(self.space, trial.config)
        signs = [target.sign for target in self.goal.targets]
        frozen = pending()
        frozen.state = state
        frozen.params = {name: inner(domain, value) for name, (domain, value) in drawn.items()}
        frozen.distributions = {name: distribution(domain) for name, (domain, _) in drawn.items()}
        if reached is not None:
            frozen.values = [sign * value for sign, value in zip(signs, reached, strict=True)]
        if len(signs) == 1:
            frozen.intermediate_values = {epoch: signs[0] * values[0] for epoch, values in curve.items() if values}
        end = (trial.epoch, reached) if stopped and reached else None
        entry = Entry(trial.number, key(trial.config), frozen, excess, end)
        self._note(entry)
        return entry

    def _note(self, entry: Entry, behind: float = 0.0) -> None:
        """Notes down what Optuna and its samplers look for beside values."""
        entry.frozen.system_attrs = dict(self.attributes if entry.frozen.state == TrialState.COMPLETE else {})
        if entry.excess is not None:
            entry.frozen.set_constraint("bounds", entry.excess)
        if behind:
            entry.frozen.set_constraint("stopped", behind)

    def _rank_stopped(self, entries: list[Entry]) -> None:
        """Says of all trials that were stopped at a rung how good they are: those that got further come first, of
        those that got equally far the one that ranks higher in the mean over the metrics."""
        stopped, ranks = [entry.stopped or (0, ()) for entry in entries], [0] * len(entries)
        for target in range(len(self.goal.targets)):
            order = sorted(range(len(entries)), key=lambda place: -stopped[place][1][target])
            for rank, place in enumerate(order):
                ranks[place] += rank
        order = sorted(range(len(entries)), key=lambda place: (-stopped[place][0], ranks[place]))
        for rank, place in enumerate(order, 1):
            self._note(entries[place], rank * NEXT_TO_NOTHING)


Values = tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """A trial as Optuna sees it.

    Attributes:
        number: the trial's.
        config: as text.
        frozen: Optuna's trial; its own number is its place among all.
        excess: by how much it missed the bounds, if there are some.
        stopped: the epoch at which it was stopped and the values there, if it counts nonetheless.
    """

    number: int
    config: str
    frozen: FrozenTrial
    excess: float | None
    stopped: tuple[int, Values] | None


class Storage(InMemoryStorage):
    """Optuna's view of trials that are kept elsewhere, and of the one that is being suggested.

    What a sampler notes down about the study is not kept: suggestions depend on the trials alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: list[FrozenTrial] = []
        self.asked = pending()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.asked = pending(len(self.known))
        return len(self.known)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.known[trial_id] if trial_id < len(self.known) else self.asked

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = [*self.known, self.asked]
        return trials if states is None else [trial for trial in trials if trial.state in states]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.asked.params[param_name] = distribution.to_external_repr(param_value_internal)
        self.asked.distributions[param_name] = distribution

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.asked.system_attrs[key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        pass


def pending(number: int = 0) -> FrozenTrial:
    """A trial of which nothing is known."""
    return FrozenTrial(number, TrialState.RUNNING, None, BIRTH, None, {}, {}, {}, {}, {}, number)


@cache
def distribution(domain: Domain) -> BaseDistribution:
    """Optuna's counterpart of a domain. Options, and values a step apart, are numbered by their places."""
    match domain:
        case Uniform(low, high) if not domain.step:
            return FloatDistribution(low, high)
        case Log(low, high):
            return FloatDistribution(low, high, log=True)
        case Int(low, high, log) if domain.step == 1:
            return IntDistribution(low, high, log=log)
        case Uniform() | Int() | Ordinal():
            return IntDistribution(0, int(domain.size) - 1)
        case Choice():
            return CategoricalDistribution(range(len(domain.options)))
    raise TypeError(f"a fixed value is not drawn: {domain}")


def numbered(domain: Domain) -> TypeGuard[Uniform | Int | Choice]:
    """Whether Optuna sees the places of a domain's values instead of the values."""
    match domain:
        case Uniform(step=step):
            return step > 0
        case Int(step=step):
            return step > 1
    return isinstance(domain, Choice)


def inner(domain: Domain, value: Value) -> Value:
    """A value as Optuna sees it."""
    return int(domain.to_unit(value) * domain.size) if numbered(domain) else value


def suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    """The value that Optuna suggests for a knob."""
    value: Value
    match distribution(domain):
        case FloatDistribution(low=low, high=high, log=log):
            value = trial.suggest_float(name, low, high, log=log)
        case IntDistribution(low=low, high=high, log=log):
            value = trial.suggest_int(name, low, high, log=log)
        case CategoricalDistribution(choices=choices):
            value = trial.suggest_categorical(name, choices)
    return domain.from_unit((value + 0.5) / domain.size) if numbered(domain) else value
