"""REINFORCE: its gradient against finite differences in NumPy, its walk against the published loop written out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search.latent.policy import Policy, loss
from search.latent.replay import search
from search.latent.searchers.reinforce import Config, Reinforce, advantages, build, length

CONFIG = Config()


def sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def means(kind: str, weights: dict[str, NDArray], states: NDArray) -> NDArray:
    """An LSTM (Hochreiter and Schmidhuber 1997, with forget gates; rows are i, f, g, o) or an MLP, in float64."""
    if kind == "mlp":
        hidden = np.maximum(states @ weights["body.weight"].T + weights["body.bias"], 0)
        return hidden @ weights["head.weight"].T + weights["head.bias"]
    h = c = np.zeros(weights["body.weight_hh"].shape[1])
    found = []
    for state in states:
        gates = weights["body.weight_ih"] @ state + weights["body.bias_ih"]
        i, f, g, o = np.split(gates + weights["body.weight_hh"] @ h + weights["body.bias_hh"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        found.append(weights["head.weight"] @ h + weights["head.bias"])
    return np.array(found)


def expected_loss(kind, weights, states, actions, gains, entropy) -> float:
    sigma = np.exp(weights["log_std"])
    density = np.exp(-(((actions - means(kind, weights, states)) / sigma) ** 2) / 2) / np.sqrt(2 * np.pi) / sigma
    uncertainty = np.sum(np.log(sigma * np.sqrt(2 * np.pi * np.e)))
    return float(-np.mean(gains * np.log(density).sum(1)) - entropy * uncertainty)


@pytest.mark.parametrize("kind", ["lstm", "mlp"])
def test_the_gradient_is_that_of_the_formula(kind: str) -> None:
    rng = np.random.default_rng(0)
    policy = Policy(kind, 3, 5, std=0.7, learned=True, seed=1).double()
    states, actions, gains = rng.standard_normal((6, 3)), rng.standard_normal((6, 3)), rng.standard_normal(6)
    value = loss(policy, *map(torch.from_numpy, (states, actions, gains)), entropy=0.3)
    value.backward()
    weights = {name: weight.detach().numpy().copy() for name, weight in policy.named_parameters()}
    assert value.item() == pytest.approx(expected_loss(kind, weights, states, actions, gains, 0.3), rel=1e-12)
    for name, weight in policy.named_parameters():
        for place in rng.choice(weight.numel(), min(weight.numel(), 8), replace=False):
            sides = []
            for shift in (1e-6, -1e-6):
                moved = {key: part.copy() for key, part in weights.items()}
                moved[name].flat[place] += shift
                sides.append(expected_loss(kind, moved, states, actions, gains, 0.3))
            assert weight.grad.flatten()[place].item() == pytest.approx(
                (sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8
            )


def test_stepping_is_the_same_as_seeing_the_episode_whole() -> None:
    policy, memory = Policy("lstm", 4, 8, 1.0, False, 0), None
    states = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for state, expected in zip(states, policy(states), strict=True):
            mean, memory = policy.step(state[None], memory)
            torch.testing.assert_close(mean[0], expected)


def published(config: Config, latents: NDArray, rewards: NDArray, seed: int, queries: int) -> list[int]:
    """The published loop, circuit by circuit: sort all distances, skip the visited, update after a batch."""
    start = Reinforce(config, latents, seed)
    cell, head = torch.nn.LSTMCell(latents.shape[1], config.hidden), torch.nn.Linear(config.hidden, latents.shape[1])
    cell.load_state_dict(start.policy.body.state_dict()), head.load_state_dict(start.policy.head.state_dict())
    optimiser = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.01)
    features, size, baseline = torch.from_numpy(latents), 16, config.baseline
    visited = start.ask(1).tolist()
    memory, log_probs, batch = None, [], []
    while len(visited) < queries:
        memory = cell(features[visited[-1]][None], memory)
        normal = torch.distributions.MultivariateNormal(head(memory[0]), torch.eye(latents.shape[1]))
        noise = np.random.default_rng([seed, len(visited)]).standard_normal(latents.shape[1], np.float32)
        action = (normal.mean + torch.from_numpy(noise)).detach()
        ranked = torch.norm(features.double() - action.double(), dim=1).argsort().tolist()
        visited.append(next(index for index in ranked if index not in visited))
        log_probs.append(normal.log_prob(action)[0])
        reward = max(float(rewards[visited[-1]]), 0.0)
        batch.append(reward if reward >= config.threshold else reward**config.penalty)
        if len(batch) == size:
            mean = sum(batch) / size
            baseline = config.alpha * baseline + (1 - config.alpha) * mean
            optimiser.zero_grad()
            torch.stack([-p * (r - baseline) for p, r in zip(log_probs, batch, strict=True)]).mean().backward()
            optimiser.step()
            size = 8 if mean < config.low else 16 if mean < config.high else 24 if mean < config.threshold else 32
            memory, log_probs, batch = None, [], []
    return visited


@pytest.mark.parametrize("penalty", [1.0, 2.0])
def test_it_walks_as_the_published_loop_does(penalty: float) -> None:
    rng = np.random.default_rng(5)
    latents = (0.6 * rng.standard_normal((700, 8))).astype(np.float32)
    rewards = 1.2 * np.exp(-0.15 * np.square(latents - latents[1]).sum(1)) - 0.1  # some below 0, some above 1
    config = dataclasses.replace(CONFIG, low=0.3, high=0.45, threshold=0.6, baseline=0.3, penalty=penalty)
    searcher, sizes = build(config, latents, 4), []
    visited = []
    while len(visited) < 300:
        sizes.append(searcher.batch)
        visited += search(searcher, rewards, searcher.batch).tolist()
    assert visited[:300] == published(config, latents, rewards, 4, 300)
    assert sizes[0] == 17
    assert len(set(sizes)) > 2


@pytest.mark.parametrize("policy", ["lstm", "mlp"])
def test_an_update_at_once_is_the_same_as_one_by_one(policy: str) -> None:
    latents = np.random.default_rng(2).standard_normal((400, 6)).astype(np.float32)
    rewards, config = np.exp(-np.square(latents[:, 0])), dataclasses.replace(CONFIG, policy=policy)
    whole = search(build(config, latents, 0), rewards, 200)
    assert np.array_equal(whole, search(build(config, latents, 0), rewards, 200, batch=1))


def test_the_policy_moves_towards_good_circuits() -> None:
    """After some updates with a reward for one direction, its actions lie there."""
    latents = np.random.default_rng(3).standard_normal((3000, 4)).astype(np.float32)
    rewards = sigmoid(2 * latents[:, 0])
    searcher = build(dataclasses.replace(CONFIG, lr=0.02), latents, 1)
    search(searcher, rewards, 400)
    with torch.no_grad():
        assert searcher.policy.step(torch.zeros(1, 4), None)[0][0, 0] > 0.5


def test_learned_deviations_change_and_fixed_ones_do_not() -> None:
    latents = np.random.default_rng(3).standard_normal((500, 4)).astype(np.float32)
    for covariance, moved in (("fixed", False), ("diagonal", True)):
        searcher = build(dataclasses.replace(CONFIG, covariance=covariance, std=0.5), latents, 1)
        search(searcher, np.exp(-np.square(latents).sum(1)), 100)
        assert (not torch.allclose(searcher.policy.log_std.exp(), torch.tensor(0.5))) == moved


def test_a_circuit_it_did_not_propose_counts_as_an_action_that_hit_it() -> None:
    latents = np.random.default_rng(6).standard_normal((50, 3)).astype(np.float32)
    searcher = build(CONFIG, latents, 0)
    searcher.tell([7, 9, 11], [0.1, 0.2, 0.3])
    assert [state for state, _, _ in searcher.episode] == [7, 9]
    assert np.array_equal([action for _, action, _ in searcher.episode], latents[[9, 11]])


def test_a_circuit_that_joins_where_an_action_hits_is_the_next_and_known_as_proposed() -> None:
    latents, rewards = np.random.default_rng(6).standard_normal((50, 3)).astype(np.float32), np.full(52, 0.5)
    for config in (CONFIG, dataclasses.replace(CONFIG, standardise=True)):
        searcher = build(config, latents, 0)
        search(searcher, rewards, 9)
        searcher.ask(7)  # a plan of as many as are asked for below, without the circuit to come
        hit = searcher.plan[0].action
        point = hit * latents.std(0) + latents.mean(0) if config.standardise else hit
        searcher.extend([point, point + 100])
        asked = searcher.ask(6)
        assert asked[0] == 50
        searcher.tell(asked[:2], rewards[:2]), searcher.tell(asked[2:], rewards[2:6])
        actions = [action for _, action, _ in searcher.episode[-6:]]
        assert np.array_equal(actions[0], hit)
        assert not any(np.array_equal(a, searcher.latents[i]) for a, i in zip(actions[1:], asked[1:], strict=True))


def test_the_next_batch_grows_with_the_mean_reward() -> None:
    assert [length(mean, CONFIG) for mean in (0.0, 0.5, 0.69, 0.7, 0.94, 0.95, 1.2)] == [8, 16, 16, 24, 24, 32, 32]
    assert length(0.99, dataclasses.replace(CONFIG, schedule="fixed", batch=20)) == 20


def test_advantages() -> None:
    gains = np.array([1.0, -2.0, 3.0])
    assert np.array_equal(advantages(gains, CONFIG), gains)  # as published, whatever comes later does not count
    discounted = advantages(gains, dataclasses.replace(CONFIG, discount=0.5))
    assert discounted == pytest.approx([1 - 1 + 0.75, -2 + 1.5, 3.0])
    normal = advantages(gains, dataclasses.replace(CONFIG, normalise=True))
    assert normal == pytest.approx((gains - gains.mean()) / gains.std(), rel=1e-6)
