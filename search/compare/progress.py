"""The live view of a run: a table that redraws itself on a terminal, one line a trial elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from search.compare.table import names, report
from search.ledger import Event, History, Trial


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
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self.live and not self.quiet:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, event: Event, history: History) -> None:
        if self.quiet:
            return
        if self.live:
            self.live.update(Group(report(history, self.where), Text(""), Text(self.status(history))), refresh=True)
        elif line := self.line(event, history):
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def line(self, event: Event, history: History) -> str:
        """What is worth a line of a log: a rung, a failure, the floors."""
        metric = history.header["metric"]
        if event["event"] == "floors":
            if event.get("reason"):
                return f"floors could not be measured: {event['reason']}"
            shown = ", ".join(f"{name} {scores[metric]:.4f}" for name, scores in event["floors"].items())
            return f"floors of {metric}: {shown}" if shown else ""
        if event["event"] not in ("rung", "failed"):
            return ""
        trial = history.trials[event["id"]]
        who = f"{trial.id} {' '.join(names(trial, history, [])):<24}"
        if event["event"] == "failed":
            return f"{who} failed: {trial.reason}"
        value = f"epoch {trial.epoch:>4}  {metric} {trial.rungs[-1].metrics[metric]:.4f}"
        return f"{who} {value}  {trial.seconds:6.1f} s   [{self.status(history)}]"

    def status(self, history: History) -> str:
        """How far the run is, and how long it may still take."""
        settled = [t for t in history.trials.values() if t.waiting or t.failed]
        spent = time.monotonic() - self.started
        left = self._left(history, spent)
        ending = f", about {_clock(left)} left" if left is not None else ""
        return f"{len(settled)} of {self.trials} trials, {_clock(spent)}{ending}"

    def _left(self, history: History, spent: float) -> float | None:
        """Seconds to go, if trials to come cost what trials have cost so far, and those under way go on as they did."""
        told: list[Trial] = [t for t in history.trials.values() if t.rungs]
        worked = sum(t.seconds for t in told) - self.before
        if not told or worked <= 0 or spent <= 0:
            return None
        total, epochs = sum(t.seconds for t in told), sum(t.epoch for t in told)
        to_come = max(self.trials - len(told), 0) * total / len(told)
        under_way = sum(t.until - t.epoch for t in told if not (t.waiting or t.failed)) * total / epochs
        return (to_come + under_way) / (worked / spent)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
