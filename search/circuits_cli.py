"""The command line of circuits: `pretune circuits COMMAND`; what a command needs is imported when it runs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spaces.document import Node, StudyError, assign, complaint, describe, parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from objectives.circuits.evaluate import Evaluation, Evaluator, Training
    from objectives.circuits.task import Task
    from spaces.circuits.pool import Pool
    from spaces.circuits.sampler import Sampler
    from spaces.components import Component, Field

POOL, QASM, SPACE = (".npz",), (".qasm",), (".yaml", ".yml")
COUNT = 1000  # circuits that a space gives unless told otherwise
FEW = 8  # different values up to which a distribution is shown whole
PATIENCE = 16  # times the wanted number of circuits that are drawn to find so many different ones
RESTARTS = 2**32  # added to the seed: other random numbers than those that drew the circuits
TICK = 0.2  # seconds that a chunk of circuits should take at least
SETTINGS = {  # of each evaluator
    "batch": ("precision", "threads"),
    "noisy": ("depolarizing", "damping", "threads"),
    "pennylane": ("depolarizing", "damping"),
}
KNOBS = {  # what the fields of `Training` mean; their ranges and defaults are read from it
    "optimiser": "Trains the angles.",
    "step": "Size of a step; of no meaning to rotosolve and lbfgs.",
    "steps": "Training steps at most.",
    "tolerance": "Training stops when the cost changes by no more; negative: never.",
    "restarts": "Further starts at random angles, the best of all counts.",
}
SEED = click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random numbers.")
FILE = click.Path(path_type=Path)


class Ordered(click.Group):
    """Lists its commands in the order in which one uses them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


class Trainable(click.Command):
    """A command that has an option for each knob of `Training`, which is imported only when somebody asks."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        *given, last = super().get_params(context)
        return [*given, *(_option(field) for field in _knobs()), last]


def _knobs() -> Sequence[Field]:
    from objectives.circuits.evaluate import Training
    from spaces.components import fields

    return fields(Training)


def _option(field: Field) -> click.Option:
    limits = f"{field.domain}; " if field.domain else ""
    about = f"{KNOBS.get(field.name, '')} [{limits}by default {field.default}]"
    return click.Option([f"--{field.name}"], metavar={float: "NUMBER", int: "N"}.get(field.type, "NAME"), help=about)


@click.group(cls=Ordered)
def circuits() -> None:
    """Quantum circuits: draw random ones, look at them, evaluate them by thousands.

    \b
      pretune circuits sample --count 10000 --out pool.npz
      pretune circuits evaluate pool.npz --task h2 --save-best best.qasm
      pretune circuits draw best.qasm --out best.pdf

    \b
    A circuit space of your own, and what its circuits are to solve, is a file such as space.yaml; every key but
    the last may be left out and then is the paper's (Sun et al., Quantum 10, 1994):
      wires: 4
      gates: [RX, RZ, CZ]             # or a set such as paper, rotations, ions; or {RX: 1, CZ: 2}, with weights
      coupling: {edges: [[0, 1], [1, 2], [2, 3]]}   # or all, line, ring, grid, heavy_hex, ...
      length: 12                      # gates
      depth: 8                        # layers at most, or any
      hamiltonian: h.txt              # lines such as `0.5 Z0 Z1`; or a task: {spin: {model: xxz, sites: 4}}
    """


@circuits.command()
@click.argument("space", type=FILE, required=False)
@click.option("--count", type=click.IntRange(1), default=COUNT, show_default=True, help="How many circuits.")
@SEED
@click.option("--distinct", is_flag=True, help="Only circuits that differ by more than angles and commuting gates.")
@click.option("--out", type=FILE, help="The pool's file, .npz.")
def sample(space: Path | None, count: int, seed: int, distinct: bool, out: Path | None) -> None:
    """Draw random circuits from SPACE, a YAML file; by default from the paper's space.

    Prints what they are like. The same seed draws the same circuits, whatever their number.

    \b
      pretune circuits sample --count 100000 --distinct --out pool.npz
      pretune circuits sample space.yaml --seed 1 --out pool.npz
    """
    from spaces.circuits.reading import sampler_from

    _writable(out, POOL)
    pool = _drawn(sampler_from(_sections(space)[0]), count, seed, distinct)
    _console().print(_facts(pool))
    if out:
        with _writing(out):
            pool.save(out)
        click.echo(f"wrote   {out}")


@circuits.command()
@click.argument("source", metavar="POOL_OR_QASM", type=FILE)
@click.option("--row", type=click.IntRange(0), default=0, show_default=True, help="Which circuit of the pool.")
@click.option("--out", type=FILE, help="A file to write instead: .png, .svg, .pdf, or .qasm.")
@click.option("--qasm", type=click.Choice(["2", "3"]), help="As OpenQASM text of this version.")
def draw(source: Path, row: int, out: Path | None, qasm: str | None) -> None:
    """Draw a circuit of POOL_OR_QASM, a .npz or .qasm file: as text, a picture, or OpenQASM.

    \b
      pretune circuits draw pool.npz --row 17
      pretune circuits draw pool.npz --row 17 --out circuit.svg
      pretune circuits draw pool.npz --row 17 --qasm 3 > circuit.qasm
    """
    if qasm and out:
        _writable(out, QASM)
    pool = _circuits(source, (*POOL, *QASM))
    if row >= len(pool):
        raise StudyError(complaint(str(source), f"there is no circuit {row}", f"0 .. {len(pool) - 1}"))
    if qasm or (out and out.suffix in QASM):
        from objectives.circuits.edges.openqasm import to_qasm

        text = to_qasm(pool, row, int(qasm or 3))
        if out is None:
            click.echo(text, nl=False)
        else:
            _written(out, text)
        return
    from objectives.circuits.edges import drawing

    if out is None:
        click.echo(drawing.draw(pool, row))
    else:
        _writable(out, (*drawing.PICTURES, *QASM))
        with _writing(out):
            drawing.draw_mpl(pool, row, out)


@circuits.command(cls=Trainable)
@click.argument("source", metavar="[POOL_OR_QASM_OR_SPACE]", type=FILE, required=False)
@click.option("--task", "name", metavar="TASK", help="What the circuits are to do: a task, or a variant such as h2.")
@click.option("--hamiltonian", type=FILE, help="A file of Pauli words whose ground state they are to find.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one knob of the task.")
@click.option("--count", type=click.IntRange(1), show_default=str(COUNT), help="How many circuits of a space.")
@SEED
@click.option("--evaluator", type=click.Choice(list(SETTINGS)), default="batch", show_default=True, help="What runs it.")
@click.option("--precision", type=click.Choice(["double", "single"]), help="Of `batch`; by default double.")
@click.option("--threads", type=click.IntRange(0), help="Of `batch` and `noisy`; by default all processors.")
@click.option("--depolarizing", type=float, help="Of `noisy` and `pennylane`: probability of X, Y or Z behind a gate.")
@click.option("--damping", type=float, help="Of `noisy` and `pennylane`: probability of decay behind a gate.")
@click.option("--top", type=click.IntRange(0), default=10, show_default=True, help="How many circuits the table shows.")
@click.option("--out", type=FILE, help="A CSV file with a row for each circuit.")
@click.option("--save-best", type=FILE, help="A file for the best circuit: .qasm or .npz.")
@click.option("--no-training", is_flag=True, help="Take the circuits at the angles that they have.")
def evaluate(
    source: Path | None,
    name: str | None,
    hamiltonian: Path | None,
    settings: tuple[str, ...],
    count: int | None,
    seed: int,
    top: int,
    out: Path | None,
    save_best: Path | None,
    no_training: bool,
    **others: Any,
) -> None:
    """Train circuits on a task and rank them.

    The circuits are those of a pool (.npz), one circuit (.qasm), or random ones of a circuit space (.yaml), by
    default the paper's. `pretune methods` lists the tasks with their knobs.

    Reward, candidate and solved judge `cost`, that of the last training step, as published. `best` is the least cost
    on the way; circuits are ranked by it, and the best is drawn and saved at the angles where it was met.

    \b
      pretune circuits evaluate pool.npz --task h2
      pretune circuits evaluate space.yaml --count 20000 --hamiltonian h.txt --out results.csv
      pretune circuits evaluate circuit.qasm --task spin --set sites=4 --optimiser lbfgs --restarts 9
      pretune circuits evaluate pool.npz --task maxcut --evaluator noisy --depolarizing 0.01
    """
    from objectives.circuits.evaluate import fitting

    _writable(out, ())
    _writable(save_best, (*QASM, *POOL))
    training = _training(others, no_training)
    evaluator = _evaluator(**others)
    space, asked = _sections(source) if source is None or source.suffix in SPACE else (None, None)
    task = _task(_asked(asked, name, hamiltonian), settings)
    if space is None and count is not None:
        raise StudyError(complaint("--count", f"{source} holds circuits and is no space to draw them from"))
    pool = _circuits(source, (*POOL, *QASM, *SPACE)) if source and space is None else _random(space, task, count, seed)
    run = fitting(pool, task)
    if run.inputs and save_best and save_best.suffix in QASM:
        what = "these circuits read data, which OpenQASM has no word for"
        raise StudyError(complaint(str(save_best), what, POOL))
    console = _console()
    console.print(_asks(task))
    found, seconds = _evaluated(pool, task, training, evaluator, seed)
    rows = _rows(pool, task, found)
    if out:
        _written(out, _csv(rows))
    order = found.best.argsort(kind="stable")  # NaN comes last
    best = replace(found.pool[order[:1]], theta=found.best_theta[order[:1]])
    if save_best:
        _save(best, save_best)
    console.print("\n", _summary(task, found, best, int(order[0]), training, seconds), sep="")
    if top:
        console.print("\n", _ranking([rows[row] for row in order[:top]]), sep="")
    from objectives.circuits.edges.drawing import draw

    click.echo(f"\n{draw(best, 0)}")
    for path in filter(None, (out, save_best)):
        click.echo(f"wrote   {path}")


def _console(error: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=error, highlight=False, markup=False, emoji=False)


# Files in and out


def _text(path: Path) -> str:
    """The text of a file that a user named."""
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StudyError(complaint(str(path), "no such file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(complaint(str(path), f"cannot be read as text: {error}")) from None


def _circuits(path: Path, endings: tuple[str, ...]) -> Pool:
    """The circuits of a pool's file, or the one of an OpenQASM text."""
    if path.suffix in QASM:
        from objectives.circuits.edges.openqasm import from_qasm

        return from_qasm(_text(path), str(path))
    if path.suffix not in POOL:
        raise StudyError(complaint(str(path), f"'{path.suffix}' files hold no circuits", endings, near=path.suffix))
    from spaces.circuits.pool import Pool

    pool = Pool.load(path.expanduser())
    if not len(pool):
        raise StudyError(complaint(str(path), "the pool has no circuits"))
    return pool


def _sections(path: Path | None) -> tuple[Node, Node | None]:
    """The circuit space of a file, by default the paper's, and the task that the file names besides."""
    from spaces.circuits.reading import KEYS

    if path is None:
        return Node({}, "the paper's space"), None
    root = parse(_text(path), str(path))
    given = root.known([*KEYS, "task", "hamiltonian"], "circuit setting")
    task, hamiltonian = given.get("task"), given.get("hamiltonian")
    if hamiltonian:
        if task:
            raise hamiltonian.wrong("a file names a task or a Hamiltonian, not both")
        task = replace(hamiltonian, value={"paulis": replace(hamiltonian, value={"path": hamiltonian})})
    space = {name: child for name, child in given.items() if name in KEYS}
    return replace(root, value=space), task and _beside(task, path.expanduser().parent)


def _beside(task: Node, folder: Path) -> Node:
    """The task with the path among its knobs taken relative to a folder."""
    if not isinstance(task.value, dict):
        return task
    children = {name: _beside(child, folder) for name, child in task.value.items()}
    path = children.get("path")
    if path and isinstance(path.value, str) and path.value:
        children["path"] = replace(path, value=str(folder / Path(path.value).expanduser()))
    return replace(task, value=children)


def _writable(path: Path | None, endings: tuple[str, ...]) -> None:
    """Refuses a place before the work that nothing could be written to after it."""
    if path is None:
        return
    if endings and path.suffix not in endings:
        raise StudyError(complaint(str(path), f"cannot write '{path.suffix}' files", endings, near=path.suffix))
    if path.is_dir():
        raise StudyError(complaint(str(path), "this is a folder; the name of a file is needed"))
    around = next(folder for folder in path.absolute().parents if folder.exists())
    if not around.is_dir():
        raise StudyError(complaint(str(path), f"{around} is no folder"))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyError(complaint(str(path), f"cannot be written: {error}")) from None


def _written(path: Path, text: str) -> None:
    from spaces.files import write_whole

    with _writing(path):
        write_whole(path, text.encode())


def _save(pool: Pool, path: Path) -> None:
    """A pool of one, in the form that the name asks for."""
    from objectives.circuits.edges.openqasm import to_qasm

    if path.suffix in QASM:
        _written(path, to_qasm(pool, 0))
    else:
        with _writing(path):
            pool.save(path)
