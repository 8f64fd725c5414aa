"""The winner to take home: what its objective makes of it (`files`), and a card that says what it is.

card.json              study, config, data, scores and floors
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from search.checkpoint import Damaged
from search.folder import Folder
from search.ledger import History, Trial, read
from search.run import CATALOGUE
from search.rungs import has_state, load_state
from spaces.document import StudyError, complaint, parse
from spaces.files import write_whole
from spaces.study import read_study


def export(run: Path, id: str | None, out: Path) -> list[str]:
    """Writes the export of a run's best trial, or of trial `id`, into the folder `out`; the files' names.

    Raises:
        StudyError: no such run or trial, a trial without a checkpoint, or a study that trains no network.
    """
    folder = Folder.found(run)
    history, _ = read(folder.ledger)
    trial = _chosen(history, id, run)
    if not has_state(folder, trial.id, trial.epoch):
        what = f"the state of trial {trial.id} was not kept"
        kept = [t.id for t in history.trials.values() if t.rungs and has_state(folder, t.id, t.epoch)]
        raise StudyError(complaint(str(run), what, [*kept, "or a run with more resources.keep"]))
    study = read_study(parse(folder.study.read_text(encoding="utf-8"), str(folder.study)), CATALOGUE)
    objective = study.objective.module
    if not hasattr(objective, "files"):
        raise StudyError(
            complaint(str(run), f"trials of the objective '{study.objective.name}' make nothing to take home")
        )
    try:
        state = load_state(folder, trial.id, trial.epoch)
    except Damaged as error:
        raise StudyError(complaint(str(run), f"the state of trial {trial.id} cannot be read: {error}")) from None
    made = objective.files(trial.config, history.header["data"], state)
    made["card.json"] = (json.dumps(_card(history, trial), indent=2) + "\n").encode()
    for name, content in made.items():
        write_whole(out / name, content)
    return list(made)


def _chosen(history: History, id: str | None, run: Path) -> Trial:
    trial = history.trials.get(id) if id else history.best()
    if trial is None:
        what = f"there is no trial '{id}'" if id else "no trial has reached a rung yet"
        raise StudyError(complaint(str(run), what, list(history.trials) if id else "", near=id))
    if not trial.rungs:
        raise StudyError(
            complaint(str(run), f"trial {trial.id} has reached no rung: {trial.reason or 'still running'}")
        )
    return trial


def _card(history: History, trial: Trial) -> dict[str, Any]:
    """What the weights are, in a form that needs no pretune to read."""
    return {
        "study": history.header["name"],
        "trial": trial.id,
        "seed": trial.seed,
        "epochs": trial.epoch,
        "config": trial.config,
        "data": {"said": history.header["study"].get("data"), **(history.header["data"] or {})},
        "metric": history.header["metric"],
        "metrics": trial.rungs[-1].metrics,
        "floors": history.floors or {},
        "seconds": round(trial.seconds, 3),
        "versions": {name: importlib.metadata.version(name) for name in ("pretune", "torch")},
    }
