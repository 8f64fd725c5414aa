"""CIFAR-10 as published: 50,000 training and 10,000 test images, colour, 32 × 32 pixels, ten classes.

The "python version" of the data set: a directory or `.tar.gz` with the pickles `data_batch_1` .. `data_batch_5`
and `test_batch`, each a dict with `data`, `(n, 3072)` uint8, and `labels`, n whole numbers in 0..9.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, chapter 3.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar

import numpy as np

from objectives.images.images import TEST, TRAIN, DataError, Images
from objectives.images.paths import locate
from objectives.images.split import Split, arrange

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PARTS = {**{f"data_batch_{k}": TRAIN for k in range(1, 6)}, "test_batch": TEST}
LARGEST = 2**27  # bytes of one batch; a published one has 31 million
MOST_BYTES = 2**30  # of the archive, inflated; the published one has 186 million
MOST_MEMBERS = 1000  # of the archive; the published one has 9


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
    found = {name: folder / name for name in PARTS if (folder / name).is_file()}
    for name, file in found.items():
        if file.stat().st_size > LARGEST:
            raise DataError(f"{path}: {name} has {file.stat().st_size} bytes; expected at most {LARGEST}")
    return {name: file.read_bytes() for name, file in found.items()}


def _from_archive(path: Path) -> dict[str, bytes]:
    """The batches of an archive, read in memory: nothing is unpacked, whatever its names say."""
    found = {}
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        with path.open("rb") as file:
            stream: Any = _Bounded(_inflated(file))
            archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115  # it has nothing of its own to close
            for count, member in enumerate(archive):
                if count == MOST_MEMBERS:
                    raise DataError(f"{path}: expected at most {MOST_MEMBERS} files in it, found more")
                name = PurePosixPath(member.name).name
                if name in PARTS and member.isfile():
                    if member.size > LARGEST:
                        raise DataError(f"{path}: {name} has {member.size} bytes; expected at most {LARGEST}")
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    except DataError:
        raise
    except Exception as error:  # a broken archive can raise almost anything
        raise DataError(f"{path}: cannot be read as a .tar.gz ({error})") from error
    return found


def _inflated(file: IO[bytes]) -> IO[bytes]:
    packed = file.read(2) == b"\x1f\x8b"  # else it may be the .tar alone
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[return-value]


class _Bounded:
    """A stream of which no more is read than an honest archive has; tarfile trusts the lengths that it finds."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.tell = stream, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST + tarfile.RECORDSIZE:
            raise ValueError(f"it has a part of {size} bytes; expected at most {LARGEST}")
        return self.stream.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        if place > MOST_BYTES:
            raise ValueError(f"it inflates to more than {MOST_BYTES} bytes")
        return self.stream.seek(place, whence)


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
    if not isinstance(data, _Array) or data.pixels is None:
        raise DataError(f"{source}: 'data' is {type(data).__name__}; expected uint8 of shape (n, 3072)")
    pixels = data.pixels
    if pixels.shape[1:] != (3072,) or not len(pixels):
        raise DataError(f"{source}: 'data' is uint8 of shape {pixels.shape}; expected uint8 of shape (n, 3072)")
    if not (
        isinstance(labels, list) and len(labels) == len(pixels) and all(type(k) is int and 0 <= k < 10 for k in labels)
    ):
        raise DataError(f"{source}: expected {len(pixels)} 'labels', whole numbers in 0..9; found others")
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


class _Array:
    """What a pickled array becomes: its bytes are looked at here, since numpy believes all that a pickle says."""

    __slots__ = ("pixels",)

    def __init__(self) -> None:
        self.pixels: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, transposed, content = state
        if not isinstance(dtype, _Bytes):
            raise pickle.UnpicklingError("it holds an array of something else than uint8")
        if type(content) is str:
            content = content.encode("latin1")
        if not (type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape) and type(content) is bytes):
            raise pickle.UnpicklingError("it holds an array that numpy did not write")
        order: Any = "F" if transposed else "C"
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order=order)


class _Bytes:
    """What the pickled type of an array becomes; it can only be uint8."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """There is nothing to say of bytes."""


class _Asked:
    """A name that a pickle may ask for. It has no attributes, which a pickle could set for all that follow."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes what it asks for")


class _Kind(_Asked):
    """`numpy.ndarray`, which is not called."""

    __slots__ = ()


class _Reconstruct(_Asked):
    """What a pickled array starts as, before its content is set; numpy always writes these arguments."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if not isinstance(kind, _Kind) or shape != (0,):
            raise pickle.UnpicklingError("it holds an array that numpy did not write")
        return _Array()


class _Type(_Asked):
    """`numpy.dtype`."""

    __slots__ = ()

    def __call__(self, code: Any, *_: Any) -> _Bytes:
        if code != "u1":
            raise pickle.UnpicklingError(f"'data' is of type {code!r:.20}; expected uint8")
        return _Bytes()


class _Instructions(dict[int, Any]):
    """What an unpickler does at each instruction of a pickle."""

    def __missing__(self, code: int) -> Any:
        raise pickle.UnpicklingError(f"it has the instruction 0x{code:02x}, which plain data does not need")


class _PlainUnpickler(pickle._Unpickler):  # the one in C reserves what a file claims
    """Reads bytes, arrays of them and plain containers; refuses all else, since unpickling may call what it names."""

    KNOWN: ClassVar[dict[tuple[str, str], _Asked]] = {
        ("numpy", "ndarray"): _Kind(),
        ("numpy", "dtype"): _Type(),
        ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
        ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    }
    CODES = (
        *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE),
        *(pickle.BUILD, pickle.BINPUT, pickle.LONG_BINPUT, pickle.PUT, pickle.MEMOIZE, pickle.BINGET, pickle.GET),
        *(pickle.LONG_BINGET, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1),
        pickle.LONG1,
        *(pickle.BININT2, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
        *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.EMPTY_DICT, pickle.DICT, pickle.EMPTY_LIST, pickle.LIST),
        *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.APPEND, pickle.APPENDS),
        *(pickle.SETITEM, pickle.SETITEMS),
    )
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = _Instructions(
        {code[0]: pickle._Unpickler.dispatch[code[0]] for code in CODES}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need")
        return self.KNOWN[module, name]
