"""What a user names on the command line of circuits, made into what is computed with.

A task is written as its name, `molecule` or `h2`, as `{paulis: h.txt}`, where a bare value stands for the first knob,
or with any of its knobs, `{molecule: {molecule: lih, bond: 1.5}}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from objectives import SHELVES
from objectives.circuits.evaluate import Evaluator, Training
from objectives.circuits.memory import afford
from objectives.circuits.task import Task
from spaces.circuits.canonical import distinct
from spaces.circuits.pool import Pool
from spaces.circuits.reading import ASIDE, KEYS, sampler_from
from spaces.circuits.sampler import Sampler, sample
from spaces.components import Component, fields
from spaces.document import Node, StudyError, assign, complaint, describe, parse
from spaces.domains import Choice
from spaces.reading import config

SPACE = (".yaml", ".yml")
PATIENCE = 16  # times the wanted number of circuits that are drawn to find so many different ones
NUMBERS = 100.0  # bytes that a gate may take while it is drawn
USES = {  # the settings of each evaluator
    "batch": ("precision", "threads"),
    "noisy": ("depolarizing", "damping", "threads"),
    "pennylane": ("depolarizing", "damping", "device", "shots"),
    "cuda": ("precision",),
}
SETTINGS = ("precision", "threads", "depolarizing", "damping", "device", "shots")


def text(path: Path) -> str:
    """The text of a file.

    Raises:
        StudyError: there is none, or it is no text.
    """
    _there(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(complaint(str(path), f"cannot be read as text: {error}")) from None


def _there(path: Path) -> None:
    if not path.is_file():
        raise StudyError(complaint(str(path), "this is a folder" if path.is_dir() else "no such file"))


def circuits(path: Path, endings: Sequence[str]) -> Pool:
    """The circuits of a pool's file, `.npz`, or the one of an OpenQASM text, `.qasm`.

    Raises:
        StudyError: the file is missing or damaged, holds no circuits, or has none of the `endings` that are allowed.
    """
    _there(path)
    if path.suffix == ".qasm":
        from objectives.circuits.edges.openqasm import from_qasm

        return from_qasm(text(path), str(path))
    if path.suffix != ".npz":
        raise StudyError(complaint(str(path), f"'{path.suffix}' files hold no circuits", endings, near=path.suffix))
    pool = Pool.load(path)
    if not len(pool):
        raise StudyError(complaint(str(path), "the pool has no circuits"))
    return pool


def undrawn(path: Path, count: int | None, endings: Sequence[str]) -> Pool:
    """What `circuits` gives, of which nobody may ask for so many."""
    if count is not None:
        raise StudyError(complaint("--count", f"{path} is no space to draw circuits from", SPACE))
    return circuits(path, endings)


def sections(path: Path | None) -> tuple[Node, Node | None]:
    """The circuit space of a YAML file, by default the paper's, and the task that the file names besides.

    Raises:
        StudyError: the file is missing or no YAML, or has an unknown key, or two tasks.
    """
    if path is None:
        return Node({}, "the paper's space"), None
    _there(path)
    if path.suffix not in SPACE:
        what = f"'{path.suffix}' files hold no circuit space"
        raise StudyError(complaint(str(path), what, SPACE, near=path.suffix))
    root = parse(text(path), str(path))
    given = root.known([*KEYS, *ASIDE], "circuit setting")
    task = given.get("task")
    if "hamiltonian" in given:
        if task:
            raise task.wrong("a file names a task or a Hamiltonian, not both")
        task = replace(given["hamiltonian"], value={"paulis": given["hamiltonian"]})
    return replace(root, value={name: child for name, child in given.items() if name in KEYS}), task


def sampler(space: Node, wires: int | None = None) -> Sampler:
    """The sampler of a circuit space; where it does not say on how many wires, on so many."""
    default = {} if wires is None else {"wires": Node(wires, space.origin, "wires")}
    return sampler_from(replace(space, value=default | space.value))


def drawn(sampler: Sampler, count: int, seed: int, different: bool = False) -> Pool:
    """The first `count` circuits that a seed draws, or the first that are `different`, angles aside.

    Raises:
        StudyError: there are hardly so many different ones, or they do not fit into memory.
    """
    most = count
    while True:
        afford(NUMBERS * most * sampler.length, f"{most:,} circuits of {sampler.length} gates")
        pool = sample(sampler, most, np.random.default_rng(seed))
        if not different:
            return pool
        rows = distinct(pool)[:count]
        if len(rows) == count:
            pool = pool[rows]
            return replace(pool, theta=pool.theta[:, : int(pool.parameters.max(initial=0))])
        if most >= PATIENCE * count:
            raise StudyError(complaint("--distinct", f"only {len(rows):,} of {most:,} circuits differ"))
        most *= 2


def training(given: Mapping[str, str | None], off: bool = False) -> Training | None:
    """The training that options ask for, by the names of `Training`'s knobs; None if it is `off`.

    Raises:
        StudyError: a value of another type or out of bounds, or any value where training is off.
    """
    flags = {name: f"--{name} {value}" for name, value in given.items() if value is not None}
    if off and flags:
        raise StudyError(complaint(next(iter(flags.values())), "this has no meaning with --no-training"))
    nodes = {name: Node(parse(given[name] or '""', flag).value, flag) for name, flag in flags.items()}
    return None if off else config(Node(nodes, "training"), Training)


def evaluator(name: str, given: Mapping[str, Any], seed: int) -> Evaluator:
    """The evaluator of that name with those of the settings that are not None; `seed` decides its shots, if any.

    Raises:
        StudyError: a setting that the evaluator does not have, or a wrong value.
    """
    settings = {setting: value for setting, value in given.items() if value is not None}
    for setting in settings:
        if setting not in USES[name]:
            having = [other for other, uses in USES.items() if setting in uses]
            raise StudyError(complaint(f"--{setting}", f"the evaluator '{name}' has no such setting", having))
    if name == "batch":
        from objectives.circuits.batch import Batch

        return Batch(**settings)
    if name == "cuda":
        from objectives.circuits.cuda import Cuda

        return Cuda(**settings)
    from objectives.circuits.density import Noise

    threads = settings.pop("threads", 0)
    if name == "noisy":
        from objectives.circuits.noisy import Noisy

        return Noisy(Noise(**settings), threads)
    from objectives.circuits.reference import Reference

    about = {key: settings.pop(key) for key in ("device", "shots") if key in settings}
    return Reference(noise=Noise(**settings), seed=seed, **about)


def asked(name: str | None, hamiltonian: Path | None) -> Node | None:
    """The task that the flags name, if any.

    Raises:
        StudyError: they name two.
    """
    if name is not None and hamiltonian is not None:
        raise StudyError(complaint("--hamiltonian", "there is a --task already; it is one or the other"))
    if hamiltonian is not None:
        flag = f"--hamiltonian {hamiltonian}"
        return Node({"paulis": Node(str(hamiltonian), flag)}, flag)
    return None if name is None else Node(name, f"--task {name}")


def task(node: Node | None, settings: Sequence[str], folder: Path) -> Task:
    """The task that a node names, with `KEY=VALUE` settings of its knobs; its file is looked for in `folder`.

    Raises:
        StudyError: no such task or knob, a value of another type or out of bounds, or a task that cannot be built.
    """
    known = _tasks()
    if node is None:
        raise StudyError(complaint("--task", "what the circuits are to do is not said", known))
    named = {node.value: replace(node, value=None)} if isinstance(node.value, str) else node.mapping("a task")
    if len(named) != 1:
        raise node.wrong(f"expected one task, found {describe(node)}", known)
    ((name, knobs),) = named.items()
    if name not in known:
        raise knobs.wrong(f"there is no task '{name}'", known, near=name)
    component, preset = known[name]
    knobs = _opened(knobs, preset, fields(component.config)[0].name, folder)
    for setting in settings:
        knobs = assign(knobs, setting)
    made = config(knobs, component.config)
    try:
        return component.build(made)
    except ValueError as error:
        raise node.wrong(str(error)) from None


def _tasks() -> dict[str, tuple[Component, dict[str, str]]]:
    """What a task may be called, and the knob that this settles.

    That is a component's name, or what only one of them can set its first knob to: `h2` is a `molecule`.
    """
    shelf, variants = SHELVES["task"], dict[str, list[tuple[Component, dict[str, str]]]]()
    loaded = [shelf.load(name) for name in shelf.names()]
    for component in loaded:
        first = fields(component.config)[0]
        for option in first.domain.options if isinstance(first.domain, Choice) else ():
            variants.setdefault(option, []).append((component, {first.name: option}))
    known: dict[str, tuple[Component, dict[str, str]]] = {component.name: (component, {}) for component in loaded}
    return known | {name: found[0] for name, found in variants.items() if len(found) == 1 and name not in known}


def _opened(knobs: Node, preset: Mapping[str, str], first: str, folder: Path) -> Node:
    """The mapping of knobs that a bare value, or none, stands for; `path` is made relative to `folder`."""
    given = knobs.value if isinstance(knobs.value, dict) else {} if knobs.value is None else {first: knobs}
    given = {name: replace(knobs, value=value) for name, value in preset.items()} | given
    path = given.get("path")
    if path and isinstance(path.value, str) and path.value:
        given["path"] = replace(path, value=str(folder / Path(path.value).expanduser()))
    return replace(knobs, value=given)
