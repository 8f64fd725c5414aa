"""Which states stay on disk: those of the best trials, and of trials that may still go on.

A trial that ran to its end keeps its state while it is among the best; one that failed keeps none. Trials that pause
at a rung keep theirs until the run is finished. Results are never removed.
"""

from __future__ import annotations

from bisect import insort

from search.folder import Folder
from search.ledger import History, Trial
from search.rungs import KEPT, drop_states


class Retention:
    """The bound on a run's disk.

    Args:
        folder: the run's.
        keep: how many of the best keep their states.
        history: what is known so far.
    """

    def __init__(self, folder: Folder, keep: int, history: History) -> None:
        self.folder, self.keep, self.history = folder, keep, history
        self.best: list[tuple[float, int, str]] = []  # of complete trials, the best first
        for trial in history.trials.values():
            if history.state(trial) == "complete":
                self._rank(trial)

    def reached(self, trial: Trial) -> None:
        """Has the trial compete with the best, if it has run to its end; the loser's states go."""
        if self.history.state(trial) == "complete" and (loser := self._rank(trial)):
            drop_states(self.folder, loser, 0)

    def failed(self, trial: Trial) -> None:
        """Removes the states of a trial that will not go on."""
        drop_states(self.folder, trial.id, 0)

    def finished(self) -> None:
        """Removes what was kept for trials that could have gone on; where few ran to their end, those that came near
        it stay in their stead."""
        for place, trial in enumerate(self.history.ranked()):
            drop_states(self.folder, trial.id, KEPT if place < self.keep else 0)

    def _rank(self, trial: Trial) -> str:
        """Puts a trial among the best; the id of the one that thereby is no longer there."""
        header = self.history.header
        sign = 1 if header["mode"] == "max" else -1
        value = trial.value(header["metric"])
        if value is None:
            return trial.id
        insort(self.best, (-sign * value, trial.number, trial.id))
        return self.best.pop()[2] if len(self.best) > self.keep else ""
