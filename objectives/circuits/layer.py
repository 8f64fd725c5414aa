"""Circuits in PyTorch: a layer of a model, and the costs of a pool as a function of its angles.

The engine gives values and gradients together, so the forward pass keeps the gradients and the backward pass multiplies
with them; there is no second derivative, and `create_graph=True` is refused. The engine computes on the processor, in
float64 unless told otherwise: tensors on a CUDA device are copied there and the results back. Every result has the
dtype and the device of the angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from objectives.circuits.batch import Batch
from objectives.circuits.evaluate import Evaluator, fitting
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, Pool


class CircuitLayer(nn.Module):
    """Expectation values of a circuit that reads inputs, (S, F) -> (S, O), differentiable in its angles and its inputs.

    Attributes:
        theta: the circuit's angles, trained: (P,).
    """

    def __init__(
        self,
        circuit: Pool,
        observables: Sequence[Observable],
        engine: Evaluator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """A layer that starts at the circuit's own angles.

        Args:
            circuit: a pool of one. Its parameters with an index of P or more, P the columns of `theta`, read the
                columns of the inputs.
            observables: what is measured, O of them.
            engine: by default `Batch()`; one in single precision fits a float32 model.
            dtype: of `theta`, by default PyTorch's.

        Raises:
            CircuitError: another number of circuits than one, a circuit that cannot be, no observables, or some on
                another register.
        """
        super().__init__()
        if len(circuit) != 1:
            raise CircuitError(f"a layer is one circuit, found a pool of {len(circuit)}: take pool[row : row + 1]")
        if not observables:
            raise CircuitError("a layer needs at least one observable")
        for observable in observables:
            if observable.wires != circuit.wires:
                raise CircuitError(f"an observable on {observable.wires} wires, the circuit has {circuit.wires}")
        self.circuit, self.engine = circuit.checked(), engine or Batch()
        self.tasks = [Task.of(o) for o in observables]
        self.theta = nn.Parameter(torch.as_tensor(circuit.theta[0], dtype=dtype or torch.get_default_dtype()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Expectation values (S, O) for inputs (S, F), both in radians where they are angles.

        Raises:
            CircuitError: inputs of another shape, or fewer columns than the circuit reads.
        """
        if inputs.ndim != 2 or inputs.shape[1] < self.circuit.inputs:
            wanted = f"(samples, {self.circuit.inputs} or more)"
            raise CircuitError(f"inputs have the shape {tuple(inputs.shape)}, the circuit reads {wanted}")
        angles = torch.cat([self.theta.expand(len(inputs), -1), inputs], dim=1)
        circuits = self.circuit[np.zeros(len(inputs), np.int64)]
        return _Costs.apply(angles, circuits, self.tasks, self.engine)

    def extra_repr(self) -> str:
        """The circuit's size, for `print(model)`."""
        size = f"{self.circuit.wires} wires, {int(self.circuit.length[0])} gates, {len(self.theta)} angles"
        return f"{size}, {self.circuit.inputs} inputs, {len(self.tasks)} observables"


def costs(pool: Pool, task: Task, theta: Tensor, engine: Evaluator | None = None) -> Tensor:
    """The costs (B,) of a pool's circuits on a task at the angles theta (B, P), differentiable in them.

    The circuits are those that the task runs: where it prepares them, P is that of `fitting(pool, task).theta`.

    Raises:
        CircuitError: circuits that do not fit the task, or angles of another shape.
    """
    run = fitting(pool, task)
    if theta.shape != run.theta.shape:
        raise CircuitError(f"angles have the shape {tuple(theta.shape)}, the circuits need {run.theta.shape}")
    return _Costs.apply(theta, run, [task], engine or Batch())[:, 0]


class _Costs(torch.autograd.Function):
    """The costs (B, T) of a pool's circuits on several tasks at the angles (B, P)."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, pool: Pool, tasks: Sequence[Task], engine: Evaluator) -> Tensor:
        gradients = ctx.needs_input_grad[0]
        pool = replace(pool, theta=angles.detach().to("cpu", torch.float64).numpy())
        values, slopes = zip(*[engine.costs(pool, task, gradients) for task in tasks], strict=True)
        if gradients:
            ctx.save_for_backward(torch.from_numpy(np.stack(slopes, 1)).to(angles))
        return torch.from_numpy(np.stack(values, 1)).to(angles)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # `once_differentiable` would take the slopes for constants and say nothing
            raise CircuitError("circuits have no second derivative here: do not ask for create_graph=True")
        (slopes,) = ctx.saved_tensors
        return torch.einsum("bt,btp->bp", upstream, slopes), None, None, None
