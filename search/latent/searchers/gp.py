"""Bayesian optimisation with an exact Gaussian process (Matérn 5/2) on the latents, by BoTorch.

Kernel, noise and mean are BoTorch's `SingleTaskGP` with its priors scaled by the dimension (Hvarfner et al., ICML
2024), fitted anew whenever what was told has grown by a share; in between only the data change. A request then takes

1. the circuits to learn from: at most `most`, half the best and half at random among the others;
2. the posterior mean of the whole pool, which is cheap, and of this the `best` circuits and `spread` at random;
3. among these the largest log EI (Ament et al. 2023), again and again: each choice is learned as if its reward were
   the posterior mean, which narrows the deviations around it and moves no mean.

The improvement is over a fixed reward, which collects good circuits, or over the best so far, which seeks the one best.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from search.latent.acquisition import log_expected_improvement
from search.latent.record import Record, unit_cube
from spaces.domains import Choice, Int, Uniform

ITERATIONS = 50  # of a fit; twice as many gain some 2 % more candidates and take a third more time
ROWS = 2048  # circuits whose mean is computed at once: their kernel stays in the processor's cache


@dataclass(frozen=True)
class Config:
    """How much it learns from, how many it chooses among, how often it is fitted."""

    initial: Annotated[int, Int(2, 256, log=True)] = 16  # random circuits before the first model
    batch: Annotated[int, Int(1, 64, log=True)] = 10  # circuits chosen before any of their rewards is known
    target: Annotated[str, Choice("tau", "best")] = "tau"  # the reward to improve on: `tau`, or the best so far
    tau: Annotated[float, Uniform(0, 1)] = 0.9  # a reward worth having
    most: Annotated[int, Int(32, 2000, log=True)] = 500  # circuits learned from at most; time grows with the cube
    best: Annotated[int, Int(1, 10_000, log=True)] = 1000  # circuits of the highest mean that may be chosen
    spread: Annotated[int, Int(1, 10_000, log=True)] = 500  # further ones, drawn evenly
    growth: Annotated[float, Uniform(1.05, 4)] = 1.3  # growth of what was told from one fit to the next


def build(config: Config, latents: NDArray, seed: int) -> Gp:
    """A Gaussian process over a pool of latents (B, d)."""
    return Gp(config, Record(latents, seed))


class Gp:
    """Fits are due at fixed numbers of told circuits and start afresh, so that a rebuilt searcher has the same."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record
        self.scale = unit_cube(record.latents)
        self.points = self.scale(record.latents)  # in the unit cube; those that join may lie outside
        self.fits: dict[int, SingleTaskGP] = {}  # the last fit, and of how many told circuits it is

    @property
    def batch(self) -> int:
        missing = self.config.initial - len(self.record)
        return missing if missing > 0 else self.config.batch

    def ask(self, n: int) -> NDArray[np.int64]:
        told = len(self.record)
        if told < self.config.initial:
            return self.record.drawn(n)
        number, rng = self.record.allowed(n), self.record.generator()
        if number == 0:
            return np.empty(0, np.int64)
        indices, rewards = self.record.indices, self.record.rewards
        kept = learned(rewards, self.config.most, rng)
        posterior = Posterior(self._model(indices, rewards), self.points[indices[kept]], rewards[kept])
        target = rewards.max() if self.config.target == "best" else self.config.tau
        rest = np.flatnonzero(self.record.free)
        rest = rest[candidates(posterior, self.points, rest, max(self.config.best, number), self.config.spread, rng)]
        return rest[posterior.choose(self.points[rest], number, target)]

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for pair in zip(*self.record.checked(indices, rewards), strict=True):
            self.record.add(*pair)

    def extend(self, latents: NDArray) -> None:
        self.points = np.concatenate([self.points, self.scale(self.record.extend(latents))])

    def _model(self, indices: NDArray, rewards: NDArray) -> SingleTaskGP:
        """The model fitted to what was told when a fit was last due."""
        due = self.config.initial
        while max(due + 1, int(due * self.config.growth)) <= len(rewards):
            due = max(due + 1, int(due * self.config.growth))
        if due not in self.fits:
            kept = learned(rewards[:due], self.config.most, np.random.default_rng([self.record.seed, due]))
            self.fits = {due: fitted(self.points[indices[kept]], rewards[kept])}
        return self.fits[due]


def learned(rewards: NDArray, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which of the told circuits to learn from: (N,) with N ≤ most."""
    ranked = np.argsort(-rewards, kind="stable")
    if len(ranked) <= most:
        return ranked
    return np.concatenate([ranked[: most // 2], rng.choice(ranked[most // 2 :], most - most // 2, replace=False)])


def fitted(points: NDArray, rewards: NDArray) -> SingleTaskGP:
    """A model whose kernel, noise and mean maximise the posterior given points (N, d) in the unit cube."""
    inputs = torch.from_numpy(points.astype(np.float64))
    targets = torch.from_numpy((rewards - rewards.mean()) / _deviation(rewards))[:, None]
    kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=inputs.shape[1], use_rbf_kernel=False)
    model = SingleTaskGP(inputs, targets, covar_module=kernel, outcome_transform=None)
    likelihood, options = ExactMarginalLogLikelihood(model.likelihood, model), {"options": {"maxiter": ITERATIONS}}
    with suppress(ModelFittingError):  # then all stays where the priors have it
        # Once only: further attempts would start from random places, drawn from everybody's generator.
        fit_gpytorch_mll(likelihood, optimizer_kwargs=options, max_attempts=1, warning_handler=lambda warning: True)
    return model.requires_grad_(False)


def _deviation(rewards: NDArray) -> float:
    return float(rewards.std()) or 1.0


class Posterior:
    """A fitted model's belief after N circuits; rewards count in their standard deviations above their mean.

    With K the kernel and L Lᵀ = K(X, X) + noise, the mean is m + K(·, X) `weights`, the covariance
    K(·, ·') - VᵀV' where V = L⁻¹ K(X, ·) (Rasmussen and Williams 2006, algorithm 2.1).
    """

    def __init__(self, model: SingleTaskGP, points: NDArray, rewards: NDArray) -> None:
        """Given the points (N, d) and rewards (N,); `model` gives kernel, noise and mean, its own data do not count."""
        self.kernel, self.noise = model.covar_module, float(model.likelihood.noise)
        self.prior_mean = float(model.mean_module.constant)
        self.points = torch.from_numpy(points.astype(np.float64))
        self.zero, self.unit = rewards.mean(), _deviation(rewards)
        scaled = torch.from_numpy((rewards - self.zero) / self.unit)
        covariance = self._covariance(self.points, self.points)
        self.root = torch.linalg.cholesky(covariance + self.noise * torch.eye(len(points), dtype=torch.float64))
        self.weights = torch.cholesky_solve((scaled - self.prior_mean)[:, None], self.root)[:, 0]

    def _covariance(self, left: Tensor, right: Tensor) -> Tensor:
        return self.kernel(left, right).to_dense()

    def screen(self, points: NDArray, rows: NDArray) -> NDArray[np.float32]:
        """The mean of some rows (R,) of the pool, in float32 and with the Matérn kernel written out: (R,)."""
        scale = self.kernel.lengthscale.numpy().ravel()
        centres = (self.points.numpy() / scale).astype(np.float32)
        weights, squares = self.weights.numpy().astype(np.float32), np.einsum("nd,nd->n", centres, centres)
        means = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), ROWS):
            part = points[rows[start : start + ROWS]] / scale.astype(np.float32)
            distance = np.einsum("nd,nd->n", part, part)[:, None] + squares - 2 * (part @ centres.T)
            distance = np.sqrt(np.maximum(5 * distance, 0))
            means[start : start + ROWS] = ((1 + distance + distance * distance / 3) * np.exp(-distance)) @ weights
        return means + np.float32(self.prior_mean)

    def choose(self, points: NDArray, number: int, target: float) -> NDArray[np.int64]:
        """Which `number` of the points (C, d) to evaluate, to improve on a reward; the best first: (number,)."""
        candidates = torch.from_numpy(points.astype(np.float64))
        cross = self._covariance(self.points, candidates)
        mean = (self.prior_mean + self.weights @ cross).numpy()
        above = torch.linalg.solve_triangular(self.root, cross, upper=False)
        variance = self._covariance(candidates[:1], candidates[:1])[0, 0] - above.square().sum(0)
        target = (target - self.zero) / self.unit
        chosen: list[int] = []
        for _ in range(number):
            score = log_expected_improvement(mean, variance.clamp_min(1e-12).sqrt().numpy(), target)
            score[chosen] = -np.inf
            chosen.append(int(score.argmax()))
            column = self._covariance(candidates[chosen[-1:]], candidates)[0] - above[:, chosen[-1]] @ above
            row = column / (column[chosen[-1]] + self.noise).sqrt()  # the next row of V
            above, variance = torch.cat([above, row[None]]), variance - row.square()
        return np.array(chosen, np.int64)


def candidates(
    posterior: Posterior, points: NDArray, rows: NDArray, best: int, spread: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Which of the rows (R,) of the pool to choose among: those of the highest mean, and others drawn evenly."""
    if len(rows) <= best + spread:
        return np.arange(len(rows))
    ranked = np.argpartition(-posterior.screen(points, rows), best)
    return np.concatenate([np.sort(ranked[:best]), rng.choice(np.sort(ranked[best:]), spread, replace=False)])
