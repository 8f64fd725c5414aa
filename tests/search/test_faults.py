"""Faults, injected for real: workers that die or hang, memory and disks that run out, clocks that jump, signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.ledger import History, read

ROOT = Path(__file__).parents[2]
STUDY = """\
name: hurt
objective: function
space: {function: {branin: {x: {choice: [%s]}, y: 2.0}}}
budget: {trials: 99, epochs: 9, retries: 1, trial_timeout: %g}
search: {strategy: {grid: {points: 2}}, scheduler: none}
resources: {cpu: 1, concurrent: 2}
"""
# What befalls a trial in its second stretch, by the x of its config. `once` tells the first time from later ones.
WOUNDS = """\
import ctypes, os, pathlib, random, signal, time
from objectives.kinds import function

here = pathlib.Path(__file__).parent
advance = function.Function.run

def once(what):
    mark = here / f"{what}.mark"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def stuck():
    ctypes.PyDLL(None).sleep(1000)  # with the interpreter's lock held

def wounded(self):
    ((_, knobs),) = self.setting.config["function"].items()
    for metrics in advance(self):
        if self.epoch > 4:
            wound(knobs["x"], metrics)
        yield metrics

def wound(x, metrics):
    if x == 1 and once("killed") or x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 3 and once("hung") or x == 4:
        stuck()
    if x == 5:
        metrics["value"] = float("nan")
    if x == 6:
        import numpy
        numpy.ones(1 << 47)
    if x == 7:
        raise OSError("no such luck")
    if x == 8:
        hoard = []
        while True:
            hoard.append(bytearray(b"1" * (1 << 26)))
    if x == 9:
        (here / "begun.mark").touch()
        while not (here / "go.mark").exists():
            time.sleep(0.01)

function.Function.run = wounded
%s
"""
CLOCK = """\
steps, real = random.Random(os.getpid()), time.time
time.time = lambda: real() + steps.uniform(-1e5, 1e5)
"""


def prepare(folder: Path, places: str, timeout: float = 0.0, more: str = "") -> list[str]:
    """Puts a study into the folder, and what wounds its trials; the command that runs it."""
    (folder / "hurt.yaml").write_text(STUDY % (places, timeout))
    (folder / "wounds.py").write_text(WOUNDS % more)
    (folder / "sitecustomize.py").write_text("import wounds\n")
    return [sys.executable, "-m", "search", "run", "hurt.yaml", "--resume"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"} | more


def finished(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=240
    )


def outcome(folder: Path) -> dict[float, Any]:
    """Each trial of the run by the x of its config."""
    history, _ = read(folder / "runs/hurt/ledger.jsonl")
    return {trial.config["function"]["branin"]["x"]: trial for trial in history.trials.values()}


def history(folder: Path) -> History:
    return read(folder / "runs/hurt/ledger.jsonl")[0]


def test_each_fault_stays_with_its_trial_even_while_clocks_jump(tmp_path: Path) -> None:
    command = prepare(tmp_path, "0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0", timeout=6, more=CLOCK)
    done = finished(command, tmp_path)
    assert done.returncode == 0, done.stderr
    trials = outcome(tmp_path)
    assert [x for x, trial in trials.items() if not trial.failed] == [0.0, 1.0, 3.0]
    assert all(trials[x].epoch == 9 for x in (0.0, 1.0, 3.0))
    assert {x: trial.retries for x, trial in trials.items() if trial.retries} == {1.0: 1, 2.0: 1, 3.0: 1, 4.0: 1}
    assert trials[2.0].reason == "the worker died (killed, or out of memory) (2 times)"
    note = tmp_path / "runs/hurt/trials/t0004/hung.txt"
    assert trials[4.0].reason == f"it hung: no rung within 6 s (budget.trial_timeout); {note} says where (2 times)"
    assert "in stuck" in note.read_text()
    assert list(tmp_path.glob("runs/hurt/trials/*/hung.txt")) == [note]
    assert trials[5.0].reason == "the metric value became nan in epoch 7"
    assert trials[6.0].reason.startswith("out of memory: Unable to allocate")
    assert trials[7.0].reason == "OSError: no such luck"
    assert all([rung.epoch for rung in trials[x].rungs] == [2, 4] for x in (2.0, 4.0, 5.0, 6.0, 7.0))
    assert all(0 <= trial.seconds < 200 for trial in trials.values())
    assert history(tmp_path).finished


def test_rays_monitor_ends_who_takes_too_much_memory(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 6 << 30:
        pytest.skip("needs 6 GiB of memory to spare")
    threshold = 1 - (memory.available - (3 << 30)) / memory.total  # 3 GiB from here
    done = finished(
        prepare(tmp_path, "0.0, 8.0"),
        tmp_path,
        RAY_memory_usage_threshold=f"{threshold:.4f}",
        RAY_memory_monitor_refresh_ms="50",
    )
    assert done.returncode == 0, done.stderr
    trials = outcome(tmp_path)
    assert not trials[0.0].failed
    assert trials[8.0].reason == "out of memory: Ray's monitor ended the worker (2 times)"


@pytest.mark.parametrize("executor", ["ray", "serial"])
def test_a_full_disk_stops_the_run_which_goes_on_once_there_is_room(tmp_path: Path, executor: str) -> None:
    command = [*prepare(tmp_path, "0.0, 1.5, 2.5"), "--executor", executor]
    disk = tmp_path / "runs"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        (disk / "ballast").write_bytes(bytes(200 << 10))
        done = finished(command, tmp_path)
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
        assert "--resume" in done.stderr
        assert "Traceback" not in done.stderr
        (disk / "ballast").unlink()
        done = finished(command, tmp_path)
        assert done.returncode == 0, done.stderr
        assert not any(trial.failed for trial in outcome(tmp_path).values())
        assert history(tmp_path).finished
        assert not list(disk.rglob("*.part"))
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("place", ["/proc/run", "file/run"])
def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    done = finished([*prepare(tmp_path, "0.0"), "--executor", "serial", "--out", place], tmp_path)
    assert done.returncode == 2
    assert f"error: {place}: the run's folder cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def under_way(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run on Ray whose trials are in the midst of their second stretch."""
    command = prepare(tmp_path, "9.0, 0.0")
    pipe = subprocess.PIPE
    driver = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    begun = tmp_path / "begun.mark"
    try:
        while not begun.exists():
            assert driver.poll() is None, driver.stderr.read() if driver.stderr else ""
        yield driver
    finally:
        driver.kill()
        driver.communicate()


def told(driver: subprocess.Popen[str]) -> str:
    """The next line that the driver says on its standard error, without those that are empty."""
    assert driver.stderr is not None
    return next(line for line in driver.stderr if line.strip())


def test_ctrl_c_ends_trials_at_their_next_rung_and_says_how_to_go_on(
    tmp_path: Path, under_way: subprocess.Popen[str]
) -> None:
    os.killpg(under_way.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    assert "Ctrl-C again to stop at once" in told(under_way)
    (tmp_path / "go.mark").touch()
    _, errors = under_way.communicate(timeout=60)
    assert under_way.returncode == 130
    assert "the same command with --resume goes on" in errors
    before = (tmp_path / "runs/hurt/ledger.jsonl").read_bytes()
    waiting = outcome(tmp_path)[9.0]
    assert not waiting.failed
    assert waiting.epoch == 7  # the rung after the one it was at
    done = finished(prepare(tmp_path, "9.0, 0.0"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/hurt/ledger.jsonl").read_bytes().startswith(before)
    assert history(tmp_path).finished


@pytest.mark.parametrize(("signals", "code"), [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGTERM], 143)])
def test_a_second_ctrl_c_and_sigterm_stop_at_once(
    tmp_path: Path, under_way: subprocess.Popen[str], signals: list[int], code: int
) -> None:
    for number in signals[:-1]:
        os.killpg(under_way.pid, number)
        assert "Ctrl-C again" in told(under_way)  # of two at the same instant, a process sees one
    os.killpg(under_way.pid, signals[-1])
    _, errors = under_way.communicate(timeout=60)
    assert under_way.returncode == code
    assert "the same command with --resume goes on" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "runs/hurt/driver.json").exists()
    (tmp_path / "go.mark").touch()
    shutil.rmtree(tmp_path / "runs/hurt/tensorboard")  # which is made of the ledger
    done = finished(prepare(tmp_path, "9.0, 0.0"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert history(tmp_path).finished
    assert not any(trial.failed for trial in outcome(tmp_path).values())


def test_a_second_driver_is_refused_while_the_first_goes_on(tmp_path: Path, under_way: subprocess.Popen[str]) -> None:
    done = finished([*prepare(tmp_path, "9.0, 0.0"), "--executor", "serial"], tmp_path)
    assert done.returncode == 2
    assert f"another driver is at work on this run: pid {under_way.pid} on " in done.stderr
    (tmp_path / "go.mark").touch()
    under_way.communicate(timeout=60)
    assert under_way.returncode == 0
    assert history(tmp_path).finished


def test_a_hang_in_this_very_process_ends_too(tmp_path: Path) -> None:
    more = "stuck = lambda: time.sleep(1000)\n"  # which Python can break off
    done = finished([*prepare(tmp_path, "0.0, 3.0, 4.0", 5, more), "--executor", "serial"], tmp_path)
    assert done.returncode == 0, done.stderr
    trials = outcome(tmp_path)
    assert {x: trial.retries for x, trial in trials.items()} == {0.0: 0, 3.0: 1, 4.0: 1}
    assert [trial.failed for trial in trials.values()] == [False, False, True]
    assert trials[4.0].reason.startswith("it hung: no rung within 5 s")
