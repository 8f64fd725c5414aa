"""The parts and limits of a data set: shares of every class, seeded, each draw a prefix of one order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID, DataError
from objectives.images.split import Split, arrange


def all_train(labels: np.ndarray) -> np.ndarray:
    return np.zeros(len(labels), np.int8)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {k}" for k in range(count))


@given(
    sizes=st.lists(st.integers(3, 40), min_size=1, max_size=5),
    unlabelled=st.integers(0, 30),
    valid=st.floats(0.05, 0.5),
    test=st.floats(0.05, 0.49),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_parts_are_shares_of_every_class(sizes, unlabelled, valid, test, seed) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(-1, len(sizes)), [unlabelled, *sizes]))
    kept, part = arrange(labels, all_train(labels), names(len(sizes)), Split(valid, test, seed), "data")
    np.testing.assert_array_equal(kept, np.arange(len(labels)))
    assert (part[labels == UNLABELLED] == TRAIN).all()
    for label, size in enumerate(sizes):
        have = Counter(part[labels == label].tolist())
        assert have[VALID] == max(1, int(valid * size))
        assert have[TEST] == max(1, int(test * size))
        assert have[TRAIN] == size - have[VALID] - have[TEST]


@given(limit=st.integers(3, 70), more=st.integers(0, 20), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_larger_limit_adds_to_a_smaller_one(limit: int, more: int, seed: int) -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 10])
    small, _ = arrange(labels, all_train(labels), names(3), Split(split_seed=seed, limit=limit), "data")
    large, part = arrange(labels, all_train(labels), names(3), Split(split_seed=seed, limit=limit + more), "data")
    assert set(small) <= set(large)
    have = np.bincount(labels[large][part == TRAIN])
    assert have.sum() == min(limit + more, 54)
    # Even, as far as each class goes: whoever has fewer than the largest has given all it has.
    assert all(n >= have.max() - 1 or n == whole for n, whole in zip(have, (30, 18, 6), strict=True))


def test_the_test_part_does_not_depend_on_the_other_knobs() -> None:
    labels = np.repeat(np.arange(4), 25)
    held_out = []
    for split in (Split(), Split(valid=0.4), Split(limit=8)):
        kept, part = arrange(labels, all_train(labels), names(4), split, "data")
        held_out.append(kept[part == TEST].tolist())
    assert held_out[0] == held_out[1] == held_out[2]


def test_parts_that_the_data_brings_are_kept_and_the_missing_one_comes_from_training() -> None:
    labels = np.tile([0, 1], 50)
    part = np.repeat([TRAIN, TEST], [60, 40]).astype(np.int8)
    before = part.copy()
    _, drawn = arrange(labels, part, names(2), Split(valid=0.2, test=0.5), "data")
    np.testing.assert_array_equal(part, before)
    np.testing.assert_array_equal(drawn == TEST, part == TEST)
    assert Counter(zip(drawn.tolist(), labels.tolist(), strict=True))[VALID, 0] == 6
    assert Counter(zip(drawn.tolist(), labels.tolist(), strict=True))[VALID, 1] == 6


def test_images_without_any_label_have_parts_too() -> None:
    labels = np.full(50, UNLABELLED)
    _, part = arrange(labels, all_train(labels), (), Split(), "data")
    assert Counter(part.tolist()) == {TRAIN: 30, VALID: 10, TEST: 10}


def test_a_limit_keeps_the_proportion_of_labelled_images_and_every_class() -> None:
    labels = np.repeat([0, 1, UNLABELLED], [52, 52, 900])
    part = np.full(1004, TRAIN, np.int8)
    part[[0, 1, 52, 53]] = VALID, TEST, VALID, TEST
    for limit, each in ((200, 10), (10, 1)):
        kept, now = arrange(labels, part, names(2), Split(limit=limit), "data")
        have = Counter(labels[kept][now == TRAIN].tolist())
        assert have == {0: each, 1: each, UNLABELLED: limit - 2 * each}


def test_a_split_says_what_it_cannot_do() -> None:
    labels = np.array([0] * 10 + [1, 1])
    with pytest.raises(DataError, match=r"data: class 'class 1' has 2 training images; expected at least 3 \(0.2 and"):
        arrange(labels, all_train(labels), names(2), Split(), "data")
    with pytest.raises(DataError, match=r"class 'class 0' has 10 training images; expected at least 11 \(0.5 and 0.5"):
        arrange(labels, all_train(labels), names(2), Split(valid=0.5, test=0.5), "data")
    part = np.array([0] * 6 + [1] * 2 + [2] * 4)
    with pytest.raises(DataError, match=r"class 'class 1' has 0 training images; expected at least 1$"):
        arrange(labels, part, names(2), Split(), "data")
    labels = np.repeat(np.arange(5), 10)
    with pytest.raises(DataError, match=r"a limit of 4 images leaves none of some class; expected at least 5"):
        arrange(labels, all_train(labels), names(5), Split(limit=4), "data")
    with pytest.raises(ValueError, match="must not be negative"):
        Split(limit=-1)
