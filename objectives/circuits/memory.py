"""Whether something fits into memory, asked before it is allocated."""

from __future__ import annotations

import os

from spaces.circuits.pool import CircuitError

SHARE = 0.8  # of the free memory; the rest is left to everything else


def afford(size: float, what: str) -> None:
    """Refuses what would not fit.

    Raises:
        CircuitError: `size` bytes are more than a fair share of the free memory.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > SHARE * free:
        raise CircuitError(f"{what} would take {size / 2**30:,.1f} GiB of memory; {free / 2**30:,.1f} GiB are free")
