"""What runs on the GPU: a block of threads trains one circuit, its state and its dual in the block's shared memory.

The steps are those of `engine.statevector` and `engine.optimise`. A rotation's X is never 0 (`program.real_form`: its
word would not be Hermitian), so the 2N real numbers fall into N pairs that it rotates, and the threads share the pairs
out. Sums over a block are taken in a fixed order, so that results do not depend on how threads are scheduled.

Only what works in numba's CUDA target and in its simulator is used: no warp intrinsics, no built-in min and max, and no
shared memory of a fixed size, which the simulator's threads may each make for themselves.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from numba import cuda, float64
from numba.core.errors import NumbaPerformanceWarning
from numpy.typing import NDArray

from objectives.circuits.cuda.arrays import Programs, Results
from objectives.circuits.engine import optimise
from objectives.circuits.engine.optimise import Moments, Rule
from objectives.circuits.engine.statevector import Costs

ROWS = 8  # sums that are taken at once; a block has a multiple of so many threads
TURN = 2 * math.pi

warnings.filterwarnings("ignore", "Grid size", NumbaPerformanceWarning)  # a pool may be small


class Shared(NamedTuple):
    """What the threads of a block share, in the states' precision but for `totals`.

    Attributes:
        state, dual: ψ and λ: (2N,).
        partial: each thread's parts of `ROWS` sums that are being taken, a `stride` apart.
        cosines, sines, slopes: of half of each rotation's angle, and the cost's derivatives by the angle: (R,).
        totals: the sums: float64 (ROWS,).
    """

    state: NDArray
    dual: NDArray
    partial: NDArray
    cosines: NDArray
    sines: NDArray
    slopes: NDArray
    totals: NDArray[np.float64]


def shared_bytes(size: int, threads: int, rotations: int, item: int) -> int:
    """The shared memory that a block must be launched with, for N = `size` and numbers of `item` bytes."""
    return 8 * ROWS + item * (4 * size + ROWS * (threads + threads // ROWS) + 3 * rotations)


update = cuda.jit(device=True)(optimise.update.py_func)


@cuda.jit(device=True)
def stride(threads: int) -> int:
    """How far rows of partial sums lie apart: so that `add_up` reads every bank of the shared memory once."""
    return threads + threads // ROWS


@cuda.jit(device=True)
def add_up(rows: int, shared: Shared) -> None:
    """Sums up the first rows of `partial` into `totals`, for all threads to read."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    width, partial = threads // ROWS, shared.partial
    cuda.syncthreads()
    if thread < rows * width:
        at = thread // width * stride(threads) + thread % width
        some = partial[at]
        for k in range(1, ROWS):
            some += partial[at + k * width]
        partial[at] = some
    cuda.syncthreads()
    if thread < rows:
        total = 0.0
        for k in range(width):
            total += partial[thread * stride(threads) + k]
        shared.totals[thread] = total
    cuda.syncthreads()


@cuda.jit(device=True)
def ends(pair: int, x: int) -> tuple[np.uint32, np.uint32]:
    """The two entries of a pair, the one without the highest bit of x first; unsigned, lest indexing minds a sign."""
    pivot = 1 << (31 - cuda.clz(x))
    one = np.uint32(pair + (pair & -pivot))
    return one, np.uint32(one ^ x)


@cuda.jit(device=True)
def odd(bits: int) -> bool:
    """Whether an odd number of bits is set."""
    return cuda.popc(np.uint32(bits)) & 1 == 1


@cuda.jit(device=True)
def rotate(v: NDArray, x: int, z: int, c: float, s: float) -> None:
    """v[k] ← c v[k] + s (-1)^|k & z| v[k ⊕ x]."""
    opposite, pair = odd(x & z), cuda.threadIdx.x
    while pair < v.size >> 1:  # a range would divide to know its length
        k, other = ends(pair, x)
        at = -s if odd(k & z) else s
        back = -at if opposite else at
        one, two = v[k], v[other]
        v[k] = c * one + at * two
        v[other] = c * two + back * one
        pair += cuda.blockDim.x


@cuda.jit(device=True)
def rotate_both(v: NDArray, w: NDArray, x: int, z: int, c: float, s: float) -> float:
    """Rotates `v` and `w` as `rotate` does; returns this thread's part of wᵀ G v, which that leaves as it is."""
    opposite, pair, slope = odd(x & z), cuda.threadIdx.x, v.dtype.type(0)
    while pair < v.size >> 1:
        k, other = ends(pair, x)
        negative = odd(k & z)
        at = -s if negative else s
        back = -at if opposite else at
        one, two, w_one, w_two = v[k], v[other], w[k], w[other]
        crossed = w_one * two - w_two * one if opposite else w_one * two + w_two * one
        slope += -crossed if negative else crossed
        v[k] = c * one + at * two
        v[other] = c * two + back * one
        w[k] = c * w_one + at * w_two
        w[other] = c * w_two + back * w_one
        pair += cuda.blockDim.x
    return slope


@cuda.jit(device=True)
def set_angles(row: int, programs: Programs, theta: NDArray, inputs: NDArray, shared: Shared) -> None:
    """The cosine and sine of half of each rotation's angle."""
    for j in range(cuda.threadIdx.x, programs.rotations[row], cuda.blockDim.x):
        source, angle = programs.source[row, j], 0.5 * programs.scale[row, j]
        if source >= theta.size:
            angle *= inputs[source - theta.size]
        elif source >= 0:
            angle *= theta[source]
        shared.cosines[j] = angle - TURN * math.floor(angle / TURN + 0.5)  # small before it is rounded, if single
        half = shared.cosines[j]
        shared.cosines[j], shared.sines[j] = math.cos(half), math.sin(half)


@cuda.jit(device=True)
def observe(costs: Costs, o: int, shared: Shared) -> float:
    """Writes λ = H ψ and returns ⟨ψ|H|ψ⟩, for observable o."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    v, w, size = shared.state, shared.dual, shared.state.size >> 1
    for i in range(thread, size, threads):
        real, imaginary = v.dtype.type(0), v.dtype.type(0)
        for m in range(costs.terms[o]):
            source, at = i ^ costs.masks[o, m], (o * costs.masks.shape[1] + m) * size + i
            real += costs.real[at] * v[source]
            imaginary += costs.real[at] * v[size + source]
            if costs.imaginary.size == costs.real.size:
                real -= costs.imaginary[at] * v[size + source]
                imaginary += costs.imaginary[at] * v[source]
        w[i], w[size + i] = real, imaginary
    for t in range(costs.targets.shape[1]):
        if costs.weights[o, t] != 0:
            project(costs.targets[o, t], costs.weights[o, t], shared)
    height = v.dtype.type(0)
    for i in range(thread, size, threads):
        height += v[i] * w[i] + v[size + i] * w[size + i]
    shared.partial[thread] = height
    add_up(1, shared)
    return shared.totals[0]


@cuda.jit(device=True)
def project(target: NDArray, weight: float, shared: Shared) -> None:
    """Adds weight |t⟩⟨t|ψ⟩ to λ."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    v, w, size = shared.state, shared.dual, shared.state.size >> 1
    real, imaginary = v.dtype.type(0), v.dtype.type(0)
    for i in range(thread, size, threads):
        real += target[i] * v[i] + target[size + i] * v[size + i]
        imaginary += target[i] * v[size + i] - target[size + i] * v[i]
    shared.partial[thread], shared.partial[stride(threads) + thread] = real, imaginary
    add_up(2, shared)
    real, imaginary = v.dtype.type(weight * shared.totals[0]), v.dtype.type(weight * shared.totals[1])
    for i in range(thread, size, threads):
        w[i] += real * target[i] - imaginary * target[size + i]
        w[size + i] += real * target[size + i] + imaginary * target[i]


@cuda.jit(device=True)
def go_back(row: int, programs: Programs, shared: Shared) -> None:
    """Takes ψ and λ back through the rotations and adds each one's λᵀ G ψ to its slope."""
    thread, threads, count = cuda.threadIdx.x, cuda.blockDim.x, programs.rotations[row]
    for j in range(count):
        shared.partial[j % ROWS * stride(threads) + thread] = rotate_both(
            shared.state, shared.dual, programs.x[row, j], programs.z[row, j], shared.cosines[j], -shared.sines[j]
        )
        if j % ROWS == ROWS - 1 or j == count - 1:
            rows = j % ROWS + 1
            add_up(rows, shared)
            if thread < rows:
                shared.slopes[j - j % ROWS + thread] += shared.totals[thread]
        else:
            cuda.syncthreads()


@cuda.jit(device=True)
def value_and_gradient(
    row: int, programs: Programs, theta: NDArray, gradient: NDArray, costs: Costs, wanted: bool, shared: Shared
) -> float:
    """The cost at `theta`, and its gradient into `gradient` (P,) if `wanted`; all threads return the same."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    count, samples, value = programs.rotations[row], costs.which.size, 0.0
    cuda.syncthreads()  # θ is set, and nobody reads the slopes of the step before any more
    for j in range(thread, count, threads):
        shared.slopes[j] = 0
    for k in range(samples):
        set_angles(row, programs, theta, costs.inputs[k], shared)
        start = programs.start[row, k if programs.start.shape[1] > 1 else 0]
        for i in range(thread, start.size, threads):
            shared.state[i] = start[i]
        cuda.syncthreads()
        for j in range(count - 1, -1, -1):
            rotate(shared.state, programs.x[row, j], programs.z[row, j], shared.cosines[j], shared.sines[j])
            cuda.syncthreads()
        value += observe(costs, costs.which[k], shared)
        if wanted:
            go_back(row, programs, shared)
    cuda.syncthreads()
    for p in range(thread, theta.size if wanted else 0, threads):
        total = 0.0
        for j in range(count):
            if programs.source[row, j] == p:
                total += programs.scale[row, j] * shared.slopes[j]
        gradient[p] = total / samples
    return value / samples


@cuda.jit(device=True)
def layout(totals: NDArray, memory: NDArray, size: int, rotations: int) -> Shared:
    """A block's shared memory, shared out: it is `memory`, and its beginning is `totals`; `size` is 2N."""
    state = 8 * ROWS // memory.itemsize
    partial = state + 2 * size
    angles = partial + ROWS * stride(cuda.blockDim.x)
    return Shared(
        memory[state : state + size],
        memory[state + size : partial],
        memory[partial:angles],
        memory[angles : angles + rotations],
        memory[angles + rotations : angles + 2 * rotations],
        memory[angles + 2 * rotations : angles + 3 * rotations],
        totals[:ROWS],
    )


@cuda.jit(cache=True)
def train(
    programs: Programs, own: NDArray, costs: Costs, rule: Rule, wanted: bool, moments: Moments, results: Results
) -> None:
    """Optimises circuit `blockIdx.x` of `results`; no steps: only its cost, and its gradient if `wanted`.

    `own` (C,) says how many parameters each circuit has, `moments` (C, P) are 0; see `shared_bytes` for the launch.
    """
    row, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    totals, memory = cuda.shared.array(0, float64), cuda.shared.array(0, programs.start.dtype)  # the same memory
    shared = layout(totals, memory, programs.start.shape[2], programs.x.shape[1])
    theta, gradient, best_theta = results.theta[row], results.gradients[row], results.best_theta[row]
    value, best, taken, going = 0.0, 0.0, 0, True
    while going:
        before = value
        value = value_and_gradient(row, programs, theta, gradient, costs, wanted, shared)
        if taken == 0 or value < best:
            best = value
            for p in range(thread, own[row], threads):
                best_theta[p] = theta[p]
        going = taken < rule.steps and own[row] > 0 and not (taken > 0 and abs(value - before) <= rule.tolerance)
        if going:
            taken += 1
            for p in range(thread, own[row], threads):
                alone = Moments(moments.first[row, p : p + 1], moments.second[row, p : p + 1])
                update(theta[p : p + 1], gradient[p : p + 1], alone, rule, taken)
    if thread == 0:
        results.values[row], results.best[row], results.steps[row] = value, best, taken
