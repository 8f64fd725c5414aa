"""Images in `.npz` files: axes, kinds, labels, parts, and what is said of arrays that do not fit."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from objectives.images.data import npz
from objectives.images.images import UNLABELLED, DataError, Images

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 9, 10, 3), np.uint8)
LABELS = np.arange(30) % 3


def read(folder: Path, arrays: dict[str, np.ndarray]) -> Images:
    np.savez(folder / "some.npz", **arrays)
    return npz.build(npz.Config(path=str(folder / "some.npz")))


def test_every_order_of_axes_is_taken(tmp_path: Path) -> None:
    expected = PIXELS.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(read(tmp_path, {"x": PIXELS}).pixels, expected)
    np.testing.assert_array_equal(read(tmp_path, {"images": expected}).pixels, expected)
    np.testing.assert_array_equal(read(tmp_path, {"x": PIXELS[..., 0]}).pixels, expected[:, :1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken(dtype: type, tmp_path: Path) -> None:
    images = read(tmp_path, {"x": (PIXELS / 255).astype(dtype)})
    assert images.pixels.dtype == np.float32
    np.testing.assert_allclose(images.pixels, PIXELS.transpose(0, 3, 1, 2) / 255, atol=1e-3)


def test_labels_are_numbers_in_their_order(tmp_path: Path) -> None:
    images = read(tmp_path, {"x": PIXELS, "y": np.array([2, 10, 7])[LABELS]})
    assert images.classes == ("2", "7", "10")
    np.testing.assert_array_equal(images.labels, np.array([0, 2, 1])[LABELS])
    images = read(tmp_path, {"x": PIXELS, "y": np.array([5, -1, 6], np.int8)[LABELS]})
    np.testing.assert_array_equal(images.labels, np.array([0, UNLABELLED, 1])[LABELS])


@pytest.mark.parametrize("kind", ["U", "S"])
def test_labels_are_names_in_alphabetical_order(kind: str, tmp_path: Path) -> None:
    images = read(tmp_path, {"x": PIXELS, "labels": np.array(["dog", "cat", ""])[LABELS].astype(kind)})
    assert images.classes == ("cat", "dog")
    np.testing.assert_array_equal(images.labels, np.array([1, 0, UNLABELLED])[LABELS])


def test_without_labels_nothing_is_labelled(tmp_path: Path) -> None:
    assert not read(tmp_path, {"x": PIXELS}).labelled


@pytest.mark.parametrize("spell", [np.array([0, 1, 2]), np.array(["train", "valid", "test"])], ids=["numbers", "names"])
def test_parts_may_be_given(spell: np.ndarray, tmp_path: Path) -> None:
    part = np.repeat([0, 1, 2], [15, 6, 9])
    np.testing.assert_array_equal(read(tmp_path, {"x": PIXELS, "y": LABELS, "part": spell[part]}).part, part)


BAD_IMAGES = {
    "whole numbers": (PIXELS.astype(int), r"dtype int64; expected uint8 in 0\.\.255 or floats in 0\.\.1"),
    "complex": (PIXELS.astype(complex), "dtype complex128; expected uint8"),
    "two axes": (PIXELS[0, 0], r"shape \(10, 3\); expected \(N, H, W\)"),
    "five axes": (PIXELS[None], r"shape \(1, 30, 9, 10, 3\)"),
    "nothing": (PIXELS[:0], r"shape \(0, 9, 10, 3\)"),
    "many channels": (np.zeros((5, 8, 8, 8), np.uint8), "shape .* expected 1 to 4 channels on either axis 1 or axis 3"),
    "unclear channels": (np.zeros((5, 3, 8, 3), np.uint8), "shape .* expected 1 to 4 channels on either axis 1 or"),
    "not a number": (np.where(PIXELS > 250, np.nan, 0.5), "NaN or infinite pixels"),
    "infinite": (np.where(PIXELS > 250, np.inf, 0.5), "NaN or infinite pixels"),
    "above": (PIXELS.astype(np.float32), r"pixels in 0 \.\. 255; expected floats in 0\.\.1"),
    "below": (PIXELS / 255 - 0.5, r"pixels in -0\.5 \.\. 0\.5"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    array, found = BAD_IMAGES[case]
    with pytest.raises(DataError, match=r"some\.npz: images: found " + found):
        read(tmp_path, {"x": array})


BAD_COLUMNS = {
    "few labels": ("y", LABELS[:-1], r"labels: found shape \(29,\); expected \(30,\), one for each"),
    "one-hot labels": ("y", np.eye(3)[LABELS], r"labels: found shape \(30, 3\)"),
    "float labels": ("y", LABELS / 2, "labels: found dtype float64; expected whole numbers or strings"),
    "object labels": ("y", LABELS.astype(object), "cannot be read .* write strings as an array of dtype 'U', not 'O'"),
    "negative labels": ("y", LABELS - 2, "labels: found -2; expected 0 and above, or -1 for none"),
    "rare label": ("y", np.arange(30) // 29, "class '1' has 1 training images; expected at least 3"),
    "few parts": ("part", LABELS[:-1], r"part: found shape \(29,\)"),
    "unknown parts": ("part", LABELS + 1, "part: found 3; expected 0, train, 1, valid, 2, test"),
    "no training part": ("part", np.full(30, 2), "has 0 training images; expected at least 2"),
    "unknown name": ("target", LABELS, "unknown arrays target; expected x, images, y, labels, part"),
    "two names": ("images", PIXELS, "found x, images, which name one array twice"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_arrays_that_do_not_fit_the_images_are_refused(case: str, tmp_path: Path) -> None:
    name, array, found = BAD_COLUMNS[case]
    with pytest.raises(DataError, match=r"some\.npz: .*" + found):
        read(tmp_path, {"x": PIXELS, name: array})


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found y; expected images as x or images"):
        read(tmp_path, {"y": LABELS})


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    config = npz.Config(path=str(file))
    file.write_text("no archive")
    with pytest.raises(DataError, match=r"some\.npz: cannot be read as an \.npz file of plain arrays"):
        npz.build(config)
    with file.open("wb") as stream:
        np.save(stream, PIXELS)
    with pytest.raises(DataError, match=r"some\.npz: holds a single array; expected an \.npz file with named ones"):
        npz.build(config)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", b"no array")
    with pytest.raises(DataError, match=r"some\.npz: cannot be read as .* \(the magic string is not correct"):
        npz.build(config)
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"some\.npz: this is no file; expected an \.npz file"):
        npz.build(config)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_refused(save, tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    save(file, x=PIXELS)
    raw = file.read_bytes()
    file.write_bytes(raw[:400] + bytes(500) + raw[900:])
    with pytest.raises(DataError, match=r"some\.npz: cannot be read as an \.npz file of plain arrays"):
        npz.build(npz.Config(path=str(file)))
    file.write_bytes(raw[:-400])
    with pytest.raises(DataError, match=r"some\.npz: cannot be read as an \.npz file of plain arrays"):
        npz.build(npz.Config(path=str(file)))


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "some.npz"
    np.savez_compressed(file, x=np.zeros((1000, 100, 100), np.uint8))
    assert file.stat().st_size < 20_000
    monkeypatch.setattr(npz, "MEMORY", 9_000_000)
    monkeypatch.setattr(np.lib.format, "read_array", None)  # whoever reads, fails otherwise
    with pytest.raises(DataError, match=r"its arrays have 10,000,128 bytes; expected at most 9,000,000, half of"):
        npz.build(npz.Config(path=str(file)))


HEADERS = {
    "vast": ("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 8, 8)}", r"claims the shape \(1099511"),
    "overflowing": ("{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", "claims the shape"),
    "negative": ("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8, 8)}", r"claims the shape \(-1, 8, 8\)"),
    "of nothing": ("{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776, 8, 8)}", "claims the shape"),
    "of objects": ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "Object arrays cannot be loaded"),
    "a call": ("__import__('os').system('touch called')", "cannot be read as an"),
    "deep": ("(" * 4000 + ")" * 4000, "cannot be read as an"),
    "torn": ("{'descr': '|u1", "cannot be read as an"),
    "no text": ("\0", "cannot be read as an"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_what_an_array_says_of_itself_is_not_believed(case: str, tmp_path: Path, monkeypatch) -> None:
    header, message = HEADERS[case]
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("some.npz", "w") as archive:
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("x.npy", start + header.encode() + bytes(64))
    with pytest.raises(DataError, match=message):
        npz.build(npz.Config(path="some.npz"))
    assert [file.name for file in tmp_path.iterdir()] == ["some.npz"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_can_only_be_inflated_whole_is_refused(method: int, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    with zipfile.ZipFile(tmp_path / "some.npz", "w", method) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match=r"some\.npz: x is compressed in a way that NumPy does not use"):
        npz.build(npz.Config(path=str(tmp_path / "some.npz")))


def test_one_array_twice_under_one_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as archive:
        archive.writestr("x.npy", b"1")
        archive.writestr("x.np_", b"2")
    raw = (tmp_path / "some.npz").read_bytes()
    (tmp_path / "some.npz").write_bytes(raw.replace(b"x.np_", b"x.npy"))
    with pytest.raises(DataError, match=r"found x, x, which name one array twice"):
        npz.build(npz.Config(path=str(tmp_path / "some.npz")))


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(DataError, match=r"no path|nothing is there"):
        npz.build(npz.Config(path=path))
