"""The sweep on Ray Tune: killed and resumed, failing trials, workers that die, TensorBoard over what it left."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.ledger import read
from search.run import load_study

ROOT = Path(__file__).parents[2]
STUDY = """\
name: killed
objective: function
space: {function: {branin: search, mixed: search}}
budget: {trials: 60, epochs: 9}
search: {strategy: tpe, scheduler: asha, seed: 2}
"""
FAULTY = """\
name: faulty
data: digits
space:
  method: {simclr: {hidden: 16}, mae: {normalise: true}, vicreg: {hidden: 16, out: 16}}
  architecture: {vit: {patch: {choice: [1, 2]}, heads: 1, head_width: 16, depth: 1}}
  augmentation: {noise: default}
  optimizer: {batch: 512}
probe: {draws: 1}
budget: {trials: 6, epochs: 1}
search: {strategy: grid, scheduler: none}
"""


def start(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "search", "run", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def events(ledger):
    """The whole lines of a ledger."""
    content = ledger.read_bytes() if ledger.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def wait_for(condition, process, seconds=120):
    """Until the condition holds; the process must live on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_killed_run_resumes_without_repeating_or_losing_anything(tmp_path):
    (tmp_path / "killed.yaml").write_text(STUDY)
    ledger = tmp_path / "runs" / "killed" / "ledger.jsonl"
    first = start(tmp_path, "killed.yaml")
    wait_for(lambda: sum(e["event"] == "asked" for e in events(ledger)) >= 30, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = events(ledger)
    second = start(tmp_path, "killed.yaml", "--resume")
    output, errors = second.communicate(timeout=240)
    assert second.returncode == 0, errors.decode()
    after = events(ledger)
    assert after[: len(before)] == before
    asked = [e["id"] for e in after if e["event"] == "asked"]
    assert asked == [f"t{i:04d}" for i in range(60)]
    rungs = [(e["id"], e["epoch"]) for e in after if e["event"] == "rung"]
    assert len(rungs) == len(set(rungs))
    assert {id for id, _ in rungs} == set(asked)
    assert not any(e["event"] == "failed" for e in after)
    history, _ = read(ledger)
    assert history.finished
    assert {history.state(trial) for trial in history.trials.values()} == {"complete", "stopped"}
    assert b"leads with value" in output


def test_trials_fail_alone_with_their_reason(tmp_path):
    (tmp_path / "faulty.yaml").write_text(FAULTY)
    run = start(tmp_path, "faulty.yaml")
    output, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors.decode()
    history, _ = read(tmp_path / "runs" / "faulty" / "ledger.jsonl")
    states = {t.id: history.state(t) for t in history.trials.values()}
    failed = [t for t in history.trials.values() if t.failed]
    assert len(states) == 6
    assert [(list(t.config["method"]), t.config["architecture"]["vit"]["patch"]) for t in failed] == [(["mae"], 1)]
    assert "one grey pixel cannot be normalised" in failed[0].reason
    assert list(states.values()).count("complete") == 5
    assert b"failed  " + failed[0].id.encode() in output
    assert (tmp_path / "runs/faulty/trials" / failed[0].id / "error.txt").read_text().startswith("Traceback")


def test_a_worker_that_dies_fails_its_trial_and_no_other(tmp_path):
    """A trial whose function kills its own process, as the kernel does to one that takes too much memory."""
    shelf = tmp_path / "deadly.py"
    shelf.write_text(
        "import os, signal\n"
        "from objectives.functions import branin\n"
        "def build(config):\n"
        "    if config.x > 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return lambda: branin.branin(config.x, config.y)\n"
        "branin.build = build\n"
    )
    text = STUDY.replace("killed", "deadly").replace("trials: 60", "trials: 8").replace("tpe", "grid")
    text = text.replace(
        "branin: search, mixed: search", "branin: {x: {choice: [0.0, 3.0, 9.5]}, y: {choice: [1.0, 2.0]}}"
    )
    (tmp_path / "deadly.yaml").write_text(text)
    (tmp_path / "sitecustomize.py").write_text("import deadly\n")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "search", "run", "deadly.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    history, _ = read(tmp_path / "runs" / "deadly" / "ledger.jsonl")
    deaths = {t.config["function"]["branin"]["x"] for t in history.trials.values() if t.failed}
    assert deaths == {9.5}
    assert len([t for t in history.trials.values() if t.failed]) == 2
    assert all("worker died" in t.reason for t in history.trials.values() if t.failed)


@pytest.mark.gpu
def test_a_trial_on_a_gpu(tmp_path):
    study = load_study("quickstart", ["resources.gpu=1", "budget.trials=1", "budget.epochs=1"])
    assert study.resources.gpu == 1
    run = start(tmp_path, "quickstart", "--set", "resources.gpu=1", "--trials", "1", "--set", "budget.epochs=1")
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors.decode()


MEMORY = """\
import threading
import psutil
from search.executors.ray_tune import _give_back

kept = []

def job():
    blocks = [bytearray(b"x" * 60_000) for _ in range(5000)]
    kept.extend(blocks[::500])  # a few that stay, so that glibc keeps all of the thread's memory

thread = threading.Thread(target=job)
thread.start()
thread.join()
grown = psutil.Process().memory_info().rss
_give_back()
print(grown - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_a_worker_gives_back_the_memory_that_a_job_has_left():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100e6  # of 300 MB
