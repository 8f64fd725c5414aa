"""What a latent search found, as pictures. Figures stand for themselves: nothing of matplotlib's state is touched."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from objectives.circuits.task import Task
from search.kinds._queries import Queries

LEAST = 1e-9  # what is shown of an error or a regret on a logarithmic axis: room for rounding


def pareto(task: Task, queries: Queries, rows: NDArray[np.int64]) -> Figure:
    """Cost, or error where the exact optimum is known, over two-qubit gates; the colour of the front is depth."""
    value, what = queries.cost, "cost"
    if task.ground is not None:
        value, what = np.maximum(queries.cost - task.ground, LEAST), "error"
    figure = _figure(6)
    axes = figure.subplots()
    axes.scatter(queries.two_qubit_gates, value, s=8, color="0.8", label=f"{len(queries)} evaluated")
    shown = axes.scatter(queries.two_qubit_gates[rows], value[rows], s=30, c=queries.depth[rows], label="best")
    if task.ground is not None:
        axes.set_yscale("log")
        axes.axhline(max(task.strict - task.ground, LEAST), color="0.4", lw=0.8, ls="--", label="solved")
    figure.colorbar(shown, label="depth")
    axes.set(xlabel="two-qubit gates", ylabel=what, title=task.name)
    axes.legend()
    return figure


def regret(task: Task, queries: Queries) -> Figure:
    """Over the queries: how much the best reward so far falls short of the best there is, and the hits so far."""
    largest = 1.0 if task.ground is None else float(task.reward(np.array(task.ground)))
    short = largest - np.maximum.accumulate(task.reward(queries.cost))
    count, figure = np.arange(1, len(queries) + 1), _figure(9)
    left, right = figure.subplots(1, 2)
    left.step(count, np.maximum(short, LEAST), where="post")
    left.set(xlabel="queries", ylabel="regret", yscale="log")
    right.step(count, np.cumsum(task.candidate(queries.cost)), where="post", label="candidates")
    right.step(count, np.cumsum(task.solved(queries.cost)), where="post", label="solved")
    right.set(xlabel="queries", ylabel="circuits")
    right.legend()
    figure.suptitle(task.name)
    return figure


def latent_map(
    task: Task, vectors: NDArray[np.float32], columns: dict[str, list[Any]], plane: dict[str, NDArray]
) -> Figure:
    """Latents (N, d), and what is known of each (`_search_outputs.latent_map`), in a plane (`_landscape.plane`).

    Grey is what was not evaluated; the colour of the others is their reward, the best on top; a ring says solved.
    """
    visited, solved = np.array(columns["visited"], bool), np.array(columns["solved"], bool)  # None counts as not
    reward, rows = np.array(columns["reward"], float), np.flatnonzero(visited)  # None is NaN
    rows, figure = rows[np.argsort(reward[rows], kind="stable")], _figure(6)
    (x, y), axes = ((vectors - plane["origin"]) @ plane["axes"]).T, figure.subplots()
    axes.scatter(x[~visited], y[~visited], s=4, color="0.85", label="not evaluated")
    shown = axes.scatter(x[rows], y[rows], s=9, c=reward[rows], label="evaluated")
    axes.scatter(x[solved], y[solved], s=36, facecolors="none", edgecolors="C3", linewidths=0.7, label="solved")
    figure.colorbar(shown, label="reward")
    axes.set(xlabel=f"first principal component, {plane['shares'][0]:.0%}", title=task.name)
    axes.set(ylabel=f"second principal component, {plane['shares'][1]:.0%}")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _figure(width: float) -> Figure:
    figure = Figure(figsize=(width, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The picture as a file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
