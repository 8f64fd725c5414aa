"""Jobs on Ray Tune: on this machine by default, on a cluster with an address.

Tune is the hands, not the memory: every start is a fresh `Tuner`, which asks the sweep for jobs through a
`Searcher` and reports back rungs; nothing of Tune's own state is kept. Actors are reused between jobs, and the
data goes once through the object store.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from search.ledger import Rung
from search.sweep import Executor, Sweep
from search.trial import FLOORS, Job, Work
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
    "TUNE_WARN_THRESHOLD_S": "600",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run here, not only Tune's part of it
}
SCRATCH = "pretune-"  # and the process that it belongs to; Ray needs the path short
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402


@contextlib.contextmanager
def opened(study: Study, address: str | None = None, dashboard: bool = False) -> Iterator[Executor]:
    """Ray, ready to run the trials of a study, as many at a time as `resources` lets the machine or cluster hold.

    Raises:
        StudyError: no cluster answers at `address`, or nothing there can hold a single trial.
    """
    with _ray(address, dashboard) as scratch:
        slots = _slots(ray.cluster_resources(), study)
        yield partial(_run, slots=slots, local=None if address else scratch)


def _run(sweep: Sweep, work: Work, data: Any, slots: int, local: Path | None) -> None:
    """Runs the sweep's jobs to the end. Tune's own files, which nobody reads, go to a folder that all nodes see."""
    wanted = work.study.resources
    storage = (local or work.folder.root) / "tune"
    tuner = tune.Tuner(
        tune.with_resources(_trainable(work, ray.put(data)), {"cpu": wanted.cpu, "gpu": wanted.gpu}),
        tune_config=tune.TuneConfig(
            search_alg=Pull(sweep), num_samples=-1, max_concurrent_trials=slots, reuse_actors=True
        ),
        run_config=tune.RunConfig(name="jobs", storage_path=str(storage), verbose=0, callbacks=[Forget()]),
    )
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            tuner.fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


class Pull(Searcher):
    """Tune's view of the sweep: where its trials come from, and where their reports go."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(metric="epoch", mode="max")
        self.sweep = sweep
        self.jobs: dict[str, Job] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher at the start; the sweep is no part of that

    def set_search_properties(self, *args: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        job = self.sweep.next_job()
        if job is None:
            return Searcher.FINISHED if self.sweep.over else None
        self.jobs[trial_id] = job
        return {"job": asdict(job)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "rung" in result:
            self.sweep.told(self.jobs[trial_id], Rung(**json.loads(result["rung"])))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self.jobs.pop(trial_id)
        if error or not result or "end" not in result:
            self.sweep.ended(job, "the worker died (killed, or out of memory)")
        else:
            self.sweep.ended(job, json.loads(result["end"]))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Forget(tune.Callback):
    """Drops the statistics that Tune keeps of every finished trial, half of what a trial costs the driver."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()


def _trainable(work: Work, data: Any) -> Any:
    """The function that a Tune trial runs: one job, its rungs reported as they are reached, then its end.

    Reports travel as JSON text, since Tune takes nested results apart.
    """

    def job(config: dict[str, Any]) -> None:
        job, local = Job(**config["job"]), ray.get(data)
        if job == FLOORS:
            tune.report({"end": json.dumps(work.floors(local))})
            return
        reason = work.run(job, local, lambda rung: tune.report({"rung": json.dumps(asdict(rung))}))
        tune.report({"end": json.dumps(reason)})

    return job


def _slots(cluster: dict[str, float], study: Study) -> int:
    """How many trials fit at a time; raises StudyError where not even one does, which Tune would wait for for ever."""
    wanted = study.resources
    fits = {"cpu": cluster.get("CPU", 0) / wanted.cpu} if wanted.cpu else {}
    fits |= {"gpu": cluster.get("GPU", 0) / wanted.gpu} if wanted.gpu else {}
    for kind, fit in fits.items():
        if fit < 1:
            asked = getattr(wanted, kind)
            has = f"{cluster.get(kind.upper(), 0):g}"
            node = study.document.value.get("resources", study.document)
            raise node.wrong(f"a trial asks for {kind} {asked:g}, and there is {has}", f"{kind} up to {has}")
    slots = int(min(fits.values(), default=1))
    return min(slots, wanted.concurrent) if wanted.concurrent else slots


def _sweep_up() -> None:
    """Removes what runs on this machine left behind that were killed before they could."""
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        pid = path.name.removeprefix(SCRATCH).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


def _join(address: str, quiet: dict[str, Any]) -> None:
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster answers: {str(error).splitlines()[0]}"
        raise StudyError(complaint(f"--address {address}", what, "HOST:PORT of a running cluster, or auto")) from None


@contextlib.contextmanager
def _ray(address: str | None, dashboard: bool) -> Iterator[Path]:
    """Ray, started quietly and its temporary files removed at the end; on a cluster, only a connection to it."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    _sweep_up()
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _join(address, quiet)
        else:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback only, so no token is needed
            ray.init(include_dashboard=dashboard, dashboard_host="127.0.0.1", _temp_dir=str(scratch), **quiet)
        yield scratch
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
