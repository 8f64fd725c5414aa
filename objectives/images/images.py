"""A set of images in memory, as every reader of `objectives/images/data/` gives it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

TRAIN, VALID, TEST = 0, 1, 2
UNLABELLED = -1
EXTRA = ("partner", "factors", "masks")  # what only some data knows


class DataError(ValueError):
    """Data that cannot be read: says which file or array, what was found and what was expected."""


@dataclass(frozen=True)
class Images:
    """Images with their part in the study; plain arrays, so that they can be shared without a copy.

    Attributes:
        pixels: `(N, C, H, W)`, uint8 in 0..255 or float32 in 0..1.
        labels: `(N,)` int64, the index into `classes`, or -1 where there is no label.
        part: `(N,)` int8, 0 to pretrain and fit probes on, 1 to choose by, 2 held out for the last word.
        classes: the names of the classes; empty for unlabelled data.
        partner: `(N, C, H, W)` like `pixels`, the other half of a pair, from which views with an odd number are drawn;
            None where an image is its own partner.
        factors: `(N, F)` int64, the true class of each of F factors of an image, -1 where it is unknown; or None.
        masks: `(N, H, W)` int16, the true class of each pixel: 0 background unless the reader says otherwise, -1 not
            labelled; or None.

    Raises:
        ValueError: an array is of another shape or type than it says here.
    """

    pixels: np.ndarray
    labels: np.ndarray
    part: np.ndarray
    classes: tuple[str, ...]
    partner: np.ndarray | None = None
    factors: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4:
            raise ValueError(f"pixels have the shape {self.pixels.shape}; expected (N, C, H, W)")
        count, _, height, width = self.pixels.shape
        factors = self.factors.shape[-1] if self.factors is not None and self.factors.ndim else 0
        for name, shape, kind in (
            ("labels", (count,), np.int64),
            ("part", (count,), np.int8),
            ("partner", self.pixels.shape, self.pixels.dtype),
            ("factors", (count, factors), np.int64),
            ("masks", (count, height, width), np.int16),
        ):
            array = getattr(self, name)
            if array is not None and (array.shape != shape or array.dtype != kind):
                expected = f"{np.dtype(kind)} of shape {shape}"
                raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; expected {expected}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def labelled(self) -> bool:
        """Whether each part has labels, so that probes with labels can be fitted and scored."""
        known = self.labels != UNLABELLED
        return all(bool(np.any(known & (self.part == part))) for part in (TRAIN, VALID, TEST))

    def summary(self) -> str:
        """What there is, on one line."""
        channels, height, width = self.shape
        parts = ", ".join(f"{np.sum(self.part == part)} {name}" for part, name in enumerate(("train", "valid", "test")))
        known = f"{len(self.classes)} classes" if self.labelled else "no labels to probe with"
        factors = self.factors.shape[1] if self.factors is not None else 0
        more = [
            *(["partners"] if self.partner is not None else []),
            *([f"{factors} factor{'s' * (factors != 1)}"] if self.factors is not None else []),
            *(["masks"] if self.masks is not None else []),
        ]
        return ", ".join([f"{len(self)} images of {channels}×{height}×{width} ({parts})", known, *more])

    def digest(self) -> str:
        """Tells these images, labels, parts and whatever else is known of them from others."""
        crc = 0
        for array in (self.pixels, self.labels, self.part):
            crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
        for name in EXTRA:
            if (array := getattr(self, name)) is not None:
                crc = zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(name.encode(), crc))
        return f"{crc:08x}"

    def __len__(self) -> int:
        return len(self.pixels)
