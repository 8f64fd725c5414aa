"""What a model of final values learns from the trials so far.

A trial counts with its last rung. If that is not the last of all, it is taken for what it would have come to: at each
rung the gains to the next are known of those trials that have both, and the median gain of every rung to come is added
(none where no trial has gone further; those that did were the better ones, so that gains tend to be underrated). A
trial that failed, or has no finite values, counts as the worst that was seen. One without a rung is pending.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search.ledger import Trial
from spaces.expressions import Expression, relative
from spaces.study import Goal

MOST = 1e3  # what a bound missed, or kept, by more counts as, relative to the bound
Curve = dict[int, NDArray[np.float64]]  # epoch to values (targets,)


@dataclass(frozen=True)
class Evidence:
    """Trials and what came of them, in the order of their numbers.

    Attributes:
        trials: the N that have an end, or a rung.
        values: what they came to, (N, targets), more being better.
        slack: by how much each missed the bound that it missed most, or, below 0, kept the one that it nearly missed;
            relative to the bound, at most `MOST`; (N,).
        pending: those of which nothing is known yet.
    """

    trials: list[Trial]
    values: NDArray[np.float64]
    slack: NDArray[np.float64]
    pending: list[Trial]

    @property
    def ranked(self) -> NDArray[np.int64]:
        """Where the trials stand, the best by the leading target first, those that miss the bounds last; (N,)."""
        return np.lexsort((-self.values[:, 0], np.maximum(self.slack, 0)))


def kept(trial: Trial) -> Trial:
    """The trial as it stands, whatever becomes of it."""
    return replace(trial, rungs=list(trial.rungs))


def untold(trials: Iterable[Trial], number: int) -> int:
    """How many trials before that number there may be of which nothing was told."""
    return number - len({trial.number for trial in trials if 0 <= trial.number < number})


def evidence(trials: Iterable[Trial], goal: Goal) -> Evidence:
    """What trials say about the values at the end."""
    ordered = sorted(trials, key=lambda trial: (trial.number, trial.id))
    curves = {trial.id: curve(trial, goal) for trial in ordered}
    gains = median_gains(curves.values())
    ends = [trial for trial in ordered if trial.failed or trial.rungs]
    reached = {trial.id: _final(curves[trial.id], gains) for trial in ends if curves[trial.id]}
    pending = [trial for trial in ordered if not (trial.failed or trial.rungs)]
    if not reached:
        return Evidence([], np.empty((0, len(goal.targets))), np.empty(0), pending)
    worst = np.min(list(reached.values()), axis=0)
    values = np.array([reached.get(trial.id, worst) for trial in ends])
    return Evidence(ends, values, np.array([_slack(trial, curves[trial.id], goal) for trial in ends]), pending)


def curve(trial: Trial, goal: Goal) -> Curve:
    """The values of a trial at those of its rungs that have all of them; none of a trial that failed."""
    found = {} if trial.failed else {rung.epoch: goal.values(rung.metrics) for rung in trial.rungs}
    return {
        epoch: np.array(values, np.float64)
        for epoch, values in found.items()
        if values is not None and all(map(math.isfinite, values))
    }


def median_gains(curves: Iterable[Curve]) -> Curve:
    """By epoch of a rung: how much is gained from there to the next one, (targets,)."""
    steps = defaultdict(list)
    for known in curves:
        for epoch, following in pairwise(sorted(known)):
            steps[epoch].append(known[following] - known[epoch])
    return {epoch: np.median(gains, axis=0) for epoch, gains in sorted(steps.items())}


def _final(known: Curve, gains: Curve) -> NDArray[np.float64]:
    last = max(known)
    return known[last] + sum((gain for epoch, gain in gains.items() if epoch >= last), start=np.zeros(1))


def _slack(trial: Trial, known: Curve, goal: Goal) -> float:
    if not (known and goal.bounds):
        return MOST if goal.bounds else -MOST
    metrics = next(rung.metrics for rung in trial.rungs if rung.epoch == max(known))
    return max(slack(bound, metrics) for bound in goal.bounds)


def slack(bound: Expression, metrics: Mapping[str, float]) -> float:
    """By how much a bound is missed, or, below 0, by how much it is kept; relative to it, at most `MOST`."""
    missed = min(bound.excess(metrics), MOST)
    sides = bound.sides(metrics)
    if missed > 0 or sides is None or not bound.compares:
        return missed if missed > 0 else -1.0
    return -min(relative(bound.margin(metrics), sides[1]), MOST)
