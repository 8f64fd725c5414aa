"""Searchers replayed on a table of real trials: every config of `digits_table.yaml`, at every rung, run once.

    python benchmarks/replay.py --make          runs the 704 trials (half an hour of one core) and writes the table
    python benchmarks/replay.py [--quick]       replays it: how many epochs until random's best of 64 full trials?

Ends in JSON: `{search: {"epochs": median, "share": of random's, "reached": of so many seeds}}`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from objectives.kinds import Setting  # noqa: E402
from search import branches  # noqa: E402
from search import run as runs  # noqa: E402
from search.executors import serial  # noqa: E402
from search.folder import Folder  # noqa: E402
from search.strategies.grid import combinations  # noqa: E402
from search.sweep import Sweep, trial_seed  # noqa: E402
from search.trial import Work  # noqa: E402
from spaces.space import Config  # noqa: E402
from spaces.study import Study  # noqa: E402

TABLE = HERE / "digits_table.jsonl.gz"
STUDY = HERE / "digits_table.yaml"
RUNGS = (1, 3, 9)
FULL = 64  # trials of full length that random search is given
# A search is a strategy, a scheduler, and what an expert or an earlier run tells it.
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"search.strategy": "random", "search.scheduler": "none"},
    "tpe": {"search.strategy": "tpe", "search.scheduler": "none"},
    "random, asha": {"search.strategy": "random"},
    "tpe, asha": {"search.strategy": "tpe"},
    "bohb, hyperband": {"search.strategy": "bohb", "search.scheduler": "{hyperband: {levels: 3}}"},
    "bohb, asha": {"search.strategy": "bohb"},
    "evolution, asha": {"search.strategy": "evolution"},
    "gp, asha": {"search.strategy": "gp"},
    "prior, asha": {"search.strategy": "prior", "belief": "good"},
    "prior, asha, wrong belief": {"search.strategy": "prior", "belief": "wrong"},
    "tpe, asha, warm": {"search.strategy": "tpe", "warm": True},
}
# What an expert may believe: a higher rate is better for short runs, and strong crops hurt; and the opposite.
BELIEFS = {
    "good": {"optimizer.lr": 0.0045, "augmentation.crop.scale": 0.7, "optimizer.batch": 64},
    "wrong": {"optimizer.lr": 0.0005, "augmentation.crop.scale": 0.35, "optimizer.batch": 128},
}


def key(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


# ── The table ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def make(jobs: int) -> None:
    """Runs what the table lacks, and writes it."""
    part = TABLE.with_suffix(".part")
    study = runs.load_study(str(STUDY))
    configs = list(combinations(study.space, 1000))
    done = [json.loads(line) for line in part.read_text().splitlines()] if part.exists() else []
    missing = sorted(set(range(len(configs))) - {row["number"] for row in done})
    with open(part, "a") as file, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for row in pool.imap_unordered(_trial, missing):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done.append(row)
            print(f"{len(done)} of {len(configs)}", file=sys.stderr, flush=True)
    done.sort(key=lambda row: row["number"])
    with gzip.GzipFile(TABLE, "wb", mtime=0) as table:
        table.write("".join(json.dumps(row) + "\n" for row in done).encode())
    part.unlink()


@cache
def _loaded() -> tuple[Study, Any]:
    os.nice(5)
    study = runs.load_study(str(STUDY))
    return study, runs.load_data(study)


def _trial(number: int) -> dict[str, Any]:
    """One config of the table, run to its end."""
    study, data = _loaded()
    config = list(combinations(study.space, 1000))[number]
    trial = study.objective.build(Setting(config, trial_seed(0, number), RUNGS, data, study.probe, 1, "cpu"))
    row: dict[str, Any] = {"number": number, "config": config, "rungs": {}, "reason": ""}
    try:
        for metrics in trial.run():
            row["rungs"][trial.epoch] = {name: float(f"{value:.5g}") for name, value in metrics.items()}
    except Exception as error:
        row["reason"] = str(error)
    return row


@cache
def table() -> dict[str, dict[int, dict[str, float]]]:
    """The metrics of each config at each rung."""
    with gzip.open(TABLE, "rt") as file:
        rows = [json.loads(line) for line in file]
    return {key(row["config"]): {int(epoch): m for epoch, m in row["rungs"].items()} for row in rows}


# ── The replay ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Replayed:
    """A trial that looks its metrics up."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.epoch = setting, 0
        self.rows = table()[key(setting.config)]

    def run(self) -> Iterator[dict[str, float]]:
        from objectives.kinds import Failed

        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            self.epoch = rung
            if rung not in self.rows:
                raise Failed("it failed when the table was made")
            yield self.rows[rung]

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


def replayed(search: dict[str, Any], seed: int, trials: int) -> Study:
    """The study of the table with a search of its own, its trials looked up."""
    settings = [f"{name}={value}" for name, value in search.items() if "." in name]
    settings += [f"search.seed={seed}", f"budget.trials={trials}", f"budget.epochs={RUNGS[-1]}"]
    if search.get("search.scheduler") == "none":
        settings.append("search.scheduler={none: {reports: 1}}")
    elif "search.scheduler" not in search:
        settings.append("search.scheduler={asha: {levels: 3}}")
    for name, value in BELIEFS.get(search.get("belief", ""), {}).items():
        options = {"optimizer.lr": [0.0005, 0.0015, 0.0045, 0.0135], "optimizer.batch": [64, 128]}
        options["augmentation.crop.scale"] = [0.35, 0.7]
        settings.append(f"space.{name}={{ordinal: {options[name]}, default: {value}, confidence: medium}}")
    made = runs.load_study(str(STUDY), settings)
    module = made.objective.module
    stub = ModuleType("replayed")
    stub.__dict__.update(METRICS=module.METRICS, Config=module.Config, floors=lambda study, data: {})
    stub.__dict__["build"] = Replayed
    return replace(made, objective=replace(made.objective, module=stub))


def curve(search: dict[str, Any], seed: int, limit: int) -> list[tuple[int, float]]:
    """The epochs spent and the best value of a full-length trial so far, whenever that became better."""
    study = replayed(search, seed, 10_000)
    spent, best, found = 0, -1.0, list[tuple[int, float]]()
    reached: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        folder = Folder(Path(place))
        ledger = runs.start(study, folder, None)

        def observe(event: dict[str, Any], history: Any) -> None:
            nonlocal spent, best
            if event["event"] != "rung":
                return
            spent += event["epoch"] - reached.get(event["id"], 0)
            reached[event["id"]] = event["epoch"]
            value = event["metrics"][study.goal.metric]
            if event["epoch"] == RUNGS[-1] and value > best:
                best = value
                found.append((spent, best))
            if spent >= limit:
                sweep.stop()

        rungs = branches.scheduler(study).rungs
        sweep = Sweep(study, Work(study, folder, rungs, "cpu"), ledger, observe)
        if search.get("warm"):
            warm(sweep, seed)
        serial.run(sweep, sweep.work, None)
        ledger.close()
    return found


def warm(sweep: Sweep, seed: int) -> None:
    """Tells the strategy 24 random trials of one epoch, as of a run that was there before."""
    from search.ledger import Rung, Trial
    from search.strategies import draw_evenly

    for number in range(24):
        config = draw_evenly(sweep.study.space, 1000 + seed, number)
        metrics = table()[key(config)].get(3)
        if metrics:
            trial = Trial(f"w{number:04d}", number - 24, config, 0, 3, [Rung(3, metrics, 0.0)])
            sweep.strategy.tell(trial)


def spent_until(found: list[tuple[int, float]], value: float, limit: int) -> int:
    """The epochs that a search took to reach a value; the limit where it did not."""
    return next((spent for spent, best in found if best >= value), limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--make", action="store_true", help="run the trials of the table")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time while making it")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=SEARCHES, action="append", help="beside random search")
    parser.add_argument("--quick", action="store_true", help="three seeds")
    asked = parser.parse_args()
    if asked.make:
        make(asked.jobs)
        return
    seeds = range(3 if asked.quick else asked.seeds)
    limit = FULL * RUNGS[-1]
    reference = [curve(SEARCHES["random"], seed, limit)[-1][1] for seed in range(max(20, len(seeds)))]
    goal = statistics.median(reference)
    print(f"random's best of {FULL} full trials: median {goal:.4f} over {len(reference)} seeds; {limit} epochs")
    figures = {}
    for name in asked.only or SEARCHES:
        search = SEARCHES[name]
        spent = [spent_until(curve(search, seed, limit), goal, limit) for seed in seeds]
        reached = sum(value < limit for value in spent)
        figures[name] = {"epochs": statistics.median(spent), "reached": reached, "seeds": len(seeds)}
        figures[name]["share"] = round(figures[name]["epochs"] / limit, 3)
        print(
            f"{name:<28} {figures[name]['epochs']:7.0f} epochs  {figures[name]['share']:.1%}  {reached} of {len(seeds)}"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
