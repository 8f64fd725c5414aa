"""Which states stay on disk: those of the best trials, of trials that may still go on, and those that a fork may need.

A trial that ran to its end keeps its state while it is among the best; one that failed keeps none. Trials that pause
at a rung keep theirs until the run is finished. Where trials may be forked, all keep theirs from the rung on at which
a fork may still begin. Results are never removed.
"""

from __future__ import annotations

import math
from bisect import insort
from typing import Any

from search.folder import Folder
from search.ledger import History, Trial, rank
from search.rungs import KEPT, drop_states


class Retention:
    """The bound on a run's disk.

    Args:
        folder: the run's.
        keep: how many of the best keep their states.
        history: what is known so far.
        forks: whether trials may be forked; `passed` then tells from where on.
    """

    def __init__(self, folder: Folder, keep: int, history: History, forks: bool) -> None:
        self.folder, self.keep, self.history = folder, keep, history
        self.oldest: float = 0 if forks else math.inf  # no fork begins before this epoch
        self.goal = history.goal
        self.best: list[tuple[Any, str]] = []  # of complete trials, the best first
        for trial in history.trials.values():
            if history.state(trial) == "complete" and not trial.of:
                self._rank(trial)

    def reached(self, trial: Trial) -> None:
        """Has the trial compete with the best, if it has run to its end; the loser's states go. A repeat keeps none."""
        if trial.of:
            drop_states(self.folder, trial.id, 0)
            return
        if self.history.state(trial) == "complete" and (loser := self._rank(trial)):
            drop_states(self.folder, loser, 0, self.oldest)

    def failed(self, trial: Trial) -> None:
        """Removes the states of a trial that will not go on."""
        drop_states(self.folder, trial.id, 0, self.oldest)

    def passed(self, epoch: int) -> None:
        """Removes the states before an epoch, since no fork will begin there, but for those that trials go on from."""
        if epoch > self.oldest:
            for trial in self.history.trials.values():
                drop_states(self.folder, trial.id, 0 if trial.failed else KEPT, epoch)
        self.oldest = epoch

    def finished(self) -> None:
        """Removes what was kept for trials that could have gone on; where few ran to their end, those that came near
        it stay in their stead."""
        for place, trial in enumerate(self.history.ranked()):
            drop_states(self.folder, trial.id, KEPT if place < self.keep else 0)

    def _rank(self, trial: Trial) -> str:
        """Puts a trial among the best; the id of the one that thereby is no longer there."""
        if trial.value(self.goal.metric) is None:
            return trial.id
        insort(self.best, (rank(trial, self.goal), trial.id))
        return self.best.pop()[1] if len(self.best) > self.keep else ""
