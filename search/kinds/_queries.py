"""What a search has evaluated so far: the record of its queries, the best among them, and the metrics over all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from objectives.circuits.task import Task
from objectives.kinds import Metrics
from search.kinds._stopping import Trained
from spaces.circuits.structure import depth, two_qubit_gates

DECIMALS = 5  # of rewards: circuits that agree so far, as far as training goes, are as good, and the simpler is better


@dataclass(frozen=True)
class Queries:
    """Q evaluated circuits in their order, an array (Q,) each.

    Attributes:
        circuit: the index in the pool; generated circuits stand behind those drawn.
        cost: what counts of the training.
        judged: the cost at the rung, or `cost` again where none is judged.
        steps: training steps taken.
        stopped: whether the training was given up.
        two_qubit_gates, depth: of the circuit as it was run.
    """

    circuit: NDArray[np.int64]
    cost: NDArray[np.float64]
    judged: NDArray[np.float64]
    steps: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    two_qubit_gates: NDArray[np.int64]
    depth: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.circuit)

    @staticmethod
    def none() -> Queries:
        """No query."""
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return Queries(whole, real, real, whole, np.zeros(0, bool), whole, whole)

    @staticmethod
    def of(circuit: NDArray[np.int64], found: Trained) -> Queries:
        """The queries of some circuits of the pool, and what came of them."""
        gates, layers = two_qubit_gates(found.pool).astype(np.int64), depth(found.pool).astype(np.int64)
        return Queries(circuit, found.costs, found.judged, found.steps, found.stopped, gates, layers)

    def then(self, later: Queries) -> Queries:
        """These queries and those after them."""
        return Queries(*(np.concatenate([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The columns as a trial's state holds them."""
        return {f.name: torch.from_numpy(getattr(self, f.name).copy()) for f in fields(self)}

    @staticmethod
    def of_tensors(tensors: dict[str, Any]) -> Queries:
        """The queries whose columns `tensors` gave."""
        return Queries(**{name: tensor.numpy() for name, tensor in tensors.items()})


def standing(task: Task, queries: Queries) -> NDArray[np.float64]:
    """What queries are ranked by, all the better the less: minus the rounded reward, two-qubit gates, depth: (Q, 3)."""
    return np.stack([-task.reward(queries.cost).round(DECIMALS), queries.two_qubit_gates, queries.depth], 1)


def best(task: Task, queries: Queries) -> int:
    """The query of the best reward; of such as agree to `DECIMALS`, the simplest; of those the first."""
    return int(np.lexsort(standing(task, queries).T[::-1])[0])


def front(standings: NDArray[np.float64]) -> list[int]:
    """The rows of standings (Q, 3) that no other row is as good as in everything, the best first; of equals the first.

    Sorted row by row, a row can only be dominated by one before it.
    """
    kept: list[int] = []
    for row in np.lexsort(standings.T[::-1]):
        if not (standings[kept] <= standings[row]).all(1).any():
            kept.append(int(row))
    return kept


def measured(task: Task, queries: Queries, window: int, most: int) -> Metrics:
    """The metrics over all queries; `window` is how many the mean reward is over, `most` how many there may be."""
    rewards, row = task.reward(queries.cost), best(task, queries)
    largest = 1.0 if task.ground is None else float(task.reward(np.array(task.ground)))
    metrics = {
        "cost": float(queries.cost[row]),
        "reward": float(rewards[row]),
        "regret": max(largest - float(rewards[row]), 0.0),
        "candidates": float(task.candidate(queries.cost).sum()),
        "solved": float(task.solved(queries.cost).sum()),
        "mean_reward": float(rewards[-window:].mean()),
        "first_candidate": _first(task.candidate(queries.cost), most),
        "first_solved": _first(task.solved(queries.cost), most),
        "evaluations": float(queries.steps.sum()),
        "two_qubit_gates": float(queries.two_qubit_gates[row]),
        "depth": float(queries.depth[row]),
        "queries": float(len(queries)),
    }
    if task.ground is not None:
        metrics["error"] = metrics["cost"] - task.ground
    return metrics


def invented(task: Task, queries: Queries, drawn: int) -> Metrics:
    """How many circuits from index `drawn` on were evaluated, and how much better their best is than that of others."""
    new, rewards = queries.circuit >= drawn, task.reward(queries.cost)
    both = new.any() and not new.all()
    gain = float(rewards[new].max() - rewards[~new].max()) if both else 0.0
    return {"generated": float(new.sum()), "gain": gain}


def _first(hit: NDArray[np.bool_], most: int) -> float:
    """The number of the first query that hit, from 1; one more than there may be where none did."""
    return float(np.argmax(hit) + 1 if hit.any() else most + 1)
