"""What a latent search gives to take home.

circuit.*      the best circuit: arrays, drawings, OpenQASM 3, and a Python file that needs PennyLane alone
pareto.csv     the circuits that no other beats in reward, two-qubit gates and depth at once, the best first
pareto.png     the same as a picture, among all that were evaluated
pareto/        the same as OpenQASM 3
search.csv     every query in its order
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from objectives.circuits.edges.openqasm import to_qasm
from objectives.circuits.task import Task
from objectives.kinds.circuits import built_task, circuit_files, of_tensors
from search.circuits_report import as_csv
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
    found["pareto.png"] = _picture(task, queries, rows)
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


def _picture(task: Task, queries: Queries, rows: np.ndarray) -> bytes:
    """Cost, or error where the exact optimum is known, over two-qubit gates; the colour of the front is depth."""
    value, what = queries.cost, "cost"
    if task.ground is not None:
        value, what = np.maximum(queries.cost - task.ground, 1e-9), "error"  # room for rounding on a logarithmic axis
    figure, content = Figure(figsize=(6, 4), layout="constrained"), io.BytesIO()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.scatter(queries.two_qubit_gates, value, s=8, color="0.8", label=f"{len(queries)} evaluated")
    shown = axes.scatter(queries.two_qubit_gates[rows], value[rows], s=30, c=queries.depth[rows], label="best")
    if task.ground is not None:
        axes.set_yscale("log")
        axes.axhline(max(task.strict - task.ground, 1e-9), color="0.4", lw=0.8, ls="--", label="solved")
    figure.colorbar(shown, label="depth")
    axes.set(xlabel="two-qubit gates", ylabel=what, title=task.name)
    axes.legend()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
