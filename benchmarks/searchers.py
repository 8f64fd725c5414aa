"""Strategies on problems whose answer is known, beside Optuna's samplers by themselves: how far from the best they end.

    python benchmarks/searchers.py [--quick] [--cache FILE.jsonl] [--help]

A table for each problem: median loss over the seeds and its quartiles after so many evaluations, p against random
search (that it is better) and against the same algorithm without pretune (that it is worse), and milliseconds an
evaluation, all else included. The loss is the distance from the optimum; on `noisy` the true one of what looks best; on
`two_objectives` the share of the known front's hypervolume that is missing. p are those of Mann and Whitney's U test
at the last checkpoint, corrected after Holm over all that is tested in the run. Then the evaluations by which the
median of a strategy on the tree is down at that of random search at its end, and how many more of them eight workers
need than one to come down to what one has halfway. `optuna.NAME` is a sampler in a loop of ask and tell, its
settings the default ones, but that QMC is scrambled, as else all seeds were one, and that the GP is told where there
is no noise.

Every search is one line of the cache, so that a run that was broken off goes on; the cache outlives the code, so name
what has changed with `--again`. The last line is JSON: `{problem: {strategy: {evaluations: median loss}}}`, and
beside the problems `tests`, `tree_to_random`, `workers` and `seeds`.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from scipy.stats import mannwhitneyu  # noqa: E402
from searcher_problems import PROBLEMS, SAMPLERS, Cell, Outcome, reached, search  # noqa: E402

from search import run  # noqa: E402

SLOW = ("auto", "gp", "ehvi", "optuna.gp")  # seconds an evaluation
COUNTERPARTS = {**{name: f"optuna.{name}" for name in SAMPLERS}, "ehvi": "optuna.gp"}
RESAMPLED = 2000  # times, for an interval
GOALS = {
    ("branin", 50): 1e-3,
    ("hartmann6", 100): 1e-2,
    ("ackley", 100): 6.0,
    ("ackley_shifted", 100): 6.0,
}  # of `auto`
TO_RANDOM, WORKERS_OVER_ONE = 50, 1.3
Outcomes = dict[Cell, Outcome]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    shelf = run.CATALOGUE["strategy"].names()
    known = [*shelf, *(f"optuna.{name}" for name in SAMPLERS)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two seeds, 25 evaluations, no slow strategy; a minute")
    parser.add_argument("--seeds", type=int, help="searches of each strategy on each problem (10)")
    parser.add_argument("--slow-seeds", type=int, default=5, help=f"the same of {', '.join(SLOW)} (5)")
    parser.add_argument("--only", type=_names(PROBLEMS), default=list(PROBLEMS), help="problems, with commas")
    parser.add_argument("--strategies", type=_names(known), default=known, help="with commas; optuna.NAME by itself")
    parser.add_argument("--workers-on", type=_names(PROBLEMS), default=["hartmann6", "tree"], help="problems")
    parser.add_argument("--workers", type=int, default=8, help="trials out at once; 1: leave these searches out")
    parser.add_argument("--cache", type=Path, help="file of the searches that are done; made, read, and added to")
    parser.add_argument("--again", type=_names(known), default=[], help="strategies whose lines in it do not count")
    parser.add_argument("--jobs", type=int, default=1, help="searches side by side, each in a process")
    given = parser.parse_args()
    given.seeds = given.seeds or (2 if given.quick else 10)
    if given.quick:
        given.strategies = [name for name in given.strategies if name not in SLOW]
    given.strategies = list(dict.fromkeys(["random", *given.strategies]))
    return given


def _names(known: Iterable[str]) -> Any:
    def names(text: str) -> list[str]:
        found = text.split(",")
        if strange := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(strange)}; allowed: {', '.join(known)}")
        return found

    return names


def checkpoints(problem: str, quick: bool) -> tuple[int, ...]:
    """The evaluations after which searches are compared."""
    return (25,) if quick else PROBLEMS[problem].checkpoints


def wanted(given: argparse.Namespace) -> list[Cell]:
    """All searches, seed by seed, so that what is done of a broken run is of every strategy."""
    cells = []
    for seed in range(given.seeds):
        for strategy in given.strategies:
            if strategy in SLOW and seed >= given.slow_seeds:
                continue
            for problem in given.only:
                count = checkpoints(problem, given.quick)[-1]
                cells.append(Cell(problem, strategy, seed, count))
                if given.workers > 1 and problem in given.workers_on and not strategy.startswith("optuna."):
                    cells.append(Cell(problem, strategy, seed, count, given.workers))
    return cells


def outcomes(cells: list[Cell], given: argparse.Namespace) -> Outcomes:
    """What became of every search: from the cache, or by running it."""
    found = {c: o for c, o in _cached(given.cache) if c.strategy not in given.again}
    found = {cell: found[cell] for cell in cells if cell in found}
    left = [cell for cell in cells if cell not in found]
    print(f"{len(cells)} searches, {len(found)} of them in the cache", file=sys.stderr)
    for done, (cell, outcome) in enumerate(_run(left, given.jobs), 1):
        found[cell] = outcome
        said = outcome.broken or outcome.refused or f"{outcome.losses[-1]:.3g}"
        what = f"{cell.problem} {cell.strategy} seed {cell.seed}" + (f" x{cell.workers}" if cell.workers > 1 else "")
        print(f"{done}/{len(left)} {what}: {said} ({outcome.seconds:.1f} s)", file=sys.stderr, flush=True)
        if given.cache and not outcome.broken and not outcome.refused:
            with open(given.cache, "a") as file:  # a line of its own, even after one that is torn
                file.write("\n" + json.dumps({"cell": asdict(cell), "outcome": asdict(outcome)}))
    return found


def _cached(cache: Path | None) -> Iterator[tuple[Cell, Outcome]]:
    for line in cache.read_text().splitlines() if cache and cache.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:  # none, or torn when the run was broken off
            continue
        yield Cell(**entry["cell"]), Outcome(**entry["outcome"])


def _run(cells: list[Cell], jobs: int) -> Iterator[tuple[Cell, Outcome]]:
    if jobs == 1:
        yield from ((cell, search(cell)) for cell in cells)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(search, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()


class Results:
    """The losses of all searches, (seeds, evaluations) for every problem and strategy, and what they say."""

    def __init__(self, found: Outcomes, given: argparse.Namespace) -> None:
        self.given, self.found = given, found
        self.losses: dict[tuple[str, str, int], np.ndarray] = {}
        for key in dict.fromkeys((c.problem, c.strategy, c.workers) for c in found):
            rows = [_filled(o.losses, c.evaluations) for c, o in self._of(*key) if o.losses]
            if rows:
                self.losses[key] = np.array(rows)
        self.against_random = self._tests("less", lambda strategy: "random")
        self.against_direct = self._tests("greater", lambda strategy: COUNTERPARTS.get(strategy, ""))

    def _of(self, problem: str, strategy: str, workers: int) -> list[tuple[Cell, Outcome]]:
        key = problem, strategy, workers
        return [(c, o) for c, o in self.found.items() if (c.problem, c.strategy, c.workers) == key]

    def median(self, problem: str, strategy: str, evaluations: int) -> float:
        return float(np.median(self.losses[problem, strategy, 1][:, evaluations - 1]))

    def milliseconds(self, problem: str, strategy: str) -> float:
        """The median of what an evaluation took."""
        took = [o.seconds / c.evaluations for c, o in self._of(problem, strategy, 1) if o.losses]
        return 1000 * float(np.median(took))

    def _tests(self, alternative: str, rival: Any) -> dict[tuple[str, str], float]:
        """p of each strategy's last losses being less, or greater, than its rival's, after Holm."""
        raw = {}
        for (problem, strategy, workers), losses in self.losses.items():
            other = self.losses.get((problem, rival(strategy), 1))
            if workers == 1 and other is not None and strategy != rival(strategy):
                test = mannwhitneyu(losses[:, -1], other[:, -1], alternative=alternative)
                raw[problem, strategy] = float(test.pvalue)
        return holm(raw)

    def to_random(self, strategy: str) -> float:
        """Evaluations by which a strategy's median on the tree is down at random's median at the end."""
        if ("tree", "random", 1) not in self.losses:
            return math.nan
        curve, random = (np.median(self.losses["tree", name, 1], 0) for name in (strategy, "random"))
        return reached(curve, random[-1]) or math.inf

    def workers(self, problem: str, strategy: str) -> tuple[float, float, float]:
        """Evaluations of many workers over those of one, to one's median halfway; with a 90 % bootstrap interval."""
        one, many = (self.losses[problem, strategy, count] for count in (1, self.given.workers))
        rng = np.random.default_rng(0)
        draws = [
            _ratio(one[rng.integers(len(one), size=len(one))], many[rng.integers(len(many), size=len(many))])
            for _ in range(RESAMPLED)
        ]
        low, high = np.quantile(draws, (0.05, 0.95), method="nearest")
        return _ratio(one, many), float(low), float(high)


def _ratio(one: np.ndarray, many: np.ndarray) -> float:
    curve = np.median(one, 0)
    target = curve[one.shape[1] // 2 - 1]
    return (reached(np.median(many, 0), target) or math.inf) / (reached(curve, target) or math.nan)


def _filled(losses: list[float], count: int) -> list[float]:
    """Of a search that ran out of configs, what it had stays."""
    return losses + losses[-1:] * (count - len(losses))


def holm(raw: dict[Any, float]) -> dict[Any, float]:
    """p-values after Holm (1979), for as many tests as there are."""
    corrected, floor = {}, 0.0
    for place, (key, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        corrected[key] = floor = max(floor, min(1.0, p * (len(raw) - place)))
    return corrected


def tables(results: Results, given: argparse.Namespace) -> Iterator[Table]:
    """What is shown."""
    for problem in given.only:
        counts = checkpoints(problem, given.quick)
        table = Table("strategy", "seeds", *map(str, counts), "p random", "p direct", "ms", title=problem)
        for strategy in given.strategies:
            losses = results.losses.get((problem, strategy, 1))
            if losses is not None:
                table.add_row(
                    strategy,
                    str(len(losses)),
                    *[_spread(losses[:, count - 1]) for count in counts],
                    _p(results.against_random.get((problem, strategy))),
                    _p(results.against_direct.get((problem, strategy))),
                    f"{results.milliseconds(problem, strategy):.1f}",
                )
        yield table
    title = f"{given.workers} workers over one: evaluations to one's median halfway (90 % interval)"
    table = Table("strategy", *given.workers_on, "tree: to random's end", title=title)
    for strategy in given.strategies:
        over = [_over(results, problem, strategy) for problem in given.workers_on]
        last = f"{results.to_random(strategy):g}" if ("tree", strategy, 1) in results.losses else ""
        table.add_row(strategy, *over, last)
    yield table


def _over(results: Results, problem: str, strategy: str) -> str:
    if (problem, strategy, results.given.workers) not in results.losses or results.given.workers == 1:
        return ""
    ratio, low, high = results.workers(problem, strategy)
    return f"{ratio:.2f} ({low:.2f} .. {high:.2f})"


def _spread(losses: np.ndarray) -> str:
    low, middle, high = np.quantile(losses, (0.25, 0.5, 0.75))
    return f"{middle:.2g} ({low:.2g} .. {high:.2g})"


def _p(p: float | None) -> str:
    return "" if p is None else f"{p:.2g}"


def summary(results: Results, given: argparse.Namespace) -> dict[str, Any]:
    """The last line."""
    said: dict[str, Any] = {problem: {} for problem in given.only}
    for problem, strategy, workers in results.losses:
        if workers == 1:
            counts = checkpoints(problem, given.quick)
            said[problem][strategy] = {str(n): results.median(problem, strategy, n) for n in counts}
    for name, tests in (("better_than_random", results.against_random), ("worse_than_direct", results.against_direct)):
        said.setdefault("tests", {})[name] = {f"{problem}/{s}": p for (problem, s), p in tests.items()}
    on_tree = [strategy for problem, strategy, workers in results.losses if (problem, workers) == ("tree", 1)]
    said["tree_to_random"] = {strategy: _finite(results.to_random(strategy)) for strategy in on_tree}
    many = [(p, s) for p, s, workers in results.losses if workers == given.workers > 1]
    said["workers"] = {f"{p}/{s}": [_finite(ratio) for ratio in results.workers(p, s)] for p, s in many}
    said["seeds"] = {f"{p}/{s}": len(losses) for (p, s, workers), losses in results.losses.items() if workers == 1}
    return said


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def goals(said: dict[str, Any]) -> Iterator[str]:
    """What `auto` was to reach, and whether it does."""
    reach = {
        f"{problem}@{count}": (said.get(problem, {}).get("auto", {}).get(str(count)), goal)
        for (problem, count), goal in GOALS.items()
    }
    reach["tree, evaluations to random's end"] = said["tree_to_random"].get("auto"), TO_RANDOM
    for key, (ratio, *_) in said["workers"].items():
        if key.endswith("/auto"):
            reach[f"{key.partition('/')[0]}, workers over one"] = ratio, WORKERS_OVER_ONE
    for what, (value, goal) in reach.items():
        if value is not None:
            yield f"auto: {what}: {value:.3g}, goal {goal:g}: {'met' if value <= goal else 'MISSED'}"


def missing(found: Outcomes) -> Iterator[str]:
    """What was not run or broke, and why, each said once."""
    where: dict[tuple[str, str], dict[str, None]] = {}
    for cell, outcome in found.items():
        if why := outcome.refused or outcome.broken:
            said = f"not run: {why}" if outcome.refused else f"BROKEN: {why.strip().splitlines()[-1]}"
            where.setdefault((cell.strategy, said), {})[cell.problem] = None
    for (strategy, why), problems in where.items():
        yield f"{strategy} on {', '.join(problems)}: {why}"


def main() -> None:
    """Prints the tables, then JSON; exits with 1 where a search broke."""
    given = arguments()
    found = outcomes(wanted(given), given)
    results = Results(found, given)
    console = Console(width=150)
    for table in tables(results, given):
        console.print(table)
    for line in missing(found):
        console.print(line, markup=False)
    said = summary(results, given)
    for line in goals(said):
        console.print(line)
    print(json.dumps(said))
    sys.exit(any(outcome.broken for outcome in found.values()))


if __name__ == "__main__":
    main()
