"""The reaper: ends what a driver leaves behind on this machine when it is killed.

After a `kill -9` of the driver, some of Ray's processes live on for minutes. Whatever the driver starts inherits its
environment, in which a mark names its scratch folder. The driver holds a lock on a note in that folder, which the
kernel drops with the process, however it ends, and which a fork does not inherit. The reaper, a small process of its
own session, waits for this lock, ends whoever bears the mark and removes the folder. Should it be killed too, the lock
is free, and the next start does the same. Run as a script, this file is the reaper.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MARK = "PRETUNE_SCRATCH"
NOTE = "driver"  # in the scratch folder: the driver's machine, and DONE; locked while the driver, or its reaper, lives
DONE = b"done"  # said by a driver that has ended its processes itself
PATIENCE = 30.0  # seconds that processes may go on appearing
QUIET = 1.0  # seconds without any, after which none is expected
GRACE = 5.0  # seconds that an orderly driver waits for its reaper
_mine: set[str] = set()  # folders of this process: to open and close their notes again would drop the locks


@contextmanager
def reaped(scratch: Path) -> Iterator[None]:
    """Ends every process begun meanwhile, and removes the folder, however this process ends."""
    driver, mark, before = os.getpid(), os.path.realpath(scratch), os.environ.pop(MARK, None)
    lock = _locked(scratch)
    reaper = subprocess.Popen(
        [sys.executable, "-P", os.path.realpath(__file__), mark],
        stdin=lock,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _mine.add(mark)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        if os.getpid() == driver:  # and no fork of it
            os.environ.pop(MARK, None)
            if before is not None:
                os.environ[MARK] = before
            with suppress(OSError):  # a full disk; the reaper then looks twice
                os.write(lock, DONE)
            os.close(lock)
            _mine.discard(mark)
            with suppress(subprocess.TimeoutExpired):
                reaper.wait(GRACE)
            shutil.rmtree(scratch, ignore_errors=True)


def _locked(scratch: Path) -> int:
    """The note of this driver, open and locked; it gets its name last, so that nobody finds it unlocked."""
    draft = scratch / f".{NOTE}"
    note = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(note, f"{socket.gethostname()}\n".encode())
    fcntl.lockf(note, fcntl.LOCK_EX)
    draft.rename(scratch / NOTE)
    return note


def sweep_up(prefix: str) -> None:
    """Ends and removes what drivers of this user left on this machine that were killed together with their reapers.

    Args:
        prefix: how their scratch folders are named, before the pid.
    """
    for scratch in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        pid = scratch.name.removeprefix(prefix).partition("-")[0]
        if not pid.isdigit() or scratch.is_symlink() or os.path.realpath(scratch) in _mine:
            continue
        with suppress(OSError, OverflowError):  # held by a driver or its reaper, gone meanwhile, or no pid at all
            if scratch.stat().st_uid == os.getuid():
                _inherit(scratch, int(pid))


def _inherit(scratch: Path, pid: int) -> None:
    """Clears away a scratch folder and its processes.

    Raises:
        OSError: its driver lives, or another clears it away just now.
    """
    try:
        note = (scratch / NOTE).open("r+b")
    except FileNotFoundError:  # its driver is just beginning, or was killed when it was
        if not psutil.pid_exists(pid):
            _clear(os.path.realpath(scratch), quiet=0)
        return
    with note:
        fcntl.lockf(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if note.readline().strip() == socket.gethostname().encode():  # elsewhere, a lock may not be known here
            _clear(os.path.realpath(scratch), quiet=0)


def _clear(mark: str, quiet: float) -> None:
    """Kills who bears the mark until none has been seen for so many seconds, then removes the folder.

    Where some will not die, the folder stays, and with it the next start's reason to try again.
    """
    calm = time.monotonic() + quiet
    end = time.monotonic() + PATIENCE
    while (now := time.monotonic()) < end:
        if _kill(mark):
            calm = now + quiet
        elif now >= calm:
            shutil.rmtree(mark, ignore_errors=True)
            return
        time.sleep(0.1)


def _kill(mark: str) -> int:
    """Kills the processes that bear a mark; how many there were."""
    found = 0
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if pid != os.getpid() and _bears(process, mark):
                process.kill()
                found += 1
    return found


def _bears(process: psutil.Process, mark: str) -> bool:
    """Whether a process of this user, and no zombie, was begun under a mark.

    Ray's agents write their titles over their environments; they are known by the logs that they hold open. A fork that
    executes nothing shows the environment that the driver itself was begun with, and is not known.
    """
    if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
        return False
    if environment := process.environ():
        return bool(environment.get(MARK) == mark)
    return any(Path(file.path).is_relative_to(mark) for file in process.open_files())


def main(mark: str) -> None:
    """Waits for the driver's end, then reaps."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    note = sys.stdin.fileno()
    fcntl.lockf(note, fcntl.LOCK_EX)
    orderly = os.pread(note, 1000, 0).endswith(DONE)
    _clear(mark, 0 if orderly else QUIET)


if __name__ == "__main__":
    main(sys.argv[1])
