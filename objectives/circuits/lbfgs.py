"""Training by L-BFGS, from SciPy, on any evaluator's costs and gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from objectives.circuits.evaluate import Evaluation, Evaluator, Training
from objectives.circuits.task import Task
from spaces.circuits.pool import Pool


def train_lbfgs(evaluator: Evaluator, pool: Pool, task: Task, training: Training) -> Evaluation:
    """Trains circuit after circuit; the last parameters are the best ones."""
    theta, steps, parameters = pool.theta.copy(), np.zeros(len(pool), np.int64), pool.parameters
    for row in range(len(pool)):
        own, alone = parameters[row], pool[row : row + 1]
        if own and training.steps:
            start = theta[row].copy()

            def cost(angles: NDArray, own: int = own, alone: Pool = alone, start: NDArray = start) -> tuple:
                at = np.concatenate([angles, start[own:]])
                values, gradients = evaluator.costs(replace(alone, theta=at[None]), task)
                return values[0], gradients[0, :own]

            found = minimize(
                cost,
                start[:own],
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": training.steps, "ftol": max(training.tolerance, 0), "gtol": 0},
            )
            theta[row, :own], steps[row] = found.x, found.nit
    trained = replace(pool, theta=theta)
    values, gradients = evaluator.costs(trained, task)
    return Evaluation(trained, values, gradients, values, theta, steps)
