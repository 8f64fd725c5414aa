"""How the evaluation of circuits goes, and what came of it: a progress bar, tables, CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from objectives.circuits.evaluate import Evaluation, Evaluator, Training, evaluate
from objectives.circuits.labelled import Labelled
from objectives.circuits.task import Task
from spaces.circuits.canonical import distinct
from spaces.circuits.pool import Pool
from spaces.circuits.structure import depth, parameter_count, two_qubit_gates

HEADS = {"two_qubit_gates": "2-qubit", "parameters": "angles"}  # for short
FEW = 8  # different values up to which a distribution is shown whole
TICK = 0.2  # seconds that a chunk of circuits should take at least


@dataclass(frozen=True)
class Watched:
    """An evaluator that takes a pool in chunks and tells `done` after each how many circuits it had.

    Results are those of `inner` on the whole pool, as a circuit's do not depend on the others.
    """

    inner: Evaluator
    done: Callable[[int], Any]

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P); see `evaluate.Evaluator`."""
        values, slopes = zip(*self._each(pool, lambda part: self.inner.costs(part, task, gradients)), strict=True)
        return np.concatenate(values), np.concatenate(slopes)

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on; see `evaluate.Evaluator`."""
        parts = list(self._each(pool, lambda part: self.inner.train(part, task, training)))
        theta = np.concatenate([part.pool.theta for part in parts])
        names = ("values", "gradients", "best", "best_theta", "steps")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Evaluation(replace(pool, theta=theta), **arrays)

    def _each(self, pool: Pool, work: Callable[[Pool], Any]) -> Iterator[Any]:
        first, size = 0, 1
        while first < len(pool):
            started = time.perf_counter()
            part = pool[first : first + size]
            yield work(part)
            self.done(len(part))
            first += size
            size *= 2 if time.perf_counter() - started < TICK else 1


def make_ready(pool: Pool, task: Task, training: Training | None, evaluator: Evaluator, console: Console) -> None:
    """Has the evaluator compiled, which also shows whether it can do what is asked.

    Raises:
        CircuitError: circuits that do not fit the task or the evaluator, or more wires than memory allows.
    """
    with console.status("making the evaluator ready; its first use ever compiles it, for a minute or so"):
        evaluate(pool[:1], task, training and replace(training, steps=1, restarts=0), evaluator)


def evaluated(
    pool: Pool, task: Task, training: Training | None, evaluator: Evaluator, seed: int, console: Console
) -> tuple[Evaluation, float]:
    """What comes of the circuits, and the seconds that it took."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("circuits", total=starts(pool, training))
        watched, started = Watched(evaluator, lambda count: bar.advance(line, count)), time.perf_counter()
        found = evaluate(pool, task, training, watched, seed)
    return found, time.perf_counter() - started


def starts(pool: Pool, training: Training | None) -> int:
    """How many times a circuit is evaluated."""
    return len(pool) * (1 + (training.restarts if training else 0))


def lines(of: Mapping[str, str]) -> Table:
    """Names and what there is to say to each."""
    table = Table.grid(padding=(0, 2))
    for name, value in of.items():
        table.add_row(name, value)
    return table


def facts(pool: Pool) -> Table:
    """What the circuits of a pool are like."""
    return lines(
        {
            "circuits": f"{len(pool):,} on {pool.wires} wires",
            "gates": _spread(pool.length),
            "depth": _spread(depth(pool)),
            "two-qubit gates": _spread(two_qubit_gates(pool)),
            "parameters": _spread(parameter_count(pool)),
            "distinct": f"{len(distinct(pool)) / len(pool):.2%}, angles and the order of commuting gates aside",
        }
    )


def _spread(values: NDArray) -> str:
    """How whole numbers are distributed."""
    found, counts = np.unique(values, return_counts=True)
    if len(found) <= FEW:
        return ", ".join(f"{value} ({share:.1%})" for value, share in zip(found, counts / len(values), strict=True))
    return f"{values.mean():.1f} on average, {found[0]} to {found[-1]}"


def wanted(task: Task) -> Table:
    """What a task asks for."""
    return lines(
        {
            "task": task.name,
            "reward": f"cost / {task.reference:.6g}",
            "candidate": f"from reward {task.threshold:.6g} on: cost {task.threshold * task.reference:.6g}",
            "solved": f"cost {task.strict:.6g} or less: {task.meaning}",
            "ground": "not known" if task.ground is None else f"{task.ground:.6g}",
        }
    )


def columns(pool: Pool, task: Task, found: Evaluation) -> dict[str, list[Any]]:
    """What there is to say of each circuit of the pool that was evaluated, by name."""
    return {
        "row": list(range(len(pool))),
        "cost": found.values.tolist(),
        "best": found.best.tolist(),
        "reward": task.reward(found.values).tolist(),
        "candidate": task.candidate(found.values).tolist(),
        "solved": task.solved(found.values).tolist(),
        "steps": found.steps.tolist(),
        "depth": depth(pool).tolist(),
        "two_qubit_gates": two_qubit_gates(pool).tolist(),
        "parameters": parameter_count(pool).tolist(),
    }


def as_csv(columns: Mapping[str, list[Any]]) -> str:
    """A row a circuit; numbers to the last bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def ranking(columns: Mapping[str, list[Any]], rows: NDArray[np.int64]) -> Table:
    """Some of the circuits, as a table that fits 80 columns."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(HEADS.get(name, name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(values[row]) for values in columns.values()))
    return table


def _shown(value: bool | int | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def summary(task: Task, found: Evaluation, best: Pool, training: Training | None, seconds: float) -> Table:
    """What came of all circuits, and of the `best` one, a pool of one at its best angles."""
    count, row = len(found.values), int(found.best.argsort(kind="stable")[0])
    candidates, solved = (int(hit(found.values).sum()) for hit in (task.candidate, task.solved))
    times = starts(found.pool, training)
    said = {
        "candidates": f"{candidates:,} of {count:,} ({candidates / count:.2%})",
        "solved": f"{solved:,} of {count:,} ({solved / count:.2%})",
        "best cost": f"{found.best[row]:.8g}, circuit {row}",
        "evaluations": f"{times:,}, " + (f"{found.steps.mean():.1f} steps on average" if training else "no training"),
        "time": f"{1e6 * seconds / times:,.1f} µs an evaluation, {seconds:,.2f} s in all",
    }
    if task.accuracy:
        said["held out"] = f"accuracy {task.accuracy(best):.2%} of the best circuit"
    return lines(said)


def labels(found: Labelled) -> Table:
    """What a labelled pool holds, a row a task."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("task")
    for name in ("candidates", "solved", "solved, of", "least cost", "steps"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, task in enumerate(found.tasks):
        table.add_row(
            task,
            f"{found.candidates[row].mean():.2%}",
            f"{found.solved[row].sum():,}",
            f"{len(found.pool):,}",
            _shown(float(found.costs[row].min())),
            f"{found.steps[row].mean():.1f}",
        )
    return table
