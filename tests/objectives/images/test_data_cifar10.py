"""CIFAR-10 in its published form, written here as Python 2 wrote it; and pickles that want more than data."""

import gzip
import io
import pickle
import struct
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from objectives.images.data import cifar10
from objectives.images.images import TEST, VALID, DataError


class Python2Pickler(pickle._Pickler):
    """Writes text as Python 2 did, in which the published files were made: as bytes without an encoding."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str | bytes) -> None:
        raw = text if isinstance(text, bytes) else text.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def python2(content: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batches(count: int = 30) -> dict[str, bytes]:
    """The six files with `count` images each; red is the batch, green the label and blue the place in the batch."""
    labels, files = np.arange(count) % 10, {}
    for k, name in enumerate(cifar10.PARTS):
        data = np.empty((count, 3, 32, 32), np.uint8)
        data[:] = np.stack([np.full(count, k), labels, np.arange(count)], axis=1)[:, :, None, None]
        rows, names = data.reshape(count, -1), ["x.png"] * count
        files[name] = python2({"batch_label": name, "labels": labels.tolist(), "data": rows, "filenames": names})
    return files


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in batches().items():
        (folder / name).write_bytes(content)
    return folder


def test_the_files_of_these_tests_are_as_python_2_writes_them() -> None:
    raw = batches()["test_batch"]
    assert isinstance(pickle.loads(raw, encoding="bytes")[b"data"], np.ndarray)
    assert b"cnumpy.core.multiarray\n_reconstruct" in raw


@pytest.mark.parametrize("form", ["folder", "outer folder", "tar.gz"])
def test_a_folder_or_an_archive_is_read(form: str, tmp_path: Path) -> None:
    inner = write(tmp_path / "data" / "cifar-10-batches-py")
    path = {"folder": inner, "outer folder": inner.parent, "tar.gz": tmp_path / "cifar-10-python.tar.gz"}[form]
    if form == "tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(inner, "../cifar-10-batches-py")  # names lead nowhere, since nothing is unpacked
    images = cifar10.build(cifar10.Config(path=str(path)))
    assert images.shape == (3, 32, 32)
    assert images.classes[3] == "cat"
    batch, label, place = images.pixels[:, :, 31, 31].T
    np.testing.assert_array_equal(label, images.labels)
    np.testing.assert_array_equal(images.part == TEST, batch == 5)
    np.testing.assert_array_equal(place, np.tile(np.arange(30), 6))
    assert Counter(images.labels[images.part == VALID].tolist()) == dict.fromkeys(range(10), 3)


class Call:
    """Pickled, it asks whoever loads it to call something."""

    def __init__(self, function, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def batch(pixels: np.ndarray, labels: list) -> bytes:
    return python2({"data": pixels, "labels": labels})


START = np.zeros(1).__reduce__()[0]  # the function that a pickled array asks for
ROWS = np.zeros((2, 3072), np.uint8)
BROKEN = {
    "a call": (pickle.dumps({"data": Call(print, "called"), "labels": []}), r"it asks for builtins\.print"),
    "a call of numpy": (pickle.dumps(Call(np.fromfile, "secret")), "it asks for numpy.*fromfile"),
    "a large array": (pickle.dumps(Call(START, np.ndarray, (2**40,), b"b")), "an array that numpy did not write"),
    "torn": (batches()["test_batch"][:-4000], "cannot be read as a CIFAR-10 batch"),
    "no dict": (pickle.dumps([1, 2]), "found list; expected a dict with 'data' and 'labels'"),
    "no labels": (pickle.dumps({"data": 1}), "found dict; expected a dict with 'data' and 'labels'"),
    "no array": (pickle.dumps({"data": [1], "labels": [1]}), r"'data' is list; expected uint8 of shape \(n, 3072\)"),
    "grey": (batch(ROWS[:, :1024], [1, 1]), r"'data' is uint8 of shape \(2, 1024\)"),
    "floats": (batch(ROWS / 255, [1, 1]), "'data' is of type 'f8'; expected uint8"),
    "a changed name": (b"\x80\x02cnumpy\ndtype\n}U\x01xK\x01sb.", "it changes what it asks for"),
    "a changed type": (
        b"\x80\x02cnumpy\ndtype\nU\x01O\x85R(K\x03U\x01|N(U\x01atK\x08K\x01K\x00tb.",  # with fields beyond its end
        "'data' is of type 'O'; expected uint8",
    ),
    "a sized array": (
        batch(ROWS, [1, 1]).replace(b"K\x02M\x00\x0c\x86", b"J\xff\xff\xff\x7fM\x00\x0c\x86"),
        "cannot be read as a CIFAR-10 batch",
    ),
    "an instance": (b"\x80\x02cnumpy\ndtype\n)\x81.", "it has the instruction 0x81, which plain data does not need"),
    "an extension": (b"\x80\x02\x82\x01.", "it has the instruction 0x82"),
    "a reserved array": (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".", "it has the instruction 0x96"),
    "a persistent id": (b"Psecret\n.", "it has the instruction 0x50"),
    "a truth label": (batch(ROWS, [True, False]), r"expected 2 'labels', whole numbers in 0\.\.9"),
    "an array of arrays": (pickle.dumps([[]] * 3, 2), "found list"),
    "empty": (batch(ROWS[:0], []), r"'data' is uint8 of shape \(0, 3072\)"),
    "few labels": (batch(ROWS, [1]), r"expected 2 'labels', whole numbers in 0\.\.9"),
    "an eleventh class": (batch(ROWS, [1, 10]), r"expected 2 'labels', whole numbers in 0\.\.9"),
    "ragged labels": (batch(ROWS, [[1], [1, 2]]), r"expected 2 'labels', whole numbers in 0\.\.9"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_batch_that_is_none_is_refused(case: str, tmp_path: Path, capsys) -> None:
    content, message = BROKEN[case]
    (write(tmp_path) / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=f"data_batch_2: .*{message}"):
        cifar10.build(cifar10.Config(path=str(tmp_path)))
    assert capsys.readouterr().out == ""  # nothing was called


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4 not found; expected data_batch_1, "):
        cifar10.build(cifar10.Config(path=str(tmp_path)))


def test_another_archive_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "some.tar.gz"
    config = cifar10.Config(path=str(file))
    file.write_text("no archive")
    with pytest.raises(DataError, match=r"some\.tar\.gz: cannot be read as a \.tar\.gz"):
        cifar10.build(config)
    (tmp_path / "data_batch_1").write_bytes(np.random.default_rng(0).bytes(5000))
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tmp_path / "data_batch_1", "data_batch_1")
    raw = file.read_bytes()
    monkeypatch.setattr(cifar10, "LARGEST", 4000)
    with pytest.raises(DataError, match="data_batch_1 has 5000 bytes; expected at most 4000"):
        cifar10.build(config)
    monkeypatch.undo()
    file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"some\.tar\.gz: cannot be read as a \.tar\.gz"):
        cifar10.build(config)


def test_a_pickle_reserves_no_memory_that_it_only_names() -> None:
    tracemalloc.start()
    try:
        content = cifar10._PlainUnpickler(io.BytesIO(b"\x80\x02]r\xff\xff\xff\x7f.")).load()  # the memo's last place
        assert content == []
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_nothing_that_a_pickle_gets_can_be_changed_for_the_next() -> None:
    for known in cifar10._PlainUnpickler.KNOWN.values():
        with pytest.raises(AttributeError):
            known.content = 1  # type: ignore[attr-defined]
        assert not isinstance(known, type)


def test_a_large_file_in_a_folder_is_refused_unread(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path)
    monkeypatch.setattr(cifar10, "LARGEST", 4000)
    with pytest.raises(DataError, match=r"data_batch_1 has \d+ bytes; expected at most 4000"):
        cifar10.build(cifar10.Config(path=str(tmp_path)))


def bombs() -> dict[str, tuple[bytes, str]]:
    """Archives of a few kilobytes that would fill a disk or a memory, and what is said of them."""
    header = tarfile.TarInfo("readme")
    header.size = 2**40
    long = tarfile.TarInfo("x")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**33
    many = b"".join(tarfile.TarInfo(str(k)).tobuf() for k in range(1200))
    end = bytes(10240)
    return {
        "a long member": (header.tobuf(tarfile.GNU_FORMAT) + end, "it inflates to more than"),
        "a long name": (long.tobuf(tarfile.GNU_FORMAT) + end, r"it has a part of \d+ bytes"),
        "many members": (many + end, "expected at most 1000 files in it"),
    }


@pytest.mark.parametrize("case", bombs())
def test_a_decompression_bomb_is_refused(case: str, tmp_path: Path) -> None:
    content, message = bombs()[case]
    file = tmp_path / "some.tar.gz"
    file.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=rf"some\.tar\.gz: .*{message}"):
        cifar10.build(cifar10.Config(path=str(file)))
