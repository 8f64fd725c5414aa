"""The reaper: nothing outlives a driver that was killed, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from search.executors.reaper import MARK, sweep_up

ROOT = Path(__file__).parents[2]
# A driver with a child and a grandchild in sessions of their own that ignore polite requests.
DRIVER = """\
import os, pathlib, subprocess, sys, tempfile
from search.executors.reaper import reaped
stubborn = (
    "import os, signal, subprocess, sys, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "begin = lambda code: subprocess.Popen([sys.executable, '-c', code], start_new_session=True);"
    "children = [begin(code) for code in sys.argv[1:]];"
    "print(os.getpid(), flush=True); time.sleep(1000)"
)
scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{sys.argv[1]}{os.getpid()}-"))
with reaped(scratch):
    child = subprocess.Popen([sys.executable, "-c", stubborn, stubborn], stdout=subprocess.PIPE, start_new_session=True)
    pids = [child.stdout.readline().decode().strip() for _ in range(2)]
    print(scratch, *pids, flush=True)
    sys.stdin.read()
"""
RAY = """\
import logging, os, pathlib, sys, tempfile
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
from search.executors.reaper import reaped
scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{sys.argv[1]}{os.getpid()}-", dir="/tmp"))
with reaped(scratch):
    import ray
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": False}
    ray.init(num_cpus=1, _temp_dir=str(scratch), **quiet)
    @ray.remote
    class Busy:
        def pid(self): return os.getpid()
    actor = Busy.remote()
    print(scratch, ray.get(actor.pid.remote()), flush=True)
    sys.stdin.read()
"""


class Running:
    """A driver in a process of its own, once it has said what it began."""

    def __init__(self, code: str, prefix: str, folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, prefix], cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdout is not None
        scratch, *pids = self.process.stdout.readline().split()
        self.scratch = Path(scratch)
        self.begun = [psutil.Process(int(pid)) for pid in pids]

    def reaper(self) -> psutil.Process:
        (found,) = (p for p in psutil.Process(self.process.pid).children() if "reaper.py" in " ".join(p.cmdline()))
        return found

    def left(self) -> list[psutil.Process]:
        """The processes that it began and that live, those it did not tell of included."""
        found = {p for p in self.begun if p.is_running() and p.status() != psutil.STATUS_ZOMBIE}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.scratch) and process.status() != psutil.STATUS_ZOMBIE:
                    found.add(process)
            except (psutil.Error, OSError):
                continue
        return list(found)

    def gone(self, seconds: float) -> bool:
        """Whether all of them are, and the folder too, within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.left() or self.scratch.exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Running]]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started: list[Running] = []
    yield started
    for driver in started:
        driver.process.kill()
        driver.process.communicate()
        for process in driver.left():
            process.kill()


def test_nothing_outlives_a_killed_driver_and_its_neighbour_is_not_touched(
    tmp_path: Path, drivers: list[Running]
) -> None:
    drivers += [Running(DRIVER, "reap-", tmp_path) for _ in range(2)]
    killed, neighbour = drivers
    assert len(killed.left()) == 2
    killed.process.kill()
    assert killed.gone(10)
    sweep_up("reap-")
    assert len(neighbour.left()) == 2
    assert neighbour.scratch.exists()
    neighbour.process.communicate("")  # an orderly end
    assert neighbour.process.returncode == 0
    assert neighbour.gone(0)


def test_the_next_start_cleans_up_after_a_reaper_that_was_killed_too(tmp_path: Path, drivers: list[Running]) -> None:
    drivers.append(Running(DRIVER, "reap-", tmp_path))
    (driver,) = drivers
    driver.reaper().kill()
    driver.process.kill()
    driver.process.wait()
    assert len(driver.left()) == 2
    sweep_up("reap-")
    assert driver.gone(1)


def test_a_pid_that_is_used_again_is_not_the_driver(tmp_path: Path, drivers: list[Running]) -> None:
    mine, others = tmp_path / f"reap-{os.getpid()}-a", tmp_path / f"reap-{os.getpid()}-b"
    for scratch, began in ((mine, psutil.Process().create_time()), (others, 1.0)):
        scratch.mkdir()
        (scratch / "driver").write_text(f"{os.getpid()} {began}")
    drivers.clear()
    sweep_up("reap-")
    assert mine.exists()
    assert not others.exists()


def test_no_process_of_rays_outlives_a_killed_driver(tmp_path: Path, drivers: list[Running]) -> None:
    drivers.append(Running(RAY, "reap-", tmp_path))
    (driver,) = drivers
    assert len(driver.left()) > 4  # gcs, raylet, agents, workers
    driver.process.kill()
    assert driver.gone(10)
