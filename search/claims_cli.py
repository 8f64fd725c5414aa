"""`pretune claim`: run claims, with all their controls and mistakes, and say whether they hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spaces.document import StudyError, complaint

if TYPE_CHECKING:
    from rich.console import Console

    from search.claims import Plan
    from search.compare.claims import Row
    from search.verdicts import Outcome


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every claim that ships with pretune.")
@click.option("--list", "listed", is_flag=True, help="Say what the claims are, and run nothing.")
@click.option("--seeds", type=int, metavar="N", help="Seeds of each variant, at least; by default as the claim says.")
@click.option(
    "--budget",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="full: longer, where a claim has such a budget.",
)
@click.option("--again", is_flag=True, help="Run anew what has been run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, {claim: {verdict, ...}}.")
@click.option("--markdown", type=click.Path(path_type=Path), help="A page to write, such as docs/claims.md.")
@click.option("--address", help="A Ray cluster to run on, such as 'auto'; by default this machine.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the runs; by default runs/claims.")
@click.option(
    "--executor", type=click.Choice(["ray", "serial"]), default="ray", help="serial: one trial at a time here."
)
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
def claim(
    names: tuple[str, ...],
    every: bool,
    listed: bool,
    seeds: int | None,
    budget: str,
    again: bool,
    as_json: bool,
    markdown: Path | None,
    address: str | None,
    out: Path | None,
    executor: str,
    quiet: bool,
) -> None:
    """Check claims: what published systems say of themselves, as studies that run.

    A claim compares a method with its controls, on the same data, with the same budget and the same seeds. Each of its
    conditions has a margin in each seed, and holds if the 90 % interval of the mean margin lies above 0; if it is
    undecided, the table says how many seeds would decide. A deliberate mistake, the mutation, must make it fail.
    What has been run is read from runs/claims/NAME; what broke off goes on; --seeds adds seeds to those that are there.

    The exit code is 0 if every claim holds and its mutation fails, 1 if not, 2 if something cannot be used.

    \b
      pretune claim --list
      pretune claim swav
      pretune claim swav --seeds 10            go on with more seeds
      pretune claim --all --json > claims.json
      pretune claim --all --markdown docs/claims.md
      pretune claim mine.yaml                  a study of your own with a section `claim`

    \b
    A claim is a section of a study that leaves nothing open:
      claim:
        says: codes that use all prototypes equally keep SwAV from collapse
        source: SwAV (arXiv 2006.09882), section 3.1
        published: 75.3 % on ImageNet
        variants:
          swav: {}                                        # the study as it stands
          free: {space.method.swav.iterations: 0}         # settings as of --set
        holds:
          - swav.few_shot_accuracy >= free.few_shot_accuracy + 0.05
        mutation: {name: no equal use, of: swav, set: {space.method.swav.iterations: 0}}
    """
    from search import claims

    if every:
        names = (*names, *claims.names())
    if listed:
        return _list(names or tuple(claims.names()))
    if not names:
        raise StudyError(complaint("", "which claims? Name some, or take all", ["--all", *claims.names()]))
    _writable(markdown)
    plans = [claims.plan(name, seeds, budget, out or claims.RUNS) for name in dict.fromkeys(names)]
    _distinct(plans)
    rows = _rows(plans, _outcomes(plans, again, executor, address, quiet, as_json))
    if markdown:
        _write(markdown, [*rows, *_further(plans, names)])
    _show(rows, as_json)
    sys.exit(not all(row.outcome.sound for row in rows))


def _list(names: Sequence[str]) -> None:
    """What claims there are, read without what they run on."""
    from rich.table import Table

    from search import claims
    from spaces.claims import read_claim

    table = Table("claim", "what it says", "source", "published", box=None, header_style="bold", pad_edge=False)
    for name in names:
        found = read_claim(claims.document(name).value["claim"])
        assert found is not None
        table.add_row(name, found.says, found.source, found.published)
    _console().print(table)


def _distinct(plans: Sequence[Plan]) -> None:
    """Refuses claims of one name, whose runs would lie in one folder."""
    seen = set()
    for planned in plans:
        if planned.name in seen:
            raise planned.study.document.wrong(f"two claims are called '{planned.name}'")
        seen.add(planned.name)


def _outcomes(
    plans: Sequence[Plan], again: bool, executor: str, address: str | None, quiet: bool, aside: bool
) -> list[Outcome]:
    """What came of each claim: read where its run is over, else run, all in one session of Ray."""
    from search import claims
    from search import run as runs
    from search.cli import resumable, warned, watched

    found = [None if again else claims.recorded(planned) for planned in plans]
    open_ = [place for place, outcome in enumerate(found) if outcome is None]
    data = {place: warned(partial(claims.load_data, plans[place])) for place in open_}
    with ExitStack() as stack:
        execute = None
        for place in open_:
            planned = plans[place]
            if execute is None:
                largest = _largest([plans[other] for other in open_])
                execute = stack.enter_context(runs.executor(executor, largest, address))
            folder, ledger = claims.begin(planned, data[place], again)
            with (
                resumable(folder.root, "the same command"),
                watched(planned.study.trials, folder, ledger.history, quiet, aside) as observe,
            ):
                if not quiet:
                    click.echo(f"claim {planned.name}: {planned.claim.says}", err=aside)
                found[place] = claims.run(planned, data.pop(place), folder, ledger, observe, execute)
    return [outcome for outcome in found if outcome is not None]


def _largest(plans: Sequence[Plan]) -> Any:
    """A study whose trials ask for as much as those of any, so that what can hold one of them can hold all."""
    wanted = [planned.study.resources for planned in plans]
    most = replace(wanted[0], cpu=max(one.cpu for one in wanted), gpu=max(one.gpu for one in wanted))
    return replace(plans[0].study, resources=most)


def _rows(plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> list[Row]:
    from search.compare.claims import Row

    rows = []
    for planned, outcome in zip(plans, outcomes, strict=True):
        where = str(planned.last.root) if planned.last else ""
        rows.append(Row(planned.name, planned.claim, outcome, planned.budget, where))
    return rows


def _further(plans: Sequence[Plan], names: Sequence[str]) -> list[Row]:
    """What runs under the full budget have come to, beside those under the quick one."""
    from search import claims

    more = []
    for planned, name in zip(plans, dict.fromkeys(names), strict=True):
        if planned.claim.full and planned.budget == "quick":
            larger = claims.plan(name, 2, "full", planned.among)
            if (outcome := claims.recorded(larger)) is not None:
                more += _rows([larger], [outcome])
    return more


def _show(rows: Sequence[Row], as_json: bool) -> None:
    from search.compare import claims as views

    if as_json:
        click.echo(json.dumps(views.as_json(rows), indent=1))
        return
    _console().print(views.table(rows))
    for line in views.notes(rows):
        click.echo(line)


def _console() -> Console:
    """Where tables go; to a file or a pipe, as wide as they need."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _writable(path: Path | None) -> None:
    """Refuses before the work a page that could not be written after it."""
    if path is not None and path.is_dir():
        raise StudyError(complaint(str(path), "this is a folder; the name of a file is needed"))


def _write(path: Path, rows: Sequence[Row]) -> None:
    from search.compare.claims import page
    from spaces.files import write_whole

    try:
        write_whole(path, page(rows).encode())
    except OSError as error:
        raise StudyError(complaint(str(path), f"cannot be written: {error.strerror or error}")) from None
