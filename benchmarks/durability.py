"""What a run survives: random kills of its driver, workers and raylet, and the same done to Ray Tune's own restore.

    python benchmarks/durability.py [--quick] [--only ray|serial|baseline|overhead|scale] [--jobs N] [--seed N]

Every run is killed one to five times at random instants, resumed by the same command, and held against what was known
at each kill: nothing that was finished may vanish or be done again, no rung may be told twice, no process may be left
ten seconds after the driver's end, and one trial at a time the ledger must be that of the unbroken run. Ends in JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from durability_costs import ROOT, STUDY, fsync_share, scale
from ray_restore import rays_own

sys.path.insert(0, str(ROOT))
MARK = "DURABILITY_RUN"
STRATEGIES = ("{tpe: {startup: 6}}", "random", "{grid: {points: 4}}")
# Trials that take a while, and that note on which instant they began and reached which rung.
SLOW = """\
import os, pathlib, random, time
from objectives.kinds import function

log = pathlib.Path(__file__).parent / "work.log"
advance = function.Function.run

def note(*words):
    with open(log, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

def slow(self):
    note("start", time.time(), self.setting.seed, self.epoch)
    for metrics in advance(self):
        end = time.perf_counter() + random.Random(self.setting.seed + self.epoch).uniform(0.02, 0.2)
        while time.perf_counter() < end:
            pass
        note("rung", time.time(), self.setting.seed, self.epoch)
        yield metrics

function.Function.run = slow
"""


@dataclass
class Tally:
    """What went wrong, which should be nothing, and how often it could have."""

    kills: int = 0
    runs: int = 0
    lost: int = 0
    unresumed: int = 0
    repeated: int = 0
    differing: int = 0
    orphans: int = 0
    slowest_end: float = 0.0  # seconds from a driver's kill to the end of the last process
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("kills", "runs", "lost", "unresumed", "repeated", "differing", "orphans", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_end = max(self.slowest_end, other.slowest_end)


def events(ledger: Path) -> list[dict[str, Any]]:
    """The whole lines of a ledger."""
    content = ledger.read_bytes() if ledger.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def essence(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What must not depend on kills."""
    names = ("seconds", "crc", "study")
    return [{k: v for k, v in event.items() if k not in names} for event in found if event["event"] != "retried"]


def done(found: list[dict[str, Any]]) -> dict[str, int]:
    """The trials that ran to their end, and their seeds."""
    seeds = {event["id"]: event["seed"] for event in found if event["event"] == "asked"}
    return {e["id"]: seeds[e["id"]] for e in found if e["event"] == "rung" and e["epoch"] == 9}


class Killing:
    """One run on Ray, killed and resumed until it is finished."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.rng = random.Random(f"{seed}/{number}")
        self.folder, self.name = folder, f"{os.getpid()}-{seed}-{number}"
        self.concurrent = 1 + number % 2
        self.fields = {
            "trials": 24, "strategy": STRATEGIES[number // 2 % 3], "seed": number,
            "scheduler": "asha" if number % 5 < 4 else "none", "concurrent": self.concurrent,
        }  # fmt: skip
        self.ledger = folder / "runs/durable/ledger.jsonl"
        self.tally, self.known = Tally(runs=1), []
        self.family: set[psutil.Process] = set()
        folder.mkdir(parents=True)
        (folder / "durable.yaml").write_text(STUDY.format(**self.fields))
        (folder / "slow.py").write_text(SLOW)
        (folder / "sitecustomize.py").write_text("import slow\n")

    def run(self) -> Tally:
        driver = self.start()
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 2, 3, 4, 5))):
            try:
                driver.wait(self.rng.uniform(1, 11))
                break  # it ended sooner
            except subprocess.TimeoutExpired:
                driver = self.strike(driver)
        self.end(driver)
        self.judge()
        if self.tally.wrong:
            print(f"{self.folder}: {self.fields}: {self.tally.wrong}", flush=True)
        else:
            shutil.rmtree(self.folder)
        return self.tally

    def start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}", MARK: self.name}
        command = [sys.executable, "-m", "search", "run", "durable.yaml", "--resume"]
        with open(self.folder / "output", "ab") as output:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)

    def processes(self, driver: subprocess.Popen[bytes] | None = None) -> list[psutil.Process]:
        """Everything that runs because of this run: what was begun below the driver, and what shows its environment,
        over which Ray's agents write their titles."""
        found = []
        with suppress(psutil.Error):
            self.family |= set(psutil.Process(driver.pid).children(recursive=True)) if driver else set()
        for process in self.family:
            with suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.name and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return list(dict.fromkeys(found))

    def strike(self, driver: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Kills something; the driver that is at work afterwards."""
        target = self.rng.choices(("driver", "worker", "raylet"), (6, 3, 1))[0]
        everything = self.processes(driver)
        victims = [p for p in everything if self.is_a(p, target)] if target != "driver" else []
        self.tally.kills += 1
        if not victims:
            driver.kill()
        else:
            with_luck = self.rng.choice(victims)
            try:
                with_luck.kill()
            except psutil.Error:
                return driver
            if target == "worker":
                return driver
        try:
            driver.wait(90)  # without its raylet a driver gives up by itself
        except subprocess.TimeoutExpired:
            self.tally.wrong.append("a driver outlives its raylet")
            driver.kill()
            driver.wait()
        self.remember()
        self.await_silence()
        return self.start()

    def is_a(self, process: psutil.Process, kind: str) -> bool:
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            return False
        return words.startswith("ray::ImplicitFunc") if kind == "worker" else "raylet/raylet" in words

    def remember(self) -> None:
        """What stands in the ledger now must stand there for ever, and what was printed must stand there."""
        now = events(self.ledger)
        if now[: len(self.known)] != self.known:
            self.tally.lost += 1
            self.tally.wrong.append("the ledger is not what it was")
        self.known = now
        printed = (self.folder / "output").read_text(errors="replace").splitlines()
        finished = {line.split()[0] for line in printed if line.startswith("t0") and " epoch    9 " in line}
        if vanished := finished - done(now).keys():
            self.tally.lost += len(vanished)
            self.tally.wrong.append(f"printed as finished and not in the ledger: {vanished}")
        with open(self.folder / "work.log", "a") as log:
            log.write(f"killed {time.time()} {json.dumps(sorted(done(now).values()))}\n")

    def await_silence(self) -> None:
        """Counts who is left ten seconds after the driver's end."""
        began = time.monotonic()
        while (left := self.processes()) and time.monotonic() - began < 10:
            time.sleep(0.1)
        self.tally.slowest_end = max(self.tally.slowest_end, time.monotonic() - began)
        if left:
            self.tally.orphans += len(left)
            self.tally.wrong.append(f"orphans: {left}")

    def end(self, driver: subprocess.Popen[bytes]) -> None:
        """Lets the run come to its end; after the last blow, nothing may keep the driver from it."""
        try:
            code = driver.wait(300)
        except subprocess.TimeoutExpired:
            driver.kill()
            code = driver.wait()
        if code:
            self.tally.unresumed += 1
            self.tally.wrong.append(f"it does not come to its end: exit code {code}")

    def judge(self) -> None:
        found = events(self.ledger)
        self.remember()
        rungs = [(event["id"], event["epoch"]) for event in found if event["event"] == "rung"]
        twice = len(rungs) - len(set(rungs))
        began, reached, finished = set(), [], set()
        for line in (self.folder / "work.log").read_text().splitlines():
            word, _, rest = line.split(" ", 2)
            if word == "killed":
                finished |= set(json.loads(rest))
            elif word == "rung":
                reached.append(rest)
            elif int(rest.split()[0]) in finished:
                began.add(rest)
        again = len(reached) - len(set(reached))  # work since a last rung, of those that were at work
        self.tally.lost += len(began)
        self.tally.repeated += twice + max(0, again - self.concurrent * self.tally.kills)
        if began or twice or again > self.concurrent * self.tally.kills:
            self.tally.wrong.append(f"begun again: {began}; told twice: {twice}; worked twice: {again}")
        if self.concurrent == 1 and essence(found) != essence(unbroken(self.folder)):
            self.tally.differing += 1
            self.tally.wrong.append("the ledger differs from that of the unbroken run")


def unbroken(folder: Path) -> list[dict[str, Any]]:
    """The ledger of the same study, run in one go and in one process."""
    command = [sys.executable, "-m", "search", "run", "durable.yaml", "--executor", "serial", "--out", "unbroken"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return events(folder / "unbroken/ledger.jsonl")


def on_ray(count: int, jobs: int, seed: int, scratch: Path) -> Tally:
    """So many runs on Ray, some side by side."""
    tally = Tally()
    with ThreadPoolExecutor(jobs) as pool:
        for number, one in enumerate(pool.map(lambda n: Killing(scratch / f"ray-{n}", n, seed).run(), range(count))):
            tally.add(one)
            print(f"run {number + 1} of {count}: {tally.kills} kills, {len(tally.wrong)} wrong", flush=True)
    return tally


def in_process(kills: int, seed: int, scratch: Path) -> Tally:
    """The serial executor in a forked process, killed so many times in all."""
    import optuna  # noqa: F401  (here, so that kills hit the run and not its imports)
    import safetensors.torch  # noqa: F401

    from search import run as runs
    from spaces.document import parse
    from spaces.study import read_study

    tally, rng, number = Tally(), random.Random(seed), 0
    while tally.kills < kills:
        strategy, scheduler = STRATEGIES[number % 3], ("asha", "none")[number // 3 % 2]
        text = STUDY.format(trials=16, strategy=strategy, scheduler=scheduler, seed=number, concurrent=0)
        study = read_study(parse(text, "durable.yaml"), runs.CATALOGUE)
        whole, began = scratch / f"whole-{number}", time.perf_counter()
        os.waitpid(fork(study, whole), 0)
        span = time.perf_counter() - began
        broken, known = scratch / f"broken-{number}", []
        for _ in range(1000):
            child = fork(study, broken)
            time.sleep(rng.uniform(0, span))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            now = events(broken / "ledger.jsonl")
            tally.lost += now[: len(known)] != known
            span *= 1.5 if len(now) == len(known) else 1  # a start alone may take so long on a busy machine
            known = now
            if not os.WIFSIGNALED(status):
                tally.unresumed += os.waitstatus_to_exitcode(status) != 0
                break
            tally.kills += 1
        tally.runs += 1
        rungs = [(event["id"], event["epoch"]) for event in known if event["event"] == "rung"]
        tally.repeated += len(rungs) - len(set(rungs))
        if essence(known) != essence(events(whole / "ledger.jsonl")):
            tally.differing += 1
            tally.wrong.append(f"{broken} differs from {whole}")
        else:
            shutil.rmtree(whole)
            shutil.rmtree(broken)
        number += 1
        print(f"serial: {tally.kills} of {kills} kills, {tally.runs} runs", flush=True)
    return tally


def fork(study: Any, root: Path) -> int:
    """A child that runs the study in `root`, or goes on with it, and exits with 0 at its end; its pid."""
    from search import run as runs
    from search.folder import Folder

    if child := os.fork():
        return child
    code = 1
    try:
        folder = Folder(root)
        ledger = runs.resume(study, folder, None) if folder.ledger.exists() else runs.start(study, folder, None)
        with runs.executor("serial", study) as execute:
            runs.sweep(study, None, folder, ledger, lambda event, history: None, execute)
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few of each, some minutes")
    parser.add_argument("--only", choices=["ray", "serial", "baseline", "overhead", "scale"])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="durability-"))
    wanted = [asked.only] if asked.only else ["serial", "ray", "baseline", "overhead", "scale"]
    figures: dict[str, Any] = {}
    if "ray" in wanted:
        figures |= vars(on_ray(4 if asked.quick else 100, asked.jobs, asked.seed, scratch))
    if "serial" in wanted:
        figures["serial"] = vars(in_process(60 if asked.quick else 1000, asked.seed, scratch))
    if "baseline" in wanted:
        figures["ray_restore"] = rays_own(2 if asked.quick else 30, asked.jobs, asked.seed, scratch)
    if "overhead" in wanted:
        figures["overhead"] = fsync_share(scratch)
    if "scale" in wanted:
        figures["scale"] = scale(2000 if asked.quick else 10_000, scratch)
    if not (figures.get("wrong") or figures.get("serial", {}).get("wrong")):
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
