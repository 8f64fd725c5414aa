"""The reaper: ends what a driver leaves behind on this machine when it is killed.

After a `kill -9` of the driver, some of Ray's processes live on for minutes. They all inherit the driver's environment,
in which a mark names its scratch folder; the reaper, a small process of its own session, waits on a pipe that closes
with the driver, then ends whoever bears the mark and removes the folder. Run as a script, this file is the reaper.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MARK = "PRETUNE_SCRATCH"
NOTE = "driver"  # in the scratch folder: the driver's pid and when it began, since pids are used again
PATIENCE = 30.0  # seconds that processes may go on appearing
QUIET = 1.0  # seconds without any, after which none is expected
DONE = b"."  # said by a driver that has ended its processes itself


@contextmanager
def reaped(scratch: Path) -> Iterator[None]:
    """Ends every process begun meanwhile, and removes the folder, however this process ends."""
    (scratch / NOTE).write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    hidden = {name: value for name, value in os.environ.items() if name != MARK}
    before, os.environ[MARK] = os.environ.get(MARK), str(scratch)
    command = [sys.executable, __file__, str(scratch)]
    silent = subprocess.DEVNULL
    reaper = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, env=hidden, start_new_session=True
    )
    try:
        yield
    finally:
        os.environ.pop(MARK)
        if before is not None:
            os.environ[MARK] = before
        with suppress(OSError):
            reaper.communicate(DONE, timeout=PATIENCE)


def sweep_up(prefix: str) -> None:
    """Ends and removes what drivers left here that were killed together with their reapers.

    Args:
        prefix: how their scratch folders are named, before the pid.
    """
    for scratch in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        pid = scratch.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _alive(int(pid), scratch):
            _kill(str(scratch))
            shutil.rmtree(scratch, ignore_errors=True)


def _alive(pid: int, scratch: Path) -> bool:
    """Whether the driver of a scratch folder lives; one that shows no date is known by its pid alone."""
    try:
        began = psutil.Process(pid).create_time()
        return abs(began - float((scratch / NOTE).read_text().split()[1])) < 1
    except psutil.NoSuchProcess:
        return False
    except (OSError, ValueError, IndexError, psutil.AccessDenied):
        return True


def _kill(scratch: str) -> int:
    """Kills the processes that bear the mark of a scratch folder; how many there were."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == scratch and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                found += 1
    return found


def main(scratch: str) -> None:
    """Waits for the driver's end, then reaps."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orderly = sys.stdin.buffer.read() == DONE
    end = time.monotonic() + PATIENCE
    calm = time.monotonic() + (0 if orderly else QUIET)
    while (now := time.monotonic()) < end:
        if _kill(scratch):
            calm = max(calm, now + 0.2)
        elif now >= calm:
            break
        time.sleep(0.1)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
