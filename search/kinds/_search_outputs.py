"""What a latent search gives to take home.

circuit.*      the best circuit: arrays, drawings, OpenQASM 3, and a Python file that needs PennyLane alone
pareto.csv     the circuits that no other beats in reward, two-qubit gates and depth at once, the best first
pareto.png     the same as a picture, among all that were evaluated
pareto/        the same as OpenQASM 3
search.csv     every query in its order
regret.png     how the best reward and the number of good circuits grew with them
latent_map.png where in the latents they lie; no file where the searcher looked at none
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.edges.openqasm import to_qasm
from objectives.circuits.task import Task
from objectives.kinds.circuits import built_task, circuit_files, of_tensors
from search.circuits_report import as_csv
from search.kinds import _pictures as pictures
from search.kinds._drawing import Drawing
from search.kinds._queries import Queries
from search.kinds._script import script
from spaces.circuits.pool import Pool
from spaces.circuits.structure import parameter_count


def files(config: dict[str, Any], state: dict[str, Any]) -> dict[str, bytes]:
    """The files of a trial, from its config and its saved state, by name."""
    task, queries = built_task(config), Queries.of_tensors(state["queries"])
    front = {row: of_tensors(state["wires"], state["trained"][row]) for row in state["front"]}
    rows, best = np.array(state["front"]), front[state["front"][0]]
    found = circuit_files(best)
    found["circuit.py"] = script(best, task, float(queries.cost[rows[0]])).encode()
    names = [f"pareto/{place:02d}.qasm" if not pool.inputs else "" for place, pool in enumerate(front.values())]
    found["pareto.csv"] = as_csv(
        {
            "file": names,
            **_columns(task, queries, rows),
            "gates": [int(pool.length[0]) for pool in front.values()],
            "parameters": [int(parameter_count(pool)[0]) for pool in front.values()],
        }
    ).encode()
    found["pareto.png"] = pictures.png(pictures.pareto(task, queries, rows))
    found["regret.png"] = pictures.png(pictures.regret(task, queries))
    if mapped := latent_map(config, state):
        found["latent_map.png"] = pictures.png(pictures.latent_map(task, *mapped, _map(state)))
    drawn = Drawing(**config["pool"]).size
    found["search.csv"] = as_csv(
        {
            **_columns(task, queries, np.arange(len(queries))),
            "circuit": queries.circuit.tolist(),
            "generated": (queries.circuit >= drawn).tolist(),
            "steps": queries.steps.tolist(),
            "stopped": queries.stopped.tolist(),
        }
    ).encode()
    return found | {name: _qasm(pool) for name, pool in zip(names, front.values(), strict=True) if name}


def latent_map(config: dict[str, Any], state: dict[str, Any]) -> tuple[NDArray, dict[str, list[Any]]] | None:
    """The latents (N, d) of some circuits, and what is known of each; None where the searcher looked at none.

    First some that were not evaluated, of which only what they are made of is known: whoever draws them in this order
    hides none behind them of those that were, which follow in their order (of very many not all).
    """
    if not (shown := _map(state)):
        return None
    queries, drawn = Queries.of_tensors(state["queries"]), Drawing(**config["pool"]).size
    rows, others = shown["query"], shown["circuit"]
    visited = {
        "visited": [True] * len(rows),
        **_columns(built_task(config), queries, rows),
        "generated": (queries.circuit[rows] >= drawn).tolist(),
    }
    unvisited = {
        "visited": [False] * len(others),
        "generated": (others >= drawn).tolist(),
        "two_qubit_gates": shown["two_qubit_gates"].tolist(),
        "depth": shown["depth"].tolist(),
    }
    unknown = [None] * len(others)
    return shown["latents"], {name: [*unvisited.get(name, unknown), *known] for name, known in visited.items()}


def _map(state: dict[str, Any]) -> dict[str, NDArray]:
    """What a state holds for the map; see `CircuitSearch._mapped`."""
    return {name: tensor.numpy() for name, tensor in state.get("map", {}).items()}


def _columns(task: Task, queries: Queries, rows: np.ndarray) -> dict[str, list[Any]]:
    """What there is to say of some queries, by name; queries count from 1."""
    cost = queries.cost[rows]
    error = {} if task.ground is None else {"error": (cost - task.ground).tolist()}
    return {
        "query": (rows + 1).tolist(),
        "cost": cost.tolist(),
        **error,
        "reward": task.reward(cost).tolist(),
        "candidate": task.candidate(cost).tolist(),
        "solved": task.solved(cost).tolist(),
        "two_qubit_gates": queries.two_qubit_gates[rows].tolist(),
        "depth": queries.depth[rows].tolist(),
    }


def _qasm(pool: Pool) -> bytes:
    return to_qasm(pool, 0, 3).encode()
