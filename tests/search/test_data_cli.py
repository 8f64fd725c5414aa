"""`pretune data` as a user calls it: what it says of data, what it draws, how it refuses."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from objectives import SHELVES
from objectives.images.data import cifar10, digit_grids, digits, sprites
from objectives.images.images import Images
from search.cli import main
from search.compare import pictures
from search.compare.pictures import picture

RNG = np.random.default_rng(0)
GENERATED = ("cluttered_digits", "digit_grids", "digit_scenes", "scenes", "sprites", "textured_shapes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data(*arguments: object, code: int = 0) -> Result:
    """Runs `pretune data` in this process; its exit code must be `code`."""
    done = CliRunner().invoke(main, ["data", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def drawn(path: Path | bytes) -> np.ndarray:
    """A picture `(h, w, 3)`."""
    with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def occurs(patch: np.ndarray, sheet: np.ndarray) -> list[tuple[int, int]]:
    """Where a patch lies in a picture, row and column."""
    height, width, _ = patch.shape
    row = int(np.argmax([len(np.unique(line)) for line in patch]))  # one that is not everywhere
    found = []
    for y in range(len(sheet) - height + 1):
        line, place = sheet[y + row].tobytes(), -1
        while (place := line.find(patch[row].tobytes(), place + 1)) >= 0:
            x, rest = divmod(place, 3)
            if not rest and (sheet[y : y + height, x : x + width] == patch).all():
                found.append((y, x))
    return found


def magnified(image: np.ndarray) -> np.ndarray:
    """Grey pixels `(H, W)` in 0..1 as they are shown: squares of one colour, 96 pixels or so in all."""
    times = round(96 / len(image))
    return np.kron(np.round(255 * image), np.ones((times, times)))[:, :, None].repeat(3, 2).astype(np.uint8)


def write_data(folder: Path) -> dict[str, Path]:
    """Small data for the readers of files."""
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for k in range(10):
            Image.fromarray(RNG.integers(0, 256, (9, 7, 3), np.uint8)).save(folder / "photos" / name / f"{k}.png")
    np.savez(folder / "some.npz", x=RNG.integers(0, 256, (30, 8, 8), np.uint8))
    (folder / "batches").mkdir()
    for name in cifar10.PARTS:
        content = {"data": RNG.integers(0, 256, (30, 3072), np.uint8), "labels": [k % 10 for k in range(30)]}
        (folder / "batches" / name).write_bytes(pickle.dumps(content, protocol=3))
    return {"image_folder": folder / "photos", "npz": folder / "some.npz", "cifar10": folder / "batches"}


def test_without_a_name_every_reader_is_listed() -> None:
    output = data().output
    assert all(name in output for name in SHELVES["data"].names())
    assert "Sprites: one coloured shape on grey" in " ".join(output.split())


@pytest.mark.parametrize("name", SHELVES["data"].names())
def test_all_data_is_told_and_drawn_the_same_each_time(name: str, folder: Path) -> None:
    paths = write_data(folder) if name not in (*GENERATED, "digits") else {}
    options = ["--set", f"path={paths[name]}"] if name in paths else []
    options += ["--set", "images=300"] if name in GENERATED[1:] else []
    said = data(name, *options, "--preview", "one.png", "--number", 24).output
    assert said.splitlines()[0].startswith("images ")
    assert said.splitlines()[-1] == "preview  one.png"
    assert data(name, *options, "--preview", "two.PNG", "--number", 24).output == said.replace("one.png", "two.PNG")
    assert Path("one.png").read_bytes() == Path("two.PNG").read_bytes()
    sheet = drawn(Path("one.png"))
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 20
    assert min(sheet.shape[:2]) > 100
    assert not list(folder.glob("*.part"))


def test_what_is_known_of_images_is_told() -> None:
    said = data("digit_grids", "--set", "cells=2", "--set", "images=200").output
    assert "200 images of 1×16×16 (140 train, 30 valid, 30 test), 10 classes, partners, 2 factors" in said
    assert "factors  2, of 10, 10 classes" in said
    said = data("textured_shapes", "--set", "images=200").output
    assert "classes  disc, square, cross" in said
    assert "masks    100% of all pixels, classes [0, 1]" in said
    said = data("digit_scenes").output
    assert "masks    8% of all pixels, classes [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" in said


def test_a_grid_shows_each_class_in_its_row() -> None:
    data("digits", "--preview", "grid.png", "--number", 30)
    sheet, images = drawn(Path("grid.png")), digits.build(digits.Config())
    tops = []
    for label in range(10):
        rows = np.flatnonzero((images.labels == label) & (images.part == 0))
        found = [occurs(magnified(images.pixels[row, 0]), sheet) for row in rows[:4]]
        assert [len(places) for places in found] == [1, 1, 1, 0]  # three of each class
        assert len({places[0][0] for places in found[:3]}) == 1
        tops.append(found[0][0][0])
    assert tops == sorted(tops)
    assert len(set(tops)) == 10


def test_partners_stand_at_the_right_of_their_images() -> None:
    data("digit_grids", "--preview", "grid.png", "--number", 10)
    sheet, images = drawn(Path("grid.png")), digit_grids.build(digit_grids.Config())
    assert images.partner is not None
    for label in range(10):
        row = int(np.flatnonzero((images.labels == label) & (images.part == 0))[0])
        ((top, left),) = occurs(magnified(images.pixels[row, 0]), sheet)
        assert occurs(magnified(images.partner[row, 0]), sheet) == [(top, left + 96 + 2)]


def test_masks_are_laid_over_the_images_below() -> None:
    pixels = np.full((1, 1, 96, 96), 100, np.uint8)
    mask = np.zeros((1, 96, 96), np.int16)
    mask[:, 10:20, 30:50], mask[:, 50:, :] = 1, -1
    images = Images(pixels, np.zeros(1, np.int64), np.zeros(1, np.int8), ("a",), masks=mask)
    sheet = drawn(picture(images, 1, images.labels, images.classes))
    ((top, left),) = occurs(np.full((96, 96, 3), 100, np.uint8), sheet)
    below = sheet[top + 98 :, left : left + 96]
    tint = [np.round(0.4 * 100 + 0.6 * pictures.COLOURS[k]) for k in (0, 1)]
    assert (below[10:20, 30:50] == tint[1]).all()
    assert (below[:10] == tint[0]).all()
    assert (below[50:96] == 100).all()


def test_images_can_be_grouped_by_a_factor() -> None:
    data("sprites", "--preview", "grid.png", "--number", 9, "--factor", 2)
    sheet, images = drawn(Path("grid.png")), sprites.build(sprites.Config())
    assert images.factors is not None
    tops = []
    for size in range(3):
        row = int(np.flatnonzero((images.factors[:, 2] == size) & (images.part == 0))[0])
        patch = images.pixels[row].transpose(1, 2, 0).repeat(3, axis=0).repeat(3, axis=1)
        tops.append(occurs(patch, sheet)[0][0])
    assert tops == sorted(tops)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [1, 8, 50, 300])
def test_images_of_any_size_and_kind_can_be_drawn(channels: int, side: int) -> None:
    pixels = RNG.random((5, channels, side, 2 * side), np.float32)
    images = Images(pixels, np.full(5, -1), np.array([0, 0, 0, 1, 2], np.int8), ())
    sheet = drawn(picture(images, 4, images.labels, ()))
    assert max(sheet.shape) < 600
    labels = np.array([0, 0, -1, -1, 1])
    some = Images(pixels, labels, images.part, ("日本", "x" * 500))
    assert drawn(picture(some, 1000, labels, some.classes)).shape[1] < 800


BAD = {
    "no such data": (["sprits"], "did you mean 'sprites'?"),
    "no such knob": (["sprites", "--set", "sde=3"], "did you mean 'side'?"),
    "out of bounds": (["sprites", "--set", "side=3"], "16 .. 128"),
    "a bad pair": (["scenes", "--set", "fewest=6"], "scenes: fewest must not be above most, got 6 and 5"),
    "no value": (["sprites", "--set", "side"], "expected a dotted path and a value"),
    "a negative limit": (["digits", "--set", "limit=-1"], "must not be negative"),
    "no path": (["npz"], "no path is set; expected an .npz file"),
    "nothing there": (["image_folder", "--set", "path=gone"], "gone: nothing is there"),
    "no such factor": (["sprites", "--factor", "5"], "allowed: 0 .. 4"),
    "no factors": (["digits", "--factor", "0"], "these images have no factors"),
    "no picture": (["digits", "--preview", "grid.jpg"], "a file that ends in .png"),
    "a folder": (["digits", "--preview", "there.png"], "a file that ends in .png"),
    "no place": (["digits", "--preview", "file/grid.png"], "cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_nothing_is_written(case: str, folder: Path) -> None:
    (folder / "there.png").mkdir()
    (folder / "file").write_text("")
    arguments, words = BAD[case]
    done = data(*arguments, code=2)
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["file", "there.png"]
