"""Trials in order at a rung, kept so that a word about one of them costs the same however many there are."""

from __future__ import annotations

from bisect import bisect_left, insort

from search.ledger import Trial
from spaces.study import Goal

Key = tuple[float, int, str]  # of a trial at a rung: the better, or else the earlier, comes first; then its id


def values(trial: Trial, goal: Goal) -> dict[int, float]:
    """What a trial was worth at its rungs, more being better; nothing, once it has failed."""
    if trial.failed:
        return {}
    return {r.epoch: goal.sign * r.metrics[goal.metric] for r in trial.rungs if goal.metric in r.metrics}


class Ranking:
    """Trials from best to worst. Keeping it in order costs a search each time, whatever was told before."""

    def __init__(self) -> None:
        self.order: list[Key] = []
        self.keys: dict[str, Key] = {}

    def place(self, id: str, key: Key | None) -> None:
        """Puts a trial where it belongs now; nowhere, without a key."""
        before = self.keys.pop(id, None)
        if key is not None:
            self.keys[id] = key
        if key == before:
            return
        if before is not None:
            del self.order[bisect_left(self.order, before)]
        if key is not None:
            insort(self.order, key)

    def before(self, key: Key) -> int:
        """How many come before one with this key."""
        return bisect_left(self.order, key)


class Step:
    """From a rung to the next: who has reached the rung, and who of them has not gone on."""

    def __init__(self, rung: int, longer: int) -> None:
        self.rung, self.longer = rung, longer
        self.reached, self.paused = Ranking(), Ranking()

    def tell(self, trial: Trial, value: float | None) -> None:
        """Takes note of a trial as it stands, and of its value at this rung if it has one."""
        key = None if value is None else (-value, trial.number, trial.id)
        self.reached.place(trial.id, key)
        self.paused.place(trial.id, key if trial.until == self.rung else None)
