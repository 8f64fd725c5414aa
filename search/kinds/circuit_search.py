"""Search a pool of circuits for those that solve a task: a trial is one latent search, an epoch a batch of its queries.

A pool is drawn from a space and, if wanted, sieved by a score that needs no training; an embedding learns it without
labels; a searcher then asks for circuits by their latents, is told the reward of each once it is trained, and asks for
the next. `budget.epochs: 10` with 100 queries an epoch are the published 1,000 queries (Sun et al., Quantum 10, 1994).

The pool and its embedding depend on `pool.seed` alone, so that all trials search the same latents, which are learnt
once and kept; a trial's own seed decides its search. Metrics are over all circuits that it has evaluated. The best
circuit is that of the best reward, and of such as agree to five decimals the one with fewest two-qubit gates, then
layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from objectives.circuits.batch import Batch
from objectives.circuits.evaluate import Training, fitting
from objectives.circuits.generation import Generation, Tally, children
from objectives.features import spread
from objectives.kinds import Failed, Metric, Metrics, Setting
from objectives.kinds.circuits import Scoring, as_tensors, built_task, of_tensors, tasks
from search.kinds._drawing import Drawing
from search.kinds._landscape import Landscape
from search.kinds._queries import Queries, front, invented, measured, standing
from search.kinds._stopping import Stopping, Trainer
from spaces.circuits.pool import Pool
from spaces.circuits.space import CircuitSpace
from spaces.circuits.structure import depth, two_qubit_gates
from spaces.document import StudyError
from spaces.domains import Int
from spaces.space import Switch, settled
from spaces.study import OneOf, Study

FLOORS = 3  # random searches that the floor is the mean of
VISITED, UNVISITED = 10_000, 2_000  # circuits that the map of the latents shows, at most


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


@dataclass(frozen=True)
class Searching(Scoring):
    """How far an epoch goes, and how circuits are evaluated."""

    queries: Annotated[int, Int(1, 1_000_000)] = 100  # circuits evaluated per epoch


DATA = False
PARTS = {
    "task": OneOf("task"),
    "circuits": CircuitSpace,
    "pool": Drawing,
    "embedding": OneOf("embedding", default=("gin_vae",)),
    "searcher": OneOf("searcher", default=("reinforce",)),
    "generation": Generation,
    "training": Training,
    "stopping": Stopping,
}
METRICS = {
    "cost": Metric("min", False, "the best circuit's cost"),
    "error": Metric("min", False, "the best circuit's cost above the exact least one, where that is known"),
    "reward": Metric("max", False, "the best circuit's published reward"),
    "regret": Metric("min", False, "how much the best reward falls short of the exact optimum's, or of 1"),
    "candidates": Metric("max", False, "circuits that reached the published threshold"),
    "solved": Metric("max", False, "circuits that solved the problem in the strict, physical sense"),
    "mean_reward": Metric("max", False, "mean published reward of the last epoch's queries"),
    "first_candidate": Metric("min", False, "queries until the first candidate; one more than the budget if none"),
    "first_solved": Metric("min", False, "queries until the first that solved it; one more than the budget if none"),
    "evaluations": Metric("min", False, "training steps so far: evaluations of a cost and its gradient"),
    "two_qubit_gates": Metric("min", False, "two-qubit gates of the best circuit"),
    "depth": Metric("min", False, "depth of the best circuit"),
    "queries": Metric("min", False, "circuits evaluated so far"),
    "validity": Metric("max", False, "share of the generated candidates that were circuits of the space as they came"),
    "uniqueness": Metric("max", False, "share of them that differ from each other"),
    "novelty": Metric("max", False, "share of those that neither the pool nor the parents had"),
    "generated": Metric("max", False, "generated circuits among those evaluated"),
    "gain": Metric(
        "max", False, "the best generated circuit's reward above the best drawn one's; 0 before there are any"
    ),
    "accuracy": Metric("max", False, "of the best circuit on held-out data, where the task has some"),
}
SAID = (
    "cost {cost:.6f}",
    "{error:.1e} above the least cost there is",
    "{two_qubit_gates:.0f} two-qubit gates, depth {depth:.0f}",
    "{solved:.0f} of {queries:.0f} circuits solved the problem, {candidates:.0f} reached the published threshold",
)
Probe = Searching


def build(setting: Setting) -> CircuitSearch:
    """The search of a setting, nothing drawn yet."""
    return CircuitSearch(setting)


class CircuitSearch:
    """One trial: a searcher on a pool.

    Its state is what it has asked, what came of it, and who joined the pool when; the searcher is told all of that
    again.

    Attributes:
        epoch: batches of queries done.
        queries: what was evaluated so far.
        front: the queries whose circuits no other is as good as in reward, two-qubit gates and depth at once, the best
            first.
        trained: the circuits of the front and those that may be parents, at their trained angles: by query, a pool of
            one each.
        joined: generated circuits, and how many queries there were when they joined the pool.
        tally: what came of generating them.
        map: what the map of the latents shows after the last rung (`_mapped`); empty before, and where none are seen.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        config, probe = setting.config, setting.probe or Searching()
        self.setting, self.searching, self.epoch = setting, probe, 0
        self.task, self.generation = built_task(config), Generation(**config["generation"])
        evaluator = Batch(probe.precision, setting.threads)
        training, stopping = Training(**config["training"]), Stopping(**config["stopping"])
        self.trainer = Trainer(self.task, training, stopping, probe, evaluator)
        self.queries = Queries.none()
        self.front: list[int] = []
        self.trained: dict[int, Pool] = {}
        self.joined: list[tuple[int, Pool]] = []
        self.tally = Tally()
        self.map: dict[str, NDArray] = {}

    def run(self) -> Iterator[Metrics]:
        try:
            landscape = self._landscape()
            for rung in [r for r in self.setting.rungs if r > self.epoch]:
                while self.epoch < rung:
                    self._epoch(landscape)
                self.map = {} if landscape.blind else self._mapped(landscape)
                yield self._metrics(len(landscape.drawn))
        except StudyError as error:
            raise Failed(" ".join(str(error).split())) from None

    def _landscape(self) -> Landscape:
        """The circuits and a searcher that knows all that happened so far."""
        landscape, told = Landscape(self.setting, self.task.wires), 0
        for until, circuits in [*self.joined, (len(self.queries), None)]:
            rewards = self.task.reward(self.queries.cost[told:until])
            landscape.searcher.tell(self.queries.circuit[told:until], rewards)
            told = until
            if circuits is not None:
                landscape.extend(circuits)
        return landscape

    def _epoch(self, landscape: Landscape) -> None:
        """New circuits, if any are wanted, then one batch of queries, or what is left of the pool."""
        if self.generation.children and self.epoch:
            self._generate(landscape)
        end = len(self.queries) + self.searching.queries
        while len(self.queries) < end:
            asked = landscape.searcher.ask(min(landscape.searcher.batch, end - len(self.queries)))
            if not len(asked):
                break
            self._evaluate(asked, landscape.pool[asked])
            landscape.searcher.tell(asked, self.task.reward(self.queries.cost[-len(asked) :]))
        self.epoch += 1

    def _evaluate(self, asked: NDArray[np.int64], pool: Pool) -> None:
        """Trains circuits, and takes note of them and of those that are among the best."""
        count = len(self.queries)
        seed = np.random.default_rng((self.setting.seed, 0, count)).integers(2**31)
        found = self.trainer.train(pool, self.queries.judged, int(seed))
        self.queries = self.queries.then(Queries.of(asked, found))
        new = {count + row: found.pool[row : row + 1] for row in range(len(asked))}
        standings, rows = standing(self.task, self.queries), np.array([*self.front, *new])
        self.front = rows[front(standings[rows])].tolist()
        trained = {**self.trained, **new}
        self.trained = {row: trained[row] for row in dict.fromkeys([*self.front, *self._elite(trained)])}

    def _elite(self, trained: Iterable[int]) -> list[int]:
        """Those of some queries whose circuits may be parents: the best."""
        if not self.generation.children:
            return []
        rows = np.array(sorted(trained))
        order = np.lexsort(standing(self.task, self.queries)[rows].T[::-1])
        return rows[order[: self.generation.parents]].tolist()

    def _generate(self, landscape: Landscape) -> None:
        """Lets children of the best circuits join the pool."""
        elite, rng = self._elite(self.trained), np.random.default_rng((self.setting.seed, 1, self.epoch))
        if self.task.prepare:  # what was trained is another circuit
            parents = landscape.pool[self.queries.circuit[elite]]
        else:
            parents = Pool.stack([self.trained[row] for row in elite])
        made = children(self.generation, landscape.embedding, parents, landscape.sampler, rng, landscape.known)
        self.tally = summed([self.tally, *made.tallies.values()])
        if len(born := Drawing(**self.setting.config["pool"]).allowed(made.pool)):
            self.joined.append((len(self.queries), born))
            landscape.extend(born)

    def _mapped(self, landscape: Landscape) -> dict[str, NDArray]:
        """What a map needs of the latents, so that nobody who looks has to learn them again.

        `query`, the circuits evaluated, evenly spread, with the front; `circuit`, the indices of others, and their
        `two_qubit_gates` and `depth` as they would be run; `latents` of these all, the others' first; the pool's plane.
        """
        query = np.union1d(spread(np.arange(len(self.queries)), VISITED), np.array(self.front, np.int64))
        circuit = landscape.unvisited(self.queries.circuit, UNVISITED)
        pool = fitting(landscape.pool[circuit], self.task)
        return {
            "query": query,
            "circuit": circuit,
            "two_qubit_gates": two_qubit_gates(pool).astype(np.int64),
            "depth": depth(pool).astype(np.int64),
            "latents": landscape.latents[np.concatenate([circuit, self.queries.circuit[query]])],
            **landscape.plane,
        }

    def _metrics(self, drawn: int) -> Metrics:
        most = self.searching.queries * self.setting.rungs[-1]
        metrics = measured(self.task, self.queries, self.searching.queries, most)
        if self.generation.children:
            metrics |= self.tally.rates() | invented(self.task, self.queries, drawn)
        if self.task.accuracy:
            metrics["accuracy"] = self.task.accuracy(self.trained[self.front[0]])
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "wires": self.task.wires,
            "queries": self.queries.tensors(),
            "front": list(self.front),
            "trained": {row: as_tensors(pool) for row, pool in self.trained.items()},
            "joined": [(count, as_tensors(pool)) for count, pool in self.joined],
            "tally": asdict(self.tally),
            "map": {name: torch.from_numpy(array.copy()) for name, array in self.map.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        wires = state["wires"]
        self.epoch, self.queries, self.front = state["epoch"], Queries.of_tensors(state["queries"]), state["front"]
        self.trained = {row: of_tensors(wires, tensors) for row, tensors in state["trained"].items()}
        self.joined = [(count, of_tensors(wires, tensors)) for count, tensors in state["joined"]]
        self.tally = Tally(**state["tally"])
        self.map = {name: tensor.numpy() for name, tensor in state.get("map", {}).items()}


def summed(tallies: Iterable[Tally]) -> Tally:
    """The tally of all that several count."""
    return Tally(*(sum(column) for column in zip(*map(astuple, tallies), strict=True)))


def check(study: Study, data: None) -> None:
    """Builds each task and circuit space of the study and counts its circuits, so that what is wrong is said at once.

    Raises:
        StudyError: the first thing that is wrong, with its place.
    """
    from search.kinds._search_check import check as checked

    checked(study)


def floors(study: Study, data: None) -> dict[str, Metrics]:
    """What must be beaten: the register left alone, and as many circuits of the pool at random, the mean of several.

    Where a study has several tasks, the floors are those of the first; open knobs are at their defaults.
    """
    (_, task), epochs = next(tasks(study)), study.goal.epochs
    switch = study.space.parts["task"]
    assert isinstance(switch, Switch)
    name, knobs = next(iter(switch.branches.items()))
    config: dict[str, Any] = {"task": {name: settled(knobs)}, "searcher": {"random": {}}}
    for part, kind in {"circuits": CircuitSpace, "pool": Drawing, "training": Training}.items():
        config[part] = asdict(kind(**settled(study.space.parts[part])))
    config |= {"generation": asdict(Generation()), "stopping": asdict(Stopping())}
    threads, found = max(1, int(study.resources.cpu)), list[Metrics]()
    for number in range(FLOORS):
        seed = int(np.random.default_rng((study.goal.seed, number)).integers(2**31))
        found += CircuitSearch(Setting(config, seed, (epochs,), probe=study.probe, threads=threads)).run()
    random = {metric: float(np.mean([metrics[metric] for metrics in found])) for metric in found[0]}
    idle = Trainer(task, Training(steps=0), Stopping(), study.probe, Batch(study.probe.precision, 1))
    empty = Queries.of(np.zeros(1, np.int64), idle.train(Pool.of(task.wires, [[]]), np.zeros(0), 0))
    return {"empty": measured(task, empty, 1, study.probe.queries * epochs), "random": random}


def files(config: dict[str, Any], data: dict[str, Any] | None, state: dict[str, Any]) -> dict[str, bytes]:
    """What a search found, by file name; see `search.kinds._search_outputs`."""
    from search.kinds._search_outputs import files as made

    return made(config, state)


def latent_map(config: dict[str, Any], state: dict[str, Any]) -> tuple[NDArray, dict[str, list[Any]]] | None:
    """The latents that a search has seen, and what came of each circuit; see `search.kinds._search_outputs`."""
    from search.kinds._search_outputs import latent_map as made

    return made(config, state)
