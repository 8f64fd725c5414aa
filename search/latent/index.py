"""The nearest unvisited circuit: what every point of the latent space is taken to mean.

One pass over the pool, whatever was visited: nothing to build, nothing that degrades where a region is exhausted, and
in 16 dimensions or more no tree is faster on points without structure. Memory is what it waits for.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FAST = {"contract", "reassoc", "nsz"}
SLACK = np.float32(1 + 1e-4)  # above the relative error (d + 2) 2^-23 of a sum of up to 800 squares in float32


def nearest(latents: NDArray[np.float32], point: NDArray, free: NDArray[np.bool_]) -> int:
    """The unvisited circuit whose latent lies nearest by L2; of several at one distance, the first.

    Args:
        latents: (B, d), contiguous.
        point: (d,); read as float32.
        free: whether a circuit is unvisited, (B,).

    Raises:
        ValueError: a point that is not finite, or nothing unvisited.
    """
    point = np.asarray(point, np.float32)
    if not np.isfinite(point).all():
        raise ValueError("the point whose neighbour is sought is not finite")
    found = _nearest(latents, point, free)
    if found < 0:
        raise ValueError("every circuit of the pool was visited")
    return int(found)


@njit(cache=True, nogil=True, fastmath=FAST)
def _nearest(latents: NDArray, point: NDArray, free: NDArray) -> int:
    """Squares summed in float32 rule out nearly all; who might be the nearest is measured again in float64."""
    least, bound, found = np.inf, np.float32(np.inf), -1
    for row in range(len(latents)):
        near = np.float32(0)
        for k in range(len(point)):
            difference = latents[row, k] - point[k]
            near += difference * difference
        if near <= bound and free[row]:
            exact = 0.0
            for k in range(len(point)):
                exact += (np.float64(latents[row, k]) - np.float64(point[k])) ** 2
            if exact < least:
                least, bound, found = exact, np.float32(exact) * SLACK, row
    return found
