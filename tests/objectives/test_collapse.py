"""Collapse: every kind is told by its name, and what is healthy, or passes through it, is left alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.collapse import CROWDED, HINTS, Collapsed, Watch, along_axis, crowded, diagnosis
from objectives.collapse import LINE as LINE_SHARE
from objectives.kinds import Failed

RNG = np.random.default_rng(0)
HEALTHY = RNG.normal(size=(256, 32)) + 3.0
CONSTANT = np.ones((256, 32)) + 1e-5 * RNG.normal(size=(256, 32))
LINE = np.outer(RNG.normal(size=256), RNG.normal(size=32)) + 1e-3 * RNG.normal(size=(256, 32)) + 2.0
FEW = RNG.normal(size=(5, 32))[RNG.integers(5, size=256)] + 1e-4 * RNG.normal(size=(256, 32))


@pytest.mark.parametrize(
    ("features", "cause"),
    [(CONSTANT, "constant"), (np.zeros((256, 32)), "constant"), (FEW, "cluster"), (LINE, "dimensional")],
)
def test_each_kind_has_a_name(features: np.ndarray, cause: str) -> None:
    found = diagnosis(features, 20.0, 0.5)
    assert found is not None
    assert found[0] == cause
    watch = Watch.of(HEALTHY)
    watch.features(features, 1)  # which training may pass through
    with pytest.raises(Collapsed, match=rf"collapsed \({cause}\): .* in epoch 2; ") as caught:
        watch.features(features, 2)
    assert (caught.value.cause, caught.value.epoch) == (cause, 2)
    assert HINTS[cause] in str(caught.value)
    assert isinstance(caught.value, Failed)


def test_what_training_passes_through_is_no_collapse() -> None:
    watch = Watch.of(HEALTHY)
    for epoch, features in enumerate([HEALTHY, LINE, HEALTHY, FEW, LINE, HEALTHY], 1):
        watch.features(features, epoch)


def test_features_that_are_no_numbers_are_told_at_once() -> None:
    bad = HEALTHY.copy()
    bad[3, 4] = np.nan
    with pytest.raises(Collapsed, match=r"not a number"):
        Watch.of(HEALTHY).features(bad, 1)


@pytest.mark.parametrize(
    ("losses", "cause"),
    [
        ([2.0, float("nan")], "not a number"),
        ([2.0, float("inf")], "not a number"),
        ([2.0, 23.0], "divergence"),
        ([-0.5, 11.0], "divergence"),
        ([2.0, 21.0, 1.0], ""),
        ([40.0, 5.0, -3.0], ""),
    ],
)
def test_a_loss_that_blows_up_is_told(losses: list[float], cause: str) -> None:
    watch, found = Watch.of(HEALTHY), ""
    for epoch, loss in enumerate(losses, 1):
        try:
            watch.losses({"loss": loss}, epoch)
        except Collapsed as collapsed:
            found = collapsed.cause
    assert found == cause


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 999), st.floats(1e-4, 1e4), st.integers(4, 64))
def test_healthy_features_of_any_scale_and_width_pass(seed: int, scale: float, size: int) -> None:
    features = scale * (np.random.default_rng(seed).normal(size=(128, size)) + 5.0)
    assert diagnosis(features, size / 2, 0.5) is None


def test_the_share_between_clusters_is_that_of_the_places() -> None:
    rng = np.random.default_rng(1)
    places, noise = 4 * np.eye(7)[np.arange(140) % 7], 0.3 * rng.normal(size=(140, 7))
    x = places + 5 * noise
    means = np.stack([x[np.arange(140) % 7 == k].mean(axis=0) for k in range(7)])
    inner = np.sum((x - means[np.arange(140) % 7]) ** 2)
    assert crowded(x) >= 1 - inner / np.sum((x - x.mean(axis=0)) ** 2)  # with one cluster more than there are
    assert crowded(x) < CROWDED
    assert crowded(places + noise / 10) > CROWDED
    assert along_axis(places + noise) < LINE_SHARE < along_axis(LINE)  # which is none, though crowded, too


def test_a_watch_that_is_taken_up_again_remembers_its_suspicion() -> None:
    watch = Watch.of(HEALTHY)
    watch.losses({"loss": 1.0}, 1)
    watch.features(LINE, 1)
    again = Watch.from_state(watch.state_dict())
    assert again == watch
    with pytest.raises(Collapsed, match="dimensional"):
        again.features(LINE, 2)


def test_a_short_line_near_one_place_is_told_though_noise_around_it_keeps_the_rank_up() -> None:
    rng = np.random.default_rng(2)
    line = 0.3 * np.outer(rng.normal(size=256), rng.normal(size=32)) + 0.04 * rng.normal(size=(256, 32)) + 9.0
    found = diagnosis(line, 20.0, 0.5)
    assert found is not None
    assert found[0] == "dimensional"
    assert "near one place" in found[1]  # not the rank, which is still high
    assert diagnosis(line - 9.0, 20.0, 0.5) is None


@pytest.mark.parametrize(("length", "cause"), [(30.0, ""), (7.0, ""), (2.0, "constant"), (0.02, "constant")])
def test_features_may_differ_by_little_of_their_length_but_not_by_next_to_nothing(length: float, cause: str) -> None:
    features = length / 100 * np.random.default_rng(4).normal(size=(256, 32)) + 1.0  # spread: so many hundredths
    found = diagnosis(features, 20.0, 0.5)
    assert (found[0] if found else "") == cause


@pytest.mark.parametrize("scenes", [1, 3, 6, 8])
def test_images_that_are_few_scenes_are_no_collapse_until_these_become_points(scenes: int) -> None:
    rng = np.random.default_rng(3)
    places, noise = rng.normal(size=(scenes, 32))[np.arange(256) % scenes], rng.normal(size=(256, 32))
    watch = Watch.of(places + 0.1 * noise)
    for epoch in range(1, 5):
        watch.features(places + 0.1 * noise + 0.02 * rng.normal(size=(256, 32)), epoch)
    watch.features(places + 1e-3 * noise, 5)
    with pytest.raises(Collapsed):
        watch.features(places + 1e-3 * noise, 6)


def test_fewer_images_than_clusters_are_not_told_as_crowded() -> None:
    few = RNG.normal(size=(6, 32)) + 2.0
    watch = Watch.of(few)
    for epoch in range(1, 4):
        watch.features(few + 0.1 * RNG.normal(size=(6, 32)), epoch)


def test_a_collapse_comes_whole_out_of_another_process() -> None:
    told = Collapsed("cluster", "97% of it", 3)
    back = pickle.loads(pickle.dumps(told))
    assert (type(back), str(back), back.cause, back.epoch) == (Collapsed, str(told), "cluster", 3)


def test_a_watch_that_was_saved_before_it_knew_crowding_is_taken_up() -> None:
    state = {"rank": 9.0, "spread": 0.5, "loss": 1.0, "suspected": ""}
    assert Watch.from_state(state).crowding == 0
