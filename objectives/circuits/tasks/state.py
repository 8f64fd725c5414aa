"""State preparation: the cost is -F, minus the fidelity F = |⟨t|ψ⟩|² with a target state t; the reward is F.

Published (Sun et al., Quantum 10, 1994) with the state of one extra circuit of their own generator as the target,
thresholds 0.95 (4 wires) and 0.75 (8 wires). Which circuit it was is not known, and most circuits of that generator end
in a product state, so a target of known entanglement says more: a GHZ state is at most 1/2 of any product state, a W
state ((n - 1)/n)^(n - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks._circuits import haar_state, paper_circuit, state_of
from objectives.circuits.tasks._files import array, located
from objectives.circuits.tasks._product import beyond, most_overlap
from spaces.circuits.pool import CircuitError
from spaces.domains import Choice, Int

FEW_WIRES, MANY_WIRES = 0.95, 0.75  # the published thresholds of 4 and of 8 wires
MANY = 8
FAITHFUL = 0.99  # the fidelity that counts as having prepared the state
PRODUCT = 1e-6  # distance from 1 at which the best product state's fidelity makes the target one


@dataclass(frozen=True)
class Config:
    """Which state."""

    target: Annotated[str, Choice("ghz", "w", "dicke", "bell", "bells", "random", "circuit", "file")] = (
        "ghz"  # `bell` is one Bell pair on wires 0, 1 and zeros; `bells` pairs all along; `random` is Haar's
    )
    wires: Annotated[int, Int(2, 20)] = 4  # qubits of the register; `file` brings its own
    weight: Annotated[int, Int(0, 20)] = 2  # `dicke`: ones in each basis state
    gates: Annotated[int, Int(1, 200)] = 10  # `circuit`: gates of the extra circuit
    depth: Annotated[int, Int(1, 200)] = 5  # `circuit`: its largest depth
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # `random`, `circuit`: which one
    path: str = ""  # `file`: .npy, .npz, or text with an amplitude such as 0.6+0.8j a line


def build(config: Config) -> Task:
    """The task of preparing the config's state.

    Raises:
        CircuitError: a state that the register cannot hold, or a file that holds no normalised state.
    """
    state = target(config)
    wires = len(state).bit_length() - 1
    observable = Observable.of_states(wires, state, [-1.0])
    strict, meaning = _strict(most_overlap(observable.targets[0]))
    return Task(
        name=f"prepare {config.target} on {wires} wires",
        wires=wires,
        observables=(observable,),
        reference=-1.0,
        threshold=FEW_WIRES if wires < MANY else MANY_WIRES,
        strict=strict,
        meaning=meaning,
        ground=-1.0,
    )


def target(config: Config) -> NDArray[np.complex128]:
    """The target's amplitudes: (2^n,).

    Raises:
        CircuitError: as `build`.
    """
    wires, rng = config.wires, np.random.default_rng(config.seed)
    match config.target:
        case "ghz":
            return _even(wires, [0, 2**wires - 1])
        case "w":
            return _dicke(wires, 1)
        case "dicke":
            return _dicke(wires, config.weight)
        case "bell":
            return _even(wires, [0, 3 << (wires - 2)])
        case "bells":
            if wires % 2:
                raise CircuitError(f"wires: Bell pairs all along need an even number of wires, found {wires}")
            index = np.arange(2**wires)
            return _even(wires, np.flatnonzero((index ^ index >> 1) & sum(1 << q for q in range(0, wires, 2)) == 0))
        case "random":
            return haar_state(2**wires, rng)
        case "circuit":
            return state_of(wires, paper_circuit(wires, config.gates, config.depth, config.seed))
    return _read(config.path)


def _even(wires: int, indices: Sequence[int] | NDArray[np.intp]) -> NDArray[np.complex128]:
    """The even superposition of some basis states."""
    state = np.zeros(2**wires, complex)
    state[np.asarray(indices)] = len(indices) ** -0.5
    return state


def _dicke(wires: int, weight: int) -> NDArray[np.complex128]:
    if weight > wires:
        raise CircuitError(f"weight: a Dicke state of weight {weight} needs as many wires, found {wires}")
    return _even(wires, np.flatnonzero(np.bitwise_count(np.arange(2**wires)) == weight))


def _read(path: str) -> NDArray[np.complex128]:
    file = located(path, "a state's amplitudes, .npy, .npz or text")
    state = array(file)
    size = state.size
    if state.ndim != 1 or size < 2 or size & (size - 1):
        raise CircuitError(f"{file}: found shape {state.shape}; a state has 2^n amplitudes in a row")
    if not np.isfinite(state).all():
        raise CircuitError(f"{file}: an amplitude is no finite number")
    if abs(np.linalg.norm(state) - 1) > 1e-6:
        raise CircuitError(f"{file}: a state has norm 1, found {np.linalg.norm(state):.6g}")
    return state


def _strict(product: float) -> tuple[float, str]:
    """The strict cost and its meaning, given the best product state's fidelity."""
    if product > 1 - PRODUCT:
        return -FAITHFUL, f"fidelity {FAITHFUL}; the target is a product state and asks for no entanglement"
    fidelity = max(FAITHFUL, -beyond(-product, -1.0)[0])
    return -fidelity, f"fidelity {fidelity:.6g}; the best product state has {product:.6g}"
