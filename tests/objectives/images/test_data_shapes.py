"""Shapes with textures, sprites and scenes: pixels, masks and factors held against each other."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from objectives.images.data import _drawing, scenes, sprites, textured_shapes
from objectives.images.images import Images

ARRAYS = ("pixels", "labels", "part", "factors", "masks")


def few(generator: ModuleType, **knobs: object) -> Images:
    """300 images of a generator, or as many as the knobs say."""
    return generator.build(generator.Config(**{"images": 300, **knobs}))


def frequencies(values: np.ndarray, size: int) -> np.ndarray:
    """Standard deviations by which the counts of `values` leave even ones."""
    expected = len(values) / size
    return (np.bincount(values, minlength=size) - expected) / np.sqrt(expected)


# Textured shapes


def texture(signs: np.ndarray, region: np.ndarray, width: int) -> str:
    """Which texture a region of an image shows, by what it repeats."""

    def steps(distance: int, axis: int) -> np.ndarray:
        """Products of signs so far apart, where both lie in the region."""
        both = np.roll(region, -distance, axis) & region
        both = np.delete(both, np.s_[-distance:], axis)
        return np.delete(signs * np.roll(signs, -distance, axis), np.s_[-distance:], axis)[both]

    down, right = steps(width, 0), steps(width, 1)
    if (down == -1).all() and (right == -1).all():
        return "checks"
    if (steps(1, 0) == 1).all() and (right == -1).all():
        return "vertical stripes"
    if (steps(1, 1) == 1).all() and (down == -1).all():
        return "horizontal stripes"
    return "random signs"


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_object_and_its_background_have_different_textures(width: int) -> None:
    images = few(textured_shapes, noise=0.0, offset=0.0, weakest=1.0, width=width, smallest=8)
    assert images.masks is not None
    np.testing.assert_allclose(abs(images.pixels - 0.5), 1 / 3, atol=1e-6)
    signs = np.sign(images.pixels[:, 0] - 0.5)
    found = set()
    for one, mask in zip(signs, images.masks, strict=True):
        pair = (texture(one, mask == 1, width), texture(one, mask == 0, width))
        assert pair[0] != pair[1]
        found.add(pair)
    assert len(found) == 12


def test_all_textures_have_the_same_mean_and_variance() -> None:
    kinds = np.arange(400) % 4
    signs = _drawing.textured(kinds, 24, 2, np.random.default_rng(0))
    assert set(np.unique(signs)) == {-1, 1}
    np.testing.assert_allclose(signs.mean(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(signs.var(axis=(1, 2)), 1, atol=1e-12)
    assert len({one.tobytes() for one in signs[kinds == 3]}) == 100
    for kind, phases in ((0, 4), (1, 4), (2, 4)):  # checks of four phases each way, half of them alike
        assert len({one.tobytes() for one in signs[kinds == kind]}) == (phases if kind < 2 else 8)


def test_brightness_does_not_tell_objects_from_their_background() -> None:
    images = few(textured_shapes, images=4000)
    assert images.masks is not None
    values, front = images.pixels[:, 0], images.masks == 1
    means = [(values * region).sum(axis=(1, 2)) / region.sum(axis=(1, 2)) for region in (front, ~front)]
    squares = [(values**2 * region).sum(axis=(1, 2)) / region.sum(axis=(1, 2)) for region in (front, ~front)]
    assert abs((means[0] - means[1]).mean()) < 0.004  # of a contrast of 0.5
    assert abs(np.mean(squares[0] - means[0] ** 2) - np.mean(squares[1] - means[1] ** 2)) < 0.003


def test_objects_with_texture_have_the_size_and_shape_that_they_should() -> None:
    images = few(textured_shapes, smallest=5, largest=8)
    assert images.masks is not None
    seen = set()
    for mask, label in zip(images.masks, images.labels, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height == width == len(rows) == len(columns)
        share = mask.sum() / height**2
        name = images.classes[label]
        if name == "square":
            assert share == 1
        else:
            seen.add(int(height - 1) // 2)
            assert (0.65 < share < 0.8) if name == "disc" else (0.4 < share < 0.65)
    assert seen == {5, 6, 7, 8}
    for axis in (1, 2):  # and they come up to every edge
        assert images.masks.any(axis=(0, axis)).all()


# Sprites and scenes


def grey(pixels: np.ndarray) -> np.ndarray:
    """Which pixels `(H, W)` of an image `(3, H, W)` have no colour."""
    return (pixels == pixels[:1]).all(axis=0)


def box(mask: np.ndarray) -> tuple[float, float, int, int]:
    """Row and column of the middle of what is covered, its height and width."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2, int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_a_sprite_is_what_its_factors_say() -> None:
    images = few(sprites, noise=0.0, side=48)
    assert images.masks is not None
    assert images.factors is not None
    low, high = 0.25 * 48, 0.75 * 48 - 1
    for pixels, mask, factors in zip(images.pixels, images.masks, images.factors, strict=True):
        shape, colour, size, column, row = factors
        covered = mask > 0
        np.testing.assert_array_equal(~grey(pixels), covered)
        assert set(mask[covered]) == {1 + shape}
        assert len(np.unique(pixels[:, ~covered])) == 1
        (value,) = np.unique(pixels[:, covered], axis=1).T
        angles = _drawing.COLOURS @ value / np.linalg.norm(_drawing.COLOURS, axis=1) / np.linalg.norm(value)
        assert angles.argmax() == colour
        y, x, height, width = box(covered)
        if sprites.CLASSES[shape] in ("disc", "ring", "cross", "bar"):
            assert abs(width - 2 * (0.14, 0.19, 0.25)[size] * 48) <= 1.5
            for place, cell in ((x, column), (y, row)):
                assert low + (high - low) * cell / 4 - 1 <= place <= low + (high - low) * (cell + 1) / 4 + 1
        if sprites.CLASSES[shape] in ("disc", "ring", "cross", "square"):
            assert abs(height - width) <= 1
    np.testing.assert_array_equal(images.labels, images.factors[:, 0])


def test_shapes_are_told_apart_by_their_share_of_the_box() -> None:
    side, radius = 101, 50.0
    names = tuple(_drawing.SHAPES)
    covered = _drawing.inside(np.arange(6), names, np.full((6, 2), 50.0), np.full(6, radius), side)
    shares = dict(zip(names, covered.mean(axis=(1, 2)), strict=True))
    expected = {"disc": np.pi / 4, "square": 0.85**2, "cross": 2 * 0.35 - 0.35**2, "ring": 0.7 * np.pi / 4, "bar": 0.4}
    for name, share in expected.items():
        assert shares[name] == pytest.approx(share, abs=0.02)
    assert shares["triangle"] == pytest.approx(0.57 * 1.75**2 / 4, abs=0.02)
    up = covered[names.index("triangle")]
    assert up[80].sum() > 2 * up[30].sum() > 0


def test_factors_of_sprites_are_even_and_independent_of_each_other() -> None:
    images = few(sprites, images=8000, side=16)
    assert images.factors is not None
    sizes = (6, 6, 3, 4, 4)
    for one, size in enumerate(sizes):
        for other in range(one):
            both = images.factors[:, one] * sizes[other] + images.factors[:, other]
            assert abs(frequencies(both, size * sizes[other])).max() < 4.5


def objects(pixels: np.ndarray, mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The class and pixels of what has one colour and class: the objects, where no two of a class are painted alike."""
    values = pixels.astype(np.int64)
    key = (values[0] << 16) + (values[1] << 8) + values[2] + (mask.astype(np.int64) << 24)
    found = [(key == one) for one in np.unique(key[mask > 0])]
    return [(int(mask[region][0]) - 1, region) for region in found]


CROWDED = {"fewest": 8, "most": 8, "visible": 1.0}  # most scenes have no place for all


@pytest.mark.parametrize(("knobs", "fewest", "most"), [({}, 2, 5), (CROWDED, 2, 7)])
def test_a_scene_holds_the_objects_that_it_counts(knobs: dict[str, float], fewest: int, most: int) -> None:
    images, plain = few(scenes, noise=0.0, **knobs), few(scenes, noise=0.0, factors="presence", **knobs)
    assert images.masks is not None
    assert images.factors is not None
    assert plain.factors is not None
    exact = 0
    for pixels, mask, counts, label in zip(images.pixels, images.masks, images.factors, images.labels, strict=True):
        np.testing.assert_array_equal(grey(pixels), mask == 0)
        assert len(np.unique(pixels[:, mask == 0])) == 1
        seen = objects(pixels, mask)
        found = np.bincount([shape for shape, _ in seen], minlength=6)
        assert (found <= counts).all()  # two of one colour, or of one brightness, may pass for one
        exact += (found == counts).all()
        assert set(np.flatnonzero(counts) + 1) == set(np.unique(mask)) - {0}
        assert counts[label] > 0
    assert exact > 0.93 * len(images)
    total = images.factors.sum(axis=1)
    assert (total.min(), total.max()) == (fewest, most)
    np.testing.assert_array_equal(plain.factors, images.factors > 0)


def whole_discs(images: Images) -> list[bool]:
    """Of each disc in scenes, whether it is whole."""
    assert images.masks is not None
    found = []
    for pixels, mask in zip(images.pixels, images.masks, strict=True):
        for shape, region in objects(pixels, mask):
            if shape == scenes.CLASSES.index("disc"):
                _, _, height, width = box(region)
                found.append(abs(height - width) <= 1 and region.sum() > 0.7 * height * width)
    return found


def test_objects_hide_each_other_as_far_as_they_may() -> None:
    apart = few(scenes, noise=0.0, visible=1.0, most=4, images=500)
    assert np.mean(whole_discs(apart)) > 0.98  # but for two that are painted alike
    behind = few(scenes, noise=0.0, visible=0.3, most=5, images=500)
    assert 0.2 < np.mean(whole_discs(behind)) < 0.9


def test_the_foremost_object_of_a_scene_is_whole_and_gives_its_label() -> None:
    images = few(scenes, noise=0.0, visible=0.1, fewest=4, most=6, images=500)
    assert images.masks is not None
    assert images.factors is not None
    disc = scenes.CLASSES.index("disc")
    rows = np.flatnonzero((images.labels == disc) & (images.factors[:, disc] == 1))  # where it can be no other one
    assert len(rows) > 20
    for row in rows:
        assert whole_discs(replace(images, **{n: getattr(images, n)[[row]] for n in ARRAYS})) == [True]
