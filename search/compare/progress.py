"""The live view of a run: a table that redraws itself on a terminal, one line a trial elsewhere.

An event costs the same, however many trials there are: what the status needs is kept as sums, and the table is
drawn from time to time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from search.compare.table import names, report
from search.ledger import Event, History, Trial

FRAMES = 4  # a second
SHARE = 0.05  # of the time, at most, goes into making tables, which take longer the more trials there are


class Progress:
    """An observer of a sweep that tells a person how it goes; a context manager around it.

    Args:
        trials: how many trials the study plans.
        where: the run's folder, as the person would type it.
        console: where to write.
        quiet: to say nothing until the end.
        before: seconds that trials had worked when the run was taken up again.
    """

    def __init__(self, trials: int, where: str, console: Console, quiet: bool = False, before: float = 0.0) -> None:
        self.trials, self.where, self.console, self.quiet = trials, where, console, quiet
        self.started = time.monotonic()
        self.before = before
        self.sums, self.parts = NOTHING, dict[str, Part]()
        self.history: History | None = None
        self.table, self.due = Group(), 0.0  # the last table, and when there may be another
        self.told = self.drawn = 0  # events so far, and those in the table
        self.over = False
        self.live = None
        if console.is_terminal:
            self.live = Live(console=console, get_renderable=self._frame, refresh_per_second=FRAMES, transient=True)

    def __enter__(self) -> Progress:
        if self.live and not self.quiet:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.over = True  # so that the last frame shows how it ended
            self.live.stop()

    def __call__(self, event: Event, history: History) -> None:
        if self.quiet:
            return
        self._count(event, history)
        if not self.live and (line := self.line(event, history)):
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _count(self, event: Event, history: History) -> None:
        """Brings the sums up to date: by the trial that the event speaks of, or, of a run taken up again, by all."""
        changed = [history.trials[event["id"]]] if self.history and "id" in event else []
        for trial in changed if self.history else history.trials.values():
            before, self.parts[trial.id] = self.parts.get(trial.id, NOTHING), _part(trial)
            self.sums = Part._make(s + n - b for s, n, b in zip(self.sums, self.parts[trial.id], before, strict=True))
        self.history = history
        self.told += 1

    def _frame(self) -> Group:
        """What a terminal shows now. Drawn by a thread of its own, beside a sweep that goes on."""
        begun = time.monotonic()
        if self.history and self.drawn < self.told and (begun >= self.due or self.over):
            self.drawn = self.told
            shot = replace(self.history, trials=dict(self.history.trials))  # no trial joins while it is drawn
            self.table = Group(*report(shot, self.where).renderables[: self.console.height])  # more cannot be seen
            now = time.monotonic()
            self.due = now + (now - begun) / SHARE
        return Group(self.table, Text(""), Text(self.status())) if self.history else Group()

    def line(self, event: Event, history: History) -> str:
        """What is worth a line of a log: a rung, a failure, another try, the floors."""
        metric = history.header["metric"]
        if event["event"] == "floors":
            if event.get("reason"):
                return f"floors could not be measured: {event['reason']}"
            known = {name: scores[metric] for name, scores in event["floors"].items() if metric in scores}
            shown = ", ".join(f"{name} {value:.4f}" for name, value in known.items())
            return f"floors of {metric}: {shown}" if shown else ""
        if event["event"] not in ("rung", "failed", "retried"):
            return ""
        trial = history.trials[event["id"]]
        who = f"{trial.id} {' '.join(names(trial, history, [])):<24}"
        if event["event"] == "failed":
            return f"{who} failed: {trial.reason}"
        if event["event"] == "retried":
            return f"{who} lost: {event['reason']}; goes on from epoch {trial.epoch}"
        reached = event["metrics"].get(metric)  # a method may not give what is sought
        value = f"epoch {event['epoch']:>4}  {metric} {'–' if reached is None else f'{reached:.4f}'}"
        return f"{who} {value}  {trial.seconds:6.1f} s   [{self.status()}]"

    def status(self) -> str:
        """How far the run is, and how long it may still take."""
        spent = time.monotonic() - self.started
        left = self._left(spent)
        ending = f", about {_clock(left)} left" if left is not None else ""
        return f"{self.sums.settled} of {self.trials} trials, {_clock(spent)}{ending}"

    def _left(self, spent: float) -> float | None:
        """Seconds to go, if trials to come cost what trials have cost so far, and those under way go on as they did."""
        sums = self.sums
        worked = round(sums.seconds - self.before, 3)  # as exactly as a ledger tells it: a difference of long sums
        if not sums.told or worked <= 0 or spent <= 0:
            return None
        to_come = max(self.trials - sums.told, 0) * sums.seconds / sums.told
        under_way = sums.ahead * sums.seconds / sums.epochs
        return (to_come + under_way) / (worked / spent)


class Part(NamedTuple):
    """What a trial adds to the sums of a run, and these sums."""

    settled: int  # trials that wait or have failed
    told: int  # trials that have reached a rung
    seconds: float  # worked
    epochs: int  # done
    ahead: int  # epochs to go of those that are told and under way


NOTHING = Part(0, 0, 0.0, 0, 0)


def _part(trial: Trial) -> Part:
    settled, told = trial.waiting or trial.failed, bool(trial.rungs)
    ahead = trial.until - trial.epoch if told and not settled else 0
    return Part(settled, told, trial.seconds, trial.epoch, ahead)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
