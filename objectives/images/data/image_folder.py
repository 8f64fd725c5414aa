"""Images in a folder or a `.zip`, their classes named by sub-folders.

    cat/1.png dog/2.png …                           labelled, without a split
    train/cat/1.png … test/cat/2.png … [valid/…]    labelled, with a split; `val` is `valid`
    1.png 2.png …                                   unlabelled

`unlabelled/` (or `unlabeled/`) beside classes or parts holds further images to pretrain on. A single folder around
all of this is looked through, and what lies deeper belongs to its class. Hidden files and files of other kinds are
passed over. Nothing of a zip is unpacked: its members are read in memory, and their names are no more than labels;
an archive with names that lead out of it is refused all the same, since whoever made it meant something else.
"""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageOps

from objectives.images.data.npz import MEMORY, PLAIN
from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID, DataError, Images
from objectives.images.paths import locate
from objectives.images.split import Split, arrange
from spaces.domains import Choice

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # of these alone; others run programs of the system
PARTS = {"train": TRAIN, "valid": VALID, "val": VALID, "test": TEST}
NO_CLASS = ("unlabelled", "unlabeled")
MOST_PIXELS = 2**26  # of one image; a file of a few kilobytes can ask for more than there is memory
MOST_BYTES = 2**28  # of one file, for the same reason
MOST_IN_ZIP = 2**38  # bytes of all members, inflated
DEFLATE = 1032  # times smaller at most does it make anything; RFC 1951: a match of 258 bytes takes two bits
SMALL = 2**13  # bytes; reading a file below is mostly Python, which threads slow down


@dataclass(frozen=True)
class Config(Split):
    """Where the images are, how they are read and how they are split."""

    path: str = ""  # the folder or .zip
    side: int = 0  # pixels; every image is resized to side × side, whatever its aspect; 0 keeps the one size they have
    channels: Annotated[str, Choice("auto", "grey", "rgb")] = "auto"  # auto: grey if every image is


Read = Callable[[str], bytes]


def build(config: Config) -> Images:
    """uint8 pixels, `(N, C, H, W)`; only those that the study uses are decoded.

    Raises:
        DataError: there are no images, the folders mix layouts, an image is broken, too large or of another size, all
            of them are too large together, links lead round in circles, a zip's names lead out of it.
        ValueError: `side` is negative.
    """
    if config.side < 0:
        raise ValueError(f"side must not be negative, got {config.side}")
    path = locate(config.path, "a folder of images or a .zip")
    names, read = _folder(path) if path.is_dir() else _zip(path)
    if not names:
        raise DataError(f"{path}: no images found; expected files ending in {', '.join(ENDINGS)}")
    labels, part, classes = _layout(names, str(path))
    kept, part = arrange(labels, part, classes, config, str(path))
    pixels = _pixels([names[k] for k in kept], read, config, str(path))
    return Images(pixels, labels[kept], part, classes)


def _is_image(name: str) -> bool:
    hidden = any(step.startswith((".", "__MACOSX")) and step not in (".", "..") for step in name.split("/"))
    return name.lower().endswith(ENDINGS) and not hidden


def _folder(path: Path) -> tuple[list[str], Read]:
    """The images below a directory, sorted, relative to it; and how to read one."""
    found: list[str] = []
    seen: dict[tuple[int, int], str] = {}
    for folder, _, files in os.walk(path, followlinks=True):
        inside, status = Path(folder).relative_to(path), os.stat(folder)
        first = seen.setdefault((status.st_dev, status.st_ino), inside.as_posix())
        if first != inside.as_posix():  # links can lead round in circles, and twice to each of many folders
            one, other = sorted((first, inside.as_posix()))
            raise DataError(f"{path}: {one} and {other} are one folder; expected links that lead to each folder once")
        found += [(inside / name).as_posix() for name in files]
    return sorted(filter(_is_image, found)), lambda name: _whole(path / name)


def _whole(file: Path) -> bytes:
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"it has {status.st_size} bytes; expected at most {MOST_BYTES}")
    return file.read_bytes()


def _zip(path: Path) -> tuple[list[str], Read]:
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        archive = zipfile.ZipFile(path)  # left open as long as `read` lives
    except Exception as error:  # zipfile raises almost anything on a broken file
        raise DataError(f"{path}: cannot be read as a .zip ({error}); expected a folder of images or a .zip") from error
    _honest(archive, path)
    members = {member.filename: member for member in archive.infolist() if _is_image(member.filename)}

    def read(name: str) -> bytes:
        if members[name].file_size > MOST_BYTES:
            raise ValueError(f"it has {members[name].file_size} bytes; expected at most {MOST_BYTES}")
        if members[name].compress_type not in PLAIN:
            raise ValueError("it is compressed in an unusual way; expected stored or deflated")
        return archive.read(members[name])  # no more than `file_size` bytes, whatever it would inflate to

    return sorted(members), read


def _honest(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses an archive whose names lead out of it, or whose members claim more bytes than they can have."""
    for member in archive.infolist():
        name = member.orig_filename
        steps = name.split("/")
        if name.startswith("/") or ".." in steps or "\\" in name or "\0" in name or name[1:2] == ":":
            raise DataError(
                f"{path}: the member {name!r} is no plain path inside the archive; expected such as cat/1.png"
            )
    size = sum(member.file_size for member in archive.infolist())
    most = min(MOST_IN_ZIP, DEFLATE * path.stat().st_size)
    if size > most:
        raise DataError(f"{path}: its members would inflate to {size:,} bytes; expected at most {most:,}")


def _layout(names: list[str], source: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels `(N,)` and parts `(N,)` of the images by their folders, and the names of the classes."""
    folders = [[step for step in name.split("/")[:-1] if step not in ("", ".", "..")] for name in names]
    while all(len(steps) > 1 and steps[0] == folders[0][0] not in NO_CLASS for steps in folders):
        folders = [steps[1:] for steps in folders]  # a single folder around everything
    tops = {steps[0] for steps in folders if steps} - set(NO_CLASS)
    part = np.full(len(names), TRAIN, np.int8)
    if len(tops & PARTS.keys()) > 1 or tops == {"train"}:  # on its own beside others, a part's name is a class
        if strangers := sorted(tops - PARTS.keys()):
            raise DataError(f"{source}: found {strangers[0]!r} beside train and test; expected {', '.join(PARTS)}")
        part = np.array([PARTS.get(steps[0], TRAIN) if steps else TRAIN for steps in folders], np.int8)
        folders = [steps[1:] if steps and steps[0] in PARTS else steps for steps in folders]
    named = ["" if not steps or steps[0] in NO_CLASS else steps[0] for steps in folders]
    classes = tuple(sorted(set(named) - {""}))
    index = {name: k for k, name in enumerate(classes)} | {"": UNLABELLED}
    return np.array([index[name] for name in named], np.int64), part, classes


def _pixels(names: list[str], read: Read, config: Config, source: str) -> np.ndarray:
    """The images `(N, C, H, W)` uint8, decoded by threads if they are large (Pillow's decoders let others run)."""

    def decode(name: str) -> np.ndarray:
        try:
            return _decode(read(name), config)
        except Exception as error:  # Pillow's decoders raise almost anything on a broken file
            raise DataError(f"{source}: {name} cannot be read as an image ({error})") from error

    height, width = decode(names[0]).shape[:2]
    workers = 1 if len(read(names[0])) < SMALL else min(8, os.cpu_count() or 1)
    shape = (len(names), 1 if config.channels == "grey" else 3, height, width)
    if (size := math.prod(shape)) > MEMORY:
        what = f"{len(names)} images of {width} × {height} pixels have {size:,} bytes; expected at most {MEMORY:,}"
        raise DataError(f"{source}: {what}, half of the memory; a smaller `side` or a `limit` helps")
    pixels = np.empty(shape, np.uint8)

    def fill(block: np.ndarray) -> bool:
        """Decodes the images of a block; whether all of them are grey."""
        grey = True
        for k in block:
            image = decode(names[k])
            if image.shape[:2] != (height, width):
                raise DataError(
                    f"{source}: {names[k]} has {image.shape[1]} × {image.shape[0]} pixels but {names[0]} has "
                    f"{width} × {height}; expected one size, or `side` to resize to"
                )
            grey = grey and image.ndim == 2
            pixels[k] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        return grey

    blocks = np.array_split(np.arange(len(names)), -(-len(names) // 16))
    with ThreadPoolExecutor(workers) as threads:
        grey = all(list(threads.map(fill, blocks)))  # a list, since all of them must be waited for
    return pixels[:, :1].copy() if grey and config.channels == "auto" else pixels


def _decode(raw: bytes, config: Config) -> np.ndarray:
    """One image as `(H, W)` if it is grey, or `(H, W, 3)`, uint8."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as opened:
        image: Image.Image = opened
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width} × {image.height} pixels; expected at most {MOST_PIXELS} in all")
        if config.side:
            opened.draft(None, (2 * config.side, 2 * config.side))  # a large JPEG is decoded at a fraction of its size
        if "exif" in image.info:  # where a camera says how it was held
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("I", "F"):
            raise ValueError(f"it has pixels of mode {image.mode}; expected 8 or 16 bits")
        grey = config.channels == "grey" or (config.channels == "auto" and image.mode in ("1", "L", "LA"))
        image = image.convert("L" if grey else "RGB")
        if config.side:
            image = image.resize((config.side, config.side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.asarray(image)
