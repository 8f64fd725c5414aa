"""A network of one tanh layer, trained from scratch within milliseconds: DNGO does so after every few circuits.

Compiled, since a thousand queries are a million steps on ten circuits each, of which a framework's overhead would be
all. Prediction c + Σ_j v_j tanh(b_j + Σ_k x_k w_kj), mean squared error, Adam with β = (0.9, 0.999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

FAST = {"contract", "reassoc", "nsz"}
ONE = np.float32(1)  # a plain 1 would make the compiled code compute in float64


@dataclass(frozen=True)
class Network:
    """Weights in float32: `inner` (d, H), `bias` (H,), `outer` (H,), `offset` (1,)."""

    inner: NDArray[np.float32]
    bias: NDArray[np.float32]
    outer: NDArray[np.float32]
    offset: NDArray[np.float32]

    def features(self, inputs: NDArray) -> NDArray[np.float32]:
        """The tanh layer of inputs (B, d): (B, H)."""
        return np.tanh(np.asarray(inputs, np.float32) @ self.inner + self.bias)


def initial(dimensions: int, hidden: int, rng: np.random.Generator) -> Network:
    """Weights and biases U(±1/√fan-in)."""
    inward, outward = dimensions**-0.5, hidden**-0.5
    shapes = [(dimensions, hidden), (hidden,), (hidden,), (1,)]
    bounds = [inward, inward, outward, outward]
    drawn = [rng.uniform(-bound, bound, shape) for shape, bound in zip(shapes, bounds, strict=True)]
    return Network(*(part.astype(np.float32) for part in drawn))


def train(network: Network, inputs: NDArray, targets: NDArray, order: NDArray, minibatch: int, lr: float) -> Network:
    """The network after Adam's steps on the inputs (N, d) and targets (N,).

    Args:
        order: for each epoch, in which order the rows are seen: (E, N).
        minibatch: rows a step; what does not fill one is left out of its epoch, if there are more rows than that.
    """
    dimensions, hidden = network.inner.shape
    parts = [network.inner, network.bias, network.outer, network.offset]
    flat = np.concatenate([part.ravel() for part in parts])
    rows = min(minibatch, len(inputs))
    _train(flat, hidden, np.ascontiguousarray(inputs, np.float32), targets.astype(np.float32), order, rows, lr)
    inner, bias, outer, offset = np.split(flat, np.cumsum([dimensions * hidden, hidden, hidden]))
    return Network(inner.reshape(dimensions, hidden), bias, outer, offset)


@njit(cache=True, nogil=True, fastmath=FAST)
def _train(flat: NDArray, hidden: int, inputs: NDArray, targets: NDArray, order: NDArray, rows: int, lr: float) -> None:
    """All epochs, in place."""
    first, second, slope = np.zeros_like(flat), np.zeros_like(flat), np.empty_like(flat)
    weights, slopes = _cut(flat, hidden), _cut(slope, hidden)
    layer, step = np.empty(hidden, np.float32), 0
    for epoch in range(len(order)):
        for start in range(0, order.shape[1] - rows + 1, rows):
            slope[:] = 0
            for row in order[epoch, start : start + rows]:
                _add_slope(slopes, weights, layer, inputs[row], targets[row], np.float32(2 / rows))
            step += 1
            _adam(flat, slope, first, second, lr, step)


@njit(cache=True, nogil=True)
def _cut(flat: NDArray, hidden: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Views of the four parts of a flat array."""
    inner = len(flat) - 2 * hidden - 1
    parts = flat[inner : inner + hidden], flat[inner + hidden : -1], flat[-1:]
    return flat[:inner].reshape(-1, hidden), parts[0], parts[1], parts[2]


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_slope(slopes: tuple, weights: tuple, layer: NDArray, point: NDArray, target: float, factor: float) -> None:
    """Adds factor × (prediction - target) × ∂prediction of one row to the gradient."""
    inner, bias, outer, offset = weights
    layer[:] = bias
    for k in range(len(point)):
        row, x = inner[k], point[k]
        for j in range(len(layer)):
            layer[j] += x * row[j]
    error = offset[0] - target
    for j in range(len(layer)):
        layer[j] = np.tanh(layer[j])
        error += layer[j] * outer[j]
    error *= factor
    inner_slope, bias_slope, outer_slope, offset_slope = slopes
    offset_slope[0] += error
    for j in range(len(layer)):
        outer_slope[j] += error * layer[j]
        layer[j] = error * outer[j] * (ONE - layer[j] * layer[j])
        bias_slope[j] += layer[j]
    for k in range(len(point)):
        row, x = inner_slope[k], point[k]
        for j in range(len(layer)):
            row[j] += x * layer[j]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")  # else each division is checked, one by one
def _adam(flat: NDArray, slope: NDArray, first: NDArray, second: NDArray, lr: float, step: int) -> None:
    """One step (Kingma and Ba 2015, the bias corrections drawn into the rates), in place."""
    root = np.sqrt(1 - 0.999**step)
    rate, small = np.float32(lr * root / (1 - 0.9**step)), np.float32(1e-8 * root)
    for i in range(len(flat)):
        first[i] += np.float32(0.1) * (slope[i] - first[i])
        second[i] += np.float32(0.001) * (slope[i] * slope[i] - second[i])
        flat[i] -= rate * first[i] / (np.sqrt(second[i]) + small)
