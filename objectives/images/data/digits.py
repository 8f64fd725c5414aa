"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8 × 8 pixels in ten classes, without a split.

Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI repository, 1998 (its test set).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from objectives.images.images import Images
from objectives.images.split import Split, arrange


@dataclass(frozen=True)
class Config(Split):
    """How the digits are split; see `split.Split`."""


def build(config: Config) -> Images:
    """Float pixels in 0..1, `(N, 1, 8, 8)`, split by class."""
    digits = load_digits()
    labels = digits.target.astype(np.int64)
    classes = tuple(str(name) for name in digits.target_names)
    kept, part = arrange(labels, np.zeros(len(labels), np.int8), classes, config, "digits")
    pixels = (digits.images[kept, None] / 16).astype(np.float32)
    return Images(pixels, labels[kept], part, classes)
