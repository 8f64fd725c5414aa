"""Gaussian processes over the vectors of a space, by BoTorch: `SingleTaskGP` with a Matérn 5/2 kernel.

The kernel has one length a column. Their prior is the one scaled by the dimension (Hvarfner et al., ICML 2024), the
dimension being the number of knobs that apply to a config and not that of columns, most of which stand still in a
space of many branches. The noise is inferred, under a prior so wide that 1e-6 of the variance is as believable as 0.01:
by BoTorch's own prior, a search of Branin's function without noise comes to a regret five times as large.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from numpy.typing import NDArray

LEAST_NOISE, NOISE = 1e-6, (-9.0, 3.0)  # variance of standardised values: its floor, and its log-normal prior
LEAST_LENGTH = 0.025
ITERATIONS, MOST = 50, 128  # of a fit: its steps, and the trials it looks at
GROWTH = 1.1  # of what was told from one fit to the next
FENCE = 3.0  # interquartile ranges below the lower quartile, beyond which bad values are all the same

Scale = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (N,) with mean 0 and deviation 1, but for those far below the others, which count as at the fence."""
    low, high = np.quantile(values, [0.25, 0.75])
    fenced = np.maximum(values, low - FENCE * (high - low)) if high > low else values
    return (fenced - fenced.mean()) / (fenced.std() or 1.0)


class Surrogates:
    """Models of what was told. Their lengths, noise and mean are fitted anew whenever that has grown by a share, to
    the first so many trials, so that a rebuilt strategy comes to the same; in between only the data change."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.fits: dict[str, dict[str, Any]] = {}

    def model(self, points: NDArray, values: NDArray, scale: Scale = standard) -> SingleTaskGP:
        """A model of values (N,), N ≥ 2, at points (N, width), both in the order of the trials' numbers."""
        due = last_due(len(values))
        mark = sha256(points[:due].tobytes() + values[:due].tobytes()).hexdigest()
        if mark not in self.fits:
            few = telling(values[:due])
            model = blank(points[few], scale(values[:due])[few], self.dimensions)
            likelihood, options = ExactMarginalLogLikelihood(model.likelihood, model), {"maxiter": ITERATIONS}
            with suppress(ModelFittingError):  # then all stays where the priors have it
                # Once only: further attempts would start from random places.
                fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": options}, max_attempts=1)
            self.fits[mark] = model.state_dict()
        model = blank(points, scale(values), self.dimensions)
        model.load_state_dict(self.fits[mark])
        return model.eval().requires_grad_(False)


def telling(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of the trials a fit looks at, at most `MOST`: half of them the best, the others evenly spread."""
    if len(values) <= MOST:
        return np.arange(len(values))
    ranked = np.argsort(-values, kind="stable")
    others = np.sort(ranked[MOST // 2 :])
    spread = others[np.linspace(0, len(others) - 1, MOST - MOST // 2).round().astype(int)]
    return np.sort(np.concatenate([ranked[: MOST // 2], spread]))


def last_due(told: int) -> int:
    """To how many trials the last fit was, once so many are told."""
    due = 2
    while (following := max(due + 1, int(due * GROWTH))) <= told:
        due = following
    return due


def blank(points: NDArray, values: NDArray, dimensions: int) -> SingleTaskGP:
    """A model before it is fitted, its lengths and noise the likeliest by their priors."""
    lengths = LogNormalPrior(math.sqrt(2) + math.log(dimensions) / 2, math.sqrt(3))
    kernel = MaternKernel(
        nu=2.5,
        ard_num_dims=points.shape[1],
        lengthscale_prior=lengths,
        lengthscale_constraint=GreaterThan(LEAST_LENGTH, transform=None, initial_value=lengths.mode),
    )
    noise = LogNormalPrior(*NOISE)
    floor = GreaterThan(LEAST_NOISE, transform=None, initial_value=max(float(noise.mode), 2 * LEAST_NOISE))
    likelihood = GaussianLikelihood(noise_prior=noise, noise_constraint=floor)
    inputs, targets = torch.from_numpy(points), torch.from_numpy(values)[:, None]
    return SingleTaskGP(inputs, targets, likelihood=likelihood, covar_module=kernel, outcome_transform=None)


@contextmanager
def alone() -> Iterator[None]:
    """For a while: one thread, so that sums come out alike on any machine, a torch generator of one's own, and no
    warnings of optimisers that stop early."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True):  # BoTorch insists on showing some
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
