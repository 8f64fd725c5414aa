"""Searches in latent spaces and their controls, replayed on the pool benchmark: the published table and its gaps.

    python benchmarks/latent.py [--quick] [--help]

A table for each task: rows are embeddings, columns searchers, a cell the mean number of candidates after the queries
with the half-width of its 95 % interval over the seeds, its ratio to the same searcher on the control (the mean of raw
rows) and the p of Wilcoxon's signed-rank test against it, seed by seed. Random search needs no embedding; `predictor`
spends part of the same queries on its labels. Then the median number of queries to the first circuit that solves the
task in the strict sense. `--sieve 0.01` searches only the share of the pool whose least entangled wire is entangled the
most, a score that needs no training. Rewards are those of the labelled pool, so that a search costs milliseconds to
seconds. The last line is JSON. Reference: Sun et al., Quantum 10, 1994 (2026), REINFORCE with 1,000 queries in 100,000
circuits of 4 qubits, mean of 50 runs: 898 (max-cut), 817 (H2), 69 (a state that is not known).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student
from scipy.stats import wilcoxon

from objectives.circuits.embeddings.gin_vae import PUBLISHED as CODE
from objectives.circuits.embeddings.gin_vae import Config as GinVae
from objectives.circuits.labelled import SPACES, labelled
from objectives.circuits.latents import latents
from objectives.circuits.scores import weakest_entanglement
from search.latent.replay import search
from search.latent.searchers.reinforce import PUBLISHED as REINFORCE
from spaces.components import Shelf

SEARCHERS = Shelf("searcher", "search.latent.searchers")
SEARCHED: dict[str, dict[str, Any]] = {"predictor": {"labels": 300}}  # settings of searchers that are not defaults
CONTROL = "raw mean"


def embeddings(wires: int) -> dict[str, tuple[str, Any]]:
    """The rows, by label: which embedding, and its config (None: the default)."""
    improved = GinVae(latent=16 if wires == 4 else 32)
    return {
        "raw mean": ("raw_mean", None),
        "one-hot": ("one_hot", None),
        "untrained": ("gin_vae", replace(improved, epochs=0)),
        "code": ("gin_vae", CODE),  # the published code's form
        "old": ("gin_vae", replace(improved, scheme="binary", edges="sigmoid")),
        "improved": ("gin_vae", improved),
        "improved, 2 epochs": ("gin_vae", replace(improved, epochs=2)),
        "gin_reach": ("gin_reach", None),
        "gru_reach": ("gru_reach", None),
        "reach": ("reach", None),
    }


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="10,000 circuits, 300 queries, 5 seeds, four embeddings")
    parser.add_argument("--wires", type=int, default=4, choices=list(SPACES), help="register")
    parser.add_argument("--count", type=int, help="circuits in the pool")
    parser.add_argument("--sieve", type=float, default=1.0, help="share of them that is searched")
    parser.add_argument("--seeds", type=int, help="searches a cell")
    parser.add_argument("--queries", type=int, help="evaluations a search")
    parser.add_argument("--embeddings", help="rows, with semicolons, such as untrained;raw mean")
    parser.add_argument("--tasks", help="names of tasks, with commas")
    parser.add_argument("--searchers", default="reinforce", help="names of searchers, with commas")
    given = parser.parse_args()
    given.count = given.count or (10_000 if given.quick else 100_000)
    given.seeds = given.seeds or (5 if given.quick else 50)
    given.queries = given.queries or (300 if given.quick else 1000)
    given.searchers = given.searchers.split(",")
    return given


def searched(name: str, vectors: np.ndarray, rewards: np.ndarray, knobs: dict, given: argparse.Namespace) -> np.ndarray:
    """The circuits that each seed's search visits: (seeds, queries), or fewer where the pool is smaller."""
    component = SEARCHERS.load(name)
    config = component.config(**knobs)
    seeds = range(1, given.seeds + 1)
    return np.array([search(component.build(config, vectors, seed), rewards, given.queries) for seed in seeds])


def main() -> None:
    """Prints the tables, then JSON."""
    given, console, result = arguments(), Console(width=160), {}
    torch.set_num_threads(1)
    pool = labelled(SPACES[given.wires], given.count, 0, given.tasks.split(",") if given.tasks else ())
    console.print(f"{given.count:,} circuits on {given.wires} wires, digest {pool.digest[:16]}")
    rows = np.arange(given.count)
    if given.sieve < 1:
        scores = weakest_entanglement(pool.pool, 4, np.random.default_rng(0))
        rows = np.sort(np.argsort(-scores.round(9), kind="stable")[: int(given.sieve * given.count)])
    known = embeddings(given.wires)
    labels = given.embeddings.split(";") if given.embeddings else list(known)[:: 3 if given.quick else 1]
    vectors = {}
    for label in dict.fromkeys([CONTROL, *labels]):
        before = time.process_time()
        vectors[label] = latents(pool.pool, *known[label])[rows]
        console.print(f"{label}: {vectors[label].shape[1]} dimensions, {time.process_time() - before:.0f} CPU-s")
    for task in pool.tasks:
        row = pool.of(task)
        rewards = np.clip(pool.rewards[row][rows], 0, None)
        hit, solved = pool.candidates[row][rows], pool.solved[row][rows]
        result[task] = _task(task, vectors, rewards, hit, solved, given, console)
    print(json.dumps(result))


def _task(task: str, vectors: dict, rewards: Any, hit: Any, solved: Any, given: Any, console: Console) -> dict:
    """Prints the table of a task; all candidates and first solutions, by embedding and searcher."""
    title = f"{task}: candidates {hit.mean():.3%} of the pool, {solved.sum()} solved; {given.queries} queries, "
    table = Table("embedding", *given.searchers, title=title + f"{given.seeds} seeds")
    found: dict[str, Any] = {}
    knobs = {name: SEARCHED.get(name, {}) for name in given.searchers}
    if "reinforce" in knobs:
        knobs["reinforce"] = REINFORCE[given.wires].get(task, {})
    visits = searched("random", next(iter(vectors.values())), rewards, {}, given)
    found["random"] = _said(visits, hit, solved)
    table.add_row("(random)", *[_cell(found["random"], None)] * len(given.searchers))
    for label, of in vectors.items():
        cells = []
        for name in given.searchers:
            before = time.process_time()
            said = _said(searched(name, of, rewards, knobs[name], given), hit, solved)
            said["seconds"] = (time.process_time() - before) / given.seeds
            found[f"{label}/{name}"] = said
            cells.append(_cell(said, None if label == CONTROL else found[f"{CONTROL}/{name}"]))
        table.add_row(label, *cells)
    console.print(table)
    return found


def _said(visits: np.ndarray, hit: np.ndarray, solved: np.ndarray) -> dict[str, Any]:
    """Of each seed, how many candidates it found, and the query at which it first solved the task (0: never)."""
    right = solved[visits]
    return {
        "candidates": hit[visits].sum(1).tolist(),
        "first": np.where(right.any(1), right.argmax(1) + 1, 0).tolist(),
    }


def _cell(said: dict[str, Any], control: dict[str, Any] | None) -> str:
    mine = np.array(said["candidates"], float)
    half = student.ppf(0.975, len(mine) - 1) * mine.std(ddof=1) / len(mine) ** 0.5 if len(mine) > 1 else np.nan
    firsts = np.median([first or np.inf for first in said["first"]])
    text = f"{mine.mean():.1f} ± {half:.1f}"
    if control:
        other = np.array(control["candidates"], float)
        p = wilcoxon(mine, other).pvalue if (mine != other).any() else 1.0
        text += f" (×{mine.mean() / max(other.mean(), 1e-9):.2f}, p {p:.0e})"
    return f"{text}, first {firsts:.0f}" + (f", {said['seconds']:.1f} s" if "seconds" in said else "")


if __name__ == "__main__":
    main()
