"""The batch engine on a GPU: one block of threads trains one circuit, from its first step to its last.

The processor moves the Clifford gates away and prepares first states (`arrays`), while the GPU (`kernels`) works on
the circuits before. Needs an NVIDIA GPU and numba's CUDA target: the package `numba-cuda`, or a numba that has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.batch import PRECISIONS, cores, rule
from objectives.circuits.cuda.arrays import Programs, Results, programs, rotations
from objectives.circuits.engine.costs import KEPT, packed_pool, packed_task
from objectives.circuits.engine.optimise import Moments, Rule
from objectives.circuits.engine.statevector import Costs
from objectives.circuits.evaluate import Evaluation, Training
from objectives.circuits.memory import SHARE, afford
from objectives.circuits.task import Task
from objectives.circuits.training import train
from spaces.circuits.pool import CircuitError, Pool

OUTSIDE = ("rotosolve", "lbfgs")  # optimisers that stay on the processor and ask the GPU for costs
MOST_CIRCUITS = 16_384  # on the GPU at once: enough to fill it, few enough to prepare the next ones meanwhile
MOST_BYTES = 2**28  # that they are to take there
FEWEST_THREADS, MOST_THREADS = 32, 256  # a block: a warp, and what the registers of every GPU suffice for
PAIRS = 8  # pairs of numbers for each thread before another warp is worth its share of the sums
USUAL_SHARED = 48 * 2**10  # bytes of shared memory a block, where the device (numba's simulator) does not say
WIRES = range(3, 33)  # registers that are tried when one does not fit


@dataclass(frozen=True)
class Cuda:
    """The engine on the current GPU, in `single` or `double` precision, with so many `threads` a block.

    0 threads mean a number that suits the register; it changes the speed, and results by no more than rounding.
    Circuits that need more shared memory than a block has are refused (see `kernels.Shared` for what it holds).

    Raises:
        CircuitError: by its methods: no GPU or nothing to use it with, a precision or a number of threads that cannot
            be, a register that does not fit into shared memory, or a task that does not fit into the GPU's memory.
    """

    precision: str = "single"
    threads: int = 0

    def costs(self, pool: Pool, task: Task, gradients: bool = True) -> tuple[NDArray, NDArray]:
        """Costs (B,) and gradients (B, P); see `evaluate.Evaluator`."""
        found = self._trained(pool, task, rule(Training(steps=0)), gradients)
        return found.values, found.gradients if gradients else np.full_like(found.gradients, np.nan)

    def train(self, pool: Pool, task: Task, training: Training) -> Evaluation:
        """Trains every circuit from its own parameters on; see `evaluate.Evaluator`."""
        if training.optimiser in OUTSIDE:
            return train(self, pool, task, training)
        return self._trained(pool, task, rule(training), True)

    def _trained(self, pool: Pool, task: Task, steps: Rule, gradients: bool) -> Evaluation:
        """The circuits after so many steps, part after part; a part is fetched when the next one is prepared."""
        if self.precision not in PRECISIONS:
            raise CircuitError(f"precision {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        kernels, precision, count = gpu(), PRECISIONS[self.precision], rotations(pool)
        costs, cuda = packed_task(task, precision), kernels.cuda
        threads, shared = self._block(kernels, costs, int(count.max(initial=0)))
        on_gpu, pending = task_on_gpu(task, precision), None
        own = np.full(len(pool), pool.theta.shape[1]) if task.inputs.shape[1] else pool.parameters.astype(int)
        found = unfilled(pool)
        for part in parts(cuda, pool, costs, count):
            prepared = programs(packed_pool(pool[part], task.idle), count[part], costs, precision, cores())
            if pending:
                fetch(found, *pending)
            results = Results(*(cuda.to_device(array[part]) for array in found))
            moments = Moments(*(cuda.to_device(np.zeros_like(pool.theta[part])) for _ in range(2)))
            kernels.train[len(prepared.start), threads, 0, shared](
                Programs(*map(cuda.to_device, prepared)), cuda.to_device(own[part]), on_gpu, steps, gradients, moments,
                results,
            )  # fmt: skip
            pending = part, results
        if pending:
            fetch(found, *pending)
        return Evaluation(replace(pool, theta=found.theta), *found[1:])

    def _block(self, kernels: ModuleType, costs: Costs, rotations: int) -> tuple[int, int]:
        """The threads of a block and the bytes of shared memory that it needs."""
        if self.threads % kernels.ROWS or not 0 <= self.threads <= MOST_THREADS:
            allowed = f"0 (chosen) and multiples of {kernels.ROWS} up to {MOST_THREADS}"
            raise CircuitError(f"{self.threads} threads a block; allowed: {allowed}")

        def block(size: int) -> tuple[int, int]:
            threads = self.threads or min(MOST_THREADS, max(FEWEST_THREADS, size // PAIRS))
            return threads, kernels.shared_bytes(size, threads, rotations, costs.targets.itemsize)

        device, size = kernels.cuda.current_context().device, costs.targets.shape[2] // 2
        limit = getattr(device, "MAX_SHARED_MEMORY_PER_BLOCK", USUAL_SHARED)
        if block(size)[1] > limit:
            most = max((wires for wires in WIRES if block(2**wires)[1] <= limit), default=0)
            raise CircuitError(
                f"{rotations} rotations on {size.bit_length() - 1} wires take {block(size)[1] / 2**10:,.0f} KiB of the "
                f"GPU's shared memory in {self.precision} precision; a block has {limit / 2**10:,.0f} KiB, enough for "
                f"{most} wires (the evaluator Batch has no such limit)"
            )
        return block(size)


def gpu() -> ModuleType:
    """The kernels, if there is something to run them on.

    Raises:
        CircuitError: numba has no CUDA target, or finds no GPU.
    """
    try:
        from numba import cuda
    except ImportError as error:
        raise CircuitError(f"numba has no CUDA target ({error}): pip install numba-cuda[cu13]") from error
    if not cuda.is_available():
        raise CircuitError(
            "numba finds no GPU: an NVIDIA GPU, its driver and CUDA's compiler are needed (pip install "
            "numba-cuda[cu13], or [cu12] for older drivers); the evaluator Batch does the same on the processor"
        )
    from objectives.circuits.cuda import kernels

    return kernels


@lru_cache(maxsize=KEPT)
def task_on_gpu(task: Task, precision: type) -> Costs:
    """A task's arrays on the device, kept for the next call.

    Where there are no masks, projectors, imaginary parts or inputs, there is a 0: numba takes empty arrays for a type
    of their own, and would compile the kernel again. The kernel skips weights of 0, and imaginary parts where there are
    not as many as real ones.
    """
    cuda, costs = gpu().cuda, packed_task(task, precision)
    fits(cuda, sum(array.nbytes for array in costs), f"the observables of {task.name}")
    filled = (array if array.size else np.zeros(np.maximum(array.shape, 1), array.dtype) for array in costs)
    return Costs(*map(cuda.to_device, filled))


def fits(cuda: ModuleType, size: float, what: str) -> float:
    """How much of the GPU's free memory may be used, if `size` bytes are no more; otherwise a `CircuitError`."""
    free = cuda.current_context().get_memory_info().free
    if size > SHARE * free:
        raise CircuitError(f"{what} would take {size / 2**30:,.1f} GiB on the GPU; {free / 2**30:,.1f} GiB are free")
    return SHARE * free


def parts(cuda: ModuleType, pool: Pool, costs: Costs, count: NDArray) -> list[slice]:
    """The pool in parts that fit into the memory of the GPU, and twice into that of the processor."""
    states = max(1, len(costs.initial)) * costs.targets.shape[2] * costs.targets.itemsize
    each = states + 20 * int(count.max(initial=0)) + 64 * (1 + pool.theta.shape[1])
    most = min(MOST_BYTES, fits(cuda, each, "a circuit's first states"))
    step = int(max(1, min(MOST_CIRCUITS, most // each)))
    afford(2 * each * min(step, len(pool)), "the circuits' first states")
    return [slice(first, first + step) for first in range(0, len(pool), step)]


def unfilled(pool: Pool) -> Results:
    """Results before anything is done."""
    values, steps = np.zeros(len(pool)), np.zeros(len(pool), np.int64)
    theta = pool.theta.copy()
    return Results(theta, values, np.zeros_like(theta), values.copy(), theta.copy(), steps)


def fetch(found: Results, part: slice, results: tuple) -> None:
    """Writes the results of a part, waiting for them."""
    for array, on_gpu in zip(found, results, strict=True):
        array[part] = on_gpu.copy_to_host()
