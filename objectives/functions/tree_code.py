"""Of the conditional tree the branch without numbers: minimum 0.4 at code c with mask even and size large.

f = 0.4 + loss(code, mask) + half the steps from size large, where the losses are 0 for (c, even), 0.5 for (a, odd),
0.8 for every other pair of one code with `none`, and 1.5 for all else: what is best of one hangs on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from spaces.domains import Choice, Ordinal

OPTIMUM = 0.4
SIZES = ("tiny", "small", "large", "huge")
LOSS = {("c", "even"): 0.0, ("a", "odd"): 0.5}
UNMASKED, OTHER = 0.8, 1.5


@dataclass(frozen=True)
class Config:
    """Three words."""

    code: Annotated[str, Choice("a", "b", "c", "d")] = "a"  # best at c, if the mask is even
    mask: Annotated[str, Choice("none", "odd", "even")] = "none"  # best at even, if the code is c
    size: Annotated[str, Ordinal(*SIZES)] = "tiny"  # best at large


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    loss = LOSS.get((config.code, config.mask), UNMASKED if config.mask == "none" else OTHER)
    return lambda: OPTIMUM + loss + abs(SIZES.index(config.size) - SIZES.index("large")) / 2
