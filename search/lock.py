"""One driver a run: who is at work on a run's folder, and whether it still lives.

The lock is one on the open ledger, which the kernel drops with the process that held it, however that ended; a
stale one cannot be. `driver.json` beside it says who holds it. Where a file system does not carry locks from machine
to machine, a driver elsewhere is known by `driver.json` alone, which it touches every few seconds while it lives.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from spaces.document import StudyError, complaint
from spaces.files import write_whole

BEAT = 5.0  # seconds between two signs of life
SILENCE = 30.0  # seconds without one, after which a driver on another machine counts as dead


class Lock:
    """This process as the only driver of a run, until `release`."""

    def __init__(self, handle: int, root: Path) -> None:
        """Takes the run in `root` by the open file `handle`.

        Raises:
            StudyError: another driver is at work; it says which.
        """
        self.note, self._over = root / "driver.json", threading.Event()
        here = _boot()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(root, _told(self.note)) from None
        except OSError:
            here = ""  # a file system without locks: signs of life must do
        other = _told(self.note)
        if other and other.get("boot") != here and (silent := _silent_for(self.note)) < SILENCE:
            other["sign"] = f", {silent:.0f} s since its last sign of life; {self.note} can go if it is dead"
            raise _taken(root, other)
        me = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T"), "boot": _boot()}
        write_whole(self.note, json.dumps(me).encode())
        atexit.register(self.release)
        threading.Thread(target=self._live, daemon=True, name="lock").start()

    def release(self) -> None:
        """Lets others at the run; the lock goes with the file."""
        if not self._over.is_set():
            self._over.set()
            self.note.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):
                os.utime(self.note)


def _taken(root: Path, owner: dict[str, Any]) -> StudyError:
    who = f"pid {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('since', '?')}" if owner else "?"
    what = f"another driver is at work on this run: {who}{owner.get('sign', '')}"
    return StudyError(complaint(str(root), what, "one driver a run: wait for it, stop it, or choose another --out"))


def _told(note: Path) -> dict[str, Any]:
    """What a driver wrote of itself; empty where there is none, or where it is not whole."""
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _silent_for(note: Path) -> float:
    """Seconds since the last sign of life, both ends by the clock of the file system that the folder lies on."""
    probe = note.with_name(f".now-{os.getpid()}")
    try:
        probe.touch()
        return probe.stat().st_mtime - note.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _boot() -> str:
    """Tells one running kernel from another: locks are certain among the processes of one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
