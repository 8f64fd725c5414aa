"""The pool benchmark: random circuits, and what each comes to on every task, so that searches replay in seconds.

A pool is decided by a circuit space, a count and a seed; its labels by the published training protocol. Both are made
by one command, kept on disk, and known by the digest of their content.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives import SHELVES
from objectives.circuits.batch import Batch
from objectives.circuits.cache import kept
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.task import Task
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import Sampler, paper, sample
from spaces.circuits.structure import depth, two_qubit_gates
from spaces.document import complaint

FORMAT = 1  # of the kept files


@dataclass(frozen=True)
class Problem:
    """A task of the benchmark: a component of the task shelf with its knobs, and the training steps it is given."""

    component: str
    knobs: dict[str, Any]
    steps: int = 50

    def task(self) -> Task:
        """The task itself."""
        found = SHELVES["task"].load(self.component)
        return found.build(found.config(**self.knobs))


def _target(seed: int, **space: int) -> Problem:
    return Problem("state", {"target": "circuit", "seed": seed, **space})


PROBLEMS: dict[int, dict[str, Problem]] = {  # by wires; `solved` is each task's strict question
    4: {
        "maxcut": Problem("maxcut", {"graph": "paper4"}),
        "h2": Problem("molecule", {"molecule": "h2"}, 100),
        "tfim": Problem("spin", {"model": "tfim", "sites": 4}, 100),
        "bell": Problem("state", {"target": "bell"}),
        "bells": Problem("state", {"target": "bells"}),
        "ghz": Problem("state", {"target": "ghz"}),
        **{f"state{seed}": _target(seed) for seed in range(4)},
    },
    8: {
        "maxcut": Problem("maxcut", {"graph": "paper8"}),
        "tfim": Problem("spin", {"model": "tfim", "sites": 8}, 100),
        **{f"state{seed}": _target(seed, wires=8, gates=20) for seed in range(3)},
    },
}


SPACES = {4: paper(), 8: paper(8, 20, 10)}  # whose circuits are labelled, by wires


@dataclass(frozen=True)
class Labelled:
    """B circuits and T tasks.

    Attributes:
        pool: the circuits, at the angles at which they were drawn and training began.
        tasks: the tasks' names.
        costs: the last cost of each training: float64 (T, B).
        rewards: the published rewards: float64 (T, B).
        candidates, solved: whether the published threshold, and the strict one, is met: bool (T, B).
        steps: training steps taken: int16 (T, B).
        depth, two_qubit_gates: of the circuits: int16 (B,).
    """

    pool: Pool
    tasks: tuple[str, ...]
    costs: NDArray[np.float64]
    rewards: NDArray[np.float64]
    candidates: NDArray[np.bool_]
    solved: NDArray[np.bool_]
    steps: NDArray[np.int16]
    depth: NDArray[np.int16]
    two_qubit_gates: NDArray[np.int16]

    def of(self, task: str) -> int:
        """The row of a task.

        Raises:
            CircuitError: the pool is not labelled for it.
        """
        if task not in self.tasks:
            raise CircuitError(complaint("", f"no labels for the task {task!r}", self.tasks, near=task))
        return self.tasks.index(task)

    @property
    def digest(self) -> str:
        """SHA-256 of the circuits, the same on every machine: what a result on this pool should cite."""
        content = hashlib.sha256(str(self.pool.wires).encode())
        for array in self.pool.arrays().values():
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()

    def packed(self) -> bytes:
        """The content of an `.npz` file that holds all of it: the pool's arrays, `tasks`, and the labels by name."""
        buffer, labels = io.BytesIO(), {name: getattr(self, name) for name in (*TABLES, "depth", "two_qubit_gates")}
        arrays: dict[str, Any] = {**self.pool.arrays(), **labels, "tasks": np.array(self.tasks)}
        np.savez_compressed(buffer, allow_pickle=False, wires=self.pool.wires, **arrays)
        return buffer.getvalue()


TABLES = ("costs", "rewards", "candidates", "solved", "steps")


def labelled(
    sampler: Sampler, count: int, seed: int, names: Sequence[str] = (), tell: Callable[[str], None] = lambda name: None
) -> Labelled:
    """The first `count` circuits of a space and their labels on the tasks `names`, all of that register by default.

    Labels come from the cache, where every task is kept for itself. `tell` hears each one's name first.

    Raises:
        CircuitError: a register without tasks, or an unknown task.
    """
    problems = PROBLEMS.get(sampler.wires)
    if problems is None:
        known = ", ".join(map(str, PROBLEMS))
        raise CircuitError(f"there are no benchmark tasks on {sampler.wires} wires, only on {known}")
    for name in names:
        if name not in problems:
            raise CircuitError(complaint("", f"there is no benchmark task {name!r}", problems, near=name))
    pool = sample(sampler, count, np.random.default_rng(seed))
    made = {name: problems[name] for name in names or problems}
    tables: dict[str, list[NDArray]] = {table: [] for table in TABLES}
    for name, problem in made.items():
        tell(name)
        training = Training(steps=problem.steps)
        key = (_said(sampler), count, seed, problem, asdict(training), FORMAT)
        found = kept("labels", key, TABLES, partial(_labels, pool, problem, training))
        for table in TABLES:
            tables[table].append(found[table])
    stacked: dict[str, Any] = {table: np.stack(rows) for table, rows in tables.items()}
    return Labelled(
        pool,
        tuple(made),
        **stacked,
        depth=depth(pool).astype(np.int16),
        two_qubit_gates=two_qubit_gates(pool).astype(np.int16),
    )


def _labels(pool: Pool, problem: Problem, training: Training) -> dict[str, NDArray]:
    task = problem.task()
    found = evaluate(pool, task, training, Batch())
    return {
        "costs": found.values,
        "rewards": task.reward(found.values),
        "candidates": task.candidate(found.values),
        "solved": task.solved(found.values),
        "steps": found.steps.astype(np.int16),
    }


def _said(sampler: Sampler) -> tuple:
    """All that decides what a sampler draws, in plain values."""
    maps = {name: coupling.pairs.tolist() for name, coupling in sampler.coupling_of.items()}
    plain = (sampler.wires, dict(sampler.gates), sampler.length, sampler.depth, sampler.reject)
    return (*plain, sampler.coupling.pairs.tolist(), maps)
