"""Whether a study of latent searches can run as it stands, and mean what it says."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.generation import decoders
from objectives.circuits.task import Task
from objectives.kinds.circuits import measurable, place, sampler_of, tasks
from search.kinds._drawing import share
from spaces.circuits.gates import CODES, GATE_SETS, GATES, MAX_WIRES
from spaces.circuits.pool import Pool
from spaces.circuits.sampler import Sampler
from spaces.columns import reach
from spaces.document import Node
from spaces.domains import Choice, Domain, Fixed
from spaces.space import Switch
from spaces.study import Study

GENERATED = ("validity", "uniqueness", "novelty", "generated", "gain")  # metrics that only generation gives
DESIGN = ("initial", "labels")  # knobs of searchers: how many circuits are drawn at random before the first is chosen
STARTS = 16  # product states that the best one is looked for from
NEAR = 1e-6  # relative distance at which a product state reaches the strict goal


def check(study: Study) -> None:
    """Refuses a study that cannot run, and warns of a goal that its circuits cannot reach.

    Raises:
        StudyError: the first thing that is wrong, with its place.
    """
    generation = reach(study.space.parts["generation"])
    invents = _range(generation["children"])[1] > 0
    for where, task in tasks(study):
        absent = {} if invents else dict.fromkeys(GENERATED, "is searched without generated circuits")
        absent |= {} if task.accuracy else {"accuracy": "has no held-out data"}
        absent |= {} if task.ground is not None else {"error": "has no least cost that is known exactly"}
        measurable(study, where, absent)
        sampler = sampler_of(study, task, where)
        _connected(sampler, place(study.document, "space", "circuits", "path"))
        _entangling(sampler, task, where)
        _embedded(study, sampler)
    if invents and _options(generation["how"]) != ("mutate",):
        _decoded(study)
    _sized(study)


def _connected(sampler: Sampler, where: Node) -> None:
    """Refuses a coupling map that falls apart, if there are gates to couple by."""
    two = [name for name in sampler.gates if GATES[CODES[name]].wires == MAX_WIRES]
    parts = [{wire} for wire in range(sampler.wires)]
    for first, second in (pair for name in two for pair in sampler.pairs(name).tolist()):
        joined = [part for part in parts if first in part or second in part]
        parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    if two and len(parts) > 1:
        named = "; ".join(", ".join(map(str, sorted(part))) for part in sorted(parts, key=min))
        raise where.wrong(f"no two-qubit gate joins these groups of wires: {named}", "a coupling map that is connected")


def _entangling(sampler: Sampler, task: Task, where: Node) -> None:
    """Warns where no gate can entangle although the strict goal asks for it."""
    if any(GATES[CODES[name]].wires == MAX_WIRES and name != "SWAP" for name in sampler.gates):
        return
    least = product_cost(task)
    if task.strict < least - NEAR * abs(least):
        what = f"no gate of its circuits entangles, and product states cost {least:.6g} or more;"
        message = f"{where.origin}: {where.path}: {what} it counts as solved from {task.strict:.6g} on"
        warnings.warn(message, stacklevel=2)


def product_cost(task: Task) -> float:
    """The least cost that was found of a circuit without entanglement: a U3 on every wire, trained from many starts."""
    layer = Pool.of(task.wires, [[("U3", q, 0.0, 0.0, 0.0) for q in range(task.wires)]] * STARTS)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, layer.theta.shape)
    return float(evaluate(replace(layer, theta=angles), task, Training(optimiser="lbfgs", steps=200)).best.min())


def _embedded(study: Study, sampler: Sampler) -> None:
    """Refuses an embedding that does not know all gates of the circuits."""
    circuits, switch = reach(study.space.parts["circuits"]), study.space.parts["embedding"]
    assert isinstance(switch, Switch)
    used = set(sampler.gates)
    if circuits["path"] == (Fixed(""),):
        used.update(gate for name in _options(circuits["gates"]) for gate in GATE_SETS[name])
    for name, group in switch.branches.items():
        for known in _options(reach(group).get("gates", ())):
            if missing := sorted(used - set(GATE_SETS[known])):
                where = place(study.document, "space", "embedding", name, "gates")
                wide = [other for other, gates in GATE_SETS.items() if used <= set(gates)]
                what = f"the embedding '{name}' reads gates of the set '{known}', the circuits also have"
                raise where.wrong(f"{what} {', '.join(missing)}", wide or "circuits of gates that one set holds")


def _decoded(study: Study) -> None:
    """Refuses an embedding without a way back where circuits are to be generated by it."""
    switch = study.space.parts["embedding"]
    assert isinstance(switch, Switch)
    for name in switch.branches:
        if name not in (able := decoders()):
            where = place(study.document, "space", "embedding", name)
            raise where.wrong(f"generation decodes, and the embedding '{name}' cannot", able)


def _sized(study: Study) -> None:
    """Refuses a pool without circuits or with fewer than are asked for, and a budget that ends before the search."""
    pool, generation = (reach(study.space.parts[name]) for name in ("pool", "generation"))
    switch = study.space.parts["searcher"]
    assert isinstance(switch, Switch)
    budget, where = study.probe.queries * study.goal.epochs, place(study.document, "space", "pool")
    said = f"budget.epochs: {study.goal.epochs} of {study.probe.queries} queries each"
    size = _range(pool["count"])[0]
    if _options(pool["sieve"]) != ("none",):
        size = share(size, _range(pool["keep"])[0])
    if size < 1:
        raise where.wrong("the sieve keeps no circuit: count times keep is below 1")
    if size < budget and not _range(generation["children"])[0]:
        raise where.wrong(f"{size} circuits are in the pool, fewer than {budget} queries ({said})")
    for name, group in switch.branches.items():
        knobs = reach(group)
        for knob in (knob for knob in DESIGN if knob in knobs):
            first = _range(knobs[knob])[1]
            if first >= budget:
                what = f"the searcher '{name}' takes its first {first} circuits at random, and the budget ends by then"
                raise place(study.document, "space", "searcher", name, knob).wrong(f"{what} ({said})")


def _options(domains: tuple[Domain, ...]) -> tuple:
    """What a knob that is set to words may be set to."""
    found = [option for domain in domains if isinstance(domain, (Fixed, Choice)) for option in domain.grid(1000)]
    return tuple(dict.fromkeys(found))


def _range(domains: tuple[Domain, ...]) -> tuple:
    """The least and the largest number that a knob may be set to."""
    ends = [end for domain in domains for end in domain.grid(1000)]
    return min(ends), max(ends)
