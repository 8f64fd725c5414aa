"""The folder of a run: where everything lies, and how files come to be whole or not at all.

RUN/study.yaml            the study as it was run
RUN/ledger.jsonl          every event of the run; the truth
RUN/trials/t0007/         the rungs of a trial (results and its last checkpoint), and error.txt if it failed
RUN/tensorboard/          event files, one a trial
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """The paths of one run."""

    root: Path

    @property
    def study(self) -> Path:
        return self.root / "study.yaml"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    def trial(self, id: str) -> Path:
        return self.root / "trials" / id

    def result(self, id: str, epoch: int) -> Path:
        """The metrics of a rung; its presence says that the rung is done and its checkpoint whole."""
        return self.trial(id) / f"rung-{epoch:06d}.json"

    def checkpoint(self, id: str, epoch: int) -> Path:
        """The state of a trial after a rung."""
        return self.trial(id) / f"rung-{epoch:06d}.pt"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that after any crash it is either there whole or as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with open(draft, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
