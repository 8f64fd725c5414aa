"""Optimisers as compiled updates of one circuit's parameters, and the training of one circuit with them.

    gradient    θ ← θ - η g
    adagrad     a ← a + g²; θ ← θ - η g / √(a + ε)                       (Duchi et al. 2011; PennyLane's ε is inside)
    adam        θ ← θ - η m̂ / (√v̂ + ε)                                    (Kingma and Ba 2015, algorithm 1)
    rotosolve   one parameter after the other to its exact minimum         (Ostaszewski et al. 2021, algorithm 1)

Training stops when the cost changes by no more than the tolerance, as the published protocol does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.program import Program
from objectives.circuits.engine.statevector import Costs, Room, value_and_gradient

GRADIENT, ADAGRAD, ADAM, ROTOSOLVE = range(4)
FINE = 16  # points a period of the highest frequency, on which Rotosolve looks for the valley before it descends
NEWTON_STEPS = 6


class Rule(NamedTuple):
    """Which optimiser (one of the codes above), and its numbers; `steps` are sweeps for Rotosolve."""

    kind: int
    step: float
    steps: int
    tolerance: float
    epsilon: float
    beta1: float
    beta2: float


class Moments(NamedTuple):
    """What an optimiser remembers of one circuit: averages of the gradient and of its square, (P,) each."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]


@njit(cache=True)
def update(theta: NDArray, gradient: NDArray, moments: Moments, rule: Rule, step: int) -> None:
    """One step of a gradient optimiser, in place; `step` counts from 1."""
    first, second = moments.first, moments.second
    if rule.kind == GRADIENT:
        for p in range(theta.size):
            theta[p] -= rule.step * gradient[p]
    elif rule.kind == ADAGRAD:
        for p in range(theta.size):
            second[p] += gradient[p] * gradient[p]
            theta[p] -= rule.step * gradient[p] / math.sqrt(second[p] + rule.epsilon)
    else:
        one, two = 1 - rule.beta1**step, 1 - rule.beta2**step
        for p in range(theta.size):
            first[p] = rule.beta1 * first[p] + (1 - rule.beta1) * gradient[p]
            second[p] = rule.beta2 * second[p] + (1 - rule.beta2) * gradient[p] * gradient[p]
            theta[p] -= rule.step * (first[p] / one) / (math.sqrt(second[p] / two) + rule.epsilon)


@njit(cache=True)
def train(
    theta: NDArray, best_theta: NDArray, gradient: NDArray, program: Program, count: int, costs: Costs, rule: Rule,
    moments: Moments, room: Room,
) -> tuple[float, float, int]:  # fmt: skip
    """Optimises one circuit from `theta`, in place; returns its last cost, its best cost and the steps taken.

    `best_theta` receives the parameters of the best cost, `gradient` the gradient at the last.
    """
    moments.first[:] = 0
    moments.second[:] = 0
    value = value_and_gradient(theta, gradient, program, count, costs, True, room)
    best, taken = value, 0
    best_theta[:] = theta
    if theta.size == 0:
        return value, best, taken
    while taken < rule.steps:
        before, taken = value, taken + 1
        if rule.kind == ROTOSOLVE:
            value = _sweep(theta, gradient, value, program, count, costs, room)
        else:
            update(theta, gradient, moments, rule, taken)
            value = value_and_gradient(theta, gradient, program, count, costs, True, room)
        if value < best:
            best = value
            best_theta[:] = theta
        if abs(value - before) <= rule.tolerance:
            break
    if rule.kind == ROTOSOLVE:
        value = value_and_gradient(theta, gradient, program, count, costs, True, room)
    return value, best, taken


@njit(cache=True)
def _sweep(
    theta: NDArray, scratch: NDArray, value: float, program: Program, count: int, costs: Costs, room: Room
) -> float:
    """Moves each parameter to the minimum of the cost over it; returns the cost at the end.

    Over one parameter the cost is a trigonometric polynomial Σ_r a_r cos(r ω θ) + b_r sin(r ω θ), r ≤ R, with ω the
    smallest scale at which the parameter appears and R ω the sum of them all: 2R + 1 values say everything.
    """
    for p in range(theta.size):
        base, total = math.inf, 0.0
        for j in range(count):
            if program.source[j] == p:
                base, total = min(base, abs(program.scale[j])), total + abs(program.scale[j])
        if total == 0:
            continue
        order, here = round(total / base), theta[p]
        points = 2 * order + 1
        heights = np.empty(points)
        heights[0] = value
        for k in range(1, points):
            theta[p] = here + 2 * math.pi * k / (points * base)
            heights[k] = value_and_gradient(theta, scratch, program, count, costs, False, room)
        shift, value = lowest(heights)
        theta[p] = here + shift / base
    return value


@njit(cache=True)
def lowest(heights: NDArray) -> tuple[float, float]:
    """Where the trigonometric polynomial through 2R + 1 equidistant heights is lowest, in (-π, π], and its value."""
    points = heights.size
    order = points // 2
    cosines, sines = np.zeros(order + 1), np.zeros(order + 1)
    for r in range(order + 1):
        for k in range(points):
            angle = 2 * math.pi * r * k / points
            cosines[r] += heights[k] * math.cos(angle) * (2 if r else 1) / points
            sines[r] += heights[k] * math.sin(angle) * 2 / points
    if order == 1:
        return math.atan2(-sines[1], -cosines[1]), cosines[0] - math.hypot(cosines[1], sines[1])
    best, at = math.inf, 0.0
    for k in range(FINE * order):
        t = -math.pi + 2 * math.pi * (k + 1) / (FINE * order)
        height = _height(cosines, sines, order, t)
        if height < best:
            best, at = height, t
    for _ in range(NEWTON_STEPS):
        slope, curve = 0.0, 0.0
        for r in range(1, order + 1):
            slope += r * (sines[r] * math.cos(r * at) - cosines[r] * math.sin(r * at))
            curve -= r * r * (cosines[r] * math.cos(r * at) + sines[r] * math.sin(r * at))
        if curve <= 0:
            break
        at -= slope / curve
    return at, _height(cosines, sines, order, at)


@njit(cache=True)
def _height(cosines: NDArray, sines: NDArray, order: int, t: float) -> float:
    height = 0.0
    for r in range(order + 1):
        height += cosines[r] * math.cos(r * t) + sines[r] * math.sin(r * t)
    return height
