"""The moves of evolutionary circuit search: mutation, and crossover in time.

Mutation knows six moves, each as likely as the others, which act on a random place of the circuit:

    replace   a gate becomes one drawn by the sampler
    rewire    a gate moves to other wires that its coupling map allows
    insert    a gate drawn by the sampler comes in; if the circuit has its full length, a random gate goes first
    delete    a gate goes, unless it is the last one
    swap      a gate changes places with the next
    perturb   normal noise is added to a gate's angles

A new gate's angles are parameters of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import CODES, GATES, MAX_PARAMETERS
from spaces.circuits.pool import END, CircuitError, Pool
from spaces.circuits.sampler import Sampler, sample
from spaces.circuits.structure import depth, levels, parameter_indices, renumbered, reordered, updated

RETRIES = 8  # how often a mutation is drawn anew that makes its circuit too deep
NOISE = 0.3  # standard deviation of a perturbed angle, radians


def mutate(pool: Pool, sampler: Sampler, rng: np.random.Generator, rate: float, noise: float = NOISE) -> Pool:
    """The pool with each circuit mutated by Binomial(its gates, `rate`) moves one after the other.

    Gates come from the sampler's set and stand on its coupling maps, and no circuit becomes deeper than its `depth` or
    gets more than its `length` gates; within that, the number of gates changes. A circuit whose moves make it too
    deep gets new ones up to `RETRIES` times and is then left as it was. Shared parameters stay shared, also when
    perturbed; inputs stay. Parameters are renumbered as by `structure.renumbered`; the result has the pool's slots, or
    the sampler's length if that is more.

    Args:
        noise: the standard deviation of the noise of `perturb`, radians.

    Raises:
        CircuitError: a rate outside 0..1, or a sampler for another register.
    """
    if not 0 <= rate <= 1:
        raise CircuitError(f"rate: found {rate}, allowed are probabilities 0 .. 1")
    if sampler.wires != pool.wires:
        raise CircuitError(f"a sampler for {sampler.wires} wires cannot mutate circuits on {pool.wires}")
    moves = rng.binomial(np.maximum(pool.length, 1), rate)
    rounds = int(moves.max(initial=0))
    fresh = pool.theta.shape[1]
    pool = _roomier(pool, sampler.length, MAX_PARAMETERS * rounds)
    rows = np.flatnonzero(moves)
    for _ in range(1 + RETRIES):
        changed = pool[rows]
        for k in range(rounds):
            changed = _moved(changed, moves[rows] > k, sampler, rng, fresh + MAX_PARAMETERS * k, noise)
        fits = np.full(len(rows), True) if sampler.depth is None else depth(changed) <= sampler.depth
        pool = updated(pool, rows[fits], changed[fits])
        rows = rows[~fits]
        if not len(rows):
            break
    return renumbered(pool)


def crossover(first: Pool, second: Pool, rng: np.random.Generator) -> Pool:
    """Children that begin as the circuits of `first` and end as those of `second`: one-point crossover in time.

    The cut is a layer: a child has the gates of its first parent up to that layer and those of its second behind it,
    so it is no deeper than the deeper parent. The cut is uniform over those that leave something of either parent and
    no more gates than there are slots; where there is none, the child is its first parent.

    Raises:
        CircuitError: pools of different registers or shapes.
    """
    if (first.wires, first.op.shape) != (second.wires, second.op.shape):
        shapes = [f"{p.op.shape[0]} circuits of {p.op.shape[1]} slots on {p.wires} wires" for p in (first, second)]
        raise CircuitError(f"crossover needs pools of equal shape, found {shapes[0]} and {shapes[1]}")
    slots, columns = first.op.shape[1], first.theta.shape[1]
    layer = levels(first), levels(second)
    cut = _cuts(*layer, rng)[:, None]
    keep = np.concatenate([first.slots & (layer[0] <= cut), layer[1] > cut], 1)
    total = columns + second.theta.shape[1]
    head = np.where(first.parameter >= columns, first.parameter - columns + total, first.parameter)
    tail = np.where(second.parameter >= 0, second.parameter + columns, END)  # inputs come out behind both
    joined = Pool(
        first.wires,
        np.concatenate([first.op, second.op], 1),
        np.concatenate([first.wire, second.wire], 1),
        np.concatenate([head, tail], 1),
        keep.sum(1),
        np.concatenate([first.theta, second.theta], 1),
    )
    return renumbered(reordered(joined, np.argsort(~keep, axis=1, kind="stable")[:, :slots]))


def _cuts(first: NDArray[np.int32], second: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int64]:
    """The last layer that each child has of its first parent: (B,)."""
    slots = first.shape[1]
    layer = np.arange(1, slots + 1)
    begins = np.stack([((first > 0) & (first <= c)).sum(1) for c in layer], 1) if slots else np.zeros((len(first), 0))
    ends = np.stack([(second > c).sum(1) for c in layer], 1) if slots else begins
    allowed = (begins > 0) & (ends > 0) & (begins + ends <= slots)
    draw = np.where(allowed, rng.random(allowed.shape), -1.0)
    return np.where(allowed.any(1), layer[draw.argmax(1)] if slots else 0, slots)


def _moved(
    pool: Pool, active: NDArray[np.bool_], sampler: Sampler, rng: np.random.Generator, fresh: int, noise: float
) -> Pool:
    """One move for each active circuit; new gates get the columns of `theta` from `fresh` on."""
    kind = np.where(active, rng.integers(6, size=len(pool)), END)
    drawn = sample(replace(sampler, length=1, depth=None), len(pool), rng)
    moves: tuple[Callable[[Pool, Pool], Pool], ...] = (
        lambda part, gates: _written(part, _place(part, rng), gates, fresh),
        lambda part, gates: _rewired(part, _place(part, rng), sampler, rng),
        lambda part, gates: _inserted(part, gates, sampler, rng, fresh),
        lambda part, gates: _deleted(part, part.length > 1, rng),
        lambda part, gates: _swapped(part, rng),
        lambda part, gates: _perturbed(part, rng, noise),
    )
    for k, move in enumerate(moves):
        rows = np.flatnonzero(kind == k)
        if len(rows):
            pool = updated(pool, rows, move(pool[rows], drawn[rows]))
    return pool


def _written(pool: Pool, slot: NDArray[np.int64], gates: Pool, fresh: int) -> Pool:
    """The pool with the one gate of each circuit of `gates` in place of a slot's; nothing where that is no gate."""
    rows = np.flatnonzero(slot < pool.length)
    op, wire, parameter, theta = pool.op.copy(), pool.wire.copy(), pool.parameter.copy(), pool.theta.copy()
    op[rows, slot[rows]] = gates.op[rows, 0]
    wire[rows, slot[rows]] = gates.wire[rows, 0]
    parameter[rows, slot[rows]] = np.where(gates.parameter[rows, 0] == END, END, fresh)
    theta[:, fresh : fresh + gates.theta.shape[1]] = gates.theta
    return replace(pool, op=op, wire=wire, parameter=parameter, theta=theta)


def _rewired(pool: Pool, slot: NDArray[np.int64], sampler: Sampler, rng: np.random.Generator) -> Pool:
    wire = pool.wire.copy()
    op = np.where(slot < pool.length, pool.op[np.arange(len(pool)), slot], END)
    for name in sampler.gates:
        rows = np.flatnonzero(op == CODES[name])
        alone = np.stack([np.arange(pool.wires), np.full(pool.wires, END)], 1)
        places = alone if GATES[CODES[name]].wires == 1 else sampler.pairs(name)
        wire[rows, slot[rows]] = places[rng.integers(len(places), size=len(rows))]
    return replace(pool, wire=wire)


def _inserted(pool: Pool, gates: Pool, sampler: Sampler, rng: np.random.Generator, fresh: int) -> Pool:
    pool = _deleted(pool, pool.length >= sampler.length, rng)
    place = rng.integers(pool.length + 1)
    slot = np.arange(pool.op.shape[1])
    order = np.where(slot > place[:, None], slot - 1, slot)
    return _written(reordered(pool, order, pool.length + 1), place, gates, fresh)


def _deleted(pool: Pool, where: NDArray[np.bool_], rng: np.random.Generator) -> Pool:
    place = np.where(where, _place(pool, rng), pool.op.shape[1])
    slot = np.arange(pool.op.shape[1])
    order = np.minimum(slot + (slot >= place[:, None]), pool.op.shape[1] - 1)
    return reordered(pool, order, pool.length - where)


def _swapped(pool: Pool, rng: np.random.Generator) -> Pool:
    rows = np.flatnonzero(pool.length > 1)
    place = rng.integers(pool.length[rows] - 1)
    order = np.tile(np.arange(pool.op.shape[1]), (len(pool), 1))
    order[rows, place], order[rows, place + 1] = place + 1, place
    return reordered(pool, order)


def _perturbed(pool: Pool, rng: np.random.Generator, noise: float) -> Pool:
    index, columns = parameter_indices(pool), pool.theta.shape[1]
    takes = (index[..., 0] != END) & (index < columns).all(2)
    place = np.where(takes, rng.random(takes.shape), -1.0).argmax(1)
    rows = np.flatnonzero(takes.any(1))
    mine = index[rows, place[rows]]
    row, k = np.nonzero(mine != END)
    theta = pool.theta.copy()
    theta[rows[row], mine[row, k]] += rng.normal(0, noise, len(row))
    return replace(pool, theta=theta)


def _place(pool: Pool, rng: np.random.Generator) -> NDArray[np.int64]:
    """The slot of a random gate of each circuit, 0 if it has none: (B,)."""
    return rng.integers(np.maximum(pool.length, 1))


def _roomier(pool: Pool, slots: int, columns: int) -> Pool:
    """The pool with at least so many slots, and so many more parameters."""
    more = max(0, slots - pool.op.shape[1])
    old = pool.theta.shape[1]
    parameter = np.where(pool.parameter >= old, pool.parameter + columns, pool.parameter)
    return Pool(
        pool.wires,
        np.pad(pool.op, ((0, 0), (0, more)), constant_values=END),
        np.pad(pool.wire, ((0, 0), (0, more), (0, 0)), constant_values=END),
        np.pad(parameter, ((0, 0), (0, more)), constant_values=END),
        pool.length,
        np.pad(pool.theta, ((0, 0), (0, columns))),
    )
