"""A run as a table: its trials, its floors, what won and by how much; also as JSON and CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from statistics import mean, stdev
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.ledger import History, Trial
from spaces.goal import SECONDS
from spaces.space import Config

HELD_OUT = "test_"  # the prefix of a metric's twin on images that chose nothing
SMALL, LARGE = 1e-3, 100  # sizes from which four decimals say too little, or too much


def as_json(history: History) -> dict[str, Any]:
    """The documented form of `pretune show --json`; a value that does not exist is null."""
    metric, best = history.header["metric"], history.best()
    return {
        "study": history.header["name"],
        "metric": metric,
        "mode": history.header["mode"],
        "seed": history.header["seed"],
        "trials": [
            {
                "id": trial.id,
                "of": trial.of,
                "state": history.state(trial),
                "config": trial.config,
                "metrics": trial.rungs[-1].metrics if trial.rungs else {},
                "rungs": [{"epoch": r.epoch, "metrics": r.metrics, "seconds": r.seconds} for r in trial.rungs],
                "seconds": round(trial.seconds, 3),
                "reason": trial.reason,
            }
            for trial in history.trials.values()
        ],
        "front": [trial.id for trial in history.front()],
        "best": {"id": best.id, "value": best.value(metric)} if best else None,
        "floors": history.floors or {},
    }


def as_csv(history: History) -> str:
    """One row a trial: its state, every knob of its config, and the metrics of its last rung."""
    rows = []
    for trial in history.trials.values():
        row: dict[str, Any] = {"id": trial.id, "state": history.state(trial), "epoch": trial.epoch}
        row |= {"seconds": round(trial.seconds, 3), "reason": trial.reason}
        row |= {f"config.{name}": value for name, value in dotted(trial.config).items()}
        row |= trial.rungs[-1].metrics if trial.rungs else {}
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def dotted(config: Config, path: str = "") -> dict[str, Any]:
    """The leaves of a config by their dotted paths, the steps of a sequence by their places (from 1); an empty group
    counts as a leaf, for a branch without knobs."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        below = f"{path}.{name}" if path else name
        if isinstance(value, list):
            leaves |= dotted({str(place): step for place, step in enumerate(value, 1)}, below)
        elif isinstance(value, dict) and value:
            leaves |= dotted(value, below)
        else:
            leaves[below] = value if value != {} else True
    return leaves


def worded(history: History) -> list[str]:
    """The knobs, by dotted path, that all trials have, that are set to words, and not to the same one everywhere."""
    seen: dict[str, list[Any]] = {}
    for trial in history.trials.values():
        for path, value in dotted(trial.config).items():
            if isinstance(value, str):
                seen.setdefault(path, []).append(value)
    return [path for path, found in seen.items() if len(found) == len(history.trials) and len(set(found)) > 1]


def names(trial: Trial, history: History, words: list[str]) -> list[str]:
    """What the trial chose at each switch of its space (a method, an architecture) and at the knobs `words`."""
    leaves = dotted(trial.config)
    return [next(iter(trial.config[switch])) for switch in history.header["switches"]] + [leaves[w] for w in words]


def report(history: History, where: str, rows: int = 12) -> Group:
    """The table of a run's best trials and its floors, the failures by name, and the verdict in words."""
    words, order = worded(history), history.ranked()
    parts: list[Any] = [_trials(history, words, order, rows)]
    if len(order) > rows:
        parts.append(Text(f"... and {len(order) - rows} more: pretune show {where} --csv", style="dim"))
    for trial in order:
        if trial.failed:
            parts.append(
                Text(f"failed  {trial.id} {' '.join(names(trial, history, words))}: {trial.reason}", style="red")
            )
    parts += [Text(""), *verdict(history, words)]
    return Group(*parts)


def _trials(history: History, words: list[str], order: list[Trial], rows: int) -> Table:
    """The best trials, a row each, and the floors."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    floors, repeats = history.floors or {}, history.repeats()
    shown = _shown(history)
    scores = [*shown.values(), *(["repeated"] if repeats else []), "epochs", "seconds"]
    heads = [*history.header["switches"], *(path.rpartition(".")[2] for path in words)]
    for head in ("trial", *heads, *scores, "state"):
        table.add_column(head, justify="right" if head in scores else "left", no_wrap=True)
    decimals = {
        metric: _decimals([*(t.value(metric) for t in order), *(floors[f].get(metric) for f in floors)])
        for metric in shown
    }
    front = {trial.id for trial in history.front()} if history.goal.others else set()
    for trial in order[:rows]:
        last = trial.rungs[-1].metrics if trial.rungs else {}
        cells = [_number(last.get(metric), decimals[metric]) for metric in shown]
        cells += [_interval(repeats.get(trial.id, []), decimals[history.header["metric"]])] if repeats else []
        spent = [str(trial.epoch), f"{trial.seconds:.1f}", _state(trial, history, front)]
        table.add_row(trial.id, *names(trial, history, words), *cells, *spent)
    blank = [""] * (len(heads) - 1)
    for name, reached in floors.items():
        cells = [_number(reached.get(metric), decimals[metric]) for metric in shown]
        table.add_row("floor", name, *blank, *cells, *[""] * (len(scores) - len(shown) + 1), style="dim")
    return table


def _shown(history: History) -> dict[str, str]:
    """The metrics that the table shows, by their heads: all targets, the first one's twin on held-out data, and what
    is bounded."""
    goal = history.goal
    twin = HELD_OUT + goal.metric
    held_out = any(twin in trial.rungs[-1].metrics for trial in history.searched if trial.rungs)
    names = [goal.metric, *([twin] if held_out else []), *(target.metric for target in goal.others)]
    names += [full for bound in goal.bounds for _, full in bound.names]
    return {name: "held out" if name == twin else name for name in names if name != SECONDS}  # which has its column


def _state(trial: Trial, history: History, front: set[str]) -> str:
    """How a trial stands, whether it lies on the Pareto front (*), and whether it misses a bound."""
    beyond = trial.rungs and history.goal.excess(trial.rungs[-1].metrics) > 0
    return history.state(trial) + " *" * (trial.id in front) + ", out of bounds" * bool(beyond)


def _interval(values: list[float], decimals: int) -> str:
    """The mean of a finalist's repeats, with the half width of its 95 % interval by Student's t."""
    if not values:
        return ""
    return f"{_number(mean(values), decimals)}" + (f" ± {half_width(values):.2g}" if len(values) > 1 else "")


def half_width(values: list[float]) -> float:
    """Half of the 95 % interval of the mean of two values or more, by Student's t."""
    from scipy.stats import t  # here, since few runs repeat anything

    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def verdict(history: History, words: list[str]) -> list[Text]:
    """What won, what it scored, and by how much it beat the floors."""
    best, metric = history.best(), history.header["metric"]
    if best is None:
        return [Text("No trial has reached a rung.", style="bold")]
    value, floors = best.rungs[-1].metrics[metric], history.floors or {}
    decimals = _decimals([value, *(scores.get(metric) for scores in floors.values())])
    who = " + ".join(names(best, history, words))
    lines = [Text(f"{who} ({best.id}) leads with {metric} {_number(value, decimals)}", style="bold")]
    if again := history.repeats().get(best.id):
        lines.append(Text(f"  {_interval(again, decimals)} with {len(again)} other seeds, by which it was chosen"))
    if history.goal.others:
        lines.append(Text(f"  {len(history.front())} trials are beaten by none in every metric (*)"))
    for name, scores in floors.items():
        if metric in scores:
            gain = _gain(value, scores[metric], history)
            lines.append(Text(f"  {gain} the {name} floor ({_number(scores[metric], decimals)})"))
    held = best.rungs[-1].metrics.get(HELD_OUT + metric)
    if held is not None:
        lines.append(Text(f"  {_number(held, decimals)} on held-out data, which had no part in the choice"))
    lines += _collapses(history)
    for said in history.header.get("said", ()):
        with suppress(KeyError):  # a metric that this trial does not have
            lines.append(Text(f"  {said.format(**best.rungs[-1].metrics)}"))
    return lines


def _collapses(history: History) -> list[Text]:
    """How many trials were stopped since their representation had collapsed, of what, and what that has saved."""
    found = [trial for trial in history.trials.values() if trial.cause]
    if not found:
        return []
    saved = sum(history.length(trial) - trial.at for trial in found)
    worked = [trial for trial in history.trials.values() if trial.epoch]
    pace = sum(trial.seconds for trial in worked) / max(sum(trial.epoch for trial in worked), 1)
    causes = ", ".join(f"{cause} {count}" for cause, count in Counter(trial.cause for trial in found).most_common())
    said = f"  {len(found)} trials were stopped as collapsed ({causes}), {saved} epochs before their end"
    return [Text(said + f": about {saved * pace:.0f} s saved" * bool(worked))]


def _gain(value: float, floor: float, history: History) -> str:
    """How far a value is from a floor's."""
    if "accuracy" in history.header["metric"]:
        return f"{100 * (value - floor):+.1f} points over"
    if history.header["mode"] == "max":
        return f"{value - floor:+.4g} over"
    return f"{abs(value - floor):.4g} {'below' if value <= floor else 'above'}"


def _decimals(values: Iterable[float | None]) -> int:
    """How many decimals numbers are shown with that stand beside each other: none for counts, one for large ones."""
    there = [value for value in values if value is not None]
    if all(value == round(value) for value in there):
        return 0
    return 1 if max(map(abs, there)) >= LARGE else 4


def _number(value: float | None, decimals: int) -> str:
    if value is None:
        return ""
    tiny = decimals and 0 < abs(value) < SMALL
    return f"{value:.1e}" if tiny else f"{value:.{decimals}f}"


def show(history: History, where: str) -> None:
    """Prints the report; to a file or a pipe, as wide as it needs."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(report(history, where))
