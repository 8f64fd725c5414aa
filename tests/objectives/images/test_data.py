"""What every reader of images promises: kinds, parts, limits, repeatability, paths."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import objectives
from objectives.images.data import cifar10, digits, image_folder, npz
from objectives.images.images import TEST, TRAIN, VALID, DataError
from objectives.images.split import Split
from spaces.components import Shelf, fields

SHELF = Shelf("data", "objectives.images.data")
RNG = np.random.default_rng(0)


def test_reading_needs_no_torch() -> None:
    imports = ", ".join(["sys", *(f"{SHELF.packages[0]}.{name}" for name in SHELF.names())])
    code = f"import {imports}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(objectives.__file__).parents[1])


def small_folder(path: Path) -> image_folder.Config:
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for k in range(20):
            Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8)).save(path / name / f"{k}.png")
    return image_folder.Config(path=str(path))


def small_npz(path: Path) -> npz.Config:
    path.mkdir()
    np.savez(path / "some.npz", x=RNG.integers(0, 256, (40, 8, 8), np.uint8), y=np.arange(40) % 2)
    return npz.Config(path=str(path / "some.npz"))


def small_cifar10(path: Path) -> cifar10.Config:
    path.mkdir()
    for name in cifar10.PARTS:
        content = {"data": RNG.integers(0, 256, (30, 3072), np.uint8), "labels": [k % 10 for k in range(30)]}
        (path / name).write_bytes(pickle.dumps(content, protocol=3))
    return cifar10.Config(path=str(path))


MAKE = {"image_folder": small_folder, "npz": small_npz, "cifar10": small_cifar10}
READERS_OF_A_PATH = [n for n in SHELF.names() if "path" in {f.name for f in fields(SHELF.load(n).config)}]
COMPOSED = ("digit_grids", "digit_scenes")  # of digits that are split first, so that another split makes other images
each_reader = pytest.mark.parametrize("name", SHELF.names())


@pytest.fixture
def small(name: str, tmp_path: Path) -> Split:
    """A reader's config for a little data: what it brings itself, or what the function in `MAKE` writes."""
    return MAKE[name](tmp_path / "data") if name in READERS_OF_A_PATH else SHELF.load(name).config()


def changed(config: Split, **values: object) -> Split:
    return type(config)(**{**{f.name: getattr(config, f.name) for f in fields(type(config))}, **values})


@each_reader
def test_a_reader_gives_what_images_promise(name: str, small: Split) -> None:
    images = SHELF.load(name).build(small)
    assert images.pixels.ndim == 4
    assert images.pixels.flags.c_contiguous
    assert images.pixels.dtype in (np.uint8, np.float32)
    assert images.pixels.max() <= (255 if images.pixels.dtype == np.uint8 else 1)
    assert images.pixels.max() > (1 if images.pixels.dtype == np.uint8 else 0.5)
    assert len(images.pixels) == len(images.labels) == len(images.part)
    assert (images.labels.dtype, images.part.dtype) == (np.int64, np.int8)
    assert set(images.labels) == set(range(len(images.classes)))
    assert images.labelled
    for part in (TRAIN, VALID, TEST):
        assert set(images.labels[images.part == part]) == set(range(len(images.classes)))


@each_reader
def test_a_reader_gives_the_same_twice_and_another_split_for_another_seed(name: str, small: Split) -> None:
    build = SHELF.load(name).build
    one, same, other = build(small), build(small), build(changed(small, split_seed=1))
    for field in ("pixels", "labels", "part"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
    if name in COMPOSED:
        assert (one.pixels != other.pixels).any()
    else:
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.part != other.part).any()


@each_reader
def test_limits_hold_and_are_even_over_the_classes(name: str, small: Split) -> None:
    build = SHELF.load(name).build
    whole, few = build(small), build(changed(small, limit=20, limit_test=10))
    count = len(whole.classes)
    for part, limit in ((TRAIN, 20), (VALID, 10), (TEST, 10)):
        have = np.bincount(few.labels[few.part == part], minlength=count)
        assert have.sum() == min(limit, (whole.part == part).sum())
        assert have.max() - have.min() <= (have.sum() % count > 0)
        # What is left keeps its part: nothing that was held out is trained on.
        known = {pixels.tobytes() for pixels in whole.pixels[whole.part == part]}
        assert all(pixels.tobytes() in known for pixels in few.pixels[few.part == part])


@pytest.mark.parametrize("name", READERS_OF_A_PATH)
def test_a_reader_says_that_its_path_is_empty_or_leads_nowhere(name: str, tmp_path: Path) -> None:
    reader = SHELF.load(name)
    with pytest.raises(DataError, match="no path is set; expected "):
        reader.build(reader.config())
    with pytest.raises(DataError, match=r"gone: nothing is there; expected "):
        reader.build(reader.config(path=str(tmp_path / "gone")))


@pytest.mark.parametrize("name", READERS_OF_A_PATH)
def test_a_path_may_be_relative_or_start_at_home(name: str, small: Split, monkeypatch, tmp_path: Path) -> None:
    build = SHELF.load(name).build
    expected = build(small).pixels
    inside = Path(small.path).relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(build(changed(small, path=str(inside))).pixels, expected)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(build(changed(small, path=f"~/{inside}")).pixels, expected)


def test_digits_are_the_digits() -> None:
    from sklearn.datasets import load_digits

    images = digits.build(digits.Config())
    assert images.shape == (1, 8, 8)
    assert images.classes == tuple("0123456789")
    np.testing.assert_allclose(images.pixels[:, 0] * 16, load_digits().images)
    np.testing.assert_array_equal(images.labels, load_digits().target)
