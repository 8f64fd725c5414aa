"""Images in a NumPy `.npz` file, whoever made it: nothing in it is unpickled, and nothing is inflated beyond a bound.

x or images     uint8 in 0..255 or floats in 0..1; (N, H, W), (N, H, W, C) or (N, C, H, W), of 1 to 4 channels
y or labels     optional, (N,): whole numbers, -1 for none; or strings, empty for none
part            optional, (N,): 0, 1, 2 or "train", "valid", "test"
"""

from __future__ import annotations

import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID, DataError, Images
from objectives.images.paths import locate
from objectives.images.split import Split, arrange

NAMES = {"x": "x", "images": "x", "y": "y", "labels": "y", "part": "part"}
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # bytes of images; they are copied once
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other compressions can only be inflated without a bound
PARTS = {"0": TRAIN, "train": TRAIN, "1": VALID, "valid": VALID, "2": TEST, "test": TEST}


@dataclass(frozen=True)
class Config(Split):
    """Where the arrays are, and how they are split."""

    path: str = ""  # the .npz file


def build(config: Config) -> Images:
    """Pixels `(N, C, H, W)`, uint8 or float32; a part that the file does not bring is a share of the training images.

    Raises:
        DataError: an array is missing, unknown, too large, or of another kind than expected; pixels are not in their
            range.
    """
    path = locate(config.path, "an .npz file")
    arrays = _arrays(path)
    pixels = _pixels(arrays["x"], f"{path}: images")
    labels = np.full(len(pixels), UNLABELLED, np.int64)
    classes: tuple[str, ...] = ()
    if "y" in arrays:
        labels, classes = _labels(_column(arrays["y"], len(pixels), f"{path}: labels"), f"{path}: labels")
    part = np.full(len(pixels), TRAIN, np.int8)
    if "part" in arrays:
        part = _parts(_column(arrays["part"], len(pixels), f"{path}: part"), f"{path}: part")
    kept, part = arrange(labels, part, classes, config, str(path))
    return Images(np.ascontiguousarray(pixels[kept]), labels[kept], part, classes)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by their short names."""
    if not path.is_file():
        raise DataError(f"{path}: this is no file; expected an .npz file")
    try:
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise DataError(f"{path}: holds a single array; expected an .npz file with named ones")
            with zipfile.ZipFile(file) as archive:
                members = _members(archive, path)
                arrays = {NAMES[name]: _array(archive, member) for name, member in members.items()}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise almost anything on a broken file
        hint = "; write strings as an array of dtype 'U', not 'O'" if "Object arrays" in str(error) else ""
        raise DataError(f"{path}: cannot be read as an .npz file of plain arrays ({error}){hint}") from error
    if "x" not in arrays:
        raise DataError(f"{path}: found {', '.join(arrays) or 'no array'}; expected images as x or images")
    return arrays


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays, each array once, and all of them small enough to inflate."""
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if unknown := [name for name in members if name not in NAMES]:
        raise DataError(f"{path}: unknown arrays {', '.join(unknown[:5])}; expected {', '.join(NAMES)}")
    if len({NAMES[name] for name in members}) < len(archive.infolist()):
        found = ", ".join(member.filename.removesuffix(".npy") for member in archive.infolist()[:5])
        raise DataError(f"{path}: found {found}, which name one array twice")
    size = sum(member.file_size for member in members.values())
    if size > MEMORY:
        raise DataError(f"{path}: its arrays have {size:,} bytes; expected at most {MEMORY:,}, half of the memory")
    if packed := [name for name, member in members.items() if member.compress_type not in PLAIN]:
        raise DataError(
            f"{path}: {packed[0]} is compressed in a way that NumPy does not use; expected stored or deflated"
        )
    return members


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, for which no more memory is taken than the archive says that it has."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member.filename} is in version {version} of the format; expected 1.0 or 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if min(shape, default=0) < 0 or math.prod(shape) * max(dtype.itemsize, 1) > member.file_size:
            raise ValueError(f"{member.filename} claims the shape {shape} of {dtype}, for which it is too small")
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _pixels(array: np.ndarray, source: str) -> np.ndarray:
    """The images as `(N, C, H, W)`, uint8 or float32."""
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"{source}: found dtype {array.dtype}; expected uint8 in 0..255 or floats in 0..1")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"{source}: found shape {array.shape}; expected (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if array.ndim == 3:
        array = array[:, None]
    else:
        first, last = array.shape[1] <= 4, array.shape[3] <= 4
        if first == last:
            raise DataError(f"{source}: found shape {array.shape}; expected 1 to 4 channels on either axis 1 or axis 3")
        array = array if first else array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())  # NaN if any pixel is
    if not (low >= 0 and high <= 1):
        found = f"pixels in {low:g} .. {high:g}" if np.isfinite([low, high]).all() else "NaN or infinite pixels"
        raise DataError(f"{source}: found {found}; expected floats in 0..1")
    return array.astype(np.float32)


def _column(array: np.ndarray, length: int, source: str) -> np.ndarray:
    if array.shape != (length,):
        raise DataError(f"{source}: found shape {array.shape}; expected ({length},), one for each image")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind not in "iuU":
        raise DataError(f"{source}: found dtype {array.dtype}; expected whole numbers or strings")
    return array


def _labels(column: np.ndarray, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels `(N,)` int64 and the names of the classes, in their order: numbers by value, strings by letter."""
    known = column != "" if column.dtype.kind == "U" else column != UNLABELLED
    values, index = np.unique(column[known], return_inverse=True)
    if column.dtype.kind == "i" and len(values) and values[0] < 0:
        raise DataError(f"{source}: found {values[0]}; expected 0 and above, or -1 for none")
    labels = np.full(len(column), UNLABELLED, np.int64)
    labels[known] = index
    return labels, tuple(str(value) for value in values)


def _parts(column: np.ndarray, source: str) -> np.ndarray:
    values, index = np.unique(column, return_inverse=True)
    if unknown := [str(value) for value in values if str(value) not in PARTS]:
        raise DataError(f"{source}: found {', '.join(unknown[:5])}; expected {', '.join(PARTS)}")
    return np.array([PARTS[str(value)] for value in values], np.int8)[index]
