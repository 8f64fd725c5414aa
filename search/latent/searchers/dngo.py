"""Bayesian optimisation with DNGO (Snoek et al., ICML 2015) as the paper uses it (Sun et al., Quantum 10, 1994).

A network of one tanh layer is trained from scratch on all that was told; on its features stands a Bayesian linear
regression, whose α and β maximise the marginal likelihood. The unvisited circuits of the largest acquisition come
next, a few at a time. Visited ones are left out before ranking, so that the search cannot run dry.

The published acquisition is the expected improvement over a fixed target τ with the predictive variance in place of
the deviation. The others are by the book: over the best reward so far, and with the deviation of the reward itself
(which is exact, hence without the noise 1/β). Two slips of the published code are not followed: the data's term of its
marginal likelihood has the norm of the residuals, not its square; and it stalls when all it ranks first are visited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.latent.acquisition import (
    expected_improvement,
    highest,
    log_expected_improvement,
    published_improvement,
    upper_bound,
)
from search.latent.linear import Evidence, Posterior
from search.latent.network import Network, initial, train
from search.latent.record import Record, shaped
from spaces.domains import Choice, Int, Log, Uniform

ROWS = 4096  # circuits scored at once: their features stay in the processor's cache
ACQUISITIONS = Choice("published", "ei", "log_ei", "ucb", "thompson")


@dataclass(frozen=True)
class Config:
    """Defaults are those published for the tasks on 4 qubits (max-cut there has penalty 2)."""

    initial: Annotated[int, Int(2, 256, log=True)] = 16  # random circuits before the first model
    top: Annotated[int, Int(1, 64, log=True)] = 5  # circuits proposed by one model
    acquisition: Annotated[str, ACQUISITIONS] = "published"  # what ranks the circuits
    tau: Annotated[float, Uniform(0, 1)] = 0.9  # the target reward of `published`
    kappa: Annotated[float, Uniform(0, 5)] = 2.0  # deviations above the mean of `ucb`
    hidden: Annotated[int, Int(8, 512, log=True)] = 128  # tanh units
    epochs: Annotated[int, Int(10, 1000, log=True)] = 100  # passes over what was told
    minibatch: Annotated[int, Int(1, 256, log=True)] = 10  # circuits a step of Adam
    lr: Annotated[float, Log(1e-4, 1e-1)] = 1e-2  # Adam's step
    threshold: Annotated[float, Uniform(0, 1)] = 0.95  # reward of a candidate
    penalty: Annotated[float, Uniform(1, 3)] = 1.0  # exponent of rewards below the threshold; 1: none


def build(config: Config, latents: NDArray, seed: int) -> Dngo:
    """DNGO over a pool of latents (B, d)."""
    return Dngo(config, Record(latents, seed))


class Dngo:
    """A new model for each request, of what was told until then."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record

    @property
    def batch(self) -> int:
        missing = self.config.initial - len(self.record)
        return missing if missing > 0 else self.config.top

    def ask(self, n: int) -> NDArray[np.int64]:
        if len(self.record) < self.config.initial:
            return self.record.drawn(n)
        number, rng = self.record.allowed(n), self.record.generator()
        if number == 0:
            return np.empty(0, np.int64)
        rest = np.flatnonzero(self.record.free)
        model = fitted(self.config, self.record, rng)
        if self.config.acquisition == "thompson":
            return rest[first_choices(model.samples(self.record.latents, rest, number, rng))]
        scores = scored(self.config, model, self.record, rest)
        return rest[highest(scores, number)]

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for pair in zip(*self.record.checked(indices, rewards), strict=True):
            self.record.add(*pair)

    def extend(self, latents: NDArray) -> None:
        self.record.extend(latents)


@dataclass(frozen=True)
class Model:
    """Rewards as a Bayesian linear function of a network's features of standardised latents."""

    network: Network
    weights: Posterior
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def features(self, latents: NDArray) -> NDArray[np.float32]:
        """Of latents (B, d): (B, H)."""
        return self.network.features((latents - self.mean) / self.deviation)

    def predict(self, latents: NDArray, rows: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and variance, without noise, of the rewards of some rows (R,) of the pool: (R,) each."""
        means, variances = np.empty(len(rows)), np.empty(len(rows))
        weights = self.weights.mean.astype(np.float32)
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            features = self.features(latents[rows[part]])
            means[part], variances[part] = features @ weights, self.weights.variance(features)
        return means, np.maximum(variances, np.finfo(np.float64).eps)

    def samples(self, latents: NDArray, rows: NDArray, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Rewards of some rows (R,) under `count` draws of the weights: (R, count)."""
        weights = self.weights.draw(count, rng).astype(np.float32)
        parts = [self.features(latents[rows[start : start + ROWS]]) @ weights for start in range(0, len(rows), ROWS)]
        return np.concatenate(parts)


def fitted(config: Config, record: Record, rng: np.random.Generator) -> Model:
    """The model of all that was told."""
    inputs, targets = record.latents[record.indices], shaped(record.rewards, config.threshold, config.penalty)
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
    deviation = np.where(deviation > 0, deviation, np.float32(1))
    scaled = (inputs - mean) / deviation
    order = rng.permuted(np.tile(np.arange(len(inputs)), (config.epochs, 1)), axis=1)
    network = initial(inputs.shape[1], config.hidden, rng)
    network = train(network, scaled, targets, order, config.minibatch, config.lr)
    evidence = Evidence(network.features(scaled), targets)
    return Model(network, evidence.posterior(*evidence.best()), mean, deviation)


def scored(config: Config, model: Model, record: Record, rows: NDArray) -> NDArray[np.float64]:
    """The acquisition of some rows (R,) of the pool: (R,)."""
    means, variances = model.predict(record.latents, rows)
    if config.acquisition == "published":
        return published_improvement(means, variances + model.weights.noise, config.tau)
    deviations, best = np.sqrt(variances), shaped(record.rewards, config.threshold, config.penalty).max()
    if config.acquisition == "ucb":
        return upper_bound(means, deviations, config.kappa)
    improvement = expected_improvement if config.acquisition == "ei" else log_expected_improvement
    return improvement(means, deviations, best)


def first_choices(samples: NDArray) -> NDArray[np.int64]:
    """For each column of samples (R, n), the row of its highest value that no earlier column took: (n,)."""
    chosen = np.empty(samples.shape[1], np.int64)
    for column in range(samples.shape[1]):
        samples[chosen[:column], column] = -np.inf
        chosen[column] = samples[:, column].argmax()
    return chosen
