"""CMA-ES (Hansen and Ostermeier 2001) for numbers, TPE for all else, by the package on which Optuna's sampler rests.

Optuna's own sampler notes down its state at trials as it asks for them; no ledger can give that back. Here the state
follows from the trials: in the order of their numbers, so many at a time are a generation, and only their ranks
within it count, so that a trial stopped at a rung, or one that failed, has its place in it too. Knobs that do not apply
to every config, and choices without an order, are drawn by TPE. Where the search has converged, it starts anew
elsewhere, with generations twice as large (Auger and Hansen 2005).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from cmaes import CMA, get_warm_start_mgd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from search.ledger import Trial
from search.strategies import generator, key, permitted, tpe
from search.strategies._encoding import valued
from spaces.domains import Choice, Domain, Fixed, Int, Ordinal, Uniform, Value
from spaces.knobs import knobs
from spaces.space import Config as Point
from spaces.space import Group, draws, walk
from spaces.study import Goal

TRIES = 8  # points before a config that is allowed is drawn at random
LOOKED_AT = 256  # random configs, to see which knobs apply to all
FEWEST = 4  # trials of a generation
BEST = 10  # trials for one that counts as near the best, where the search takes its start from others
RESTART = 2**32 - 1  # the stream of random numbers that says where the search starts anew
Vector = NDArray[np.float64]
Rank = tuple[bool, float, int, float]


@dataclass(frozen=True)
class Config:
    """How much is tried before the search moves, and how widely it starts."""

    population: Annotated[int, Int(0, 10_000)] = 0  # trials of a generation; 0: 4 + 3 ln(knobs); four at least
    spread: Annotated[float, Uniform(0.01, 1.0)] = 1 / 6  # the first standard deviation, as a share of each range
    startup: Annotated[int, Int(0, 1_000_000)] = 0  # trials, asked of others, from whose best tenth it takes its start


def build(config: Config, space: Group, goal: Goal) -> Cmaes:
    """CMA-ES over the numbers of a space."""
    return Cmaes(config, space, goal)


@dataclass(frozen=True)
class Told:
    """A trial whose value is known: where it lay, (knobs,) in [0, 1], and how it ranks, less being better."""

    number: int
    id: str
    point: tuple[float, ...]
    rank: Rank


class Cmaes:
    """Moves a normal distribution of configs towards the better ones."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.names = numeric(space)
        self.alone = {knob.name for knob in knobs(space)} == set(self.names)
        self.others = tpe.Tpe(tpe.Config(), space, goal)
        self.told: dict[str, Told] = {}
        self.seen: dict[str, str] = {}
        self.begun: tuple[list[Told], CMA] | None = None  # from what, and the state before the first generation
        self.states: list[tuple[list[Told], CMA]] = []  # each generation, and the state after it

    def tell(self, trial: Trial) -> None:
        self.seen[trial.id] = key(trial.config)
        if not self.alone:
            self.others.tell(trial)
        self.told.pop(trial.id, None)
        if trial.failed or trial.waiting:
            drawn = draws(self.space, trial.config)
            point = tuple(placed(*drawn[name]) if name in drawn else 0.5 for name in self.names)
            self.told[trial.id] = Told(trial.number, trial.id, point, self._rank(trial))

    def ask(self, number: int) -> Point:
        if not self.names:
            return self.others.ask(number)
        state = self._state()
        drawn = {} if self.alone else draws(self.space, self.others.ask(number))

        def config(stream: int) -> Point:
            rng = generator(self.goal.seed, number, stream)
            state.reseed_rng(int(rng.integers(2**31)))
            point = dict(zip(self.names, state.ask().tolist(), strict=True))

            def draw(name: str, domain: Domain) -> Value:
                if name in point:
                    return valued(domain, point[name])
                return drawn[name][1] if name in drawn else domain.sample(rng)

            return walk(self.space, draw)

        return permitted(self.space, self.goal.seed, number, config, TRIES, set(self.seen.values()))

    def _rank(self, trial: Trial) -> Rank:
        """Failures last, then by how much bounds are missed; those that got further first, then by value."""
        value = trial.value(self.goal.metric)
        if value is None:
            return True, 0.0, 0, 0.0
        return False, self.goal.excess(trial.rungs[-1].metrics), -trial.epoch, -self.goal.sign * value

    def _state(self) -> CMA:
        """The distribution after all generations that are whole; what has not changed since is not worked out again."""
        told = sorted(self.told.values(), key=lambda one: (one.number, one.id))
        start = [one for one in told if one.number < self.config.startup]
        if self.begun is None or self.begun[0] != start:
            self.begun, self.states = (start, self._first(start)), []
        (_, state), left, place = self.begun, told[len(start) :], 0
        while len(left) >= state.population_size:
            generation, left = left[: state.population_size], left[state.population_size :]
            if place == len(self.states) or self.states[place][0] != generation:
                del self.states[place:]
                self.states.append((generation, self._moved(state, generation, place)))
            state, place = self.states[place][1], place + 1
        return state

    def _first(self, start: list[Told]) -> CMA:
        """The state to begin with: in the middle, or around the best of those told (Nomura et al. 2021)."""
        good = sorted((one for one in start if not one.rank[0]), key=lambda one: one.rank)
        if len(good) < BEST:
            return self._made(np.full(len(self.names), 0.5), self.config.spread)
        ranked = [(np.array(one.point), float(place)) for place, one in enumerate(good)]
        mean, spread, covariance = get_warm_start_mgd(ranked, gamma=1 / BEST)
        return self._made(mean.clip(0, 1), spread, covariance)

    def _moved(self, state: CMA, generation: list[Told], place: int) -> CMA:
        """The state after a generation, or a new one where it has come to its end."""
        state = copy.deepcopy(state)
        ranked = sorted(generation, key=lambda one: (one.rank, one.number))
        state.tell([(np.array(one.point), float(rank)) for rank, one in enumerate(ranked)])
        if not state.should_stop():
            return state
        anywhere = generator(self.goal.seed, place, RESTART).random(len(self.names))
        return self._made(anywhere, self.config.spread, population=2 * state.population_size)

    def _made(
        self,
        mean: NDArray[np.float64],
        spread: float,
        covariance: NDArray[np.float64] | None = None,
        population: int = 0,
    ) -> CMA:
        count = len(self.names)
        population = population or self.config.population
        return CMA(
            mean=mean,
            sigma=spread,
            cov=covariance,
            bounds=np.array([[0.0, 1.0]] * count),
            n_max_resampling=10 * count,
            population_size=max(population, FEWEST) if population else None,
            seed=0,  # set anew for every config that is drawn
        )


def placed(domain: Domain, value: Value) -> float:
    """Where a value lies on its domain's scale."""
    return 0.5 if isinstance(domain, Fixed) else domain.to_unit(value)


def numeric(space: Group) -> list[str]:
    """The knobs with an order and more than one value that every config has, as far as random configs tell."""
    rng = np.random.default_rng(0)
    found: dict[str, Domain] | None = None
    for _ in range(LOOKED_AT):
        drawn = draws(space, walk(space, lambda name, domain: domain.sample(rng)))
        domains = {name: domain for name, (domain, _) in drawn.items()}
        found = domains if found is None else {name: domain for name, domain in found.items() if name in domains}
    ordered = {name: d for name, d in (found or {}).items() if not isinstance(d, Choice) or isinstance(d, Ordinal)}
    return [name for name, domain in ordered.items() if domain.size > 1]
