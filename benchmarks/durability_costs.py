"""What durability costs: the share of fsync in a quick start, and whether many trials slow a run down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
STUDY = """\
name: durable
objective: function
space: {{function: {{branin: search, mixed: search}}}}
budget: {{trials: {trials}, epochs: 9, retries: 20}}
search: {{strategy: {strategy}, scheduler: {scheduler}, seed: {seed}}}
resources: {{concurrent: {concurrent}}}
"""


def fsync_share(scratch: Path) -> dict[str, float]:
    """Seconds that driver and workers of a small quick start spend in fsync, over its wall time."""
    folder = scratch / "overhead"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib, time\n"
        "sync, log = os.fsync, pathlib.Path(__file__).parent / f'{os.getpid()}.fsync'\n"
        "def timed(handle):\n"
        "    began = time.perf_counter(); sync(handle); took = time.perf_counter() - began\n"
        "    with open(log, 'a') as file: file.write(f'{took}\\n')\n"
        "os.fsync = timed\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    command = [sys.executable, "-m", "search", "run", "quickstart", "--trials", "8", "-q"]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    wall = time.perf_counter() - began
    spent = [float(line) for path in folder.glob("*.fsync") for line in path.read_text().split()]
    figures = {"fsyncs": len(spent), "fsync_seconds": round(sum(spent), 3), "wall_seconds": round(wall, 1)}
    return figures | {"share": round(sum(spent) / wall, 4)}


def scale(trials: int, scratch: Path) -> dict[str, float]:
    """Many trivial trials through one driver: seconds and memory of a trial at both ends, the ledger and its replay."""
    from search.ledger import read

    folder, edge = scratch / "scale", trials // 10
    folder.mkdir()
    text = STUDY.format(trials=trials, strategy="random", scheduler="none", seed=0, concurrent=2)
    (folder / "durable.yaml").write_text(text.replace("epochs: 9", "epochs: 1"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "search", "run", "durable.yaml", "-q"]
    with open(folder / "output", "wb") as output:
        driver = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    ledger, seen, place, marks = folder / "runs/durable/ledger.jsonl", 0, 0, {}
    wanted = [100, 100 + edge, trials - edge, trials]
    while driver.poll() is None:
        if ledger.exists():
            with open(ledger, "rb") as file:
                file.seek(place)
                fresh = file.read()
            place, seen = place + len(fresh), seen + fresh.count(b'{"event":"rung"')
            for mark in [w for w in wanted if w <= seen and w not in marks]:
                marks[mark] = time.monotonic(), psutil.Process(driver.pid).memory_info().rss / 1e6
        time.sleep(0.05)
    first, last = ((marks[b][0] - marks[a][0]) / edge for a, b in (wanted[:2], wanted[2:]))
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history, size = read(ledger)
    replay = (time.perf_counter() - began) / trials * 1000
    return {
        "trials": len(history.trials), "first_ms": round(1e3 * first, 2), "last_ms": round(1e3 * last, 2),
        "ratio": round(last / first, 3), "memory_first_mb": round(marks[wanted[1]][1]),
        "memory_last_mb": round(marks[trials][1]), "ledger_bytes_a_trial": round(size / trials),
        "replay_seconds_per_1000": round(replay, 4),
    }  # fmt: skip
