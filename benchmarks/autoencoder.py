"""How well the autoencoder of circuits rebuilds and invents them, at 4, 8 and 12 qubits.

    python benchmarks/autoencoder.py [--wires 4,8,12] [--count 100000] [--epochs 20] [--help]

A row is a register and an encoding: `old` is 0/1 throughout, `improved` has signs and counts, both with
the later text's losses, and at 4 qubits also `code`, the published code's own network and losses. Accuracies
are on the last tenth of the pool, from the nodes' means. An edge is right when it rounds to the true count of wires.
`loose` asks of an invention what the paper does, `valid` that it is the encoding of a circuit. Fits are kept in the
cache, so a second run prints the table at once. The last line is JSON. Reference: Sun et al., Quantum 10, 1994 (2026).
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

from objectives.circuits.embedding import generation
from objectives.circuits.embeddings.gin_vae import PUBLISHED, Config
from objectives.circuits.labelled import SPACES
from objectives.circuits.latents import fitted
from spaces.circuits.sampler import paper, sample

BOXES = {**SPACES, 12: paper(12, 30, 15)}  # what the paper had on 12 wires is not known
DRAWS = 10_000  # inventions that are judged
COLUMNS = ("acc_ops", "acc_qubit", "acc_adj", "mean_fal_pos_adj", "kl", "loose_validity", "validity", "novelty")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wires", default="4,8,12", help="registers, with commas")
    parser.add_argument("--count", type=int, default=100_000, help="circuits in each pool")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the pool (the code's own form has 16)")
    return parser.parse_args()


def rows(wires: int, epochs: int) -> dict[str, Config]:
    """The encodings to compare, by name."""
    improved = Config(epochs=epochs, latent=16 if wires == 4 else 32)
    found = {"improved": improved, "old": replace(improved, scheme="binary", edges="sigmoid")}
    return {"code": PUBLISHED, **found} if wires == 4 else found


def main() -> None:
    """Prints the table, then JSON."""
    given, console, result = arguments(), Console(width=140), []
    torch.set_num_threads(1)
    table = Table("qubits", "encoding", *COLUMNS, "CPU s")
    for wires in map(int, given.wires.split(",")):
        pool = sample(BOXES[wires], given.count, np.random.default_rng(0))
        for name, config in rows(wires, given.epochs).items():
            started = time.process_time()
            embedding = fitted(pool, "gin_vae", config, tell=lambda m, n=name, w=wires: console.print(w, n, _short(m)))
            seconds = time.process_time() - started
            held_out = pool[-round(config.held_out * len(pool)) :]
            metrics = embedding.judged(held_out) | generation(*embedding.generate(pool, DRAWS, 0), pool, config)
            cells = [f"{metrics[column]:.4f}" for column in COLUMNS]
            table.add_row(str(wires), name, *cells, f"{seconds:.0f}")
            result.append({"wires": wires, "encoding": name, "count": len(pool), "seconds": seconds, **metrics})
    console.print(table)
    print(json.dumps(result))


def _short(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith(("acc", "loss", "kl")))


if __name__ == "__main__":
    main()
