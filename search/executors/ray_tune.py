"""Jobs on Ray Tune: on this machine by default, on a cluster with an address.

Tune is the hands, not the memory: every start is a fresh `Tuner`, which asks the sweep for jobs through a
`Searcher` and reports back rungs; nothing of Tune's own state is kept. Actors are reused between jobs, and the
data goes once through the object store.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from search.executors.ray_nodes import opened, slots
from search.ledger import Rung
from search.patience import ends_process, hung
from search.sweep import Executor, Sweep
from search.trial import End, Job, Work
from spaces.study import Study

import ray  # isort: skip  (after `ray_nodes`, whose settings it reads)
from ray import tune
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError
from ray.tune.search import Searcher

GENERATION = 1000  # jobs, after which a fresh controller takes over: one that remembers more gets slow
RECOUNT = 5.0  # seconds between two looks at the cluster's nodes


@contextmanager
def ready(study: Study, address: str | None, dashboard: str) -> Iterator[Executor]:
    """Ray, ready to run the trials of a study, as many at a time as `resources` lets the machine or cluster hold.

    Raises:
        StudyError: no cluster answers at `address`, or nothing there can hold a single trial.
    """
    with opened(address, dashboard) as scratch:
        slots(ray.nodes(), study)
        yield partial(_run, scratch=scratch)


def _run(sweep: Sweep, work: Work, data: Any, scratch: Path | None) -> None:
    """Runs the sweep's jobs to the end, `GENERATION` of them under each of Tune's controllers."""
    wanted = work.study.resources
    storage = (scratch or work.folder.root) / "tune"  # Tune's own files, which nobody reads; all nodes must see them
    trainable = tune.with_resources(_trainable(work, ray.put(data)), {"cpu": wanted.cpu, "gpu": wanted.gpu})
    try:
        while not (sweep.over or sweep.stopping):
            pull = Pull(sweep, work)
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(search_alg=pull, num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    name="jobs", storage_path=str(storage), verbose=0, callbacks=[Watch(pull)], stop=Halt(sweep)
                ),
            )
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                try:
                    tuner.fit()
                except Exception as error:
                    if not isinstance(error.__cause__, OutOfMemoryError):
                        raise
                    pull.broken_by(error.__cause__)
            if pull.error is not None:
                raise pull.error
            if not pull.given:
                return
    finally:
        shutil.rmtree(storage, ignore_errors=True)


class Pull(Searcher):
    """Tune's view of the sweep: where its trials come from, and where their reports go.

    Tune would take an error in here for that of a trial, so it is kept, and ends the run.
    """

    def __init__(self, sweep: Sweep, work: Work) -> None:
        super().__init__(metric="epoch", mode="max")
        self.sweep, self.work = sweep, work
        self.jobs: dict[str, Job] = {}
        self.actors: dict[str, str] = {}  # the actor that does a job
        self.given = 0
        self.error: BaseException | None = None
        self.slots, self.counted = 0, -math.inf

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher at the start; the sweep is no part of that

    def set_search_properties(self, *args: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if self.sweep.stopping or self.given >= GENERATION:
            return Searcher.FINISHED
        if len(self.jobs) >= self._room():
            return None
        with self._keeping():
            job = self.sweep.next_job()
            if job is not None:
                self.jobs[trial_id] = job
                self.given += 1
                return {"job": asdict(job)}
        return Searcher.FINISHED if self.sweep.over or self.sweep.stopping else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "rung" in result:
            with self._keeping():
                self.sweep.told(self.jobs[trial_id], Rung(**json.loads(result["rung"])))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            return  # `died` tells what of
        if result and "end" in result:
            self._ended(trial_id, End(**json.loads(result["end"])))
        elif result and self.sweep.stopping:  # Tune hands the report at which it stops a trial to this method alone
            self.on_trial_result(trial_id, result)
            self._ended(trial_id, End("halted"))
        else:
            self._ended(trial_id, End("lost", "it ended without a word"))

    def died(self, trial_id: str, error: Exception | None) -> None:
        """Records that the worker of a trial is no more."""
        note = self.work.note(self.jobs[trial_id].id) if self.work.study.budget.trial_timeout else None
        self._ended(trial_id, End("lost", f"{self.work.hung}; {note} says where" if hung(note) else _death(error)))

    def broken_by(self, error: OutOfMemoryError) -> None:
        """Records that Ray ended workers for want of memory, which Tune 2.60 does not survive.

        The message names the actors that were ended; what else was out goes on under the next controller.
        """
        for trial_id in list(self.jobs):
            actor = self.actors.get(trial_id, "")
            self._ended(trial_id, End("lost", _death(error)) if actor and actor in str(error) else End("halted"))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _ended(self, trial_id: str, end: End) -> None:
        with self._keeping():
            self.sweep.ended(self.jobs.pop(trial_id), end)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            self.sweep.stop()

    def _room(self) -> int:
        """How many jobs may be out, by the nodes that are there; they are counted again from time to time."""
        if time.monotonic() - self.counted > RECOUNT:
            self.slots, self.counted = slots(ray.nodes(), self.work.study, at_least=0), time.monotonic()
        return self.slots


class Watch(tune.Callback):
    """Hears of workers and of their deaths, and drops what Tune keeps of every finished trial."""

    def __init__(self, pull: Pull) -> None:
        self.pull = pull

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.pull.actors[trial.trial_id] = trial.temporary_state.ray_actor._actor_id.hex()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.pull.died(trial.trial_id, _error(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()


class Halt(tune.Stopper):
    """Ends jobs at their next rung once the sweep is stopping."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.sweep.stopping and "rung" in result

    def stop_all(self) -> bool:
        return False


def _error(trial: Any) -> Exception | None:
    """What Tune has just noted, in a file on this machine, that a trial died of."""
    try:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError):
        return None


def _death(error: Exception | None) -> str:
    """What ended a worker, in a few words."""
    if isinstance(error, OutOfMemoryError):
        return "out of memory: Ray's monitor ended the worker"
    if isinstance(error, NodeDiedError) or "its node has died" in str(error):
        return "the worker's node died"
    if error is None or isinstance(error, RayActorError):
        return "the worker died (killed, or out of memory)"
    return "the worker failed: " + (" ".join(str(error).splitlines()[-1:]) or type(error).__name__)[:300]


def _trainable(work: Work, data: Any) -> Any:
    """The function that a Tune trial runs: one job, its rungs reported as they are reached, then its end.

    Reports travel as JSON text, since Tune takes nested results apart.
    """

    def job(config: dict[str, Any]) -> None:
        _give_back()
        _share_gpu(work.study.resources.gpu)
        end = work.run(
            Job(**config["job"]),
            ray.get(data),
            lambda rung: tune.report({"rung": json.dumps(asdict(rung))}),
            ends_process(work.study.budget.trial_timeout, work.note),
        )
        tune.report({"end": json.dumps(asdict(end))})

    return job


def _give_back() -> None:
    """Returns to the system what the worker's last job has left: glibc keeps the memory that a thread has freed, and
    each job is a thread, so that a worker would grow by gigabytes in an hour."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _share_gpu(share: float) -> None:
    """Bounds the memory that a trial takes of a GPU by its share; Ray only counts shares."""
    if 0 < share < 1:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(share)
