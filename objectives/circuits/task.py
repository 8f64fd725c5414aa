"""A task: what a circuit is to achieve, as data that every evaluator reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.observable import Observable
from spaces.circuits.pool import CircuitError, Pool


@dataclass(frozen=True, eq=False)
class Task:
    """The cost of a circuit U(θ): the mean over K samples of ⟨φ_k|U(θ, x_k)† H_k U(θ, x_k)|φ_k⟩, to be minimised.

    Most tasks have one sample: |0…0⟩ and one observable. A classifier has a sample for each example, with its data as
    `inputs` and its class's observable; a unitary is compiled on a register twice as wide, whose second half is idle.

    Attributes:
        name: what is solved, for people.
        wires: the wires of the circuits.
        observables: the different H, each on `wires + idle` wires.
        reference: the published reward is cost / reference, 1 at the published optimum.
        threshold: the published reward from which a circuit counts as a candidate.
        strict: the cost at or below which the problem is solved in the physical sense; `meaning` says which.
        meaning: what `strict` asks for.
        ground: the least possible cost, where known exactly.
        idle: wires behind the circuit's own, on which no gate acts.
        initial: φ_k, complex128 (K, N), or None for |0…0⟩ throughout.
        inputs: x_k, float64 (K, F); parameters with indices from P on read its columns.
        which: the observable of each sample, int64 (K,).
        prepare: makes the circuits that are run of those that are proposed, or None where they are the same.
        accuracy: what a trained circuit, a pool of one as it was run, gets right on held-out data, where there is some.
    """

    name: str
    wires: int
    observables: tuple[Observable, ...]
    reference: float
    threshold: float
    strict: float
    meaning: str
    ground: float | None = None
    idle: int = 0
    initial: NDArray[np.complex128] | None = None
    inputs: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 0)))
    which: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    prepare: Callable[[Pool], Pool] | None = None
    accuracy: Callable[[Pool], float] | None = None

    def __post_init__(self) -> None:
        wide = self.wires + self.idle
        for observable in self.observables:
            if observable.wires != wide:
                raise CircuitError(f"{self.name}: an observable on {observable.wires} wires, the register has {wide}")
        if len(self.inputs) != len(self.which):
            raise CircuitError(f"{self.name}: {len(self.inputs)} samples of inputs, {len(self.which)} of observables")
        if not len(self.which) or not np.isin(self.which, np.arange(len(self.observables))).all():
            raise CircuitError(f"{self.name}: every sample needs one of the {len(self.observables)} observables")
        if not np.isfinite(self.inputs).all():
            raise CircuitError(f"{self.name}: an input is no finite number")
        if self.reference >= 0:
            raise CircuitError(
                f"{self.name}: the reference {self.reference} is not negative, so rewards would rank backwards"
            )
        if self.initial is not None and self.initial.shape != (len(self.which), 2**wide):
            raise CircuitError(f"{self.name}: initial states {self.initial.shape}, wanted {len(self.which), 2**wide}")

    @staticmethod
    def of(observable: Observable) -> Task:
        """The bare expectation value of an observable in the circuit's state, with no reward to speak of."""
        return Task("an expectation value", observable.wires, (observable,), -1.0, np.inf, -np.inf, "nothing")

    def reward(self, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        """The published reward of costs: cost / reference."""
        return cost / self.reference

    def candidate(self, cost: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which costs reach the published threshold."""
        return self.reward(cost) >= self.threshold

    def solved(self, cost: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which costs solve the problem in the strict, physical sense."""
        return cost <= self.strict
