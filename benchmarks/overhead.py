"""What pretune adds to Ray Tune: wall time, driver CPU and driver memory per trial, for trials that do nothing.

Both sides run the same number of trials that report one number, two at a time, with actors reused: a bare Ray
Tune function trainable with Tune's defaults, and `pretune run` on a test function with random search. Each runs
in a process of its own, in turns. Figures are slopes between the 100th trial and the last, so that neither the
start of Ray nor that of the workers counts.

    python benchmarks/overhead.py [--quick]
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

WARM = 100  # trials before the first mark


def mark() -> dict[str, float]:
    """Wall seconds, CPU seconds and resident kilobytes of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"wall": time.time(), "cpu": time.process_time(), "kb": pages * resource.getpagesize() / 1024}


def bare(trials: int) -> list[dict[str, float]]:
    """Ray Tune alone."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
    import ray
    from ray import tune

    marks: list[dict[str, float]] = []

    class Mark(tune.Callback):
        done = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.done += 1
            if self.done in (WARM, planned):
                marks.append(mark())

    planned = trials
    with tempfile.TemporaryDirectory() as scratch:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=scratch)
        tune.Tuner(
            tune.with_resources(lambda config: tune.report({"value": config["x"]}), {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                metric="value", mode="min", num_samples=trials, reuse_actors=True, max_concurrent_trials=2
            ),
            run_config=tune.RunConfig(storage_path=f"{scratch}/results", verbose=0, callbacks=[Mark()]),
        ).fit()
        ray.shutdown()
    return marks


def ours(trials: int) -> list[dict[str, float]]:
    """`pretune run`, its ledger, TensorBoard files and progress included."""
    from rich.console import Console

    from search import run
    from search.compare.progress import Progress
    from search.compare.tensorboard import EventFiles
    from spaces.document import parse
    from spaces.study import read_study

    text = "{name: idle, objective: function, space: {function: {branin: search}}, "
    text += f"budget: {{trials: {trials}, epochs: 1}}, search: {{strategy: random, scheduler: none}}, "
    text += "resources: {cpu: 1, concurrent: 2}}"
    study = read_study(parse(text, "idle"), run.CATALOGUE)
    marks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere, ExitStack() as stack:
        folder = run.new_folder(study, Path(scratch) / "run")
        execute = stack.enter_context(run.executor("ray", study))
        ledger = run.start(study, folder, None)
        files, progress = EventFiles(folder), Progress(trials, scratch, Console(file=nowhere))
        files.rebuild(ledger.history)
        done = 0

        def observe(event: Any, history: Any) -> None:
            nonlocal done
            files(event, history)
            progress(event, history)
            done += event["event"] == "rung"
            if event["event"] == "rung" and done in (WARM, trials):
                marks.append(mark())

        run.sweep(study, None, folder, ledger, observe, execute)
    return marks


def slopes(side: str, trials: int) -> dict[str, float]:
    """Milliseconds and kilobytes per trial of one side, measured in a process of its own."""
    command = [sys.executable, __file__, side, str(trials)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, last = json.loads(output.splitlines()[-1])
    count = trials - WARM
    return {
        "wall_ms": 1e3 * (last["wall"] - first["wall"]) / count,
        "cpu_ms": 1e3 * (last["cpu"] - first["cpu"]) / count,
        "memory_kb": (last["kb"] - first["kb"]) / count,
    }


def command_seconds(*arguments: str) -> float:
    """Median wall seconds of a `pretune` command."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "search", *arguments], capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    quick = "--quick" in sys.argv
    trials, rounds = (300, 1) if quick else (1100, 3)
    results: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
    for _ in range(rounds):
        for side in results:
            results[side].append(slopes(side, trials))
            print(side, {name: round(value, 2) for name, value in results[side][-1].items()}, flush=True)
    median = {s: {n: statistics.median(r[n] for r in rows) for n in rows[0]} for s, rows in results.items()}
    figures: dict[str, Any] = {f"{side}_{name}": round(v, 3) for side, row in median.items() for name, v in row.items()}
    for name in ("wall", "cpu"):
        figures[f"{name}_ratio"] = round(median["ours"][f"{name}_ms"] / median["bare"][f"{name}_ms"], 3)
    figures["help_seconds"] = round(command_seconds("--help"), 3)
    figures["list_seconds"] = round(command_seconds("list"), 3)
    figures |= {"trials": trials, "rounds": rounds, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(figures))


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["ours"]):
        print(json.dumps({"bare": bare, "ours": ours}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main()
