"""The folder of a run: where everything lies.

RUN/study.yaml            the study as it was run
RUN/ledger.jsonl          every event of the run; the truth
RUN/driver.json           who is at work on it, while somebody is
RUN/trials/t0007/         the rungs of a trial (results and its last checkpoints), and error.txt if it failed
RUN/storage               only where trials/ lies elsewhere: its URL
RUN/tensorboard/          event files, one a trial, and maps of latents
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.store import Store, open_store
from spaces.files import write_whole


@dataclass(frozen=True)
class Folder:
    """The paths of one run; `storage` is the URL of its trials' files where they do not lie in the folder itself."""

    root: Path
    storage: str = ""

    @classmethod
    def found(cls, root: Path) -> Folder:
        """The folder of a run that was begun, its trials' files where that run has put them."""
        note = root / "storage"
        return cls(root, note.read_text(encoding="utf-8").strip() if note.is_file() else "")

    def settle(self) -> None:
        """Makes the folder, and notes in it where its trials' files lie.

        Raises:
            OSError: it cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if self.storage:
            write_whole(self.root / "storage", f"{self.storage}\n".encode())

    @property
    def study(self) -> Path:
        return self.root / "study.yaml"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def trials(self) -> Store:
        """Where the files of trials lie."""
        return open_store(self.storage or self.root / "trials")


def disk_use(root: Path) -> str:
    """What a run takes up, in words."""
    from rich.filesize import decimal

    folder = Folder.found(root)
    trials = folder.trials.bytes()
    elsewhere = f", at {folder.storage}" if folder.storage else ""
    ledger = folder.ledger.stat().st_size
    return f"{decimal(trials)} of trials' states and results{elsewhere}, {decimal(ledger)} of ledger"
