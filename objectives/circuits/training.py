"""Training outside the kernel, for evaluators that only know costs and gradients: same rules, a pool at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.batch import rule
from objectives.circuits.engine.optimise import Moments, Rule, lowest, update
from objectives.circuits.evaluate import Evaluation, Evaluator, Training
from objectives.circuits.lbfgs import train_lbfgs
from objectives.circuits.task import Task
from spaces.circuits.gates import GATES
from spaces.circuits.pool import END, Pool


def train(evaluator: Evaluator, pool: Pool, task: Task, training: Training) -> Evaluation:
    """Trains every circuit by the evaluator's costs, as `engine.optimise.train` does; shapes as in `Evaluation`."""
    if training.optimiser == "lbfgs":
        return train_lbfgs(evaluator, pool, task, training)
    theta = pool.theta.copy()
    values, gradients = evaluator.costs(pool, task)
    best, best_theta, steps = values.copy(), theta.copy(), np.zeros(len(pool), np.int64)
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    active = np.flatnonzero(pool.parameters > 0)
    for step in range(1, training.steps + 1):
        if not len(active):
            break
        before = values[active]
        if training.optimiser == "rotosolve":
            values[active] = _sweep(evaluator, pool, task, theta, before, active)
        else:
            _update(active, theta, gradients, first, second, rule(training), step)
            values[active], gradients[active] = evaluator.costs(_at(pool, theta, active), task)
        steps[active] = step
        lower = active[values[active] < best[active]]
        best[lower], best_theta[lower] = values[lower], theta[lower]
        active = active[np.abs(values[active] - before) > training.tolerance]
    if training.optimiser == "rotosolve":
        values, gradients = evaluator.costs(replace(pool, theta=theta), task)
    return Evaluation(replace(pool, theta=theta), values, gradients, best, best_theta, steps)


def _at(pool: Pool, theta: NDArray, rows: NDArray) -> Pool:
    return replace(pool[rows], theta=theta[rows])


@njit(cache=True)
def _update(
    rows: NDArray, theta: NDArray, gradients: NDArray, first: NDArray, second: NDArray, rule: Rule, step: int
) -> None:
    """One step of the parameters of some rows, in place."""
    for row in rows:
        update(theta[row], gradients[row], Moments(first[row], second[row]), rule, step)


def _sweep(evaluator: Evaluator, pool: Pool, task: Task, theta: NDArray, values: NDArray, rows: NDArray) -> NDArray:
    """One sweep of Rotosolve over all parameters of some rows, in place; see `engine.optimise`."""
    base, order = spectrum(pool[rows])
    values = values.copy()
    for p in range(theta.shape[1]):
        moving = np.flatnonzero(order[:, p] > 0)
        points = 2 * int(order[moving, p].max(initial=0)) + 1
        if points == 1:
            continue
        here, heights = theta[rows[moving], p].copy(), np.zeros((len(moving), points))
        heights[:, 0] = values[moving]
        for k in range(1, points):
            theta[rows[moving], p] = here + 2 * np.pi * k / (points * base[moving, p])
            heights[:, k] = evaluator.costs(_at(pool, theta, rows[moving]), task, gradients=False)[0]
        shifts, values[moving] = _lowest(heights)
        theta[rows[moving], p] = here + shifts / base[moving, p]
    return values


@njit(cache=True)
def _lowest(heights: NDArray) -> tuple[NDArray, NDArray]:
    """`engine.optimise.lowest` of each row of heights."""
    shifts, values = np.empty(len(heights)), np.empty(len(heights))
    for row in range(len(heights)):
        shifts[row], values[row] = lowest(heights[row])
    return shifts, values


def spectrum(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The lowest frequency of the cost over each parameter, and how many of its multiples may occur: (B, P) each."""
    least, total = np.full(pool.theta.shape, np.inf), np.zeros(pool.theta.shape)
    for slot in range(pool.op.shape[1]):
        for code in np.unique(pool.op[:, slot]):
            if code == END:
                continue
            rows = np.flatnonzero(pool.op[:, slot] == code)
            for turn in GATES[code].turns:
                if turn.parameter is not None and set(turn.pauli) != {"I"}:
                    column = pool.parameter[rows, slot] + turn.parameter
                    own = column < pool.theta.shape[1]
                    at = rows[own], column[own]
                    least[at] = np.minimum(least[at], abs(turn.scale))
                    total[at] += abs(turn.scale)
    return least, np.round(np.where(total > 0, total / least, 0)).astype(np.int64)
