"""Tasks that ask for entanglement: how many circuits, and how many energies, until a search solves them.

    python benchmarks/strict.py [--studies circuits/h2] [--seeds 12] [--set space.stopping.rung=10] [--help]

Runs shipped studies of latent searches with many seeds, every one of which draws a pool of its own. A row is a
searcher: how many of its runs solved the task in the strict sense within the study's queries; the median and quartiles
of the queries and of the energy evaluations up to and including the first circuit that did (a run without one counts as
infinite); and what its best circuit came to, the median over the runs. An energy evaluation is a step of the optimiser,
which takes a cost and its gradient, or the cost that a training starts from. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from objectives.kinds import Setting
from search.run import load_study
from spaces.study import Study

STUDIES = "circuits/h2,circuits/bells,circuits/ghz,circuits/lih,circuits/beh2,circuits/tfim8_strict"


def main() -> None:
    """Prints the tables, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", default=STUDIES, help="names, with commas")
    parser.add_argument("--seeds", type=int, default=12, help="runs of each searcher")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as in pretune run")
    given, console, result = parser.parse_args(), Console(width=160), {}
    torch.set_num_threads(1)
    for name in given.studies.split(","):
        study = load_study(name, given.settings)
        searchers = study.space.parts["searcher"].branches  # type: ignore[union-attr]
        columns = ("searcher", "solved", "queries", "energies", "error", "CNOTs", "depth", "all energies", "CPU s")
        most = study.probe.queries * study.budget.epochs
        table = Table(*columns, title=f"{name}: {most} queries, {given.seeds} seeds")
        result[name] = {}
        for searcher in searchers:
            runs = [one for number in range(given.seeds) if (one := searched(study, searcher, number))]
            result[name][searcher] = runs
            table.add_row(searcher, *row(runs))
        console.print(table)
    print(json.dumps(result))


def searched(study: Study, searcher: str, number: int) -> dict[str, Any]:
    """One run: the queries and energies to the first solution (infinite if none), and the metrics at the end."""
    strategy = study.strategy.build(study.space, study.goal)
    asked = (strategy.ask(n) for n in range(10_000))
    config = next(found for found in asked if searcher in found["searcher"])
    config = config | {"pool": config["pool"] | {"seed": 1000 + number}}
    rungs = (study.budget.epochs,)
    objective = study.objective.build(Setting(config, seed=1000 + number, rungs=rungs, probe=study.probe))
    started = time.process_time()
    (metrics,) = objective.run()
    energies = np.cumsum(objective.queries.steps + 1)
    first = np.flatnonzero(objective.task.solved(objective.queries.cost))
    return {
        "queries": int(first[0]) + 1 if len(first) else None,
        "energies": int(energies[first[0]]) if len(first) else None,
        "all": int(energies[-1]),
        "seconds": time.process_time() - started,
        **{name: metrics[name] for name in ("error", "cost", "two_qubit_gates", "depth", "solved") if name in metrics},
    }


def row(runs: list[dict[str, Any]]) -> list[str]:
    """The cells of a searcher."""
    solved = sum(run["queries"] is not None for run in runs)

    def spread(key: str) -> str:
        low, middle, high = np.quantile([run[key] or np.inf for run in runs], (0.25, 0.5, 0.75), method="nearest")
        return f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"

    def median(key: str) -> float:
        return float(np.median([run.get(key, np.nan) for run in runs]))

    ends = [
        f"{median('error'):.1e}",
        *(f"{median(key):,.0f}" for key in ("two_qubit_gates", "depth", "all", "seconds")),
    ]
    return [f"{solved}/{len(runs)}", spread("queries"), spread("energies"), *ends]


if __name__ == "__main__":
    main()
