"""CIFAR-10 as published: 50,000 training and 10,000 test images, colour, 32 × 32 pixels, ten classes.

The "python version" of the data set: a directory or `.tar.gz` with the pickles `data_batch_1` .. `data_batch_5`
and `test_batch`, each a dict with `data`, `(n, 3072)` uint8, and `labels`, n whole numbers in 0..9.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, chapter 3.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from objectives.images.images import TEST, TRAIN, DataError, Images
from objectives.images.paths import locate
from objectives.images.split import Split, arrange

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PARTS = {**{f"data_batch_{k}": TRAIN for k in range(1, 6)}, "test_batch": TEST}
LARGEST = 2**27  # bytes of one batch; a published one has 31 million


@dataclass(frozen=True)
class Config(Split):
    """Where the files are, and how they are split."""

    path: str = ""  # the directory that holds the batches, or the .tar.gz


def build(config: Config) -> Images:
    """uint8 pixels, `(N, 3, 32, 32)`; the test part is the published one, the validation part a share of the rest.

    Raises:
        DataError: a batch is missing or is not what CIFAR-10 has, or holds anything but plain data.
    """
    path = locate(config.path, "the directory or .tar.gz of the python version of CIFAR-10")
    files = _from_directory(path) if path.is_dir() else _from_archive(path)
    if missing := [name for name in PARTS if name not in files]:
        raise DataError(f"{path}: {', '.join(missing)} not found; expected {', '.join(PARTS)}")
    batches = [_batch(files[name], f"{path}: {name}") for name in PARTS]
    labels = np.concatenate([labels for _, labels in batches])
    part = np.repeat(np.array(list(PARTS.values()), np.int8), [len(labels) for _, labels in batches])
    kept, part = arrange(labels, part, CLASSES, config, str(path))
    pixels = np.concatenate([pixels for pixels, _ in batches])[kept]
    return Images(pixels, labels[kept], part, CLASSES)


def _from_directory(path: Path) -> dict[str, bytes]:
    inner = path / "cifar-10-batches-py"  # what unpacking the archive makes
    folder = inner if inner.is_dir() else path
    return {name: (folder / name).read_bytes() for name in PARTS if (folder / name).is_file()}


def _from_archive(path: Path) -> dict[str, bytes]:
    """The batches of an archive, read in memory: nothing is unpacked, whatever its names say."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in PARTS and member.isfile():
                    if member.size > LARGEST:
                        raise DataError(f"{path}: {name} has {member.size} bytes; expected at most {LARGEST}")
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    except DataError:
        raise
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a .tar.gz ({error})") from error
    return found


def _batch(raw: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(n, 3, 32, 32)` uint8 and labels `(n,)` int64 of one file."""
    try:
        # latin1, since the files were written by Python 2, whose strings are bytes.
        content = _PlainUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except Exception as error:  # a broken pickle can raise almost anything
        raise DataError(f"{source}: cannot be read as a CIFAR-10 batch ({error})") from error
    if not (isinstance(content, dict) and {"data", "labels"} <= content.keys()):
        raise DataError(f"{source}: found {type(content).__name__}; expected a dict with 'data' and 'labels'")
    data, labels = content["data"], content["labels"]
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (3072,) and len(data)):
        found = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{source}: 'data' is {found}; expected uint8 of shape (n, 3072)")
    if not (isinstance(labels, list) and len(labels) == len(data) and all(label in range(10) for label in labels)):
        raise DataError(f"{source}: expected {len(data)} 'labels', whole numbers in 0..9; found others")
    return data.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


class _PlainUnpickler(pickle.Unpickler):
    """Reads arrays and plain containers; refuses every other name, since unpickling may call what it names."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need")


def _empty_array(kind: type, shape: tuple[int, ...], code: Any) -> np.ndarray:
    """What a pickled array starts as, before its content is set; numpy always writes these arguments."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("it holds an array that numpy did not write")
    return np.empty(0, np.uint8)
