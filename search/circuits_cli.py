"""The command line of circuits: `pretune circuits COMMAND`; what a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spaces.document import StudyError, complaint

if TYPE_CHECKING:
    from rich.console import Console

    from spaces.circuits.pool import Pool
    from spaces.components import Field

POOL, QASM = (".npz",), (".qasm",)  # what a file is, by its ending
COUNT = 1000  # circuits that a space gives unless told otherwise
KNOBS = {  # what the knobs of training mean; their ranges and defaults are read from `Training`
    "optimiser": "How angles are trained.",
    "step": "Size of a step; has no meaning to rotosolve and lbfgs.",
    "steps": "Training steps at most.",
    "tolerance": "Training stops when the cost changes by no more; negative: never.",
    "restarts": "Further starts at random angles, of which the best counts.",
}
SEED = click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of all chance.")
FILE = click.Path(path_type=Path)


class Ordered(click.Group):
    """Lists its commands in the order in which one uses them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


class Trainable(click.Command):
    """A command with an option for each knob of `Training`, which is imported only when somebody asks for them."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        from objectives.circuits.evaluate import Training
        from spaces.components import fields

        *given, help_ = super().get_params(context)
        return [*given, *(_option(field) for field in fields(Training)), help_]


def _option(field: Field) -> click.Option:
    limits = f"{field.domain}; " if field.domain else ""
    about = f"{KNOBS.get(field.name, '')} [{limits}default: {field.default}]"
    return click.Option([f"--{field.name}"], metavar={float: "NUMBER", int: "N"}.get(field.type, "NAME"), help=about)


@click.group(cls=Ordered)
def circuits() -> None:
    """Draw quantum circuits at random, look at them, evaluate them by the thousand.

    \b
      pretune circuits sample --count 10000 --out pool.npz
      pretune circuits evaluate pool.npz --task h2 --save-best best.qasm
      pretune circuits draw best.qasm --out best.pdf

    \b
    A circuit space of your own is a YAML file. Every key may be left out and then is
    the paper's (Sun et al., Quantum 10, 1994); the last one says what to solve.
      wires: 4
      gates: [RX, RZ, CZ]       # or a set: paper, rotations, ions, ...; or weights: {RX: 1, CZ: 2}
      coupling: {edges: [[0, 1], [1, 2], [2, 3]]}     # or all, line, ring, grid, heavy_hex, ...
      length: 12                # gates
      depth: 8                  # layers at most, or any
      hamiltonian: h.txt        # lines such as `0.5 Z0 Z1`; or task: {spin: {model: xxz, sites: 4}}
    """


@circuits.command()
@click.argument("space", type=FILE, required=False)
@click.option("--count", type=click.IntRange(1), default=COUNT, show_default=True, help="How many circuits.")
@SEED
@click.option("--distinct", is_flag=True, help="Only circuits that differ in more than angles and commuting gates.")
@click.option("--out", type=FILE, help="The pool's file, .npz.")
def sample(space: Path | None, count: int, seed: int, distinct: bool, out: Path | None) -> None:
    """Draw random circuits from SPACE, a YAML file, or from the paper's space.

    Prints what they are like. A seed draws the same circuits, however many are wanted.

    \b
      pretune circuits sample --count 100000 --distinct --out pool.npz
      pretune circuits sample space.yaml --seed 1 --out pool.npz
    """
    from search import circuits_input, circuits_report

    _writable(out, POOL)
    sampler = circuits_input.sampler(circuits_input.sections(space)[0])
    pool = circuits_input.drawn(sampler, count, seed, distinct)
    if out:
        _save(pool, out)
    _console().print(circuits_report.facts(pool))


@circuits.command()
@click.argument("source", metavar="POOL_OR_QASM", type=FILE)
@click.option("--row", type=click.IntRange(0), default=0, show_default=True, help="Which circuit of the pool.")
@click.option("--out", type=FILE, help="A file to write: .png, .svg, .pdf, or .qasm.")
@click.option("--qasm", type=click.Choice(["2", "3"]), help="As OpenQASM text of this version.")
def draw(source: Path, row: int, out: Path | None, qasm: str | None) -> None:
    """Draw a circuit of a .npz or .qasm file: as text, as a picture, or as OpenQASM.

    \b
      pretune circuits draw pool.npz --row 17
      pretune circuits draw pool.npz --row 17 --out circuit.svg
      pretune circuits draw pool.npz --row 17 --qasm 3 > circuit.qasm
    """
    from objectives.circuits.edges import drawing, openqasm
    from search import circuits_input

    _writable(out, QASM if qasm else (*drawing.PICTURES, *QASM))
    pool = circuits_input.circuits(source, (*POOL, *QASM))
    if row >= len(pool):
        raise StudyError(complaint(str(source), f"there is no circuit {row}", f"0 .. {len(pool) - 1}"))
    if out and out.suffix not in QASM:
        with _writing(out):
            drawing.draw_mpl(pool, row, out)
    elif out:
        _write(out, openqasm.to_qasm(pool, row, int(qasm or 3)))
    else:
        click.echo(openqasm.to_qasm(pool, row, int(qasm)).rstrip() if qasm else drawing.draw(pool, row))


@circuits.command(cls=Trainable)
@click.argument("source", metavar="[POOL_OR_QASM_OR_SPACE]", type=FILE, required=False)
@click.option("--task", "name", metavar="TASK", help="What the circuits are to do, such as maxcut, or a variant, h2.")
@click.option("--hamiltonian", type=FILE, help="A file of Pauli words whose ground state they are to find.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one knob of the task.")
@click.option("--count", type=click.IntRange(1), help=f"How many circuits of a space.  [default: {COUNT}]")
@SEED
@click.option(
    "--evaluator",
    type=click.Choice(["batch", "noisy", "pennylane", "cuda"]),
    default="batch",
    show_default=True,
    help="What runs the circuits: the compiled engine, exact density matrices, PennyLane, the engine on a GPU.",
)
@click.option(
    "--precision", type=click.Choice(["double", "single"]), help="Of batch and cuda.  [default: double; cuda: single]"
)
@click.option("--threads", type=click.IntRange(0), help="Of batch and noisy.  [default: all processors]")
@click.option("--depolarizing", type=float, help="Of noisy and pennylane: probability of X, Y or Z behind a gate.")
@click.option("--damping", type=float, help="Of noisy and pennylane: probability of decay behind a gate.")
@click.option("--device", help="Of pennylane: any installed device, such as lightning.qubit.")
@click.option("--shots", type=click.IntRange(0), help="Of pennylane: measurements of each word.  [default: 0, exact]")
@click.option("--top", type=click.IntRange(0), default=10, show_default=True, help="How many circuits to show.")
@click.option("--out", type=FILE, help="A CSV file with a row a circuit.")
@click.option("--save-best", type=FILE, help="A file for the best circuit, .qasm or .npz.")
@click.option("--no-training", is_flag=True, help="Take the circuits at the angles that they have.")
def evaluate(
    source: Path | None,
    name: str | None,
    hamiltonian: Path | None,
    settings: tuple[str, ...],
    count: int | None,
    seed: int,
    evaluator: str,
    top: int,
    out: Path | None,
    save_best: Path | None,
    no_training: bool,
    **numbers: Any,
) -> None:
    """Train circuits for a task and rank them.

    The circuits are those of a pool (.npz), one circuit (.qasm), or random ones of a circuit space (.yaml), by
    default the paper's. `pretune methods` lists the tasks and their knobs.

    Reward, candidate and solved judge `cost`, that of the last training step, as published. `best` is the least cost
    on the way: circuits are ranked by it, and the best one is drawn and saved with the angles that gave it.

    \b
      pretune circuits evaluate pool.npz --task h2
      pretune circuits evaluate space.yaml --count 20000 --hamiltonian h.txt --out results.csv
      pretune circuits evaluate circuit.qasm --task spin --set sites=4 --optimiser lbfgs --restarts 9
      pretune circuits evaluate pool.npz --task maxcut --evaluator noisy --depolarizing 0.01
    """
    from objectives.circuits.evaluate import fitting
    from search import circuits_input as given
    from search import circuits_report as report

    _writable(out, ())
    _writable(save_best, (*QASM, *POOL))
    runs = given.evaluator(evaluator, {name: numbers.pop(name) for name in given.SETTINGS}, seed)
    trained = given.training(numbers, no_training)
    space, written = given.sections(source) if source is None or source.suffix in given.SPACE else (None, None)
    named = given.asked(name, hamiltonian)
    task = given.task(named or written, settings, Path() if named or not source else source.parent)
    if space:
        pool = given.drawn(given.sampler(space, task.wires), count or COUNT, seed)
    else:
        pool = given.undrawn(source or Path(), count, (*POOL, *QASM, *given.SPACE))
    if fitting(pool, task).inputs and save_best and save_best.suffix in QASM:
        raise StudyError(complaint(str(save_best), "these circuits read data, as OpenQASM text cannot", POOL))
    console, aside = _console(), _console(stderr=True)
    report.make_ready(pool, task, trained, runs, aside)
    console.print(report.wanted(task), "", sep="\n")
    found, seconds = report.evaluated(pool, task, trained, runs, seed, aside)
    order, columns = found.best.argsort(kind="stable"), report.columns(pool, task, found)
    best = replace(found.pool[order[:1]], theta=found.best_theta[order[:1]])
    console.print(report.summary(task, found, best, trained, seconds), "", sep="\n")
    if top:
        console.print(report.ranking(columns, order[:top]), "", sep="\n")
    if out:
        _write(out, report.as_csv(columns))
    if save_best:
        _save(best, save_best)
    _show(best)


def _show(pool: Pool) -> None:
    """Draws a pool's first circuit."""
    from objectives.circuits.edges.drawing import draw

    click.echo(draw(pool, 0))


@circuits.command()
@click.option("--wires", type=click.Choice(["4", "8"]), default="4", show_default=True, help="Which benchmark.")
@click.option("--count", type=click.IntRange(1), default=100_000, show_default=True, help="How many circuits.")
@SEED
@click.option("--out", type=FILE, help="The labelled pool's file, .npz.")
def label(wires: str, count: int, seed: int, out: Path | None) -> None:
    """Make the pool benchmark: the paper's circuits, and what each comes to on every task.

    Searches replay on it without simulating. It is decided by register, count and seed, kept for next time, and known
    by its digest. A file holds the pool's arrays and `tasks`, `costs`, `rewards`, `candidates`, `solved`, `steps`.

    \b
      pretune circuits label --out four.npz
      pretune circuits label --wires 8 --count 20000 --seed 1
    """
    from objectives.circuits.labelled import SPACES, labelled
    from search import circuits_report as report

    _writable(out, POOL)
    with _console(stderr=True).status("labelling") as status:
        found = labelled(SPACES[int(wires)], count, seed, tell=lambda name: status.update(f"labelling {name}"))
    _console().print(report.labels(found), "", f"digest {found.digest}", sep="\n")
    if out:
        from spaces.files import write_whole

        with _writing(out):
            write_whole(out, found.packed())


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _writable(path: Path | None, endings: tuple[str, ...]) -> None:
    """Refuses before the work a place that could not be written to after it."""
    if path is None:
        return
    if endings and path.suffix not in endings:
        raise StudyError(complaint(str(path), f"cannot write '{path.suffix}' files here", endings, near=path.suffix))
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


def _write(path: Path, text: str) -> None:
    from spaces.files import write_whole

    with _writing(path):
        write_whole(path, text.encode())


def _save(pool: Pool, path: Path) -> None:
    """A pool as the file that its name asks for; as OpenQASM, its first circuit."""
    from objectives.circuits.edges.openqasm import to_qasm

    if path.suffix in QASM:
        _write(path, to_qasm(pool, 0))
    else:
        with _writing(path):
            pool.save(path)
