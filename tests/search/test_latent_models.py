"""What Bayesian optimisation believes and hopes: regression, network, process, acquisition, each against an oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process.kernels import Matern
from sklearn.linear_model import BayesianRidge

from search.latent import acquisition
from search.latent.linear import Evidence
from search.latent.network import Network, initial, train
from search.latent.record import Record, shaped, standard
from search.latent.searchers import dngo, gp

believed = {"mean": st.floats(-2, 2), "deviation": st.floats(1e-3, 3), "best": st.floats(-2, 2)}


@given(**believed)
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    end = mean + 12 * deviation
    truth = 0.0
    if best < end:
        truth = quad(lambda f: (f - best) * norm.pdf(f, mean, deviation), max(best, mean - 12 * deviation), end)[0]
        truth += 0.0 if best > mean - 12 * deviation else mean - best - truth
    assert acquisition.expected_improvement(mean, deviation, best) == pytest.approx(truth, rel=1e-6, abs=1e-11)


@pytest.mark.parametrize("u", [-1e5, -1.0001e4, -9.999e3, -300.0, -40.0, -5.0, -1.0001, -0.9999, 0.0, 1.0, 8.0])
def test_log_expected_improvement_holds_where_the_improvement_rounds_to_nothing(u: float) -> None:
    """E max(f - best, 0) / σ = φ(u) ∫ t exp(ut - t²/2) dt over t > 0."""
    scale = max(1.0, -u)
    integral = quad(lambda s: s * np.exp(u * s / scale - (s / scale) ** 2 / 2), 0, 60 if u < 0 else 30)[0]
    truth = np.log(0.3) - u * u / 2 - np.log(2 * np.pi) / 2 + np.log(integral) - 2 * np.log(scale)
    found = acquisition.log_expected_improvement(np.array([1 + 0.3 * u]), np.array([0.3]), 1.0)[0]
    assert found + u * u / 2 == pytest.approx(truth + u * u / 2, rel=1e-7, abs=1e-5)


@given(**believed)
def test_its_exponential_is_the_expected_improvement(mean: float, deviation: float, best: float) -> None:
    plain = acquisition.expected_improvement(mean, deviation, best)
    log = acquisition.log_expected_improvement(np.array(mean), np.array(deviation), best)
    assert np.exp(log) == pytest.approx(plain, rel=1e-6, abs=1e-13)


def test_the_published_acquisition_has_the_variance_for_the_deviation() -> None:
    mean, variance, tau = 0.7, 0.04, 0.9
    u = (mean - tau) / variance
    value = variance * (norm.pdf(u) + u * norm.cdf(u))
    assert acquisition.published_improvement(mean, variance, tau) == pytest.approx(value, rel=1e-9)
    assert acquisition.upper_bound(0.5, 0.2, 1.5) == pytest.approx(0.8)


def regression(rows: int, columns: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    features = np.tanh(rng.standard_normal((rows, columns)))
    return features, features @ rng.standard_normal(columns) + 0.3 * rng.standard_normal(rows)


@pytest.mark.parametrize(("rows", "columns"), [(40, 7), (6, 20)])
def test_the_evidence_is_the_density_of_the_targets(rows: int, columns: int) -> None:
    features, targets = regression(rows, columns)
    evidence = Evidence(features, targets)
    for alpha, beta in [(1.0, 1.0), (0.01, 50.0), (30.0, 0.2)]:
        covariance = features @ features.T / alpha + np.eye(rows) / beta
        truth = multivariate_normal(np.zeros(rows), covariance).logpdf(targets)
        assert evidence.log(alpha, beta) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("rows", [30, 200])
def test_its_maximum_and_posterior_are_those_of_scikit_learn(rows: int) -> None:
    features, targets = regression(rows, 9, seed=1)
    other = BayesianRidge(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, fit_intercept=False, compute_score=True, max_iter=5000, tol=1e-12
    ).fit(features, targets)  # its alpha is our β, its lambda our α
    evidence = Evidence(features, targets)
    assert evidence.log(other.lambda_, other.alpha_) == pytest.approx(other.scores_[-1], rel=1e-9)
    alpha, beta = evidence.best()
    assert evidence.log(alpha, beta) >= other.scores_[-1] - 1e-6
    assert (alpha, beta) == pytest.approx((other.lambda_, other.alpha_), rel=1e-2)
    points, posterior = regression(50, 9, seed=2)[0], evidence.posterior(other.lambda_, other.alpha_)
    mean, deviation = other.predict(points, return_std=True)
    np.testing.assert_allclose(points @ posterior.mean, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(np.sqrt(posterior.variance(points) + posterior.noise), deviation, rtol=1e-6)


def test_draws_of_weights_have_the_posterior_s_mean_and_covariance() -> None:
    features, targets = regression(8, 4)
    posterior = Evidence(features, targets).posterior(0.7, 5.0)
    covariance = np.linalg.inv(0.7 * np.eye(4) + 5 * features.T @ features)
    np.testing.assert_allclose(posterior.root @ posterior.root.T, covariance, rtol=1e-9)
    np.testing.assert_allclose(posterior.mean, 5 * covariance @ features.T @ targets, rtol=1e-9)
    draws = posterior.draw(200_000, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(1), posterior.mean, atol=0.01)
    np.testing.assert_allclose(np.cov(draws), covariance, atol=0.01)


def trained_by_torch(start: Network, inputs, targets, order, minibatch: int, lr: float) -> torch.nn.Sequential:
    dimensions, hidden = start.inner.shape
    model = torch.nn.Sequential(torch.nn.Linear(dimensions, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1))
    with torch.no_grad():
        for weight, value in zip(
            model.parameters(), (start.inner.T, start.bias, start.outer[None], start.offset), strict=True
        ):
            weight.copy_(torch.tensor(value))
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in order:
        for first in range(0, len(epoch) - minibatch + 1, minibatch):
            rows = epoch[first : first + minibatch]
            optimiser.zero_grad()
            predicted = model(torch.from_numpy(inputs[rows]))[:, 0]
            torch.nn.functional.mse_loss(predicted, torch.from_numpy(targets[rows])).backward()
            optimiser.step()
    return model


@pytest.mark.parametrize(("rows", "minibatch"), [(23, 10), (7, 7)])
def test_the_network_is_trained_as_torch_would(rows: int, minibatch: int) -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((rows, 5)).astype(np.float32), rng.random(rows).astype(np.float32)
    order, start = rng.permuted(np.tile(np.arange(rows), (40, 1)), axis=1), initial(5, 16, rng)
    kept = start.inner.copy()
    found = train(start, inputs, targets, order, 10, 0.01)  # 10 rows a step, or all where there are fewer
    model = trained_by_torch(start, inputs, targets, order, minibatch, 0.01)
    with torch.no_grad():
        expected = model[:2](torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(found.features(inputs), expected, atol=2e-4)
        answers = model(torch.from_numpy(inputs))[:, 0].numpy()
    np.testing.assert_allclose(found.features(inputs) @ found.outer + found.offset, answers, atol=2e-4)
    assert np.array_equal(start.inner, kept)


def told(latents: NDArray, rewards: NDArray) -> Record:
    record = Record(latents, 0)
    for index, reward in enumerate(rewards):
        record.add(index, reward)
    return record


def test_dngo_believes_what_regression_on_its_features_says_and_more_where_it_knows_less() -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((900, 3)).astype(np.float32)
    rewards = np.exp(-np.square(latents).sum(1) / 4)
    record = told(latents, rewards[:300])
    model = dngo.fitted(dngo.Config(), record, np.random.default_rng(1))
    means, variances = model.predict(latents, np.arange(300, 900))
    assert np.corrcoef(means, rewards[300:])[0, 1] > 0.95
    features = model.features(latents)
    alpha, beta = Evidence(features[:300], rewards[:300]).best()
    precision = alpha * np.eye(128) + beta * features[:300].T.astype(float) @ features[:300]
    truth = features[300:].astype(float) @ np.linalg.solve(precision, beta * features[:300].T @ rewards[:300])
    np.testing.assert_allclose(means, truth, atol=2e-3)
    spread = np.einsum("ij,ji->i", features[300:].astype(float), np.linalg.solve(precision, features[300:].T))
    np.testing.assert_allclose(variances, spread, rtol=0.02)
    draws = model.samples(latents, np.arange(300, 900), 4000, np.random.default_rng(2))
    np.testing.assert_allclose(draws.mean(1), means, atol=5 * np.sqrt(spread.max() / 4000))


@pytest.mark.parametrize("kind", ["published", "ei", "log_ei", "ucb"])
def test_dngo_proposes_the_unvisited_of_the_largest_acquisition(kind: str) -> None:
    latents = np.random.default_rng(0).standard_normal((300, 3)).astype(np.float32)
    rewards = np.exp(-np.square(latents).sum(1) / 4)
    config = dngo.Config(acquisition=kind, epochs=20, penalty=2.0)
    searcher = dngo.build(config, latents, 5)
    searcher.tell(np.arange(40), rewards[:40])
    model = dngo.fitted(config, searcher.record, np.random.default_rng([5, 40]))
    means, variances = model.predict(latents, np.arange(300))
    best = np.where(rewards[:40] < 0.95, rewards[:40] ** 2, rewards[:40]).max()
    published = acquisition.expected_improvement(means, variances + model.weights.noise, 0.9)
    scores = {
        "published": published,
        "ei": acquisition.expected_improvement(means, np.sqrt(variances), best),
        "log_ei": acquisition.log_expected_improvement(means, np.sqrt(variances), best),
        "ucb": means + 2 * np.sqrt(variances),
    }[kind]
    asked = searcher.ask(6)
    assert set(asked) == set(40 + np.argsort(-scores[40:], kind="stable")[:6])
    assert scores[asked[0]] == scores[40:].max()


def test_choices_of_samples_are_distinct_and_the_highest_left() -> None:
    samples = np.array([[3.0, 9.0, 9.0], [2.0, 1.0, 8.0], [1.0, 0.0, 7.0]])
    assert dngo.first_choices(samples.copy()).tolist() == [0, 1, 2]
    assert acquisition.highest(np.array([0.0, 2.0, 0.0, 3.0, 2.0]), 4).tolist() == [3, 1, 4, 0]


@pytest.fixture(scope="module")
def fitted() -> tuple[gp.Gp, NDArray]:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((400, 3)).astype(np.float32)
    rewards = np.exp(-np.square(latents.astype(float)).sum(1) / 4)
    searcher = gp.build(gp.Config(initial=60, best=100, spread=50), latents, 0)
    searcher.tell(np.arange(60), rewards[:60])
    return searcher, rewards


def belief(searcher: gp.Gp, rewards: NDArray) -> gp.Posterior:
    return gp.Posterior(searcher._model(np.arange(60), rewards[:60]), searcher.points[:60], rewards[:60])


def conditioned(posterior: gp.Posterior, known: NDArray, values: NDArray, points: NDArray) -> tuple[NDArray, NDArray]:
    """Mean and deviation by scikit-learn's kernel and a plain inverse."""
    kernel = Matern(posterior.kernel.lengthscale.numpy().ravel(), nu=2.5)
    inverse = np.linalg.inv(kernel(known) + posterior.noise * np.eye(len(known)))
    cross = kernel(points, known)
    mean = posterior.prior_mean + cross @ inverse @ (values - posterior.prior_mean)
    return mean, np.sqrt(np.maximum(1 - np.einsum("ij,jk,ik->i", cross, inverse, cross), 1e-12))


@pytest.mark.parametrize("target", [0.8, 2.0])  # the higher, the more the deviations count
def test_the_process_chooses_as_if_each_choice_had_come_true(fitted, target: float) -> None:
    searcher, rewards = fitted
    posterior, points = belief(searcher, rewards), searcher.points.astype(float)
    unit, zero = rewards[:60].std(), rewards[:60].mean()
    known, values, chosen = points[:60], (rewards[:60] - zero) / unit, []
    for _ in range(12):
        mean, deviation = conditioned(posterior, known, values, points[60:])
        scores = acquisition.log_expected_improvement(mean, deviation, (target - zero) / unit)
        scores[chosen] = -np.inf
        chosen.append(int(scores.argmax()))
        known, values = np.vstack([known, points[60 + chosen[-1]]]), np.append(values, mean[chosen[-1]])
    assert posterior.choose(searcher.points[60:], 12, target).tolist() == chosen


def test_its_belief_is_botorch_s_and_the_screened_mean_too(fitted) -> None:
    searcher, rewards = fitted
    posterior = belief(searcher, rewards)
    points = torch.from_numpy(searcher.points[60:].astype(float))
    truth = searcher._model(np.arange(60), rewards[:60]).posterior(points)
    mean, deviation = conditioned(
        posterior, searcher.points[:60].astype(float), (rewards[:60] - rewards[:60].mean()) / rewards[:60].std(), points
    )
    np.testing.assert_allclose(mean, truth.mean[:, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(deviation, truth.variance[:, 0].sqrt().numpy(), atol=1e-4)
    np.testing.assert_allclose(posterior.screen(searcher.points, np.arange(60, 400)), mean, atol=2e-3)
    assert np.corrcoef(mean, rewards[60:])[0, 1] > 0.95


def test_it_chooses_among_the_highest_means_and_some_others(fitted) -> None:
    searcher, rewards = fitted
    posterior, rows = belief(searcher, rewards), np.arange(60, 400)
    kept = gp.candidates(posterior, searcher.points, rows, 100, 50, np.random.default_rng(0))
    ranked = np.argsort(-posterior.screen(searcher.points, rows))
    assert len(set(kept)) == 150
    assert set(kept[:100]) == set(ranked[:100])
    assert set(searcher.ask(5)) <= set(range(60, 400))


def test_it_learns_from_the_best_and_from_others() -> None:
    rewards = np.random.default_rng(0).random(100)
    kept = gp.learned(rewards, 30, np.random.default_rng(1))
    assert len(set(kept)) == 30
    assert set(np.argsort(-rewards)[:15]) <= set(kept)
    assert len(gp.learned(rewards, 100, np.random.default_rng(1))) == 100


def test_rewards_are_shaped_and_latents_standardised() -> None:
    assert shaped([-0.5, 0.5, 0.95, 1.2], 0.95, 2.0) == pytest.approx([0.0, 0.25, 0.95, 1.2])
    latents = np.random.default_rng(0).normal(3, 2, (500, 3)).astype(np.float32)
    latents[:, 2] = 7
    found = standard(latents)(latents)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), [1, 1, 0], atol=1e-6)
