"""The predictor control: its heads against their formulas, its choices against its predictions, and linear rewards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.latent.head import DESIGNS, Head, fitted
from search.latent.record import Record
from search.latent.replay import search
from search.latent.searchers.predictor import Config, Predictor, build


def problem(count: int, dimensions: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    """A pool whose rewards are linear in the latents, and between 0 and 1."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((count, dimensions)).astype(np.float32)
    slope = rng.standard_normal(dimensions)
    return latents, np.clip(0.5 + 0.15 * latents @ (slope / np.linalg.norm(slope)), 0, 1)


def told(config: Config, latents: NDArray, rewards: NDArray, seed: int = 0) -> Predictor:
    """A predictor that was told its labels."""
    searcher = build(config, latents, seed)
    search(searcher, rewards, config.labels)
    return searcher


def output(layers: list, scales: list, points: Tensor, statistics: Callable, drop: Callable) -> Tensor:
    """ReLU layers, each perhaps normalised to γ (z - m) / √(v + 1e-5) + β; then a sigmoid."""
    for place, (weight, bias) in enumerate(layers[:-1]):
        points = points @ weight.T + bias
        if scales:
            mean, variance = statistics(place, points)
            points = (points - mean) / (variance + 1e-5).sqrt() * scales[place][0] + scales[place][1]
        points = drop(points.clamp_min(0))
    weight, bias = layers[-1]
    return 1 / (1 + torch.exp(-(points @ weight.T + bias)[:, 0]))


def by_hand(name: str, latents: NDArray, rewards: NDArray, epochs: int, seed: int) -> NDArray:
    """What the head predicts of its own labels after the fit, in float64 and without any module of torch."""
    head = Head(DESIGNS[name], latents.shape[1], torch.Generator().manual_seed(seed))  # the weights it starts with
    parts = [part.detach().double().requires_grad_() for part in head.parameters()]
    depth, rows = 2 * len(head.layers), min(32, len(latents))
    layers = list(zip(parts[:depth:2], parts[1:depth:2], strict=True))
    scales = list(zip(parts[depth::2], parts[depth + 1 :: 2], strict=True))
    running = [(torch.zeros(n).double(), torch.ones(n).double()) for n in DESIGNS[name].widths]

    def observed(place: int, values: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = values.mean(0), values.var(0, unbiased=False)
        seen = mean.detach(), variance.detach() * rows / (rows - 1)
        running[place] = tuple(0.9 * old + 0.1 * new for old, new in zip(running[place], seen, strict=True))
        return mean, variance

    def dropped(values: Tensor) -> Tensor:
        """A fifth of them is left out, the others grow by as much."""
        return torch.where(torch.rand(values.shape, generator=head.generator) < 0.2, 0, values / 0.8)

    first, second, step = [torch.zeros_like(p) for p in parts], [torch.zeros_like(p) for p in parts], 0
    inputs, targets = torch.from_numpy(latents).double(), torch.from_numpy(np.clip(rewards, 0, 1))
    drop = dropped if name == "gnn" else torch.clone
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=head.generator)
        for start in range(0, len(inputs) - rows + 1, rows):
            batch, step = order[start : start + rows], step + 1
            errors = output(layers, scales, inputs[batch], observed, drop) - targets[batch]
            slopes = torch.autograd.grad(errors.square().mean(), parts)
            with torch.no_grad():
                for part, slope, m, v in zip(parts, slopes, first, second, strict=True):
                    m += 0.1 * (slope - m)
                    v += 0.001 * (slope**2 - v)
                    part -= 1e-4 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    with torch.no_grad():
        return output(layers, scales, inputs, lambda place, values: running[place], torch.clone).numpy()


@pytest.mark.parametrize(("name", "rows"), [("gnn", 70), ("gnn", 9), ("gsqas", 70), ("gsqas", 9)])
def test_a_head_is_fitted_as_the_formulas_say(name: str, rows: int) -> None:
    latents, rewards = problem(rows, 5)
    rewards[:3] = [-0.2, 1.3, 0.9]  # they are taken as within 0..1
    epochs = 20
    head = fitted(name, latents, rewards, epochs / DESIGNS[name].epochs, seed=3)
    expected = by_hand(name, latents, rewards, epochs, seed=3)
    np.testing.assert_allclose(head.predict(latents), expected, rtol=2e-5)
    untrained = Head(DESIGNS[name], 5, torch.Generator().manual_seed(3)).eval().predict(latents)
    assert np.abs(untrained - expected).max() > 1e-3  # or else nothing would have been compared


def test_the_heads_are_the_published_ones() -> None:
    shapes = {
        name: [tuple(layer.weight.shape) for layer in Head(design, 16, torch.Generator()).layers]
        for name, design in DESIGNS.items()
    }
    assert shapes == {"gnn": [(64, 16), (32, 64), (1, 32)], "gsqas": [(20, 16), (1, 20)]}
    assert {name: design.epochs for name, design in DESIGNS.items()} == {"gnn": 300, "gsqas": 200}


@pytest.mark.parametrize("head", ["gnn", "gsqas"])
def test_a_linear_reward_is_learned_from_its_labels(head: str) -> None:
    """Of 4,000 circuits the best 5 % count: 300 labels find 15 of them, 200 predictions by far the most."""
    hits, random = 0, 0
    for seed in range(2):
        latents, rewards = problem(4000, 8, seed)
        good = rewards >= np.quantile(rewards, 0.95)
        visited = search(build(Config(head=head), latents, seed), rewards, 500)
        random += good[visited[:300]].sum()
        hits += good[visited[300:]].sum()
    assert random < 50  # 30 expected
    assert hits > 200  # of 400; 20 expected at random


def test_labels_are_drawn_as_random_search_draws() -> None:
    latents, rewards = problem(300, 4)
    searcher = build(Config(labels=40), latents, 7)
    assert searcher.batch == 40
    assert search(searcher, rewards, 40, batch=9).tolist() == Record(latents, 7).drawn(40).tolist()
    assert searcher.batch == 100


def test_ranked_takes_the_best_predicted_of_those_left() -> None:
    latents, rewards = problem(300, 4)
    searcher = told(Config(labels=40, effort=0.3), latents, rewards)
    labels = searcher.record.indices
    ranked = np.argsort(-searcher.predicted, kind="stable")
    expected = ranked[~np.isin(ranked, labels)]
    assert search(searcher, rewards, 1000, batch=50).tolist() == expected.tolist()


def test_filtered_draws_among_those_that_pass_then_ranks_the_others() -> None:
    latents, rewards = problem(300, 4)
    plain = told(Config(labels=40, effort=0.3), latents, rewards)
    level = float(np.quantile(plain.predicted, 0.6))
    searcher = told(Config(labels=40, effort=0.3, choice="filtered", level=level), latents, rewards)
    assert np.array_equal(searcher.predicted, plain.predicted)
    visited, left = search(searcher, rewards, 1000, batch=50), plain.record.free
    passing = np.flatnonzero((plain.predicted >= level) & left)
    first, rest = np.split(visited, [len(passing)])
    assert first.tolist() == [i for i in Record(latents, 0).drawn(300) if i in passing]  # as random search draws them
    assert rest.tolist() == [i for i in np.argsort(-plain.predicted, kind="stable") if left[i] and i not in passing]


@pytest.mark.parametrize("head", ["gnn", "gsqas"])
def test_the_fit_is_that_of_seed_and_labels_and_comes_once(head: str) -> None:
    latents, rewards = problem(200, 4)

    def predicted(count: int, values: NDArray, seed: int = 0, more: int = 0) -> NDArray:
        """Of the first circuits of a pool of `count`, the first 30 being the labels, and `more` told at once."""
        searcher = build(Config(labels=30, effort=0.2, head=head), latents[:count], seed)
        searcher.tell(np.arange(30 + more), values[: 30 + more])
        before = searcher.predicted.copy()
        rest = searcher.ask(40)
        searcher.tell(rest, 1 - values[rest])
        assert np.array_equal(searcher.predicted, before)
        return before[:100]

    plain = predicted(200, rewards)
    assert np.array_equal(plain, predicted(200, rewards, more=20))
    np.testing.assert_allclose(plain, predicted(150, rewards), rtol=1e-6)
    assert not np.allclose(plain, predicted(200, rewards, seed=1))
    assert not np.allclose(plain, predicted(200, rewards**2))


def test_circuits_that_join_are_predicted_by_the_same_head() -> None:
    latents, rewards = problem(200, 4)
    searcher = told(Config(labels=50), latents, rewards)
    best = searcher.record.latents[searcher.predicted.argmax()]
    searcher.extend(np.stack([-2 * best, 2 * best, -best, 3 * best]))
    assert set(searcher.ask(2)) == {201, 203}
    np.testing.assert_allclose(searcher.predicted, searcher.head.predict(searcher.record.latents), rtol=1e-6)
    early = build(Config(labels=50), latents[:150], 0)
    early.extend(latents[150:])  # before there is a head
    early.tell(searcher.record.indices, searcher.record.rewards)
    np.testing.assert_allclose(early.predicted, searcher.predicted[:200], rtol=1e-6)
