"""Schedulers, one a file: which trial goes on, and how far; a pure function of the rungs on record."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from search.ledger import Trial


class Scheduler(Protocol):
    """Built by a module's `build(config, goal)`.

    Attributes:
        rungs: the epochs after which trials report, ascending; the last is the whole budget of a trial.
        first: the epoch that a new trial may run to.
    """

    rungs: tuple[int, ...]
    first: int

    def promote(self, trials: Sequence[Trial], ready: Set[str], exhausted: bool) -> tuple[Trial, int] | None:
        """A waiting trial that deserves more, and the epoch that it may run to; None where no one does.

        Args:
            trials: every trial that has not failed.
            ready: the ids of those that have reached what they were let run to, and pause.
            exhausted: whether no new trial will come, so that waiting for more evidence is pointless.
        """
        ...
