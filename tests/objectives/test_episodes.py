"""Few-shot episodes: against loops in float64 and scikit-learn, and what transport is known to gain on digits."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from objectives import episodes as module
from objectives.episodes import METRICS, Episodes, draw, episodes, plan, standardised, transported
from spaces.components import fields

Data = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Data:
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels, np.ones(len(labels), np.int8)


@pytest.fixture(scope="module")
def scores(digits: Data) -> dict[str, float]:
    return episodes(*digits, Episodes(), seed=0)


def blobs(n: int = 400, dim: int = 12, classes: int = 7, apart: float = 3.0, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = apart * rng.standard_normal((classes, dim))[labels] + rng.standard_normal((n, dim))
    return features.astype(np.float32), labels, rng.choice([0, 1, 2], n).astype(np.int8)


def loop_plan(cost: np.ndarray, epsilon: float) -> np.ndarray:
    """Sinkhorn for one cost `(W, Q)` by its own two lines, until the marginals hold; the plan sums to 1."""
    kernel, (ways, count) = np.exp(-cost / epsilon), cost.shape
    u, v = np.ones(ways), np.ones(count)
    for _ in range(2000):
        u = 1 / ways / (kernel @ v)
        v = 1 / count / (u @ kernel)
    return u[:, None] * kernel * v


def loop_transported(prototypes: np.ndarray, queries: np.ndarray, epsilon: float, passes: int) -> np.ndarray:
    for _ in range(passes):
        cost = np.array([np.sum((p - queries) ** 2, axis=1) for p in prototypes])
        found = loop_plan(cost / cost.max(), epsilon)
        prototypes = (found / found.sum(axis=1, keepdims=True)) @ queries
    return prototypes


def episode(seed: int, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((5, dim))
    queries = np.repeat(centres, 15, axis=0) + rng.standard_normal((75, dim))
    return centres + rng.standard_normal((5, dim)), queries


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_the_plan_is_the_entropic_optimum(epsilon: float) -> None:
    cost = np.random.default_rng(0).random((3, 5, 75))
    found = plan(cost, epsilon)
    for one, expected in zip(found, cost, strict=True):
        exact = loop_plan(expected, epsilon)
        np.testing.assert_allclose(exact.sum(axis=1), 1 / 5, atol=1e-9)
        np.testing.assert_allclose(one, 5 * exact, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_prototypes_move_as_in_a_loop(seed: int, passes: int) -> None:
    some = [episode(seed), episode(seed + 1)]
    prototypes, queries = (np.stack(arrays) for arrays in zip(*some, strict=True))
    moved = transported(prototypes, queries, 0.05, passes)
    for one, (p, q) in zip(moved, some, strict=True):
        np.testing.assert_allclose(one, loop_transported(p, q, 0.05, passes), atol=0.05)


def test_no_pass_moves_nothing() -> None:
    prototypes, queries = episode(0)
    np.testing.assert_array_equal(transported(prototypes[None], queries[None], 0.05, 0)[0], prototypes)


@pytest.mark.parametrize("shots", [1, 5])
def test_episodes_are_scikit_learns_on_the_same_draws(digits: Data, shots: int) -> None:
    pixels, labels, part = digits
    config = Episodes(episodes=20)
    name = {1: "one_shot", 5: "five_shot"}[shots]
    x = (pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(axis=1, keepdims=True)
    plain, moved = [], []
    for drawn in draw(labels, shots, config, seed=4):
        prototypes = np.array([x[rows[:shots]].mean(axis=0) for rows in drawn])
        queries = np.concatenate([x[rows[shots:]] for rows in drawn])
        new = loop_transported(prototypes, queries, 0.05, passes={1: 5, 5: 1}[shots])
        if shots == 5:
            new = 0.7 * new + 0.3 * prototypes
        for right, p in ((plain, prototypes), (moved, new)):
            fitted = LogisticRegression(C=1, tol=1e-8, max_iter=5000).fit(p, np.arange(5))
            right.append(fitted.score(queries, np.repeat(np.arange(5), 15)))
    found = episodes(pixels, labels, part, config, seed=4)
    assert found[f"{name}_accuracy"] == pytest.approx(np.mean(plain), abs=0.003)
    assert found[f"{name}_transported"] == pytest.approx(np.mean(moved), abs=0.003)


def test_transport_gains_on_digits_what_is_known(scores: dict[str, float]) -> None:
    assert list(scores) == list(METRICS)
    assert scores["one_shot_accuracy"] == pytest.approx(0.74, abs=0.025)
    assert scores["one_shot_transported"] == pytest.approx(0.836, abs=0.03)
    assert scores["five_shot_accuracy"] == pytest.approx(0.904, abs=0.015)
    assert scores["five_shot_transported"] == pytest.approx(0.922, abs=0.02)
    assert scores["one_shot_transported"] > scores["one_shot_accuracy"] + 0.05
    assert scores["five_shot_transported"] > scores["five_shot_accuracy"] + 0.01


def test_the_mix_is_the_share_of_the_moved_prototype_of_several_shots() -> None:
    data = blobs(apart=0.5)
    none, some, all_ = (episodes(*data, Episodes(mix=mix), seed=0) for mix in (0.0, 0.5, 1.0))
    assert none["five_shot_transported"] == none["five_shot_accuracy"]
    assert len({found["five_shot_transported"] for found in (none, some, all_)}) == 3
    assert none["one_shot_transported"] == all_["one_shot_transported"] != none["one_shot_accuracy"]


def test_a_plan_that_seeks_what_is_far_falls_below_chance(digits, scores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plan", lambda cost, epsilon: plan(-cost, epsilon))
    flipped = episodes(*digits, Episodes(), seed=0)
    assert flipped["one_shot_accuracy"] == scores["one_shot_accuracy"]
    assert flipped["one_shot_transported"] < 0.05
    assert flipped["five_shot_transported"] < 0.05


def test_draws_are_of_their_class_and_never_twice_in_an_episode() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([2, 5, 6, 9, 11, 40], 30))
    drawn = draw(labels, 5, Episodes(), seed=1)
    assert drawn.shape == (150, 5, 20)
    found = labels[drawn]
    assert (found == found[:, :, :1]).all()
    for rows, classes in zip(drawn, found[:, :, 0], strict=True):
        assert len(np.unique(rows)) == 100
        assert len(np.unique(classes)) == 5
    assert len(np.unique(drawn)) == len(labels)
    np.testing.assert_array_equal(draw(labels, 5, Episodes(episodes=9), seed=1), drawn[:9])
    assert not np.array_equal(draw(labels, 5, Episodes(), seed=2), drawn)


@pytest.mark.parametrize(
    ("counts", "shots", "shape"),
    [
        ([30, 30, 30, 30, 30, 7], 1, (5, 16)),  # the small class is left out
        ([30, 30, 30, 30, 9, 7], 1, (5, 9)),  # fewer queries, from the five largest
        ([9, 9, 9], 1, (3, 9)),  # fewer ways
        ([30, 30, 5, 1], 5, (2, 20)),  # a class needs a row beside its shots
    ],
)
def test_small_classes_make_small_episodes(counts: list[int], shots: int, shape: tuple[int, int]) -> None:
    drawn = draw(np.repeat(np.arange(len(counts)), counts), shots, Episodes(), seed=0)
    assert drawn.shape == (150, *shape)


def test_what_has_too_few_rows_is_not_given() -> None:
    features, labels, part = blobs()
    rows = [np.flatnonzero((labels == label) & (part == 2)) for label in range(7)]
    few = labels.copy()
    for own in rows:
        few[own[4:]] = -1  # four labels a class are left to test on
    full, found = (episodes(features, known, part, Episodes(), seed=0) for known in (labels, few))
    assert list(full) == [*METRICS, *(f"test_{name}" for name in METRICS)]
    assert list(found) == [*METRICS, "test_one_shot_accuracy", "test_one_shot_transported"]
    assert {name: full[name] for name in METRICS} == {name: found[name] for name in METRICS}
    assert episodes(features, np.full_like(labels, -1), part, Episodes(), seed=0) == {}
    assert draw(np.repeat([0, 1], [30, 1]), 1, Episodes(), seed=0) is None


def test_only_labelled_rows_of_the_part_are_read() -> None:
    features, labels, part = blobs()
    labels = np.where(np.random.default_rng(1).random(400) < 0.2, -1, labels)
    kept = (part == 1) & (labels != -1)
    ruined = np.where(kept[:, None], features, 1e3 * np.random.default_rng(2).standard_normal(features.shape))
    found, same = (episodes(x, labels, part, Episodes(), seed=0) for x in (features, ruined))
    assert {name: found[name] for name in METRICS} == {name: same[name] for name in METRICS}


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1e-30, 0.1, 1e3, 1e200]), st.floats(-3, 3))
def test_rows_are_standardised(scale: float, shift: float) -> None:
    x = np.random.default_rng(0).standard_normal((20, 9))
    expected = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    np.testing.assert_allclose(standardised(scale * (x + shift)), expected, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_collapsed_features_give_chance() -> None:
    _, labels, part = blobs()
    for value in episodes(np.full((400, 6), 2.5, np.float32), labels, part, Episodes(), seed=0).values():
        assert value == pytest.approx(0.2)


def test_episodes_solved_in_turns_are_those_solved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blobs(apart=1.0)
    at_once = episodes(*data, Episodes(), seed=0)
    monkeypatch.setattr(module, "TOGETHER", 40)
    assert episodes(*data, Episodes(), seed=0) == pytest.approx(at_once, abs=2e-3)


def test_arrays_must_fit_and_be_finite() -> None:
    features, labels, part = blobs()
    with pytest.raises(ValueError, match=r"features \(400, 12\), labels \(399,\), part \(400,\)"):
        episodes(features, labels[1:], part, Episodes(), seed=0)
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        episodes(features, labels, part, Episodes(), seed=0)


def test_every_knob_states_a_range_and_naming_a_metric_loads_no_heavy_library() -> None:
    assert all(field.domain is not None and field.domain.contains(field.default) for field in fields(Episodes))
    names = "episodes, objectives.cell_probes, objectives.factor_probes, objectives.cluster_probes"
    code = f"import sys, objectives.{names}; print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
