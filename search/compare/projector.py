"""TensorBoard's projector: where trials have searched, beside their event files.

RUN/tensorboard/t0007/tensors.tsv             the vectors, one a line
RUN/tensorboard/t0007/metadata.tsv            what is known of each, below a line of heads
RUN/tensorboard/t0007/projector_config.pbtxt  names both and the epoch; written last, so that it vouches for them

An objective that is a search may have such maps (`latent_map`, see `search.kinds`). They are made of its trials' states
for whoever wants to look, not as a run goes, and made anew where a trial has gone on since. What a point's colour says
is chosen on the page, by "Color by"; where a value is not known it is black.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.folder import Folder
from search.ledger import History, Trial
from search.rungs import has_state, load_state
from spaces.components import Shelf
from spaces.document import StudyError
from spaces.files import write_whole

SEARCHES = Shelf("objective", "search.kinds")
TENSORS, METADATA, CONFIG = "tensors.tsv", "metadata.tsv", "projector_config.pbtxt"
SHOWN = f"""\
embeddings {{
  tensor_name: "latents"
  tensor_path: "{TENSORS}"
  metadata_path: "{METADATA}"
}}
"""


def write_maps(folder: Folder, history: History) -> None:
    """Brings the maps of a run's trials up to date; where one cannot be made, says so and leaves the rest."""
    objective = history.header.get("objective")
    if objective not in SEARCHES.names():
        return
    stale = [trial for trial in history.trials.values() if not _current(folder, trial)]
    module = SEARCHES.load(objective).module if stale else None  # seconds, if nothing was there to import it
    if not hasattr(module, "latent_map"):
        return
    try:
        for trial in stale:
            _write(folder, trial, module)
    except (OSError, StudyError) as error:
        print(f"warning: the maps of latents are not up to date: {error}", file=sys.stderr)


def _current(folder: Folder, trial: Trial) -> bool:
    """Whether the files are those of the trial's last rung, or nothing lies there to make them of."""
    config = folder.tensorboard / trial.id / CONFIG
    if not has_state(folder, trial.id, trial.epoch):
        return True
    return config.exists() and config.read_text(encoding="utf-8").startswith(_epoch(trial))


def _write(folder: Folder, trial: Trial, module: Any) -> None:
    """Makes the files of a trial; a config that shows nothing where it has no map."""
    found = module.latent_map(trial.config, load_state(folder, trial.id, trial.epoch))
    place = folder.tensorboard / trial.id
    if found is not None:
        write_whole(place / TENSORS, _tensors(found[0]))
        write_whole(place / METADATA, _metadata(found[1]))
    write_whole(place / CONFIG, (_epoch(trial) + (SHOWN if found is not None else "")).encode())


def _epoch(trial: Trial) -> str:
    """The first line of a config: a comment that says how far the trial had come."""
    return f"# after epoch {trial.epoch}\n"


def _tensors(vectors: NDArray[np.float32]) -> bytes:
    """The vectors (N, d), in digits enough to be the same float32 when read."""
    buffer = io.BytesIO()
    np.savetxt(buffer, vectors, fmt="%.9g", delimiter="\t")
    return buffer.getvalue()


def _metadata(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A line for each vector, below one of heads; what is not known is left empty."""
    rows = zip(*columns.values(), strict=True)
    lines = ["\t".join(columns), *("\t".join("" if value is None else str(value) for value in row) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def plugins(folders: Sequence[Folder]) -> list[Any]:
    """TensorBoard's plugins, with the projector's tab on the page from the start where a run has maps.

    By itself, the projector begins to look for some when it is first asked for its tab, and says no for the time being.
    """
    from tensorboard import default
    from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

    class Projector(ProjectorPlugin):
        def is_active(self) -> bool:
            return any(any(folder.tensorboard.glob(f"*/{TENSORS}")) for folder in folders) or super().is_active()

    return [Projector if plugin is ProjectorPlugin else plugin for plugin in default.get_plugins()]
