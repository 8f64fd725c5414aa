"""Ray Tune's own restore after a kill of its driver, for comparison."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TUNE = """\
import os, sys, time
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

here = sys.argv[1]  # which is another in a worker

def trial(config):
    for epoch in range(1, 4):
        time.sleep(0.2 / 3)
        tune.report({"value": config["x"], "epoch": epoch})
    with open(here + "/done.log", "a") as file:
        file.write(f"{config['x']!r}\\n"); file.flush(); os.fsync(file.fileno())

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
place = here + "/results"
if os.path.exists(place + "/run/tuner.pkl"):
    tuner = tune.Tuner.restore(place + "/run", trainable=trial, param_space={"x": tune.uniform(0, 1)})
else:
    tuner = tune.Tuner(trial, param_space={"x": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(
        metric="value", mode="min", num_samples=40, max_concurrent_trials=2, reuse_actors=True,
        search_alg=OptunaSearch(seed=int(sys.argv[2]))),
        run_config=tune.RunConfig(name="run", storage_path=place, verbose=0))
print("RESULTS", len(tuner.fit()), flush=True)
"""


def rays_own(count: int, jobs: int, seed: int, scratch: Path) -> dict[str, float]:
    """A bare Ray Tune run of the same shape, killed once at random and resumed by `Tuner.restore`, so many times."""

    def one(number: int) -> int | None:
        folder, rng = scratch / f"tune-{number}", random.Random(f"{seed}/{number}")
        folder.mkdir()
        (folder / "tune_run.py").write_text(TUNE)
        command = [sys.executable, str(folder / "tune_run.py"), str(folder), str(number)]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        log = folder / "done.log"
        driver = subprocess.Popen(command, **quiet)
        while not log.exists() and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 5))
        driver.kill()
        driver.communicate()
        time.sleep(1)  # its workers follow within moments, and may still note an end
        if not log.exists():
            raise RuntimeError(f"{folder}: the run ended before its first trial did")
        before = log.read_text().split()
        try:
            again = subprocess.run(command, timeout=240, **quiet)
        except subprocess.TimeoutExpired:
            return None
        after = log.read_text().split()[len(before) :]
        if again.returncode or "RESULTS 40" not in again.stdout:
            return None
        return len(set(before) & set(after))

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, range(count)))
    forgotten = [number for number in found if number is not None] or [0]
    return {
        "kills": count, "forgotten_mean": round(statistics.mean(forgotten), 2), "forgotten_max": max(forgotten),
        "unrestorable": found.count(None),
    }  # fmt: skip
