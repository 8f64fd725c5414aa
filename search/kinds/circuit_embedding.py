"""Pretrain an embedding of circuits on a pool, without labels, then probe it frozen: how far it takes a search.

The pool's circuits have been trained once on the tasks of the pool benchmark (`objectives.circuits.labelled`), so that
a search on it is replayed in a tenth of a second. What an embedding is for is what it is chosen by: how many candidates
REINFORCE (Sun et al., Quantum 10, 1994) finds in its latents, as a multiple of what random search finds. A study
chooses by some tasks and reports others beside them, `test_...`, which had no part in the choice.

An epoch is one of the embedding's. The study's budget decides how many there are, so that schedulers can stop a trial
early: whatever `epochs` an embedding's config has, a trial takes the budget's in its place. Computed on the CPU.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import torch

from objectives import SHELVES
from objectives.circuits.embedding import Embedding, Graphs
from objectives.circuits.embeddings import raw_mean
from objectives.circuits.labelled import PROBLEMS, Labelled, labelled
from objectives.circuits.latents import exported
from objectives.kinds import Failed, Metric, Metrics, Setting
from search.kinds._embedding_probes import Probing, chosen, probed
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.pool import CircuitError
from spaces.circuits.space import CircuitSpace
from spaces.columns import reach
from spaces.document import Node, StudyError
from spaces.domains import Choice, Fixed, Int
from spaces.space import Group, Switch, settled
from spaces.study import OneOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


@dataclass(frozen=True)
class Draws:
    """The pool that is learned from and probed on, the first circuits of the space."""

    wires: Annotated[int, Choice(*PROBLEMS)] = 4  # the register, one with benchmark tasks
    count: Annotated[int, Int(100, 1_000_000)] = 10_000  # circuits
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # of the circuits; the trial's own seed is that of the training


DATA = False
PARTS = {"circuits": CircuitSpace, "pool": Draws, "embedding": OneOf("embedding", default=("gin_vae",))}
DECODED = {  # what only an embedding with a decoder has
    "acc_ops": Metric("max", False, "share of the gates whose type is rebuilt, in circuits not trained on"),
    "acc_qubit": Metric("max", False, "share of the gates' positions on wires that are rebuilt"),
    "acc_adj": Metric("max", False, "share of the pairs of gates whose edge, or having none, is rebuilt"),
    "mean_corr_adj": Metric("max", False, "mean of what is rebuilt where there is an edge"),
    "mean_fal_pos_adj": Metric("min", False, "mean of what is rebuilt where there is none"),
    "kl": Metric("min", False, "divergence of a gate's latent from the standard normal, in nats"),
    "validity": Metric("max", False, "share of the invented graphs that are circuits"),
    "loose_validity": Metric("max", False, "share that begin and end as circuits do, gates in between"),
    "uniqueness": Metric("max", False, "of the valid ones, the share of different circuits"),
    "novelty": Metric("max", False, "of the valid ones, the share that the pool does not hold"),
}
METRICS = {
    "candidates_ratio": Metric("max", True, "candidates that REINFORCE finds, times what random search finds; mean"),
    "candidates_ratio_std": Metric("min", True, "its standard deviation over the seeds; not to choose by"),
    "smoothness": Metric("max", True, "correlation of a circuit's reward with its neighbours' mean; mean over tasks"),
    "ridge_r2": Metric("max", True, "R² of ridge regression of rewards, on circuits held out; mean over tasks"),
    "knn_r2": Metric("max", True, "R² of the mean reward of the ten nearest; mean over tasks"),
    "knn_spearman": Metric("max", True, "its rank correlation with the rewards; mean over tasks"),
    **DECODED,
}
Probe = Probing
SAID = (
    "in its latents REINFORCE finds {candidates_ratio:.2f} times the candidates of random search, "
    "{test_candidates_ratio:.2f} times on tasks that had no part in the choice",
    "its decoder rebuilds {acc_ops:.1%} of the gates, {acc_qubit:.1%} of their positions, {acc_adj:.1%} of the edges",
)
LOAD = '''\
"""Circuits in, vectors out."""

from pathlib import Path

import numpy as np

from objectives.circuits.latents import restored
from spaces.circuits.sampler import sample
from spaces.circuits.space import CircuitSpace

embedding = restored(Path(__file__).parent)
space = CircuitSpace(**{circuits}).sampler({wires})
print(embedding.embed(sample(space, 4, np.random.default_rng(0))).shape)
'''


def build(setting: Setting) -> CircuitEmbedding:
    """The trial of a setting, untrained."""
    return CircuitEmbedding(setting)


class CircuitEmbedding:
    """One trial: an embedding in training on a pool, and its probes.

    Attributes:
        epoch: epochs done; an embedding that needs no training stays what it is throughout.
        embedding: as far as it has come.
        pool: the circuits and what each comes to on the tasks of the probe.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        self.setting, self.probing, self.epoch = setting, setting.probe or Probing(), 0
        self.learned: Metrics = {}
        with _told():
            space, draws = CircuitSpace(**setting.config["circuits"]), Draws(**setting.config["pool"])
            self.pool = drawn(space, draws, self.probing)
            self.config, self.embedding = built(setting.config, setting.rungs[-1])

    def run(self) -> Iterator[Metrics]:
        with _told():
            fit = self.embedding.fit(self.pool.pool, self.setting.seed, self.setting.threads)
            for rung in [r for r in self.setting.rungs if r > self.epoch]:
                while self.epoch < rung:
                    self.learned = next(fit, self.learned)
                    self.epoch += 1
                    if bad := [name for name, value in self.learned.items() if not math.isfinite(value)]:
                        raise Failed(f"diverged: {bad[0]} became {self.learned[bad[0]]} in epoch {self.epoch}")
                yield _ordered(self.learned | self.probe())

    def probe(self) -> Metrics:
        """The metrics of the embedding as it stands; its training is not touched by it."""
        return probed(self.embedding, self.config, self.pool, self.probing)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "learned": dict(self.learned), "embedding": self.embedding.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.learned = state["epoch"], dict(state["learned"])
        self.embedding.load_state_dict(state["embedding"])


def _ordered(metrics: Metrics) -> Metrics:
    """Those of `METRICS` first."""
    return {name: metrics[name] for name in METRICS if name in metrics} | metrics


@contextmanager
def _told() -> Iterator[None]:
    """What cannot be done with circuits is a trial's failure, told on one line."""
    try:
        yield
    except StudyError as error:
        raise Failed(" ".join(str(error).split())) from None


def built(config: dict[str, Any], epochs: int) -> tuple[Any, Embedding]:
    """The embedding that a trial's config chose, untrained, and its config, which is to take so many epochs."""
    ((name, knobs),) = config["embedding"].items()
    component = SHELVES["embedding"].load(name)
    picked = component.config(**knobs)
    if hasattr(picked, "epochs"):
        picked = replace(picked, epochs=epochs)
    return picked, component.build(picked, config["pool"]["wires"], config["circuits"]["length"])


def drawn(space: CircuitSpace, draws: Draws, probing: Probing) -> Labelled:
    """The pool, and what its circuits come to on the tasks of the probe.

    Raises:
        StudyError: no circuit of the space fits the register, or it has no such tasks.
    """
    tasks, test_tasks = chosen(probing, draws.wires)
    return labelled(space.sampler(draws.wires), draws.count, draws.seed, (*tasks, *test_tasks))


def check(study: Study, data: None) -> None:
    """Raises StudyError where tasks, pool, circuits and embeddings of a study do not fit each other."""
    pool, circuits = _group(study, "pool"), _group(study, "circuits")
    fixed = settled(circuits)
    if len(fixed) < len(reach(circuits)):
        fixed |= {"length": 1, "depth": 1}  # the least that a circuit can be: only the rest is judged
    for wires in _values(pool.parts["wires"]):
        with _placed(_place(study, "probe")):
            chosen(study.probe, wires)
        with _placed(_place(study, "space", "circuits")):
            sampler = CircuitSpace(**fixed).sampler(wires)
        known = {"gates", "path"} <= fixed.keys()
        for name, config in _embeddings(study):
            _check_embedding(study, name, config, wires, set(sampler.gates) if known else set())
    least = min(_values(pool.parts["count"]))
    if least <= study.probe.queries:
        found = f"a pool of {least} circuits is too small for searches of {study.probe.queries} (probe.queries)"
        raise _place(study, "space", "pool", "count").wrong(found, f"more than {study.probe.queries}")


def _check_embedding(study: Study, name: str, config: Any, wires: int, gates: set[str]) -> None:
    """Holds an embedding, its open knobs at their defaults, against the study's budget, metric and gates."""
    place, metric = _place(study, "space", "embedding", name), study.goal.metric
    if isinstance(place.value, dict) and "epochs" in place.value:
        raise place.value["epochs"].wrong("how long an embedding is trained is for the budget to say", "budget.epochs")
    if metric in DECODED and not hasattr(SHELVES["embedding"].load(name).build(config, wires, 1), "generate"):
        found = f"'{name}' neither rebuilds nor invents circuits, so it has no metric '{metric}'"
        raise place.wrong(found, [other for other in METRICS if other not in DECODED])
    if "gates" in settled(_switch(study).branches[name]) and (foreign := gates - set(GATE_SETS[config.gates])):
        able = [gate_set for gate_set, names in GATE_SETS.items() if gates <= set(names)]
        raise place.wrong(f"its gate set '{config.gates}' lacks {', '.join(sorted(foreign))}", able)


def floors(study: Study, data: None) -> dict[str, Metrics]:
    """What must be beaten: the mean of raw gate rows, and the study's untrained encoders (the best of them).

    Probed as trials are; open knobs of pool, circuits and encoders are at their defaults.
    """
    torch.set_num_threads(max(1, int(study.resources.cpu)))
    space, draws = CircuitSpace(**settled(_group(study, "circuits"))), Draws(**settled(_group(study, "pool")))
    pool = drawn(space, draws, study.probe)

    def measured(name: str, config: Any) -> Metrics:
        embedding = SHELVES["embedding"].load(name).build(config, draws.wires, pool.pool.op.shape[1])
        deque(embedding.fit(pool.pool, study.goal.seed), maxlen=0)
        return probed(embedding, config, pool, study.probe)

    embeddings = _embeddings(study)
    graphs = next((config for _, config in embeddings if isinstance(config, Graphs)), Graphs(space.gates))
    found = {"raw": measured("raw_mean", raw_mean.Config(**{f.name: getattr(graphs, f.name) for f in fields(Graphs)}))}
    untrained = [measured(name, replace(config, epochs=0)) for name, config in embeddings if hasattr(config, "epochs")]
    if untrained:
        found["untrained"] = max(untrained, key=lambda metrics: study.goal.sign * metrics.get(study.goal.metric, 0.0))
    return found


def _embeddings(study: Study) -> list[tuple[str, Any]]:
    """The embeddings that a study may take, each with its config, open knobs at their defaults."""
    branches = _switch(study).branches
    return [(name, SHELVES["embedding"].load(name).config(**settled(group))) for name, group in branches.items()]


def _group(study: Study, part: str) -> Group:
    group = study.space.parts[part]
    assert isinstance(group, Group)
    return group


def _switch(study: Study) -> Switch:
    switch = study.space.parts["embedding"]
    assert isinstance(switch, Switch)
    return switch


def _values(domain: Any) -> Sequence[Any]:
    """The values of a domain of whole numbers or words; of a range its ends."""
    match domain:
        case Fixed(value):
            return [value]
        case Choice(options):
            return options
    return [domain.low, domain.high]


def _place(study: Study, *path: str) -> Node:
    """The node of a study at a path, or the last before it that is there."""
    node = study.document
    for name in path:
        if not isinstance(node.value, dict) or name not in node.value:
            break
        node = node.value[name]
    return node


@contextmanager
def _placed(place: Node) -> Iterator[None]:
    """What is wrong with circuits is told with the place in the study that asks for them."""
    try:
        yield
    except CircuitError as error:
        raise place.wrong(str(error)) from None


def files(config: dict[str, Any], data: Any, state: dict[str, Any]) -> dict[str, bytes]:
    """The embedding to take home: `embedding.json`, `embedding.safetensors`, and a script that loads them."""
    made, embedding = built(config, state["epoch"])
    embedding.load_state_dict(state["embedding"])
    ((name, _),) = config["embedding"].items()
    wires, length = config["pool"]["wires"], config["circuits"]["length"]
    load = LOAD.format(circuits=config["circuits"], wires=wires)
    return {**exported(embedding, name, made, wires, length), "load.py": load.encode()}
