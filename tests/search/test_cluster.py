"""A study on a Ray cluster of several nodes on this machine: they differ, die and join, and the head is restarted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from search.ledger import read

ROOT = Path(__file__).parents[2]
STUDY = """\
name: spread
objective: function
space: {function: {branin: {x: {uniform: [0, 9]}, y: 2.0}}}
budget: {trials: %d, epochs: 9, retries: 3}
search: {strategy: random, scheduler: none}
resources: %s
"""
# Every trial notes where it runs; with a file `hold`, it waits in its second stretch until that is gone.
NOTES = """\
import pathlib, time
from objectives.kinds import function

here = pathlib.Path(__file__).parent
advance = function.Function.run

def noted(self):
    import ray
    where = ray.get_runtime_context().get_node_id()
    for metrics in advance(self):
        (here / f"at-{where}-{self.setting.seed}-{self.epoch}").touch()
        while self.epoch > 4 and (here / "hold").exists():
            time.sleep(0.01)
        yield metrics

function.Function.run = noted
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose head takes no trials."""
    (tmp_path / "notes.py").write_text(NOTES)
    (tmp_path / "sitecustomize.py").write_text("import notes\n")
    for name, value in {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_failure_threshold": "3",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def start(folder: Path, cluster: Cluster, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "search", "run", "spread.yaml", "--resume", *more]
    job = os.environ | ({} if "--address" in more else {"RAY_ADDRESS": cluster.address})  # as a job of the cluster
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=job, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition: Callable[[], Any], driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert driver.poll() is None, driver.stderr.read() if driver.stderr else ""
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def done(driver: subprocess.Popen[str]) -> str:
    """What a driver says on standard error, once it has ended well."""
    _, errors = driver.communicate(timeout=180)
    assert driver.returncode == 0, errors
    return errors


def places(folder: Path) -> dict[str, set[str]]:
    """By node, the trials (seeds) that reached a rung there."""
    found: dict[str, set[str]] = {}
    for path in folder.glob("at-*"):
        _, node, seed, _ = path.name.split("-")
        found.setdefault(node, set()).add(seed)
    return found


def events(folder: Path) -> list[dict[str, Any]]:
    ledger = folder / "runs/spread/ledger.jsonl"
    return [json.loads(line) for line in ledger.read_bytes().splitlines()] if ledger.exists() else []


def test_shares_of_one_gpu_are_packed_and_files_lie_at_a_url(tmp_path: Path, cluster: Cluster) -> None:
    cluster.add_node(num_cpus=4)
    able = cluster.add_node(num_cpus=1, num_gpus=1)
    (tmp_path / "spread.yaml").write_text(STUDY % (5, "{cpu: 0, gpu: 0.25}"))
    (tmp_path / "hold").touch()
    storage = tmp_path / "elsewhere"
    driver = start(tmp_path, cluster, "--address", cluster.address, "--storage", storage.as_uri())
    wait_for(lambda: len(list(tmp_path.glob("at-*-7"))) == 4, driver)  # four at a time, and no fifth
    assert len([event for event in events(tmp_path) if event["event"] == "asked"]) == 4
    (tmp_path / "hold").unlink()
    done(driver)
    assert {node: len(seeds) for node, seeds in places(tmp_path).items()} == {able.node_id: 5}
    history, _ = read(tmp_path / "runs/spread/ledger.jsonl")
    assert history.finished
    assert sorted(path.name for path in storage.iterdir()) == [f"t{i:04d}" for i in range(5)]
    assert not (tmp_path / "runs/spread/trials").exists()


def test_a_trial_asks_for_more_than_any_node_has(tmp_path: Path, cluster: Cluster) -> None:
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    (tmp_path / "spread.yaml").write_text(STUDY % (1, "{cpu: 4}"))
    driver = start(tmp_path, cluster)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 2
    assert "spread.yaml:6: resources: a trial asks for cpu 4, and no node holds that: there is cpu 0; cpu 2" in errors


def test_nodes_may_die_and_join_and_the_head_be_restarted(tmp_path: Path, cluster: Cluster) -> None:
    doomed = cluster.add_node(num_cpus=2)
    (tmp_path / "spread.yaml").write_text(STUDY % (6, "{cpu: 1}"))
    (tmp_path / "hold").touch()
    driver = start(tmp_path, cluster)
    wait_for(lambda: len(list(tmp_path.glob("at-*-7"))) == 2, driver)
    cluster.remove_node(doomed, allow_graceful=False)
    joined = cluster.add_node(num_cpus=3)
    wait_for(lambda: len(places(tmp_path).get(joined.node_id, ())) == 3, driver)  # two of old, and one more
    retried = [event for event in events(tmp_path) if event["event"] == "retried"]
    assert {event["reason"] for event in retried} <= {
        "the worker's node died",
        "the worker died (killed, or out of memory)",
    }
    assert {event["id"] for event in retried} == {"t0000", "t0001"}
    before = events(tmp_path)
    cluster.shutdown()  # head and all
    driver.communicate(timeout=120)
    assert driver.returncode != 0
    (tmp_path / "hold").unlink()
    again = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        done(start(tmp_path, again))
    finally:
        again.shutdown()
    after = events(tmp_path)
    assert after[: len(before)] == before
    rungs = [(event["id"], event["epoch"]) for event in after if event["event"] == "rung"]
    assert len(rungs) == len(set(rungs)) == 6 * 4
    assert read(tmp_path / "runs/spread/ledger.jsonl")[0].finished
    assert not any(event["event"] == "failed" for event in after)
