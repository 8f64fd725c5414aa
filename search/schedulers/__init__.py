"""Schedulers, one a file: which trial goes on, and how far; a pure function of the rungs on record."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from search.ledger import Trial


class Scheduler(Protocol):
    """Built by a module's `build(config, goal)`.

    What `promote` answers depends on the last word about each trial alone, not on how many there were nor on their
    order. A scheduler is therefore rebuilt by telling it every trial of the ledger once.

    Attributes:
        rungs: the epochs after which trials report, ascending; the last is the whole budget of a trial.
        first: the epoch that a new trial may run to.
    """

    rungs: tuple[int, ...]
    first: int

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial as it stands now: asked, at a rung, promoted, or failed; a later word replaces an
        earlier. What becomes of the trial counts only once it is told."""
        ...

    def promote(self, ready: Set[str], exhausted: bool) -> tuple[Trial, int] | None:
        """A waiting trial that deserves more, and the epoch that it may run to; None where no one does.

        Args:
            ready: the ids of those that have reached what they were let run to, and pause.
            exhausted: whether no new trial will come, so that waiting for more evidence is pointless.
        """
        ...
