"""Frozen features as plain arrays: how they are scaled, and the products of their columns."""

from __future__ import annotations

from typing import Any

import numpy as np

CHUNK = 4096  # rows that are taken to float64 at a time


def pareto(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Features `(N, D)` less their mean, over the square root of their standard deviation, as float32.

    Mean and deviation are those of the rows where `train` `(N,)` is true; a common factor then brings the mean
    square of those rows to 1. Pareto scaling (van den Berg et al. 2006, table 1) is half the way to unit
    variance: a few loud features do not drown the rest, nor are nearly dead ones blown up to noise. The result
    does not depend on the features' shift or common scale.
    """
    x = x.astype(np.float32, copy=False) - x[train].mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.mean(x[train] ** 2, axis=0, dtype=np.float64))
    common = np.sqrt(deviation.mean())  # the mean square after scaling is the mean deviation
    scale = np.sqrt(deviation) * common
    return x / np.where(scale > 0, scale, 1).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def spread(x: Any, rows: int) -> Any:
    """At most `rows` rows of x, an array or a tensor, evenly spaced."""
    return x if len(x) <= rows else x[np.linspace(0, len(x) - 1, rows).astype(int)]


def gram(x: np.ndarray) -> np.ndarray:
    """Sums of products of the columns of x `(..., n, D)`: `(..., D, D)`, accumulated in float64."""
    total = np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-1]))
    for start in range(0, x.shape[-2], CHUNK):
        chunk = x[..., start : start + CHUNK, :].astype(np.float64)
        total += chunk.mT @ chunk
    return total
