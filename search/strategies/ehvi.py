"""Bayesian optimisation of several targets at once: the log noisy expected hypervolume improvement, by BoTorch.

Each target has a Gaussian process of its own, as in `gp`. What is asked for next is what is hoped to enlarge most the
volume that the trials dominate (Daulton et al., NeurIPS 2021; its logarithm by Ament et al., NeurIPS 2023), measured
from a reference point a tenth of the front's extent below the worst that is on it. With a single target this is `gp`.
"""

from __future__ import annotations

import numpy as np
import torch
from botorch.acquisition.logei import qLogProbabilityOfFeasibility
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.models import ModelListGP
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated

from search.strategies._ascent import Score
from search.strategies._surrogate import Surrogates, standard
from search.strategies.gp import Config, Gp, Seen, bound_model, improvement, sampler, slack
from spaces.space import Group
from spaces.study import Goal

TARGETS = "many"
__all__ = ["TARGETS", "Config", "build"]


def build(config: Config, space: Group, goal: Goal) -> Gp:
    """Gaussian processes over a space, after all targets."""
    return Gp(config, space, goal, hypervolume if len(goal.targets) > 1 else improvement)


def hypervolume(surrogates: Surrogates, seen: Seen) -> Score:
    """The log noisy expected hypervolume improvement, or how likely bounds are kept where none did yet."""
    count, missed = seen.values.shape[1], not seen.keeps.all()
    models = [surrogates.model(seen.points, column) for column in seen.values.T]
    model = ModelListGP(*models, *([bound_model(surrogates, seen)] if missed else []))
    if not seen.keeps.any():
        return qLogProbabilityOfFeasibility(model, [slack], sampler(), X_pending=seen.pending)
    scaled = torch.from_numpy(np.stack([standard(column) for column in seen.values.T], axis=1)[seen.keeps])
    return qLogNoisyExpectedHypervolumeImprovement(
        model,
        infer_reference_point(scaled[is_non_dominated(scaled)]),
        torch.from_numpy(seen.points),
        sampler(),
        objective=GenericMCMultiOutputObjective(lambda values, X=None: values[..., :count]),
        constraints=[slack] if missed else None,
        X_pending=seen.pending,
        prune_baseline=True,
    )
