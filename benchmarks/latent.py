"""Search in the latent space against its controls, on the pool benchmark: the paper's table and what it leaves out.

    python benchmarks/latent.py [--quick] [--help]

Rows are embeddings (the trained autoencoder as published and as improved, untrained, the mean of raw rows, one-hot),
columns searchers; a cell is the mean number of candidates after the queries, and its standard deviation over the
seeds. Rewards are those of the labelled pool, so a search costs milliseconds. Random search needs no embedding. The
last line is JSON. Reference: Sun et al., Quantum 10, 1994 (2026), 1,000 queries in 100,000 circuits: REINFORCE has 898
(max-cut) and 817 (H2).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from objectives.circuits.embeddings.gin_vae import PUBLISHED
from objectives.circuits.embeddings.gin_vae import Config as GinVae
from objectives.circuits.labelled import SPACES, labelled
from objectives.circuits.latents import latents
from search.latent.replay import curves, search
from spaces.components import Shelf

EMBEDDINGS = {
    "trained: published": ("gin_vae", PUBLISHED),
    "trained: improved": ("gin_vae", GinVae()),
    "untrained": ("gin_vae", replace(GinVae(), epochs=0)),
    "raw mean": ("raw_mean", None),
    "one-hot": ("one_hot", None),
}
SEARCHERS = Shelf("searcher", "search.latent.searchers")
REINFORCE = {  # the published settings of each task; the others take those of state preparation
    "maxcut": {"alpha": 0.7, "baseline": 0.9, "low": 0.8, "high": 0.9},
    "h2": {"alpha": 0.7, "baseline": 0.5, "low": 0.7, "high": 0.9},
    "bell": {"baseline": 0.3},
    "bells": {"baseline": 0.3},
    "ghz": {"baseline": 0.3},
}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="10,000 circuits, 300 queries, 5 seeds, three embeddings")
    parser.add_argument("--count", type=int, help="circuits in the pool")
    parser.add_argument("--seeds", type=int, help="searches a cell")
    parser.add_argument("--queries", type=int, help="evaluations a search")
    parser.add_argument("--embeddings", help="rows, with commas, such as untrained,raw mean")
    parser.add_argument("--tasks", help="names of tasks, with commas")
    parser.add_argument("--searchers", default="reinforce", help="names of searchers, with commas")
    given = parser.parse_args()
    given.count = given.count or (10_000 if given.quick else 100_000)
    given.seeds = given.seeds or (5 if given.quick else 50)
    given.queries = given.queries or (300 if given.quick else 1000)
    given.searchers = given.searchers.split(",")
    return given


def hits(name: str, vectors: np.ndarray, rewards: np.ndarray, task: str, given: argparse.Namespace) -> list[int]:
    """Candidates of each seed's search."""
    component = SEARCHERS.load(name)
    config = component.config(**(REINFORCE.get(task, {}) if name == "reinforce" else {}))
    found = []
    for seed in range(1, given.seeds + 1):
        visited = search(component.build(config, vectors, seed), rewards, given.queries)
        found.append(int(curves(rewards[visited], 0.95).candidates[-1]))
    return found


def main() -> None:
    """Prints the tables, then JSON."""
    given, console, started = arguments(), Console(width=140), time.process_time()
    torch.set_num_threads(1)
    names = given.tasks.split(",") if given.tasks else ()
    pool = labelled(SPACES[4], given.count, 0, names)
    console.print(
        f"{given.count:,} circuits, digest {pool.digest[:16]}; labelled in {time.process_time() - started:.0f} s"
    )
    rows = given.embeddings or ("trained: improved,untrained,raw mean" if given.quick else ",".join(EMBEDDINGS))
    embeddings = {row: EMBEDDINGS[row] for row in rows.split(",")}
    vectors = {}
    for label, (name, config) in embeddings.items():
        before = time.process_time()
        vectors[label] = latents(pool.pool, name, config, tell=lambda m, label=label: console.print(label, _short(m)))
        console.print(f"{label}: {vectors[label].shape[1]} dimensions, {time.process_time() - before:.0f} s")
    result: dict = {}
    for task in pool.tasks:
        rewards = np.clip(pool.rewards[pool.of(task)], 0, None)
        table = Table(
            "embedding", *given.searchers, "s a search", title=f"{task}: {(rewards >= 0.95).mean():.3%} of the pool"
        )
        result[task] = {"random": hits("random", vectors[next(iter(vectors))], rewards, task, given)}
        table.add_row("random", *[_cell(result[task]["random"])] * len(given.searchers), "")
        for label, found in vectors.items():
            before = time.process_time()
            cells = {name: hits(name, found, rewards, task, given) for name in given.searchers}
            result[task] |= {f"{label}/{name}": values for name, values in cells.items()}
            each = (time.process_time() - before) / given.seeds / len(given.searchers)
            table.add_row(label, *map(_cell, cells.values()), f"{each:.2f}")
        console.print(table)
    print(json.dumps(result))


def _cell(values: list[int]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def _short(metrics: dict[str, float]) -> str:
    return " ".join(
        f"{name} {value:.3f}" for name, value in metrics.items() if name.startswith(("acc", "epoch", "loss"))
    )


if __name__ == "__main__":
    main()
