"""The command line: `pretune COMMAND`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from spaces.document import StudyError
from spaces.study import Study

SET = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one value of the study.")


class Commands(click.Group):
    """Commands that answer bad input with one message and exit code 2, and list themselves in a fixed order."""

    def list_commands(self, context: click.Context) -> list[str]:
        return ["list", "check", "run", "show", "board", "methods", "data", "export", "claim", "circuits"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name == "circuits":
            from search.circuits_cli import circuits

            return circuits
        if name == "claim":
            from search.claims_cli import claim

            return claim
        if name == "data":
            from search.data_cli import data

            return data
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _warnings_told():
                return super().invoke(context)
        except StudyError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Says in one line what a ledger warns of; other warnings are shown as ever."""
    import warnings

    with warnings.catch_warnings():
        usual = warnings.showwarning

        def tell(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if category.__name__ == "LedgerWarning":
                click.echo(f"warning: {message}", err=True)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = tell
        yield


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pretune", message="%(prog)s %(version)s")
def main() -> None:
    """Search for the best learned representation: pretraining method × augmentation × architecture.

    \b
    Start here:
      pretune run quickstart              search eight methods on handwritten digits, minutes on a laptop
      pretune show runs/quickstart        what won, and by how much
      pretune board runs/quickstart       look at it in TensorBoard
      pretune export runs/quickstart -o winner
                                          take the winner home

    \b
    Your own data: copy a shipped study and change a line.
      pretune run quickstart --set data.image_folder=photos --set name=photos
    """


@main.command("list")
def list_() -> None:
    """List the studies that ship with pretune, and the runs under runs/."""
    from rich.console import Console
    from rich.table import Table

    from search.ledger import read
    from spaces.shipped import open_study, shipped

    studies = Table("study", "what it searches", box=None, header_style="bold", pad_edge=False)
    for name in shipped():
        about = open_study(name).value.get("about")
        studies.add_row(name, " ".join(about.value.split()) if about else "")
    console = Console(highlight=False)
    console.print(studies)
    runs = Table("run", "metric", "best", "trials", "state", box=None, header_style="bold", pad_edge=False)
    for path in sorted(Path("runs").glob("*/ledger.jsonl")):
        try:
            history, _ = read(path)
        except StudyError as error:
            runs.add_row(str(path.parent), "", "", "", f"unreadable: {str(error).splitlines()[0]}")
            continue
        metric, best = history.header["metric"], history.best()
        value = f"{best.rungs[-1].metrics[metric]:.6g}" if best else ""
        state = "finished" if history.finished else "unfinished"
        runs.add_row(str(path.parent), metric, value, str(len(history.trials)), state)
    if runs.row_count:
        console.print()
        console.print(runs)


@main.command()
@click.argument("study")
@click.option("--sample", type=click.IntRange(1, 1000), default=1, metavar="N", help="How many configs to draw.")
@SET
def check(study: str, sample: int, settings: tuple[str, ...]) -> None:
    """Check STUDY (a shipped study's name or a YAML file) without running it.

    Prints every knob with its range and when it applies, how large the space is, and configs drawn from it.

    \b
      pretune check my-study.yaml
      pretune check quickstart --sample 5
      pretune check quickstart --set budget.epochs=9
    """
    from search.compare.overview import overview
    from search.run import load_study
    from search.strategies import draw_evenly

    loaded = load_study(study, settings)
    data = _data(loaded)
    click.echo("\n".join(overview(loaded, data)))
    click.echo("\none config of the space:" if sample == 1 else f"\n{sample} configs of the space:")
    for number in range(sample):
        click.echo(json.dumps(draw_evenly(loaded.space, loaded.goal.seed, number), indent=2 if sample == 1 else None))


@main.command()
@click.argument("study")
@click.option("--resume", is_flag=True, help="Go on with the last run of this study (or the one at --out), if any.")
@click.option("--trials", type=int, help="How many configs to try; short for --set budget.trials=N.")
@SET
@click.option("--address", help="A Ray cluster to run on, such as 'auto'; by default this machine.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; by default runs/NAME.")
@click.option("--storage", default="", metavar="URL", help="Where trials leave their files, if not in that folder.")
@click.option(
    "--executor", type=click.Choice(["ray", "serial"]), default="ray", help="serial: one trial at a time here."
)
@click.option("--dashboard", is_flag=True, help="Start Ray's dashboard.")
@click.option("--dashboard-host", default="127.0.0.1", show_default=True, help="The address that it listens on.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
def run(
    study: str,
    resume: bool,
    trials: int | None,
    settings: tuple[str, ...],
    address: str | None,
    out: Path | None,
    storage: str,
    executor: str,
    dashboard: bool,
    dashboard_host: str,
    quiet: bool,
) -> None:
    """Run STUDY (a shipped study's name or a YAML file): search, pretrain, probe, compare.

    Ctrl-C stops a run at the next rungs of its trials, a second one at once; --resume goes on, also after a crash.

    \b
      pretune run quickstart
      pretune run circuits/h2                 circuits for a Hamiltonian
      pretune run quickstart --set data.npz=my.npz --set name=mine --trials 60
      pretune run mine.yaml --resume          after a crash, or with more --trials
      pretune run mine.yaml --address auto    on a Ray cluster
    """
    from search import run as runs
    from search import warm

    if trials is not None:
        settings = (*settings, f"budget.trials={trials}")
    shown_at = dashboard_host if dashboard else ""
    if shown_at not in ("", *LOOPBACKS):
        click.echo(f"warning: whoever reaches Ray's dashboard on {shown_at} can run code here", err=True)
    loaded = runs.load_study(study, settings)
    data = _data(loaded)
    begun = runs.last_folder(loaded, out, storage) if resume else None
    folder = begun or runs.new_folder(loaded, out, storage)
    ledger = runs.resume(loaded, begun, data) if begun else None
    known, lines = ([], []) if begun else warm.known(loaded)
    for line in lines if not quiet else ():
        click.echo(f"warm    {line}")
    with (
        resumable(folder.root),
        runs.executor(executor, loaded, address, shown_at) as execute,  # first, since it may refuse
    ):
        ledger = ledger or runs.start(loaded, folder, data, known)
        with watched(
            loaded.trials + loaded.budget.repeats * loaded.budget.finalists, folder, ledger.history, quiet
        ) as observe:
            history = runs.sweep(loaded, data, folder, ledger, observe, execute)
    where = str(folder.root)
    from search.compare.table import show as print_report

    print_report(history, where)
    click.echo(f"\nrun     {where}\nlook    pretune board {where}")
    if hasattr(loaded.objective.module, "files"):
        click.echo(f"export  pretune export {where} -o winner")


LOOPBACKS = ("127.0.0.1", "localhost", "::1")


@contextmanager
def resumable(root: Path, by: str = "the same command with --resume") -> Iterator[None]:
    """Says how to go on with a run that is stopped by a signal, whose exit code then is what shells expect."""
    from search.interrupts import Interrupted

    try:
        yield
    except (KeyboardInterrupt, Interrupted) as stopped:
        click.echo(f"\nstopped; {by} goes on (the run lies in {root})", err=True)
        sys.exit(getattr(stopped, "code", 130))


def _data(study: Study) -> Any:
    from search.run import load_data

    return warned(lambda: load_data(study))


def warned(load: Callable[[], Any]) -> Any:
    """What is loaded; what is warned of meanwhile is said in one line each."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        data = load()
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    return data


@contextmanager
def watched(trials: int, folder: Any, history: Any, quiet: bool, aside: bool = False) -> Iterator[Any]:
    """An observer for the sweep: the live view, on standard error if it is to stand aside, and TensorBoard."""
    from rich.console import Console

    from search.compare.progress import Progress
    from search.compare.tensorboard import EventFiles

    files = EventFiles(folder)
    files.rebuild(history)
    before = sum(trial.seconds for trial in history.trials.values())
    console = Console(file=sys.stderr if aside else sys.stdout, highlight=False)
    progress = Progress(trials, str(folder.root), console, quiet, before)

    def observe(event: Any, history: Any) -> None:
        files(event, history)
        progress(event, history)

    with progress:
        yield observe


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "form", flag_value="json", help="The whole run as one JSON object.")
@click.option("--csv", "form", flag_value="csv", help="One row a trial.")
def show(run: Path, form: str | None) -> None:
    """Show a RUN: its best trials beside the floors, what failed and why, which knobs mattered, and how well scores
    that need no labels agree with the probe.

    \b
      pretune show runs/quickstart
      pretune show runs/quickstart --csv > trials.csv
    """
    from rich.console import Console

    from search.compare import agreement, importance, table
    from search.folder import disk_use
    from search.ledger import read

    history, _ = read(run / "ledger.jsonl")
    if form == "json":
        click.echo(json.dumps(table.as_json(history), indent=1))
    elif form == "csv":
        click.echo(table.as_csv(history), nl=False)
    else:
        table.show(history, str(run))
        for part in (*importance.table(history), *agreement.table(history)):
            Console(highlight=False).print(part)
        click.echo(f"\ndisk    {disk_use(run)}")


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=6006,
    show_default=True,
    help="Port; the next free one if it is taken.",
)
@click.option("--host", metavar="HOST", help="Address to listen at; by default loopback, which nobody else can reach.")
def board(runs: tuple[Path, ...], port: int, host: str | None) -> None:
    """Look at one or several RUNS in TensorBoard: curves under Time Series, the comparison under HParams.

    A circuit search also has a map of its latents under Projector; choose to colour it by reward.
    """
    from search.compare.tensorboard import serve
    from search.folder import Folder
    from search.ledger import read

    for run in runs:
        read(run / "ledger.jsonl")
    serve([Folder(run) for run in runs], port, host)


@main.command()
@click.argument("names", nargs=-1)
def methods(names: tuple[str, ...]) -> None:
    """List every component that a study can name, with its knobs; with NAMES, also what each is and its paper.

    \b
      pretune methods
      pretune methods simclr vit
    """
    from search.compare.components import show as show_components

    show_components(names)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--trial", help="A trial's id, such as t0007; by default the best.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
def export(run: Path, trial: str | None, out: Path) -> None:
    """Take a RUN's winner home, with a card that says what it is.

    Of images: the weights, and a script of plain torch that loads them. Of circuits: OpenQASM, arrays and a drawing.

    \b
      pretune export runs/quickstart -o winner
      python winner/load.py
    """
    from search.compare.export import export as write

    click.echo(f"wrote {out}: {', '.join(write(run, trial, out))}")
