"""A run as a table: its trials, its floors, what won and by how much; also as JSON and CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.ledger import History, Trial
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
                "state": history.state(trial),
                "config": trial.config,
                "metrics": trial.rungs[-1].metrics if trial.rungs else {},
                "rungs": [{"epoch": r.epoch, "metrics": r.metrics, "seconds": r.seconds} for r in trial.rungs],
                "seconds": round(trial.seconds, 3),
                "reason": trial.reason,
            }
            for trial in history.trials.values()
        ],
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
    metric, words = history.header["metric"], worded(history)
    table = Table(box=None, pad_edge=False, header_style="bold")
    twin = HELD_OUT + metric
    held_out = any(twin in trial.rungs[-1].metrics for trial in history.trials.values() if trial.rungs)
    scores = [metric, *(["held out"] if held_out else []), "epochs", "seconds"]
    heads = [*history.header["switches"], *(path.rpartition(".")[2] for path in words)]
    for head in ("trial", *heads, *scores, "state"):
        table.add_column(head, justify="right" if head in scores else "left", no_wrap=True)
    order = history.ranked()
    metrics, floors = [metric, *([twin] if held_out else [])], history.floors or {}
    decimals = _decimals(
        [*(trial.value(m) for trial in order for m in metrics), *(floors[f].get(metric) for f in floors)]
    )
    for trial in order[:rows]:
        table.add_row(*_cells(trial, history, words, metrics, decimals))
    blank = [""] * (len(heads) - 1)
    for name, reached in floors.items():
        shown = [_number(reached.get(m), decimals) for m in metrics]
        table.add_row("floor", name, *blank, *shown, "", "", "", style="dim")
    parts: list[Any] = [table]
    if len(order) > rows:
        parts.append(Text(f"... and {len(order) - rows} more: pretune show {where} --csv", style="dim"))
    for trial in order:
        if trial.failed:
            parts.append(
                Text(f"failed  {trial.id} {' '.join(names(trial, history, words))}: {trial.reason}", style="red")
            )
    parts += [Text(""), *verdict(history, words)]
    return Group(*parts)


def verdict(history: History, words: list[str]) -> list[Text]:
    """What won, what it scored, and by how much it beat the floors."""
    best, metric = history.best(), history.header["metric"]
    if best is None:
        return [Text("No trial has reached a rung.", style="bold")]
    value, floors = best.rungs[-1].metrics[metric], history.floors or {}
    decimals = _decimals([value, *(scores.get(metric) for scores in floors.values())])
    who = " + ".join(names(best, history, words))
    lines = [Text(f"{who} ({best.id}) leads with {metric} {_number(value, decimals)}", style="bold")]
    for name, scores in floors.items():
        if metric in scores:
            gain = _gain(value, scores[metric], history)
            lines.append(Text(f"  {gain} the {name} floor ({_number(scores[metric], decimals)})"))
    held = best.rungs[-1].metrics.get(HELD_OUT + metric)
    if held is not None:
        lines.append(Text(f"  {_number(held, decimals)} on held-out data, which had no part in the choice"))
    for said in history.header.get("said", ()):
        with suppress(KeyError):  # a metric that this trial does not have
            lines.append(Text(f"  {said.format(**best.rungs[-1].metrics)}"))
    return lines


def _gain(value: float, floor: float, history: History) -> str:
    """How far a value is from a floor's."""
    if "accuracy" in history.header["metric"]:
        return f"{100 * (value - floor):+.1f} points over"
    if history.header["mode"] == "max":
        return f"{value - floor:+.4g} over"
    return f"{abs(value - floor):.4g} {'below' if value <= floor else 'above'}"


def _cells(trial: Trial, history: History, words: list[str], metrics: list[str], decimals: int) -> list[str]:
    last = trial.rungs[-1].metrics if trial.rungs else {}
    shown = [_number(last.get(metric), decimals) for metric in metrics]
    spent = [str(trial.epoch), f"{trial.seconds:.1f}"]
    return [trial.id, *names(trial, history, words), *shown, *spent, history.state(trial)]


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
