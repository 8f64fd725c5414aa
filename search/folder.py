"""The folder of a run: where everything lies.

RUN/study.yaml            the study as it was run
RUN/ledger.jsonl          every event of the run; the truth
RUN/trials/t0007/         the rungs of a trial (results and its last checkpoint), and error.txt if it failed
RUN/tensorboard/          event files, one a trial, and maps of latents
"""

from __future__ import annotations

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
