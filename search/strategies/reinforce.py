"""REINFORCE over the space itself: a policy that draws every knob, and learns which draws paid.

The policy is a product over the walk: a softmax for each choice and each switch, and for each number the place u = Φ(z)
on its scale with z ~ N(μ, σ²); at first all is uniform. What hangs on a branch is drawn, and learned, where that branch
is taken alone. After each trial, in the order of their numbers (Williams 1992; the search of Zoph and Le, ICLR 2017),

    θ ← θ + step · ((r - b) ∇ log π(config) + entropy · ∇ H),   b ← b + (1 - memory) (r - b),

where steps of μ and log σ are by their natural gradient, so that a narrow policy takes small steps. The reward r is the
rank of the trial among those before it, from -1 to 1, since values have outliers and no scale: a metric that is bent by
any increasing function gives the same search. The policy is a function of the trials told, learned anew for each
suggestion; that some were drawn by an older policy, since several are out at a time, is not corrected for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from search.ledger import Trial
from search.strategies import before, draw_evenly, generator, key, permitted
from search.strategies._encoding import nominal
from search.strategies._evidence import Evidence, evidence, kept
from spaces.domains import Domain, Fixed, Int, Log, Uniform, Value
from spaces.space import Config as Point
from spaces.space import Group, draws, walk
from spaces.study import Goal

TRIES = 100  # configs drawn before one like another trial is taken
EDGE = 1e-3  # numbers nearer to an end of their scale count as if so near
NARROWEST, WIDEST = -4.0, 0.5  # log σ


@dataclass(frozen=True)
class Config:
    """How fast the policy learns, and what keeps it from settling too soon."""

    startup: Annotated[int, Int(1, 10_000)] = 10  # random trials before the policy draws
    step: Annotated[float, Log(0.001, 2.0)] = 0.2  # size of an update
    entropy: Annotated[float, Log(1e-4, 1.0)] = 0.1  # weight of the policy's entropy against rewards
    memory: Annotated[float, Uniform(0.0, 0.999)] = 0.9  # share of the baseline that is kept at an update


def build(config: Config, space: Group, goal: Goal) -> Reinforce:
    """REINFORCE over a space."""
    return Reinforce(config, space, goal)


class Policy:
    """Logits of choices (k,), and (μ, log σ) of numbers, by the names of knobs that were learned about."""

    def __init__(self) -> None:
        self.parameters: dict[str, NDArray[np.float64]] = {}

    def of(self, name: str, domain: Domain) -> NDArray[np.float64]:
        """The parameters of a knob, zeros at first."""
        return self.parameters.get(name, np.zeros(len(domain.options) if nominal(domain) else 2))

    def draw(self, name: str, domain: Domain, rng: np.random.Generator) -> Value:
        """A value of a knob."""
        if isinstance(domain, Fixed):
            return domain.value
        parameters = self.of(name, domain)
        if nominal(domain):
            return domain.options[rng.choice(len(parameters), p=softmax(parameters))]
        return domain.from_unit(float(ndtr(parameters[0] + np.exp(parameters[1]) * rng.standard_normal())))

    def learn(self, name: str, domain: Domain, value: Value, gain: float, config: Config) -> None:
        """One step after a value was drawn and gained so much more than was usual."""
        if isinstance(domain, Fixed):
            return
        parameters = self.of(name, domain)
        if nominal(domain):
            slope, spread = choice_slopes(parameters, domain.index(value))
        else:
            slope, spread = number_slopes(parameters, domain.to_unit(value))
        self.parameters[name] = parameters + config.step * (gain * slope + config.entropy * spread)
        if not nominal(domain):
            self.parameters[name][1] = np.clip(self.parameters[name][1], NARROWEST, WIDEST)


def choice_slopes(logits: NDArray, taken: int) -> tuple[NDArray, NDArray]:
    """∇ log π(taken) = e - π, and ∇ H = -π (log π + H), both (k,)."""
    chances = softmax(logits)
    logs = np.log(chances)
    return (np.arange(len(logits)) == taken) - chances, -chances * (logs - chances @ logs)


def number_slopes(parameters: NDArray, unit: float) -> tuple[NDArray, NDArray]:
    """The natural gradient of log N(z; μ, σ²) by μ and log σ: z - μ and ((z - μ)²/σ² - 1)/2; and ∇ H, where
    H = log σ - (μ² + σ²)/2 is the entropy of u = Φ(z), with its greatest value where u is uniform."""
    mean, deviation = parameters[0], np.exp(parameters[1])
    away = ndtri(np.clip(unit, EDGE, 1 - EDGE)) - mean
    return np.array([away, ((away / deviation) ** 2 - 1) / 2]), np.array([-mean, 1 - deviation**2])


def softmax(logits: NDArray) -> NDArray[np.float64]:
    """Chances in proportion to exponentials: (k,)."""
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


class Reinforce:
    """Draws from a policy that is learned from what was told."""

    def __init__(self, config: Config, space: Group, goal: Goal) -> None:
        self.config, self.space, self.goal = config, space, goal
        self.known: dict[str, Trial] = {}

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = kept(trial)

    def ask(self, number: int) -> Point:
        if before(self.known.values(), number) < self.config.startup:
            return draw_evenly(self.space, self.goal.seed, number)
        policy = learned(self.space, evidence(self.known.values(), self.goal), self.config)

        def drawn(attempt: int) -> Point:
            rng = generator(self.goal.seed, number, attempt)
            return walk(self.space, lambda name, domain: policy.draw(name, domain, rng))

        seen = {key(trial.config) for trial in self.known.values()}
        return permitted(self.space, self.goal.seed, number, drawn, TRIES, seen)


def learned(space: Group, known: Evidence, config: Config) -> Policy:
    """The policy after these trials."""
    policy, baseline, places = Policy(), 0.0, np.argsort(known.ranked)
    below: list[int] = []  # ranks from the bottom of the trials so far
    for trial, place in zip(known.trials, len(places) - 1 - places, strict=True):
        reward = (2 * bisect_left(below, place) - len(below)) / max(len(below), 1)
        insort(below, int(place))
        for name, (domain, value) in draws(space, trial.config).items():
            policy.learn(name, domain, value, reward - baseline, config)
        baseline += (1 - config.memory) * (reward - baseline)
    return policy
