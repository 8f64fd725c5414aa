"""The machines that trials run on: Ray, started on this one or joined where it runs, and how much they hold."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.executors.reaper import reaped, sweep_up
from spaces.document import StudyError, complaint
from spaces.study import Study

# Ray and Tune read these when they are imported or started.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers run in this environment, also under `uv run`
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in a study mean the same on the driver and on workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger and our own views stand for them
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a job's last report carries no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the sweep itself bounds how many jobs are out
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # a worker that does not end is ended
    "TUNE_WARN_THRESHOLD_S": "600",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C means the run, not only Tune's part of it
}
SCRATCH = "pretune-"  # and the process that it belongs to; Ray needs the path short
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402


@contextmanager
def opened(address: str | None, dashboard: str) -> Iterator[Path | None]:
    """Ray, quietly: a connection to the cluster at `address`, or one started on this machine and ended with its scratch
    folder, which is given.

    Args:
        address: of a cluster; where there is none, that of the cluster that this process is a job of, if it is.
        dashboard: the address at which one started here shows its dashboard; empty for none.

    Raises:
        StudyError: no cluster answers.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address := address or os.environ.get("RAY_ADDRESS"):
            _join(address, quiet)
            yield None
            return
        sweep_up(SCRATCH)
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback only, so no token is needed
        shown = {"include_dashboard": bool(dashboard)} | ({"dashboard_host": dashboard} if dashboard else {})
        scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
        with reaped(scratch):
            try:
                ray.init(_temp_dir=str(scratch), **shown, **quiet)
                yield scratch
            finally:
                ray.shutdown()
    finally:
        ray.shutdown()


def _join(address: str, quiet: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster answers: {str(error).splitlines()[0]}"
        raise StudyError(complaint(f"--address {address}", what, "HOST:PORT of a running cluster, or auto")) from None


def slots(nodes: list[dict[str, Any]], study: Study, at_least: int = 1) -> int:
    """How many trials fit on the nodes at a time, each on one of them.

    Raises:
        StudyError: fewer than `at_least`, which Tune would wait for for ever.
    """
    wanted = study.resources
    needs = {kind: need for kind, need in (("CPU", wanted.cpu), ("GPU", wanted.gpu)) if need}
    there = [node["Resources"] for node in nodes if node["Alive"]]
    slots = sum(int(min((has.get(kind, 0) / need + 1e-9 for kind, need in needs.items()), default=1)) for has in there)
    if slots < at_least:
        asked = " and ".join(f"{kind.lower()} {need:g}" for kind, need in needs.items())
        best = [" and ".join(f"{kind.lower()} {has.get(kind, 0):g}" for kind in needs) for has in there]
        node = study.document.value.get("resources", study.document)
        found = "; ".join(sorted(set(best))) or "no node"
        raise node.wrong(f"a trial asks for {asked}, and no node holds that: there is {found}", f"up to {found}")
    return min(slots, wanted.concurrent) if wanted.concurrent else slots
