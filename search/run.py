"""From a study's name to a finished run: read, check, find the folder, sweep, close."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from objectives import SHELVES
from search import branches
from search.folder import Folder
from search.interrupts import heeded
from search.ledger import SCHEMA, Event, History, Ledger
from search.sweep import Executor, Observer, Sweep
from search.trial import Work
from spaces.columns import columns
from spaces.components import Component, Shelf
from spaces.document import StudyError, assign, complaint
from spaces.files import write_whole
from spaces.knobs import Knob
from spaces.shipped import open_study
from spaces.space import Switch
from spaces.study import Study, read_study

CATALOGUE = {
    **SHELVES,
    "objective": Shelf("objective", *SHELVES["objective"].packages, "search.kinds"),
    "searcher": Shelf("searcher", "search.latent.searchers"),
    "strategy": Shelf("strategy", "search.strategies"),
    "scheduler": Shelf("scheduler", "search.schedulers"),
}
RUNS = Path("runs")
MAY_CHANGE = (
    "about",
    "resources",
    "budget.trials",
    "budget.trial_timeout",
    "budget.retries",
    "budget.repeats",
    "budget.finalists",
    *(f"claim.{part}" for part in ("says", "source", "published", "unseen", "seeds", "holds", "mutation.name")),
)  # between a run and its resumption


def load_study(name: str, settings: Iterable[str] = ()) -> Study:
    """The study of that name or path with the `key=value` settings applied, checked.

    Raises:
        StudyError: what is wrong with it, and where.
    """
    document = open_study(name)
    for setting in settings:
        document = assign(document, setting)
    study = read_study(document, CATALOGUE)
    _check_search(study)
    return study


def _check_search(study: Study) -> None:
    """Refuses a strategy or a scheduler that cannot serve the study."""
    branches.scheduler(study)
    if study.goal.others and not _many(study.strategy.component):
        shelf = CATALOGUE["strategy"]
        able = [name for name in shelf.names() if _many(shelf.load(name))]
        what = f"'{study.strategy.component.name}' searches by one metric, and the study names several"
        raise study.strategy.node.wrong(what, able)


def _many(strategy: Component) -> bool:
    """Whether a strategy trades several metrics against each other, or looks at none."""
    return getattr(strategy.module, "TARGETS", "one") == "many"


def load_data(study: Study) -> Any:
    """The data that a study names, read and held against what the study wants of it.

    Raises:
        StudyError: the data cannot be read, or a part of the study cannot serve it.
    """
    data = None
    if study.data is not None:
        try:
            data = study.data.build()
        except ValueError as error:
            raise study.data.node.wrong(str(error)) from None
    study.objective.module.check(study, data)
    return data


def new_folder(study: Study, out: Path | None, storage: str = "", among: Path = RUNS) -> Folder:
    """A folder for a new run: `out`, or the first free one of runs/NAME, runs/NAME-2, ..., or of others `among` which
    it is to lie.

    Raises:
        StudyError: `out` already holds a run.
    """
    if out is not None:
        if (out / "ledger.jsonl").exists():
            raise StudyError(complaint(str(out), "a run lies here already", "--resume, or another --out"))
        return Folder(out, storage)
    number = 1 + max(_numbers(study.name, among), default=0)
    return Folder(among / (study.name if number == 1 else f"{study.name}-{number}"), storage)


def last_folder(study: Study, out: Path | None, storage: str = "", among: Path = RUNS) -> Folder | None:
    """The folder of the run to resume: `out`, or the newest of runs/NAME, runs/NAME-2, ..., or of others `among` which
    it lies; None where none began.

    Raises:
        StudyError: its trials' files lie elsewhere than at `storage`.
    """
    numbers = _numbers(study.name, among)
    if out is None and not numbers:
        return None
    number = max(numbers, default=1)
    folder = Folder.found(out or among / (study.name if number == 1 else f"{study.name}-{number}"))
    if not folder.ledger.exists():
        return None
    if storage not in ("", folder.storage):
        what = f"the trials of this run do not lie at {storage}"
        raise StudyError(complaint(str(folder.root), what, folder.storage or str(folder.root / "trials")))
    return folder


def _numbers(name: str, among: Path) -> list[int]:
    """The numbers of the runs of a study that lie in a folder of runs."""
    pattern = re.compile(re.escape(name) + r"(?:-(\d+))?")
    found = (pattern.fullmatch(path.parent.name) for path in among.glob("*/ledger.jsonl"))
    return [int(match[1] or 1) for match in found if match]


def start(study: Study, folder: Folder, data: Any, known: Iterable[Event] = ()) -> Ledger:
    """The ledger of a new run, in a new folder with a copy of the study, and with what earlier runs know.

    Raises:
        StudyError: the folder cannot be written.
    """
    plain = study.document.plain()
    try:
        folder.settle()
        write_whole(folder.study, json_yaml(plain).encode())
    except OSError as error:
        what = f"the run's folder cannot be written: {error.strerror or error}"
        raise StudyError(complaint(str(folder.root), what, "a folder of one's own, by --out")) from None
    return Ledger.begun(folder.ledger, _header(study, plain, data), known)


def resume(study: Study, folder: Folder, data: Any) -> Ledger:
    """The ledger of a run to go on with.

    Raises:
        StudyError: the study or its data are no longer those that were run, or another driver is at work on it.
    """
    ledger = Ledger(folder.ledger)
    try:
        unchanged(study, ledger.history)
        old, new = ledger.history.header["data"], _data(data)
        if old and new and any(new[name] != value for name, value in old.items()):
            what = f"the data have changed since this run was started: {new['found']}"
            raise StudyError(complaint(str(folder.root), what, f"what was there then: {old['found']}"))
    except StudyError:
        ledger.close()
        raise
    return ledger


def unchanged(study: Study, history: History) -> None:
    """Raises StudyError where a study is no longer the one that was run."""
    for path in _differences(history.header["study"], study.document.plain(), ""):
        if not any(path == free or path.startswith(f"{free}.") for free in MAY_CHANGE):
            what = f"the study has changed since this run was started: {path}"
            raise StudyError(complaint(study.document.origin, what, "only " + ", ".join(MAY_CHANGE) + " may"))


def _header(study: Study, plain: Any, data: Any) -> Event:
    scheduler = branches.scheduler(study)
    return {
        "event": "study",
        "schema": SCHEMA,
        "name": study.name,
        "objective": study.objective.name,
        "said": list(getattr(study.objective.module, "SAID", ())),
        "scores": {name: metric.labels for name, metric in study.metrics.items()},
        "modes": {name: metric.mode for name, metric in study.metrics.items()},
        "metric": study.goal.metric,
        "mode": study.goal.mode,
        "others": [asdict(target) for target in study.goal.others],
        "subject_to": [bound.text for bound in study.goal.bounds],
        "seed": study.goal.seed,
        "rungs": list(scheduler.rungs),
        "trials": study.trials,
        "per": study.budget.per,
        "lengths": {share.branch: share.epochs for share in study.shares},
        "switches": _switches(study),
        "knobs": [_column(knob) for knob in columns(study.space)],
        "data": _data(data),
        "study": plain,
    }


def _switches(study: Study) -> list[str]:
    """The switches that tell trials apart, or that the study names."""
    space = study.document.plain().get("space", {})
    switches = {name: part for name, part in study.space.parts.items() if isinstance(part, Switch)}
    return [name for name, part in switches.items() if len(part.branches) > 1 or name in space]


def _column(knob: Knob) -> dict[str, Any]:
    """What the ledger says of a knob, for those who compare trials."""
    domain = {name: value for name, value in asdict(knob.domain).items() if name != "prior"}
    return {"name": knob.name, "kind": type(knob.domain).__name__.lower(), **domain}


def _data(data: Any) -> dict[str, Any] | None:
    """What the ledger says of the data: enough to know them again."""
    if data is None:
        return None
    return {"found": data.summary(), "shape": list(data.shape), "digest": data.digest()}


def _differences(before: Any, now: Any, path: str) -> list[str]:
    """The dotted paths at which two documents differ; the order of a mapping counts, as it does in a space."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = list(before) + [name for name in now if name not in before]
        found = []
        for name in names:
            below = f"{path}.{name}" if path else name
            found += _differences(before.get(name), now.get(name), below)
        return found or ([path] if list(before) != list(now) and path.startswith(("space", "claim.variants")) else [])
    return [] if before == now and type(before) is type(now) else [path]


def json_yaml(plain: Any) -> str:
    """A document as text that any YAML reader reads back the same."""
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def executor(name: str, study: Study, address: str | None = None, dashboard: str = "") -> Iterator[Executor]:
    """What runs the study's jobs: Ray Tune (`ray`), here or at `address`, or this process (`serial`).

    Ray started here shows its dashboard at the address `dashboard`, if that is given.

    Raises:
        StudyError: no cluster answers at `address`, or nothing there can hold a single trial.
    """
    if name == "serial":
        from search.executors import serial

        yield serial.run
    else:
        from search.executors import ray_tune

        with ray_tune.ready(study, address, dashboard) as run:
            yield run


def sweep(study: Study, data: Any, folder: Folder, ledger: Ledger, observe: Observer, execute: Executor) -> History:
    """Runs a study until its budget is spent; the history of the run.

    Raises:
        Interrupted: a signal stopped it.
        StudyError: the disk is full, or the executor gave up before the end.
    """
    folder = Folder(folder.root.resolve(), folder.storage)
    device = "cuda" if study.resources.gpu else "cpu"
    try:
        folder.trials.sweep()
        work = Work(study, folder, branches.scheduler(study).rungs, device)
        jobs = Sweep(study, work, ledger, observe)
        with heeded(jobs.stop):
            execute(jobs, work, data)
        if jobs.obstacle:
            what = f"the run cannot go on: {jobs.obstacle}"
            raise StudyError(complaint(str(folder.root), what, "--resume, once that is mended"))
        if not jobs.over:
            raise StudyError(complaint(str(folder.root), "the run broke off before its end; go on with --resume"))
        jobs.finish()
    finally:
        ledger.close()
    return ledger.history
