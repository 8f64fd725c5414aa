"""The winner to take home: weights, a card that says what they are, and five lines of plain torch that load them.

backbone.safetensors   the weights, and the normalisation of the images
backbone.pt2           the network's graph (torch.export), so that loading needs torch alone
card.json              study, config, data, scores and floors
load.py                images in, features out
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from search.folder import Folder
from search.ledger import History, Trial, read
from search.run import CATALOGUE
from search.trial import load_state
from spaces.document import StudyError, complaint, parse
from spaces.files import write_whole
from spaces.study import read_study

LOAD = """\
from pathlib import Path

import torch
from safetensors.torch import load_file

here = Path(__file__).parent
backbone = torch.export.load(here / "backbone.pt2").module()
backbone.load_state_dict(load_file(here / "backbone.safetensors"))
features = backbone(torch.rand(4, {channels}, {height}, {width}))  # images in 0..1, any number of them
print(tuple(features.shape))
"""


def export(run: Path, id: str | None, out: Path) -> None:
    """Writes the export of a run's best trial, or of trial `id`, into the folder `out`.

    Raises:
        StudyError: no such run or trial, a trial without a checkpoint, or a study that trains no network.
    """
    folder = Folder(run)
    history, _ = read(folder.ledger)
    trial = _chosen(history, id, run)
    if not folder.checkpoint(trial.id, trial.epoch).exists():
        raise StudyError(complaint(str(folder.trial(trial.id)), f"no checkpoint of epoch {trial.epoch} lies here"))
    study = read_study(parse(folder.study.read_text(encoding="utf-8"), str(folder.study)), CATALOGUE)
    objective = study.objective.module
    if not hasattr(objective, "restore_encoder"):
        raise StudyError(complaint(str(run), f"trials of the objective '{study.objective.name}' train no network"))
    shape = channels, height, width = tuple(history.header["data"]["shape"])
    _write(objective.restore_encoder(trial.config, shape, load_state(folder, trial.id, trial.epoch)), shape, out)
    write_whole(out / "card.json", (json.dumps(_card(history, trial), indent=2) + "\n").encode())
    write_whole(out / "load.py", LOAD.format(channels=channels, height=height, width=width).encode())


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


def _write(encoder: Any, shape: tuple[int, int, int], out: Path) -> None:
    import io

    import torch
    from safetensors.torch import save

    batch = {"images": {0: torch.export.Dim("batch", min=1)}}
    with torch.no_grad():
        program = torch.export.export(encoder, (torch.rand(2, *shape),), dynamic_shapes=batch)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_whole(out / "backbone.pt2", buffer.getvalue())
    weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    write_whole(out / "backbone.safetensors", save(weights))


def _card(history: History, trial: Trial) -> dict[str, Any]:
    """What the weights are, in a form that needs no pretune to read."""
    return {
        "study": history.header["name"],
        "trial": trial.id,
        "seed": trial.seed,
        "epochs": trial.epoch,
        "config": trial.config,
        "data": {"said": history.header["study"].get("data"), **history.header["data"]},
        "metric": history.header["metric"],
        "metrics": trial.rungs[-1].metrics,
        "floors": history.floors or {},
        "seconds": round(trial.seconds, 3),
        "versions": {name: importlib.metadata.version(name) for name in ("pretune", "torch")},
    }
