"""Bayesian optimisation with Gaussian processes, by BoTorch, in spaces of any shape: for few and dear trials.

First the space is filled evenly (Sobol points, the branches of switches taking turns). Then each config is the one of
the largest log noisy expected improvement over what was told (Ament et al., NeurIPS 2023), given what is still out;
where the noise found is negligible and nothing is out, of the log expected improvement, which is the same there and
takes half the time. Where bounds are missed by some trials, a second model says how likely a config is to keep them.

Trials that failed count as the worst ones seen, those stopped early as what they would likely have come to
(`_evidence`). How configs become vectors stands in `_encoding`, the models in `_surrogate`, the search for the maximum
in `_ascent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, LogExpectedImprovement
from botorch.acquisition.logei import qLogNoisyExpectedImprovement, qLogProbabilityOfFeasibility
from botorch.acquisition.objective import GenericMCObjective
from botorch.models import ModelListGP, SingleTaskGP
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.pareto import is_non_dominated
from numpy.typing import NDArray
from scipy.stats import qmc
from torch import Tensor

from search.ledger import Trial
from search.strategies import before, draw_evenly, generator, permitted
from search.strategies._ascent import Score, highest
from search.strategies._encoding import Encoding, Spot, basic, valued
from search.strategies._evidence import Evidence, evidence, kept, untold
from search.strategies._surrogate import Surrogates, alone
from spaces.domains import Domain, Int, Value
from spaces.space import Config as Point
from spaces.space import Group, Switch
from spaces.study import Goal

NEGLIGIBLE = 1e-3  # noise, as a share of the variance of what was told
SAMPLES = 128  # of the posterior, where there is no formula
ATTEMPTS, FURTHER = 20, 1 << 16  # Sobol points that a trial may have, and how far apart they are in the sequence
LEADERS = 4  # of the best configs, around which the search is dense


@dataclass(frozen=True)
class Config:
    """When the model takes over, and how thoroughly its maximum is sought."""

    startup: Annotated[int, Int(2, 10_000)] = 10  # trials that fill the space; every branch once at least
    candidates: Annotated[int, Int(16, 16_384, log=True)] = 512  # configs scored for each suggestion, and half as many
    starts: Annotated[int, Int(1, 100)] = 6  # of which so many are improved upon


@dataclass(frozen=True)
class Seen:
    """What was told, as a model sees it: N points (N, width), P pending ones, values and slack as in `Evidence`."""

    points: NDArray[np.float64]
    values: NDArray[np.float64]
    slack: NDArray[np.float64]
    pending: Tensor | None

    @property
    def keeps(self) -> NDArray[np.bool_]:
        """Which of the points keep the bounds: (N,)."""
        return self.slack <= 0


Acquisition = Callable[[Surrogates, Seen], Score]


def build(config: Config, space: Group, goal: Goal) -> Gp:
    """A Gaussian process over a space, after the leading target."""
    return Gp(config, space, goal, improvement)


class Gp:
    """Models what was told, and asks for what an acquisition function makes of the model."""

    def __init__(self, config: Config, space: Group, goal: Goal, acquisition: Acquisition) -> None:
        self.config, self.space, self.goal, self.acquisition = config, space, goal, acquisition
        self.encoding = Encoding(space)
        self.surrogates = Surrogates(self.encoding.dimensions)
        self.switches = {name: part for name, part in space.parts.items() if isinstance(part, Switch)}
        self.startup = max(config.startup, *(len(part.branches) for part in self.switches.values()), 1)
        self.known: dict[str, Trial] = {}
        self.spots: dict[str, Spot] = {}

    def tell(self, trial: Trial) -> None:
        self.known[trial.id] = kept(trial)
        if trial.id not in self.spots:
            self.spots[trial.id] = self.encoding.encode(trial.config)

    def ask(self, number: int) -> Point:
        if before(self.known.values(), number) < self.startup or not self.encoding.places:
            return self._filling(number)
        known = evidence(self.known.values(), self.goal)
        if len(known.trials) < 2 or not np.ptp(known.values[:, 0]):
            return self._filling(number)
        missing = untold(self.known.values(), number)
        rng = generator(self.goal.seed, number - missing)
        with alone():
            score = self.acquisition(self.surrogates, self._seen(known))
            near = [known.trials[place].config for place in leaders(known, rng)]
            found = highest(score, self.encoding, near, rng, self.config.candidates, self.config.starts)
        told = {spot.key for spot in self.spots.values()}
        fresh = [spot for spot in found if spot.key not in told] or found
        # Of those asked for before and not told of, the first ones of this list must have been the answers.
        return fresh[min(missing, len(fresh) - 1)].config if fresh else self._filling(number)

    def _seen(self, known: Evidence) -> Seen:
        points = np.array([self.spots[trial.id].vector for trial in known.trials])
        pending = np.array([self.spots[trial.id].vector for trial in known.pending])
        return Seen(points, known.values, known.slack, torch.from_numpy(pending) if len(pending) else None)

    def _filling(self, number: int) -> Point:
        """The config of a Sobol point, but for the switches that take turns."""
        even = draw_evenly(self.space, self.goal.seed, number)
        if not self.encoding.places:
            return even
        turns = {name: next(iter(even[name])) for name in self.switches}

        def spread(attempt: int) -> Point:
            sequence = qmc.Sobol(len(self.encoding.places), rng=self.goal.seed)
            ahead = number + attempt * FURTHER
            (units,) = (sequence.fast_forward(ahead) if ahead else sequence).random(1)

            def draw(name: str, domain: Domain) -> Value:
                place = self.encoding.places[basic(name)]
                return turns[place.name] if place.name in turns else valued(domain, float(units[place.number]))

            return self.encoding.visit(draw).config

        return permitted(self.space, self.goal.seed, number, spread, ATTEMPTS)


def leaders(known: Evidence, rng: np.random.Generator) -> Iterable[int]:
    """Where the best trials stand: of one target by rank, of several any of those that none beats in all."""
    if known.values.shape[1] == 1:
        return known.ranked[:LEADERS]
    fair = known.slack <= max(0.0, known.slack.min())
    front = is_non_dominated(torch.from_numpy(np.where(fair[:, None], known.values, known.values.min(0) - 1))).numpy()
    front = np.flatnonzero(front & fair)
    return rng.choice(front, min(LEADERS, len(front)), replace=False)


def improvement(surrogates: Surrogates, seen: Seen) -> Score:
    """The log (noisy) expected improvement of the leading target, or how likely bounds are kept where none did yet."""
    model = surrogates.model(seen.points, seen.values[:, 0])
    quiet = float(model.likelihood.noise) < NEGLIGIBLE and seen.pending is None
    points, missed = torch.from_numpy(seen.points), not seen.keeps.all()
    both = ModelListGP(model, bound_model(surrogates, seen)) if missed else model
    if not seen.keeps.any():
        return qLogProbabilityOfFeasibility(both, [slack], sampler(), X_pending=seen.pending)
    if quiet:
        best = model.posterior(points[torch.from_numpy(seen.keeps)]).mean.max()
        if missed:
            return LogConstrainedExpectedImprovement(both, best, 0, {1: (None, 0.0)})
        return LogExpectedImprovement(model, best)
    return qLogNoisyExpectedImprovement(
        both,
        points,
        sampler(),
        objective=GenericMCObjective(lambda values, X=None: values[..., 0]),
        constraints=[slack] if missed else None,
        X_pending=seen.pending,
    )


def bound_model(surrogates: Surrogates, seen: Seen) -> SingleTaskGP:
    """A model of what is below 0 where the bounds hold: the slack, its distance from 0 in logarithms."""
    bent = np.sign(seen.slack) * np.log1p(np.abs(seen.slack))
    return surrogates.model(seen.points, bent, lambda values: values / (values.std() or 1.0))


def slack(values: Tensor) -> Tensor:
    """Of samples of all models, the last one's."""
    return values[..., -1]


def sampler() -> SobolQMCNormalSampler:
    """Normal draws, the same for every suggestion."""
    return SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=0)
