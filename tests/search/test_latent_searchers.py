"""Searchers in a latent space: the contract that each keeps, and that each finds what random search does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.latent import Searcher
from search.latent.record import Record
from search.latent.replay import search
from spaces.components import Shelf, fields

SHELF = Shelf("searcher", "search.latent.searchers")
SMALL_GP = {"initial": 6, "batch": 4, "most": 40, "best": 12, "spread": 6, "growth": 3.0}
SMALL_DNGO = {"initial": 6, "epochs": 10, "hidden": 16}
SMALL_PREDICTOR = {"labels": 12, "effort": 0.1}
NAMES = ["dngo", "evolution", "gp", "predictor", "random", "reinforce"]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "evolution": ("evolution", {"initial": 6, "population": 8}),
    "local": ("evolution", {"initial": 6, "population": 8, "survivors": "best"}),
    "reinforce": ("reinforce", {"batch": 5}),
    "reinforce-mlp": ("reinforce", {"policy": "mlp", "schedule": "fixed", "batch": 7, "standardise": True}),
    "reinforce-all": (
        "reinforce",
        {"covariance": "diagonal", "entropy": 0.05, "normalise": True, "discount": 0.9, "penalty": 2.0},
    ),
    **{f"dngo-{kind}": ("dngo", SMALL_DNGO | {"acquisition": kind}) for kind in ("published", "ei", "log_ei")},
    "dngo-ucb": ("dngo", SMALL_DNGO | {"acquisition": "ucb", "penalty": 2.0}),
    "dngo-thompson": ("dngo", SMALL_DNGO | {"acquisition": "thompson"}),
    "gp": ("gp", SMALL_GP),
    "gp-best": ("gp", SMALL_GP | {"target": "best"}),
    "predictor": ("predictor", SMALL_PREDICTOR),
    "predictor-filtered": ("predictor", SMALL_PREDICTOR | {"head": "gsqas", "choice": "filtered"}),
}
each = pytest.mark.parametrize("case", CASES)


def build(case: str, latents: NDArray, seed: int = 3) -> Searcher:
    name, knobs = CASES[case]
    component = SHELF.load(name)
    built: Searcher = component.build(component.config(**knobs), latents, seed)
    return built


def pool(count: int, dimensions: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((count, dimensions)).astype(np.float32)
    return latents, np.exp(-0.2 * np.square(latents - latents[0]).sum(1))


def test_the_shelf_holds_these_and_nothing_else() -> None:
    assert SHELF.names() == NAMES
    assert {name for name, _ in CASES.values()} == set(SHELF.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_has_a_range_that_holds_its_default(name: str) -> None:
    assert all(field.domain is not None for field in fields(SHELF.load(name).config))


@each
def test_a_small_pool_is_visited_whole_each_circuit_once(case: str) -> None:
    latents, rewards = pool(45, 3)
    assert sorted(search(build(case, latents), rewards, 1000)) == list(range(45))


@each
def test_asked_for_more_than_there_are_it_gives_the_rest(case: str) -> None:
    latents, rewards = pool(20, 3)
    searcher = build(case, latents)
    first = searcher.ask(8)
    searcher.tell(first, rewards[first])
    rest = searcher.ask(50)
    assert rest.dtype == np.int64
    assert sorted([*first, *rest]) == list(range(20))
    searcher.tell(rest, rewards[rest])
    assert searcher.ask(1).shape == (0,)
    assert searcher.batch >= 1


@each
def test_asking_changes_nothing(case: str) -> None:
    latents, rewards = pool(60, 3)
    plain = search(build(case, latents), rewards, 30, batch=5)
    curious, visited = build(case, latents), []
    for _ in range(6):
        curious.ask(11), curious.ask(2)
        asked = curious.ask(5)
        assert np.array_equal(asked, curious.ask(5))
        curious.tell(asked, rewards[asked])
        visited += asked.tolist()
    assert visited == plain.tolist()


@each
def test_told_the_same_pairs_in_other_groups_it_goes_on_the_same(case: str) -> None:
    latents, rewards = pool(60, 3)
    searcher = build(case, latents)
    visited = search(searcher, rewards, 33, batch=6)
    for size in (1, 4, 33):
        other = build(case, latents)
        for start in range(0, 33, size):
            part = visited[start : start + size]
            other.tell(part, rewards[part])
        assert other.batch == searcher.batch
        assert np.array_equal(other.ask(7), searcher.ask(7))


@each
def test_chance_is_the_seed_s_and_nobody_else_s(case: str) -> None:
    latents, rewards = pool(60, 3)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = search(build(case, latents, 1), rewards, 25)
    torch.rand(3)
    assert np.array_equal(first, search(build(case, latents, 1), rewards, 25))
    assert not np.array_equal(first, search(build(case, latents, 2), rewards, 25))
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    torch.set_rng_state(torch_state)
    search(build(case, latents, 1), rewards, 12)
    assert torch.equal(torch_state, torch.get_rng_state())


@each
def test_circuits_that_others_proposed_may_be_told(case: str) -> None:
    latents, rewards = pool(40, 3)
    searcher = build(case, latents)
    own = searcher.ask(4)
    foreign = np.setdiff1d(np.arange(40), own)[:20]
    searcher.tell(foreign, rewards[foreign])
    rest = search(searcher, rewards, 40)
    assert sorted([*foreign, *rest]) == list(range(40))


@each
@pytest.mark.parametrize("kind", ["equal rewards", "equal latents", "a constant dimension", "one circuit"])
def test_pools_without_structure_are_searched_too(case: str, kind: str) -> None:
    latents, rewards = pool(30, 3)
    match kind:
        case "equal rewards":
            rewards = np.full(30, 0.4)
        case "equal latents":
            latents = np.ones_like(latents)
        case "a constant dimension":
            latents[:, 1] = 2.0
        case "one circuit":
            latents, rewards = latents[:1], rewards[:1]
    assert sorted(search(build(case, latents), rewards, 100)) == list(range(len(latents)))


@each
def test_what_cannot_be_told_is_refused_and_leaves_no_trace(case: str) -> None:
    latents, rewards = pool(30, 3)
    searcher = build(case, latents)
    asked = searcher.ask(6)
    searcher.tell(asked, rewards[asked])
    before, new = searcher.ask(5), int(np.setdiff1d(np.arange(30), asked)[0])
    for indices, values, message in [
        ([new, int(asked[0])], [0.1, 0.1], "told before"),
        ([new, new], [0.1, 0.1], f"circuit {new} was told before"),
        ([new, 30], [0.1, 0.1], "circuit 30 is not in the pool of 30"),
        ([new, -1], [0.1, 0.1], "circuit -1 is not"),
        ([new], [np.nan], "finite"),
        ([new], [0.1, 0.2], "one reward"),
        ([float(new)], [0.1], "whole numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            searcher.tell(indices, values)
    with pytest.raises(ValueError, match="asked for 0"):
        searcher.ask(0)
    assert np.array_equal(searcher.ask(5), before)


@each
@pytest.mark.parametrize("latents", [np.zeros(3), np.zeros((0, 3)), np.full((3, 2), np.nan)])
def test_latents_that_are_none_are_refused(case: str, latents: NDArray) -> None:
    with pytest.raises(ValueError, match="latents"):
        build(case, latents)


@each
def test_circuits_that_join_are_reached_in_the_end_and_each_once(case: str) -> None:
    latents, rewards = pool(45, 3)
    searcher, seen = build(case, latents[:25]), []
    for size, queries in ((25, 10), (33, 8), (34, 100), (45, 100)):
        if size > 25:
            searcher.extend(latents[len(searcher.record.free) : size])
        seen += search(searcher, rewards[:size], queries).tolist()
        assert max(seen) < size
    assert sorted(seen) == list(range(45))


@each
@pytest.mark.parametrize("first", [0, 3, 20])
def test_told_and_extended_alike_it_goes_on_the_same_whatever_it_was_asked(case: str, first: int) -> None:
    """Circuits join before or after the first model, and in the middle of an update."""
    latents, rewards = pool(70, 3)
    curious, history = build(case, latents[:40]), []
    for queries, joining in zip((first, 9, 7), np.split(latents[40:], 3), strict=True):
        told: list[int] = []
        while len(told) < queries:
            curious.ask(6)
            asked = curious.ask(min(4, queries - len(told)))
            curious.tell(asked, rewards[asked])
            told += asked.tolist()
        curious.ask(12)  # and they are not told before others join
        curious.extend(joining)
        history.append((told, joining))
    for group in (1, 30):
        other = build(case, latents[:40])
        for told, joining in history:
            for start in range(0, len(told), group):
                part = told[start : start + group]
                other.tell(part, rewards[part])
            other.extend(joining)
        assert other.batch == curious.batch
        assert np.array_equal(other.ask(9), curious.ask(9))


@each
def test_what_was_proposed_before_others_joined_may_still_be_told(case: str) -> None:
    latents, rewards = pool(40, 3)
    curious, plain = build(case, latents[:30]), build(case, latents[:30])
    proposed = np.concatenate([search(curious, rewards[:30], 14, batch=7), curious.ask(6)])
    curious.extend(latents[30:])
    curious.tell(proposed[14:], rewards[proposed[14:]])
    plain.tell(proposed[:14], rewards[proposed[:14]])
    plain.extend(latents[30:])
    plain.tell(proposed[14:], rewards[proposed[14:]])
    assert np.array_equal(curious.ask(9), plain.ask(9))


@each
def test_circuits_that_cannot_join_are_refused_and_leave_no_trace(case: str) -> None:
    known, rewards = pool(30, 3)
    searcher = build(case, known)
    search(searcher, rewards, 15)
    before = searcher.ask(20)
    for latents, message in [
        (np.zeros(3), "circuits, dimensions"),
        (np.zeros((0, 3)), "circuits, dimensions"),
        (np.full((2, 3), np.inf), "finite"),
        (np.zeros((2, 4)), "4 dimensions cannot join those of 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            searcher.extend(latents)
    assert np.array_equal(searcher.ask(20), before)
    with pytest.raises(ValueError, match="not in the pool of 30"):
        searcher.tell([30], [0.5])


def test_circuits_join_the_random_order_behind_those_there() -> None:
    latents, orders = np.zeros((300, 2), np.float32), []
    for seed in (0, 0, 1):
        record = Record(latents[:100], seed)
        first = record.drawn(1000)
        record.extend(latents[100:200]), record.extend(latents[200:])
        orders.append(record.drawn(1000).reshape(3, 100) - [[0], [100], [200]])
        assert np.array_equal(orders[-1][0], first)
        assert all(sorted(part) == list(range(100)) for part in orders[-1])
    assert np.array_equal(orders[0], orders[1])
    assert len({tuple(part) for order in orders for part in order}) == 6  # each in an order of its own


def test_what_is_derived_from_the_first_pool_stays_and_holds_for_those_that_join() -> None:
    latents, _ = pool(50, 3)
    more = 5 + 10 * pool(20, 3, seed=1)[0]
    reinforce, gp, evolution = build("reinforce-mlp", latents), build("gp", latents), build("evolution", latents)
    mean, low, high = latents.mean(0), latents.min(0), latents.max(0)
    reach = 0.3 * latents.std(0)
    for searcher in (reinforce, gp, evolution):
        searcher.extend(more[:5])
        searcher.extend(more[5:])
    whole = np.concatenate([latents, more])
    np.testing.assert_allclose(reinforce.latents, (whole - mean) / latents.std(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gp.points, (whole - low) / (high - low), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evolution.reach, reach, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["random", "evolution", "reinforce", "reinforce-mlp", "predictor-filtered"]), st.data())
def test_any_mixture_of_requests_keeps_the_contract(case: str, data: st.DataObject) -> None:
    latents, rewards = pool(50, 2)
    size = data.draw(st.integers(1, 50))
    searcher, seen = build(case, latents[:size]), []
    while len(seen) < 50:
        if size < 50 and (len(seen) == size or data.draw(st.booleans())):
            joining = data.draw(st.integers(1, 50 - size))
            searcher.extend(latents[size : size + joining])
            size += joining
        number = data.draw(st.integers(1, 20))
        asked = searcher.ask(number)
        assert len(asked) == min(number, size - len(seen))
        told = asked[: data.draw(st.integers(1, max(1, len(asked))))]  # the others were not evaluated
        searcher.tell(told, rewards[told])
        seen += told.tolist()
    assert sorted(seen) == list(range(50))


# What a searcher is for. Circuits whose rewards fall off smoothly around one of them, 3 % of them candidates.


def hills(seed: int, count: int = 4000, dimensions: int = 16) -> tuple[NDArray, NDArray]:
    """A pool, and rewards of which 3 % are 0.95 or more."""
    rng = np.random.default_rng([seed, 7])
    latents = (0.5 * rng.standard_normal((count, dimensions))).astype(np.float32)
    far = np.square(latents - latents[rng.integers(count)]).sum(1)
    return latents, 0.95 * np.exp(0.5 * (np.quantile(far, 0.03) - far))


@pytest.mark.parametrize(
    ("name", "queries", "factor", "knobs"),
    [
        ("evolution", 300, 6.0, {}),
        ("evolution", 300, 8.0, {"survivors": "best"}),
        ("reinforce", 600, 3.0, {}),
        ("reinforce", 600, 3.0, {"policy": "mlp"}),
        ("reinforce", 600, 3.0, {"covariance": "diagonal"}),
        ("dngo", 150, 6.0, {"top": 10}),
        ("dngo", 150, 2.0, {"acquisition": "log_ei", "top": 10}),
        ("dngo", 150, 6.0, {"acquisition": "thompson", "top": 10}),
        ("gp", 100, 6.0, {"growth": 2.0}),
        ("gp", 100, 2.5, {"growth": 2.0, "target": "best"}),
        ("predictor", 200, 6.0, {"labels": 100}),
    ],
)
def test_it_finds_more_candidates_than_random_search(
    name: str, queries: int, factor: float, knobs: dict[str, Any]
) -> None:
    module, found, seeds = SHELF.load(name), 0, 3
    for seed in range(seeds):
        latents, rewards = hills(seed)
        searcher = module.build(dataclasses.replace(module.config(), **knobs), latents, seed)
        found += int((rewards[search(searcher, rewards, queries)] >= 0.95).sum())
    assert found >= factor * 0.03 * queries * seeds


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("evolution", {}),
        ("reinforce", {}),
        ("reinforce", {"standardise": True}),
        ("dngo", {"epochs": 30}),
        ("gp", {"growth": 2.0}),
        ("predictor", {"labels": 100}),
    ],
)
def test_good_circuits_that_join_are_soon_found(name: str, knobs: dict[str, Any]) -> None:
    """Twenty join where rewards are highest, behind 2,000; at random it would be one within a hundred queries."""
    latents, rewards = hills(0, count=2000)
    module = SHELF.load(name)
    searcher = module.build(dataclasses.replace(module.config(), **knobs), latents, 0)
    search(searcher, rewards, 100)
    around = np.random.default_rng(0).standard_normal((20, latents.shape[1]))
    searcher.extend(latents[rewards.argmax()] + 0.1 * around)
    visited = search(searcher, np.append(rewards, np.full(20, rewards.max())), 100)
    assert (visited >= 2000).sum() >= 5
