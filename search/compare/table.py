"""A run as a table: its trials, its floors, what won and by how much; also as JSON and CSV."""

from __future__ import annotations

import csv
import io
import sys
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.ledger import History, Trial
from spaces.space import Config

HELD_OUT = "test_"  # the prefix of a metric's twin on images that chose nothing


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
    """The leaves of a config by their dotted paths; an empty group counts as a leaf, for a branch without knobs."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        below = f"{path}.{name}" if path else name
        leaves |= dotted(value, below) if isinstance(value, dict) and value else {below: value if value != {} else True}
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


def ranked(history: History) -> list[Trial]:
    """The trials from best to worst: those that got further first, failures last."""
    metric, sign = history.header["metric"], 1 if history.header["mode"] == "max" else -1

    def key(trial: Trial) -> tuple[bool, int, float]:
        value = trial.value(metric)
        return value is not None, trial.epoch, sign * value if value is not None else 0.0

    return sorted(history.trials.values(), key=key, reverse=True)


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
    order = ranked(history)
    for trial in order[:rows]:
        table.add_row(*_cells(trial, history, words, [metric, *([twin] if held_out else [])]))
    blank = [""] * (len(heads) - 1)
    for name, reached in (history.floors or {}).items():
        shown = [_number(reached.get(m)) for m in [metric, *([twin] if held_out else [])]]
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
    value = best.rungs[-1].metrics[metric]
    who = " + ".join(names(best, history, words))
    lines = [Text(f"{who} ({best.id}) leads with {metric} {_number(value)}", style="bold")]
    for name, scores in (history.floors or {}).items():
        if metric in scores:
            lines.append(
                Text(f"  {_gain(value, scores[metric], metric)} over the {name} floor ({_number(scores[metric])})")
            )
    held = best.rungs[-1].metrics.get(HELD_OUT + metric)
    if held is not None:
        lines.append(Text(f"  {_number(held)} on held-out images, which had no part in the choice"))
    return lines


def _gain(value: float, floor: float, metric: str) -> str:
    return f"{100 * (value - floor):+.1f} points" if "accuracy" in metric else f"{value - floor:+.4g}"


def _cells(trial: Trial, history: History, words: list[str], metrics: list[str]) -> list[str]:
    last = trial.rungs[-1].metrics if trial.rungs else {}
    shown = [_number(last.get(metric)) for metric in metrics]
    spent = [str(trial.epoch), f"{trial.seconds:.1f}"]
    return [trial.id, *names(trial, history, words), *shown, *spent, history.state(trial)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def show(history: History, where: str) -> None:
    """Prints the report; to a file or a pipe, as wide as it needs."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(report(history, where))
