"""A set of images in memory, as every reader of `objectives/images/data/` gives it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

TRAIN, VALID, TEST = 0, 1, 2
UNLABELLED = -1


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
    """

    pixels: np.ndarray
    labels: np.ndarray
    part: np.ndarray
    classes: tuple[str, ...]

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
        return f"{len(self)} images of {channels}×{height}×{width} ({parts}), {known}"

    def digest(self) -> str:
        """Tells these images, labels and parts from others."""
        crc = 0
        for array in (self.pixels, self.labels, self.part):
            crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
        return f"{crc:08x}"

    def __len__(self) -> int:
        return len(self.pixels)
