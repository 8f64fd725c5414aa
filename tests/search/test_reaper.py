"""The reaper: nothing outlives a driver that was killed, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from search.executors.reaper import MARK, NOTE, reaped, sweep_up

ROOT = Path(__file__).parents[2]
# A driver with a child and two grandchildren, all in sessions of their own and deaf to polite requests. One grandchild
# shows no environment, as if its title stood there, and has a log open in the scratch folder, as Ray's agents do.
DRIVER = """\
import os, pathlib, subprocess, sys, tempfile
from search.executors.reaper import reaped
stubborn = (
    "import os, signal, subprocess, sys, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "begin = lambda code, **more: subprocess.Popen([sys.executable, '-c', code], start_new_session=True, **more);"
    "log = open(os.environ.get('LOG', os.devnull), 'w');"
    "children = [begin(code) for code in sys.argv[1:]] + [begin(code, env={}, stderr=log) for code in sys.argv[1:]];"
    "os.write(1, str(os.getpid()).encode() + bytes([10])); time.sleep(1000)"
)
scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{sys.argv[1]}{os.getpid()}-"))
with reaped(scratch):
    child = subprocess.Popen(
        [sys.executable, "-c", stubborn, stubborn], stdout=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"LOG": str(scratch / "log")},
    )
    pids = [child.stdout.readline().decode().strip() for _ in range(3)]
    print(scratch, *pids, flush=True)
    FORK
    sys.stdin.read()
"""
# A fork of the driver that lives on, with all that the driver has open; and one that leaves the block on its own.
FORKED = DRIVER.replace(
    "FORK",
    "\n    if not os.fork(): os.write(1, str(os.getpid()).encode() + bytes([10])); sys.stdin.read(); os._exit(0)"
    "\n    if not (fork := os.fork()): sys.exit()"
    "\n    os.waitpid(fork, 0); print('left', flush=True)",
)
DRIVER = DRIVER.replace("FORK", "")
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
        def work(self):
            while True: pass
    actor = Busy.remote()
    pid = ray.get(actor.pid.remote())
    working = actor.work.remote()
    print(scratch, pid, flush=True)
    sys.stdin.read()
"""


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Running:
    """A driver in a process of its own, once it has said what it began."""

    def __init__(self, code: str, prefix: str, folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, prefix], cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        scratch, *pids = self.told()
        self.scratch = Path(scratch)
        self.begun = {psutil.Process(int(pid)) for pid in pids}
        children = psutil.Process(self.process.pid).children()
        (self.reaper,) = (child for child in children if "reaper.py" in " ".join(child.cmdline()))

    def told(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def kill(self) -> None:
        """As `kill -9` does; its descendants are noted before, whatever their environments and titles say."""
        self.begun |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.process.kill()
        self.process.communicate()

    def left(self) -> set[psutil.Process]:
        """The processes that it began and that live: those it told of, its descendants, who bears its mark or its name.

        Only its reaper, which ends by itself, does not count.
        """
        found = {p for p in self.begun if lives(p)}
        for process in psutil.process_iter():
            try:
                told = [process.environ().get(MARK, ""), " ".join(process.cmdline())]
                if any(str(self.scratch) in words for words in told) and lives(process):
                    found.add(process)
            except (psutil.Error, OSError):
                continue
        return found - {self.reaper}

    def gone(self, seconds: float) -> bool:
        """Whether all of them are, and the folder too, within so many seconds."""
        return within(seconds, lambda: not self.left() and not self.scratch.exists())


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Running]]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started: list[Running] = []

    def starting(code: str) -> Running:
        started.append(Running(code, "reap-", tmp_path))
        return started[-1]

    yield starting
    for driver in started:
        driver.process.kill()
        driver.process.communicate()
        for process in driver.left():
            process.kill()


@pytest.fixture
def dead() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_nothing_outlives_a_killed_driver_and_its_neighbour_is_not_touched(start: Callable[[str], Running]) -> None:
    killed, neighbour = start(DRIVER), start(DRIVER)
    with (killed.scratch / "log").open() as log:
        onlooker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], stdin=log)
    try:
        assert len(killed.left()) == len(neighbour.left()) == 3
        killed.kill()
        assert killed.gone(10)
        sweep_up("reap-")
        assert len(neighbour.left()) == 3
        neighbour.process.communicate("")  # an orderly end
        assert neighbour.process.returncode == 0
        assert neighbour.gone(0)
        assert onlooker.poll() is None
    finally:
        onlooker.kill()
        onlooker.wait()


def test_a_reaper_is_small_and_deaf_to_what_ends_a_driver(start: Callable[[str], Running]) -> None:
    driver = start(DRIVER)
    reaper = driver.reaper
    waiting = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    assert within(10, lambda: all(number in ignored(reaper) for number in waiting))
    assert os.getsid(reaper.pid) == reaper.pid
    assert not [m.path for m in reaper.memory_maps() if "/torch/" in m.path or "/ray/" in m.path]
    assert {f.path for f in reaper.open_files()} == {str(driver.scratch / NOTE)}
    for number in waiting:
        reaper.send_signal(number)
    driver.kill()
    assert driver.gone(10)
    assert within(10, lambda: not lives(reaper))


def ignored(process: psutil.Process) -> set[int]:
    """The signals that a process ignores."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (mask,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


def test_forks_of_a_driver_neither_keep_its_reaper_waiting_nor_call_it(start: Callable[[str], Running]) -> None:
    driver = start(FORKED)
    (fork,) = (psutil.Process(int(pid)) for pid in driver.told())
    try:
        assert driver.told() == ["left"]
        assert len(driver.left()) == 3
        assert (driver.scratch / NOTE).read_text() == f"{socket.gethostname()}\n"
        driver.process.kill()
        assert driver.gone(10)
        assert lives(fork)
    finally:
        fork.kill()


def test_the_next_start_cleans_up_after_a_reaper_that_was_killed_too(start: Callable[[str], Running]) -> None:
    driver = start(DRIVER)
    driver.reaper.kill()
    driver.kill()
    assert len(driver.left()) == 3
    sweep_up("reap-")
    assert driver.gone(1)


def test_an_orderly_driver_whose_reaper_was_killed_removes_its_folder(start: Callable[[str], Running]) -> None:
    driver = start(DRIVER)
    driver.reaper.kill()
    driver.process.communicate("")
    assert driver.process.returncode == 0
    assert not driver.scratch.exists()


def folder(parent: Path, pid: int, note: str | None = None) -> Path:
    scratch = parent / f"reap-{pid}-{len(list(parent.iterdir()))}"
    scratch.mkdir()
    if note is not None:
        (scratch / NOTE).write_text(note)
    return scratch


@pytest.mark.usefixtures("start")
def test_only_folders_that_lost_their_driver_are_removed(tmp_path: Path, dead: int) -> None:
    here = f"{socket.gethostname()}\n"
    reused, unlocked, done = (folder(tmp_path, os.getpid(), here), folder(tmp_path, dead), folder(tmp_path, dead, here))
    beginning, elsewhere = folder(tmp_path, os.getpid()), folder(tmp_path, dead, "another\n")
    strange = [folder(tmp_path, 10**25), folder(tmp_path, -1)]
    target = tmp_path / "precious"
    target.mkdir()
    (tmp_path / f"reap-{dead}-link").symlink_to(target)
    (tmp_path / f"reap-{dead}-file").touch()
    sweep_up("reap-")
    assert [scratch.exists() for scratch in (reused, unlocked, done)] == [False] * 3
    assert all(scratch.exists() for scratch in (beginning, elsewhere, target, *strange))


@pytest.mark.usefixtures("start")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away, and only root could remove it")
def test_another_users_folder_is_not_touched(tmp_path: Path, dead: int) -> None:
    scratch = folder(tmp_path, dead, f"{socket.gethostname()}\n")
    os.chown(scratch, 12345, 12345)
    sweep_up("reap-")
    assert (scratch / NOTE).exists()


@pytest.mark.usefixtures("start")
def test_a_sweep_leaves_the_folder_of_its_own_process_and_the_mark_goes_with_it(tmp_path: Path) -> None:
    scratch = folder(tmp_path, os.getpid())
    with reaped(scratch):
        assert os.environ[MARK] == str(scratch)
        sweep_up("reap-")
        code = "import sys; sys.path.insert(0, sys.argv[1]); import tempfile; tempfile.tempdir = sys.argv[2]\n"
        code += "from search.executors.reaper import sweep_up; sweep_up('reap-')"
        subprocess.run([sys.executable, "-c", code, str(ROOT), str(tmp_path)], check=True)
        assert scratch.exists()
    assert not scratch.exists()
    assert MARK not in os.environ


def test_no_process_of_rays_outlives_a_killed_driver(start: Callable[[str], Running]) -> None:
    driver = start(RAY)
    agents = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}  # the two that would live on longest
    assert within(30, lambda: agents <= {process.name() for process in descendants(driver)})
    driver.kill()
    assert len(driver.begun) > 5  # gcs, raylet, agents, workers
    assert driver.gone(10)


def descendants(driver: Running) -> list[psutil.Process]:
    return [p for p in psutil.Process(driver.process.pid).children(recursive=True) if lives(p)]
