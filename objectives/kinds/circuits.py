"""Draw circuits from a space, train them on a task, and keep the best: what the space holds for the task.

An epoch is a batch of circuits, drawn afresh, evaluated together by the compiled engine in milliseconds; so a trial is
a gate set, a coupling map, a length, a depth and a way of training, not a single circuit. Its metrics are over all
circuits that it has evaluated so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from objectives import SHELVES
from objectives.circuits.batch import Batch
from objectives.circuits.evaluate import Evaluation, Training, evaluate
from objectives.circuits.task import Task
from objectives.kinds import Failed, Metric, Metrics, Setting
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import Sampler, sample
from spaces.circuits.space import CircuitSpace
from spaces.circuits.structure import depth, two_qubit_gates
from spaces.columns import reach
from spaces.document import Node, StudyError
from spaces.domains import Choice, Int
from spaces.space import Switch, settled
from spaces.study import OneOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


@dataclass(frozen=True)
class Scoring:
    """How the costs of circuits are computed, and which of them counts."""

    precision: Annotated[str, Choice("double", "single")] = "double"  # of the states' numbers
    score: Annotated[str, Choice("last", "best")] = "last"  # which cost of a training counts; the paper's is the last

    def counted(self, found: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The costs that count, (B,), and the parameters where they were met, (B, P).

        Raises:
            Failed: a cost that is no finite number.
        """
        costs = found.values if self.score == "last" else found.best
        if not np.isfinite(costs).all():
            raise Failed(f"a circuit's cost became {costs[~np.isfinite(costs)][0]}")
        return costs, found.pool.theta if self.score == "last" else found.best_theta


@dataclass(frozen=True)
class Evaluating(Scoring):
    """How circuits are evaluated."""

    batch: Annotated[int, Int(1, 1_000_000)] = 500  # circuits per epoch


DATA = False
PARTS = {"task": OneOf("task"), "circuits": CircuitSpace, "training": Training}
METRICS = {
    "reward": Metric("max", False, "the best circuit's published reward"),
    "cost": Metric("min", False, "the best circuit's cost"),
    "candidates": Metric("max", False, "share of the circuits that reach the published threshold"),
    "solved": Metric("max", False, "share of the circuits that solve the problem in the strict, physical sense"),
    "mean_reward": Metric("max", False, "mean published reward of all circuits"),
    "two_qubit_gates": Metric("min", False, "two-qubit gates of the best circuit"),
    "depth": Metric("min", False, "depth of the best circuit"),
    "steps": Metric("min", False, "mean training steps of a circuit"),
    "accuracy": Metric("max", False, "of the best circuit on held-out data, where the task has some"),
}
Probe = Evaluating


def build(setting: Setting) -> Circuits:
    """The trial of a setting, nothing drawn yet."""
    return Circuits(setting)


class Circuits:
    """One trial: batches of circuits from one space, trained in one way.

    Attributes:
        epoch: batches done.
        best: the best circuit so far, trained: a pool of one, or None.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        config = setting.config
        self.setting, self.evaluating, self.epoch = setting, setting.probe or Evaluating(), 0
        self.task = built_task(config)
        self.training = Training(**config["training"])
        try:
            self.sampler = CircuitSpace(**config["circuits"]).sampler(self.task.wires)
        except StudyError as error:
            raise Failed(" ".join(str(error).split())) from None
        self.evaluator = Batch(self.evaluating.precision, setting.threads)
        self.best: Pool | None = None
        self.sums = dict.fromkeys(("circuits", "candidates", "solved", "reward", "steps"), 0.0)
        self.cost = float("inf")

    def run(self) -> Iterator[Metrics]:
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            while self.epoch < rung:
                self._epoch()
            yield self._metrics()

    def _epoch(self) -> None:
        """Draws, trains and counts one batch; what is drawn depends on seed and epoch alone."""
        rng = np.random.default_rng((self.setting.seed, self.epoch))
        try:
            pool = sample(self.sampler, self.evaluating.batch, rng)
            found = evaluate(pool, self.task, self.training, self.evaluator, seed=int(rng.integers(2**31)))
        except CircuitError as error:
            raise Failed(" ".join(str(error).split())) from None
        self._count(found)
        self.epoch += 1

    def _count(self, found: Evaluation) -> None:
        costs, theta = self.evaluating.counted(found)
        added = {
            "circuits": len(costs),
            "candidates": self.task.candidate(costs).sum(),
            "solved": self.task.solved(costs).sum(),
            "reward": self.task.reward(costs).sum(),
            "steps": found.steps.sum(),
        }
        self.sums = {name: self.sums[name] + float(added[name]) for name in self.sums}
        row = int(costs.argmin())
        if costs[row] < self.cost:
            one = slice(row, row + 1)
            self.cost, self.best = float(costs[row]), replace(found.pool[one], theta=theta[one])

    def _metrics(self) -> Metrics:
        count, best = self.sums["circuits"], self.best
        assert best is not None
        metrics = {
            "reward": float(self.task.reward(np.array(self.cost))),
            "cost": self.cost,
            "candidates": self.sums["candidates"] / count,
            "solved": self.sums["solved"] / count,
            "mean_reward": self.sums["reward"] / count,
            "two_qubit_gates": float(two_qubit_gates(best)[0]),
            "depth": float(depth(best)[0]),
            "steps": self.sums["steps"] / count,
            "circuits": count,
        }
        if self.task.accuracy:
            metrics["accuracy"] = self.task.accuracy(best)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        best = self.best and as_tensors(self.best)
        return {"epoch": self.epoch, "cost": self.cost, "sums": dict(self.sums), "wires": self.task.wires, "best": best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.cost, self.sums = state["epoch"], state["cost"], dict(state["sums"])
        self.best = best_circuit(state)


def best_circuit(state: dict[str, Any]) -> Pool | None:
    """The best circuit of a trial from its saved state."""
    best = state["best"]
    return best and of_tensors(state["wires"], best)


def as_tensors(pool: Pool) -> dict[str, torch.Tensor]:
    """The arrays of a pool as a trial's state holds them."""
    return {name: torch.from_numpy(array.copy()) for name, array in pool.arrays().items()}


def of_tensors(wires: int, tensors: dict[str, torch.Tensor]) -> Pool:
    """The pool whose arrays `as_tensors` gave."""
    return Pool(wires, **{name: tensor.numpy() for name, tensor in tensors.items()})


def built_task(config: dict[str, Any]) -> Task:
    """The task that a config chose.

    Raises:
        Failed: the task cannot be built.
    """
    ((name, knobs),) = config["task"].items()
    component = SHELVES["task"].load(name)
    try:
        return component.build(component.config(**knobs))
    except ValueError as error:
        raise Failed(" ".join(str(error).split())) from None


def check(study: Study, data: None) -> None:
    """Builds each task of the study, and each circuit space that it settles, so that what is wrong is said at once."""
    for where, task in tasks(study):
        measurable(study, where, {"accuracy": "has no held-out data"} if task.accuracy is None else {})
        sampler_of(study, task, where)


def measurable(study: Study, where: Node, absent: Mapping[str, str]) -> None:
    """Refuses a study that chooses by a metric which the task at `where` does not give; `absent` says why.

    Raises:
        StudyError: it does.
    """
    metric = study.goal.metric
    if metric in absent:
        others = [name for name in study.objective.module.METRICS if name not in absent]
        raise where.wrong(f"this task {absent[metric]}, so no metric '{metric}'", others)


def sampler_of(study: Study, task: Task, where: Node) -> Sampler:
    """What a study's trials draw circuits from for a task, which stands at `where`; open knobs at their least.

    Raises:
        StudyError: no circuit of the study's space fits the task.
    """
    group = study.space.parts["circuits"]
    fixed = settled(group)
    if len(fixed) < len(reach(group)):
        fixed = {name: fixed[name] for name in ("path", "coupling", "gates") if name in fixed}
        fixed |= {"length": 1, "depth": 1}  # the least that a circuit can be: only the rest is judged
    try:
        return CircuitSpace(**fixed).sampler(task.wires)
    except StudyError as error:
        raise where.wrong(f"no circuit space of this study serves it: {error}") from None


def floors(study: Study, data: None) -> dict[str, Metrics]:
    """What must be beaten: the register left alone, and untrained circuits of the paper's space.

    Where a study has several tasks, the floors are those of the first.
    """
    (_, task), rng = next(tasks(study)), np.random.default_rng(study.goal.seed)
    pools = {
        "empty": Pool.of(task.wires, [[]]),
        "untrained": sample(CircuitSpace().sampler(task.wires), study.probe.batch, rng),
    }
    found = {}
    for name, pool in pools.items():
        costs = evaluate(pool, task, evaluator=Batch(threads=1)).values
        row = slice(int(costs.argmin()), int(costs.argmin()) + 1)
        found[name] = {
            "reward": float(task.reward(costs.min())),
            "cost": float(costs.min()),
            "candidates": float(task.candidate(costs).mean()),
            "solved": float(task.solved(costs).mean()),
            "mean_reward": float(task.reward(costs).mean()),
            "two_qubit_gates": float(two_qubit_gates(pool[row])[0]),
            "depth": float(depth(pool[row])[0]),
            "steps": 0.0,
        }
    return found


def tasks(study: Study) -> Iterator[tuple[Node, Task]]:
    """Each task that the study may take, its open knobs at their defaults, and its place.

    Raises:
        StudyError: a task cannot be built.
    """
    switch = study.space.parts["task"]
    assert isinstance(switch, Switch)
    for name, group in switch.branches.items():
        where = place(study.document, "space", "task", name)
        try:
            yield where, built_task({"task": {name: settled(group)}})
        except Failed as failure:
            raise where.wrong(str(failure)) from None


def place(document: Node, *path: str) -> Node:
    """The node at a path of a document, or the deepest one above it that is there."""
    for name in path:
        if not isinstance(document.value, dict) or name not in document.value:
            break
        document = document.value[name]
    return document


def files(config: dict[str, Any], data: dict[str, Any] | None, state: dict[str, Any]) -> dict[str, bytes]:
    """The best circuit to take home, by file name."""
    best = best_circuit(state)
    assert best is not None
    return circuit_files(best)


def circuit_files(best: Pool) -> dict[str, bytes]:
    """A circuit, a pool of one, as the arrays, a drawing in text and as a picture, and OpenQASM 3, by file name."""
    from objectives.circuits.edges.drawing import draw, picture
    from objectives.circuits.edges.openqasm import to_qasm

    found = {
        "circuit.npz": best.packed(),
        "circuit.txt": (draw(best, 0) + "\n").encode(),
        "circuit.png": picture(best, 0),
    }
    if not best.inputs:
        found["circuit.qasm"] = to_qasm(best, 0, 3).encode()
    return found
