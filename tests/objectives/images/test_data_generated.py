"""What the generators say of their images, checked against the pixels; and that their seeds decide everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from objectives.images.data import cluttered_digits, digit_grids, digit_scenes, scenes, sprites, textured_shapes
from objectives.images.images import TEST, TRAIN, VALID, DataError, Images

GENERATORS = {
    module.__name__.rpartition(".")[2]: module
    for module in (cluttered_digits, digit_grids, digit_scenes, scenes, sprites, textured_shapes)
}
COMPOSED = ("digit_grids", "digit_scenes")
SOURCE = load_digits()
DIGITS = (SOURCE.images / 16).astype(np.float32)
ROWS: dict[bytes, list[int]] = {}  # of every image among the digits
for row, digit in enumerate(DIGITS):
    ROWS.setdefault(digit.tobytes(), []).append(row)


def few(name: str, **knobs: object) -> Images:
    """A small data set of a generator."""
    given_ = {} if name == "cluttered_digits" else {"images": 300}
    return GENERATORS[name].build(GENERATORS[name].Config(**{**given_, **knobs}))


def signed(pixels: np.ndarray) -> np.ndarray:
    """The values that were mapped to pixels."""
    return (pixels.astype(np.float64) - 0.5) * 3


def digit_of(patch: np.ndarray) -> int:
    """Which of the digits a patch with gain ±1 is; of equal ones, the first."""
    return ROWS[(np.round(np.abs(patch) * 16) / 16).astype(np.float32).tobytes()][0]


def frequencies(values: np.ndarray, size: int) -> np.ndarray:
    """Standard deviations by which the counts of `values` leave even ones."""
    expected = len(values) / size
    return (np.bincount(values, minlength=size) - expected) / np.sqrt(expected)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Images]:
    return {name: few(name) for name in GENERATORS}


# What all of them promise


@pytest.mark.parametrize("name", GENERATORS)
def test_seeds_decide_everything(name: str, drawn: dict[str, Images]) -> None:
    np.random.seed(7)  # noqa: NPY002  # nothing may look at it
    again, other = few(name), few(name, seed=1)
    assert again.digest() == drawn[name].digest()
    assert (other.pixels != again.pixels).any()
    split = few(name, split_seed=1)
    assert split.digest() == few(name, split_seed=1).digest() != again.digest()
    assert (split.pixels != again.pixels).any() == (name in COMPOSED)


KNOBS = {
    "cluttered_digits": {"side": st.integers(8, 20), "copies": st.integers(1, 2), "weakest": st.floats(0, 1)},
    "digit_grids": {"cells": st.integers(1, 25), "images": st.integers(100, 400)},
    "digit_scenes": {"side": st.integers(16, 40), "images": st.integers(100, 400), "weakest": st.floats(0, 1)},
    "scenes": {
        "side": st.integers(24, 40),
        "images": st.integers(100, 200),
        "fewest": st.integers(1, 3),
        "most": st.integers(1, 6),
        "smallest": st.floats(0.1, 0.4),
        "largest": st.floats(0.1, 0.4),
        "visible": st.floats(0.1, 1),
        "factors": st.sampled_from(["counts", "presence"]),
    },
    "sprites": {"side": st.integers(16, 40), "images": st.integers(100, 300)},
    "textured_shapes": {
        "side": st.integers(12, 40),
        "images": st.integers(100, 300),
        "smallest": st.integers(2, 20),
        "largest": st.integers(2, 20),
        "width": st.integers(1, 8),
        "offset": st.floats(0, 0.5),
    },
}
ANY = {"seed": st.integers(0, 2**31), "split_seed": st.integers(0, 9), "valid": st.floats(0.05, 0.45)}


@pytest.mark.parametrize("name", GENERATORS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_knobs_in_their_ranges_give_sound_images_or_say_why_not(name: str, data: st.DataObject) -> None:
    noise = {} if name == "digit_grids" else {"noise": st.floats(0, 0.5)}
    knobs = data.draw(st.fixed_dictionaries({**ANY, **KNOBS[name], **noise}))
    for low, high in (("fewest", "most"), ("smallest", "largest")):
        if low in knobs:
            knobs |= dict(zip((low, high), sorted((knobs[low], knobs[high])), strict=True))
    if name == "textured_shapes":
        knobs |= {radius: min(knobs[radius], (knobs["side"] - 1) // 2) for radius in ("smallest", "largest")}
    refused = ""
    try:
        images = few(name, **knobs)
    except DataError as error:
        refused = str(error)
    if refused:
        assert "training images; expected at least" in refused  # a class went short in so few
        return
    assert len(images) == knobs.get("images", 1797 * knobs.get("copies", 2))
    assert images.pixels.dtype == (np.uint8 if images.shape[0] == 3 else np.float32)
    assert images.pixels.max() <= (255 if images.pixels.dtype == np.uint8 else 1)
    assert images.pixels.min() >= 0
    assert images.labels.min() >= 0
    assert images.labels.max() < len(images.classes)
    assert {TRAIN, VALID, TEST} == set(images.part)
    if images.masks is not None:
        classes = 10 if name == "digit_scenes" else len(images.classes) + 1
        assert images.masks.min() == (-1 if name == "digit_scenes" else 0)
        assert images.masks.max() < classes
        assert (images.masks > 0).any()


@pytest.mark.parametrize(
    ("name", "knobs", "words"),
    [
        ("cluttered_digits", {"side": 7}, "side must be in 8 .. 64, got 7"),
        ("cluttered_digits", {"copies": 0}, "copies must be in 1 .. 100"),
        ("cluttered_digits", {"copies": 100, "side": 64}, "bytes; expected at most"),
        ("cluttered_digits", {"seed": -1}, "seed must not be negative"),
        ("digit_grids", {"cells": 0}, "cells must be in 1 .. 25"),
        ("digit_grids", {"images": 10**6, "cells": 9}, "bytes; expected at most"),
        ("digit_grids", {"images": 3}, "images must be in 100"),
        ("digit_scenes", {"side": 15}, "side must be in 16 .. 64"),
        ("digit_scenes", {"noise": -0.1}, "noise must be in 0"),
        ("textured_shapes", {"largest": 12}, "largest <= 11, for a side of 24"),
        ("textured_shapes", {"smallest": 9}, "radii from 9 to 8 cannot work"),
        ("sprites", {"side": 8}, "side must be in 16 .. 128"),
        ("scenes", {"fewest": 6}, "fewest must not be above most, got 6 and 5"),
        ("scenes", {"smallest": 0.3}, "smallest must not be above largest"),
        ("scenes", {"factors": "sizes"}, "factors must be in counts"),
    ],
)
def test_knobs_that_cannot_work_are_refused(name: str, knobs: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        few(name, **knobs)


# Digits: what is at a place is the digit that it is said to be


def test_a_cluttered_digit_is_its_source_at_one_place_and_nothing_else() -> None:
    images = few("cluttered_digits", noise=0.0, weakest=1.0, copies=2)
    assert images.shape == (1, 12, 12)
    assert len(images) == 2 * 1797
    canvas, places = signed(images.pixels[:, 0]), []
    for row in range(0, len(images), 7):
        source = row % 1797
        framed = [np.pad(DIGITS[source], ((y, 4 - y), (x, 4 - x))) for y in range(5) for x in range(5)]
        found = [place for place, frame in enumerate(framed) if np.allclose(abs(canvas[row]), frame, atol=1e-5)]
        assert found
        assert canvas[row].min() > -1e-5 or canvas[row].max() < 1e-5  # all bright or all dark
        assert images.labels[row] == SOURCE.target[source]
        places += found if len(found) == 1 else []  # a digit with an empty margin can be at two places
    assert set(places) == set(range(25))
    bright = canvas.max(axis=(1, 2)) > 0.5
    assert 0.45 < bright.mean() < 0.55
    np.testing.assert_array_equal(images.part[:1797], images.part[1797:])  # copies of a digit stay together
    assert (canvas[:1797] != canvas[1797:]).any(axis=(1, 2)).mean() > 0.9


def test_gains_and_noise_are_those_that_the_knobs_say() -> None:
    clean, noisy = few("cluttered_digits", noise=0.0), few("cluttered_digits")
    grain = signed(noisy.pixels) - signed(clean.pixels)
    assert abs(grain.std() - 0.12) < 0.002
    assert abs(grain.mean()) < 0.001
    strongest = np.abs(signed(clean.pixels)).max(axis=(1, 2, 3))[:1797] / DIGITS.max(axis=(1, 2))
    assert 0.5 <= strongest.min() < 0.51
    assert 0.99 < strongest.max() <= 1.00001
    assert abs(strongest.mean() - 0.75) < 0.02


def test_more_copies_leave_the_first_as_they_are() -> None:
    one, three = few("cluttered_digits", copies=1), few("cluttered_digits", copies=3)
    np.testing.assert_array_equal(three.pixels[:1797], one.pixels)


def cells(pixels: np.ndarray, count: int) -> np.ndarray:
    """The digits `(N, count)` of grids, as rows of the source, each cell found from its place alone."""
    across = pixels.shape[-1] // 8
    found = [[8 * (k // across), 8 * (k % across)] for k in range(count)]
    return np.array([[digit_of(image[0, y : y + 8, x : x + 8]) for y, x in found] for image in pixels])


@pytest.mark.parametrize(("count", "side"), [(1, 8), (2, 16), (4, 16), (5, 24), (9, 24)])
def test_grids_hold_the_digits_of_their_factors_and_partners_the_next_ones(count: int, side: int) -> None:
    images = few("digit_grids", cells=count)
    assert images.shape == (1, side, side)
    assert images.factors is not None
    assert images.partner is not None
    assert images.factors.shape == (300, count)
    np.testing.assert_array_equal(SOURCE.target[cells(images.pixels, count)], images.factors)
    np.testing.assert_array_equal(SOURCE.target[cells(images.partner, count)], (images.factors + 1) % 10)
    np.testing.assert_array_equal(images.labels, images.factors[:, 0])
    unused = (side // 8) ** 2 - count
    for pixels in (images.pixels, images.partner):
        patches = pixels.reshape(300, side // 8, 8, side // 8, 8).transpose(0, 1, 3, 2, 4).reshape(300, -1, 64)
        assert (patches.sum(axis=2) == 0).sum() == 300 * unused
        assert not patches[:, count:].any()


def test_factors_of_grids_are_even_and_independent() -> None:
    images = few("digit_grids", cells=2, images=10_000)
    assert images.factors is not None
    assert abs(frequencies(images.factors[:, 0] * 10 + images.factors[:, 1], 100)).max() < 5
    by_part = {one: (images.part == one).sum() for one in (TRAIN, VALID, TEST)}
    assert by_part == {TRAIN: 7000, VALID: 1500, TEST: 1500}


def shared(by_part: dict[int, set[int]]) -> set[int]:
    """Digits in more than one part."""
    return (by_part[TRAIN] & by_part[VALID]) | (by_part[TRAIN] & by_part[TEST]) | (by_part[VALID] & by_part[TEST])


def test_no_digit_of_a_grid_stands_in_two_parts() -> None:
    images = few("digit_grids", images=3000)
    assert images.partner is not None
    found = np.concatenate([cells(images.pixels, 4), cells(images.partner, 4)], axis=1)
    by_part = {one: set(found[images.part == one].ravel().tolist()) for one in (TRAIN, VALID, TEST)}
    assert not shared(by_part)
    assert len(by_part[TRAIN]) > 1200  # and nearly every training digit is used
    assert min(len(by_part[VALID]), len(by_part[TEST])) > 240


def test_scenes_of_digits_hold_what_their_masks_say() -> None:
    images = few("digit_scenes", noise=0.0, weakest=1.0, images=600)
    assert images.masks is not None
    canvas = signed(images.pixels[:, 0])
    by_part: dict[int, set[int]] = {TRAIN: set(), VALID: set(), TEST: set()}
    for row in range(len(images)):
        corners = middles(images.masks[row])
        assert len(corners) == 2
        (x, y), (other_x, other_y) = corners  # from left to right, then from top to bottom
        assert max(abs(x - other_x), abs(y - other_y)) >= 8
        assert images.labels[row] == images.masks[row, y + 2, x + 2]
        rest = canvas[row].copy()
        for x, y in corners:
            assert x % 2 == y % 2 == 0
            middle = images.masks[row, y + 2 : y + 6, x + 2 : x + 6]
            source = digit_of(canvas[row, y : y + 8, x : x + 8])
            assert (middle == SOURCE.target[source]).all()
            by_part[images.part[row]].add(source)
            rest[y : y + 8, x : x + 8] = 0
        assert abs(rest).max() < 1e-5
        assert (images.masks[row] >= 0).sum() == 32
    assert not shared(by_part)


def middles(mask: np.ndarray) -> list[tuple[int, int]]:
    """Column and row of the boxes around the labelled 4 × 4 squares, found by taking the first pixel each time."""
    left, found = mask >= 0, []
    while left.any():
        x = int(np.flatnonzero(left.any(axis=0))[0])
        y = int(np.flatnonzero(left[:, x])[0])
        assert left[y : y + 4, x : x + 4].all()
        left[y : y + 4, x : x + 4] = False
        found.append((x - 2, y - 2))
    return found


def test_digits_in_scenes_come_at_all_places_that_keep_them_apart() -> None:
    images = few("digit_scenes", images=5000)
    assert images.masks is not None
    found = {tuple(middles(mask)) for mask in images.masks}
    steps = range(0, 13, 2)
    corners = [(x, y) for x in steps for y in steps]
    wanted = {
        (one, other)
        for one in corners
        for other in corners
        if one < other and max(abs(one[0] - other[0]), abs(one[1] - other[1])) >= 8
    }
    assert found <= wanted
    assert len(found) > 0.99 * len(wanted)
