"""Prior-guided search: draws from an expert's belief, from around the best so far, and at random.

The mixture of three sources is that of Mallik et al. ("PriorBand", NeurIPS 2023). A share of 1/(1+η) is random for
ever. The rest is divided between the belief and the neighbourhood of the best by their credit: by how much more likely
the best of the trials so far came from a source than all of them did (PriorBand compares densities at the best alone;
but where most trials are drawn from a belief, most of the best lie in it too, right or wrong). The belief's part also
loses weight as trials come, as in Hvarfner et al. ("πBO", ICLR 2022). So a right belief is used while it says more than
the trials do, and a wrong one costs some of the first trials.

What is believed is the `prior` on a knob's domain; a knob without one is believed to be anything. The neighbourhood is
the belief in the values of the best config, of which each knob keeps half exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from search.ledger import Trial
from search.strategies import draw_evenly, generator, key, permitted
from search.strategies._encoding import basic
from search.strategies._evidence import evidence, kept
from spaces.domains import Choice, Domain, Fixed, Int, Prior, Uniform, Value
from spaces.knobs import knobs
from spaces.priors import density, sample
from spaces.space import Config as Point
from spaces.space import Group, draws, flat, walk
from spaces.study import Goal

RANDOM, BELIEF, NEAR = range(3)
TRIES = 100  # configs drawn before one like another trial is taken
LEAST = 1e-12  # credit of a source to which nothing can be owed
NEARNESS: Literal["high"] = "high"  # the confidence with which the best so far is believed in


@dataclass(frozen=True)
class Config:
    """How the sources share the trials."""

    startup: Annotated[int, Int(3, 10_000)] = 6  # trials with a value before the best has a neighbourhood
    eta: Annotated[float, Uniform(1.0, 100.0)] = 3.0  # one trial in 1 + eta is random
    patience: Annotated[float, Uniform(1.0, 10_000.0)] = 20.0  # trials by which the belief's weight is halved
    best: Annotated[float, Uniform(0.05, 1.0)] = 0.33  # share of the trials that give credit


def build(config: Config, space: Group, goal: Goal) -> Believing:
    """Prior-guided search over a space."""
    return Believing(config, space, goal)


class Believing:
    """Draws from the three sources."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.informed = any(getattr(knob.domain, "prior", None) is not None for knob in knobs(space))
        self.known: dict[str, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = kept(trial)

    def ask(self, number: int) -> Point:
        known = evidence(self.known.values(), self.goal)
        ranked = [known.trials[place].config for place in known.ranked]
        shares = self.shares(ranked)

        def drawn(attempt: int) -> Point:
            rng = generator(self.goal.seed, number, attempt)
            source = rng.choice(len(shares), p=shares)
            if source == NEAR:
                return near(self.space, ranked[0], rng)
            if source == BELIEF:
                surely = number == attempt == 0
                return walk(self.space, lambda _, domain: believed(domain, rng, surely))
            if attempt == 0:
                return draw_evenly(self.space, self.goal.seed, number)
            return walk(self.space, lambda _, domain: domain.sample(rng))

        seen = {key(trial.config) for trial in self.known.values()}
        return permitted(self.space, self.goal.seed, number, drawn, TRIES, seen)

    def shares(self, ranked: list[Point]) -> NDArray[np.float64]:
        """With what chances the next config is drawn at random, from the belief, and near the best; (3,).

        Args:
            ranked: the configs of the trials that have a value, the best first.
        """
        guided = 1 - 1 / (1 + self.config.eta)
        if len(ranked) < self.config.startup:
            return np.array([1 - guided, guided, 0]) if self.informed else np.array([1.0, 0, 0])
        likely = np.array([self._densities(config, ranked[0]) for config in ranked])
        credit = credits(likely, max(2, round(self.config.best * len(ranked))))
        fading = self.config.patience / (self.config.patience + len(ranked)) if self.informed else 0.0
        weights = credit[[BELIEF, NEAR]] * [fading, 1.0] + [0.0, LEAST]
        return np.array([1 - guided, *guided * weights / weights.sum()])

    def _densities(self, config: Point, best: Point) -> tuple[float, float, float]:
        """How much likelier than at random a config is at random, by the belief, and near the best."""
        drawn, values = draws(self.space, config), flat(self.space, best)
        around = [(around_value(name, domain, values), value) for name, (domain, value) in drawn.items()]
        near_best = np.prod([density(domain, value) for domain, value in around])
        return 1.0, float(np.prod([density(domain, value) for domain, value in drawn.values()])), float(near_best)


def credits(likely: NDArray[np.float64], best: int) -> NDArray[np.float64]:
    """By how much more likely the best trials came from each source than all of them did: (sources,).

    Args:
        likely: the density of each source at each trial, the best first; (N, sources).
        best: how many of them give credit, the better the more; the first, which others are near to, gives none.
    """
    came = likely / likely.sum(1, keepdims=True)
    weights = np.arange(best, 0, -1.0)[1:]
    return (weights @ came[1:best] / weights.sum()) / (came[1:].mean(0) + LEAST)


def believed(domain: Domain, rng: np.random.Generator, surely: bool) -> Value:
    """A value drawn by the belief; or `surely` the believed one, if there is any."""
    prior = None if isinstance(domain, Fixed) else domain.prior
    return prior.value if surely and prior is not None else sample(domain, rng)


def near(space: Group, best: Point, rng: np.random.Generator) -> Point:
    """A config like the best: half of the knobs, drawn anew each time, are as they are there, the others near."""
    values = flat(space, best)

    def draw(name: str, domain: Domain) -> Value:
        value = values.get(basic(name))
        if rng.random() < 0.5 and domain.contains(value):
            return value
        return sample(around_value(name, domain, values), rng)

    return walk(space, draw)


def around_value(name: str, domain: Domain, values: Mapping[str, Value]) -> Domain:
    """The domain with a belief in the value that a knob has; in no value, where it has none that fits."""
    value = values.get(basic(name))
    prior = Prior(value, NEARNESS) if domain.contains(value) else None
    if isinstance(domain, Fixed):
        return domain
    return type(domain)(*domain.options, prior=prior) if isinstance(domain, Choice) else replace(domain, prior=prior)
