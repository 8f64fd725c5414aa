"""The terms of which the branches of the conditional tree are sums: all are 0 at their best, and grow away from it.

The tree is `tree_deep`, `tree_cliff`, `tree_ripple`, `tree_code`, `tree_count`, `tree_wide`, `tree_bare` and
`tree_poor`, in the order of their least values, from 0 to 2.5. A drawn point of `tree_deep`, where the minimum of all
lies, is worse by far than one of `tree_wide`, which is good everywhere and excellent nowhere.
"""

from __future__ import annotations

import math


def decades(x: float, best: float) -> float:
    """The square of the distance in powers of ten."""
    return math.log10(x / best) ** 2


def doublings(x: float, best: float) -> float:
    """The square of the distance in powers of two."""
    return math.log2(x / best) ** 2


def bowl(x: float, best: float, width: float) -> float:
    """The square of the distance in widths."""
    return ((x - best) / width) ** 2


def ripple(x: float, best: float, length: float) -> float:
    """Between 0 and 2: waves of a length, one of whose valleys lies at the best."""
    return 1 - math.cos(2 * math.pi * (x - best) / length)
