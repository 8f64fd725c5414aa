"""The known-answer problems of `searchers.py`, and one search on one of them: through pretune, or by Optuna alone.

Both sides see the same space, the same values and, on the noisy problem, noise from the same seeds. Through pretune a
search is a study, run by the serial executor in this process, ledger and rungs on disk included. With several workers
so many jobs are out at once, and one of them, drawn by the seed, ends at a time. By Optuna alone it is a loop of ask
and tell.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from objectives.functions import ackley, branin, hartmann6, tree_deep, two_objectives
from objectives.kinds import Metrics, Setting
from objectives.kinds.function import Function
from search import run
from search.executors import serial
from search.folder import Folder
from search.ledger import Event, History
from search.sweep import Sweep, trial_seed
from search.trial import Job, Work
from spaces.document import StudyError, parse
from spaces.domains import Choice, Domain, Int, Log, Ordinal, Uniform, Value
from spaces.space import walk
from spaces.study import Study, read_study

MEMORY = Path("/dev/shm")  # where there is one, runs lie in memory
Found = list[Metrics]


@dataclass(frozen=True)
class Problem:
    """A space of functions, and what is known of it.

    Attributes:
        space: the study's `space.function`.
        checkpoints: the evaluations after which searches are compared.
        loss: of the metrics of every evaluation so far, how far they are from what there is; 0 is perfect.
        metrics: what is to be minimised.
        noisy: whether values are seen through noise.
    """

    space: str
    checkpoints: tuple[int, ...]
    loss: Callable[[Found], float]
    metrics: tuple[str, ...] = ("value",)
    noisy: bool = False

    def study(self, strategy: str, seed: int, evaluations: int) -> Study:
        """The study of this problem by a strategy; raises StudyError where the strategy cannot serve it."""
        text = (
            f"{{name: searchers, objective: function, space: {{function: {self.space}}}, "
            f"budget: {{trials: {evaluations}, epochs: 1}}, search: {{strategy: {strategy}, "
            f"scheduler: {{none: {{reports: 1}}}}, metric: [{', '.join(self.metrics)}], seed: {seed}}}}}"
        )
        return read_study(parse(text, "searchers"), run.CATALOGUE)


def regret(optimum: float, found: Found) -> float:
    """The best value's distance from the optimum."""
    return min(metrics["value"] for metrics in found) - optimum


def true_regret(optimum: float, found: Found) -> float:
    """The true distance from the optimum of the value that looks best."""
    return min(found, key=lambda metrics: metrics["value"])["truth"] - optimum


def undominated(found: Found) -> float:
    """The share of the known front's hypervolume that is not found."""
    points = [(metrics["value"], metrics["second"]) for metrics in found]
    return 1 - two_objectives.hypervolume(points) / two_objectives.HYPERVOLUME


TREE = ("deep", "cliff", "ripple", "code", "count", "wide", "bare", "poor")
PROBLEMS = {
    "branin": Problem("{branin: search}", (25, 50), partial(regret, branin.OPTIMUM)),
    "hartmann6": Problem("{hartmann6: search}", (25, 50, 100), partial(regret, hartmann6.OPTIMUM)),
    "ackley": Problem("{ackley: search}", (25, 50, 100), partial(regret, ackley.OPTIMUM)),
    "tree": Problem(
        "{" + ", ".join(f"tree_{branch}: search" for branch in TREE) + "}",
        (50, 100),
        partial(regret, tree_deep.OPTIMUM),
    ),
    "noisy": Problem("{noisy: search}", (50, 100), partial(true_regret, hartmann6.OPTIMUM), noisy=True),
    "two_objectives": Problem("{two_objectives: search}", (50, 100), undominated, ("value", "second")),
    "ackley_shifted": Problem(
        "{ackley: {"
        + ", ".join(f"x{i + 1}: search" for i in range(ackley.MOST))
        + ", shift: 11.3}}",  # its minimum is not in the centre, where many a search begins
        (25, 50, 100),
        partial(regret, ackley.OPTIMUM),
    ),
}
SAMPLERS: dict[str, Callable[[Problem, int], optuna.samplers.BaseSampler]] = {
    "random": lambda problem, seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda problem, seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda problem, seed: optuna.samplers.GPSampler(seed=seed, deterministic_objective=not problem.noisy),
    "cmaes": lambda problem, seed: optuna.samplers.CmaEsSampler(seed=seed),
    "sobol": lambda problem, seed: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    "nsga2": lambda problem, seed: optuna.samplers.NSGAIISampler(seed=seed),
}


@dataclass(frozen=True)
class Cell:
    """One search: a strategy of the shelf, or `optuna.NAME` for a sampler by itself."""

    problem: str
    strategy: str
    seed: int
    evaluations: int
    workers: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a search: the loss after every evaluation, how long it took, or why there is none."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    refused: str = ""  # by those who cannot serve such a problem
    broken: str = ""  # an error that none expects


def search(cell: Cell) -> Outcome:
    """Runs one search to its end."""
    problem, began = PROBLEMS[cell.problem], time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if cell.strategy.startswith("optuna."):
                found = list(_alone(problem, cell))
            else:
                found = through_pretune(problem, cell)
    except (StudyError, ModuleNotFoundError) as error:
        return Outcome(refused=" ".join(str(error).split()))
    except ValueError as error:
        if cell.strategy.startswith("optuna."):  # a sampler for one objective was given two
            return Outcome(refused=str(error))
        return Outcome(broken=traceback.format_exc())
    except Exception:
        return Outcome(broken=traceback.format_exc())
    losses = [problem.loss(found[: i + 1]) for i in range(len(found))]
    return Outcome(losses, time.perf_counter() - began)


def through_pretune(problem: Problem, cell: Cell) -> Found:
    """The metrics of a study's trials, in the order in which they ended."""
    study = problem.study(cell.strategy, cell.seed, cell.evaluations)
    study.objective.module.check(study, None)
    found: Found = []

    def observe(event: Event, history: History) -> None:
        if event["event"] == "failed":
            raise RuntimeError(f"a trial failed: {event['reason']}")
        if event["event"] == "rung":
            found.append(event["metrics"])

    execute = serial.run if cell.workers == 1 else partial(_at_once, cell.workers, cell.seed)
    scratch = Path(tempfile.mkdtemp(prefix="searchers-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        folder = Folder(scratch / "run")
        run.sweep(study, None, folder, run.start(study, folder, None), observe, execute)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _at_once(workers: int, seed: int, sweep: Sweep, work: Work, data: Any) -> None:
    """An executor with so many jobs out; one of them, drawn by the seed, is done and told at a time."""
    rng, out = np.random.default_rng([seed, workers]), list[Job]()
    while True:
        while len(out) < workers and (job := sweep.next_job()) is not None:
            out.append(job)
        if not out:
            return
        job = out.pop(int(rng.integers(len(out))))
        sweep.ended(job, work.run(job, data, partial(sweep.told, job)))


def _alone(problem: Problem, cell: Cell) -> Iterator[Metrics]:
    """The metrics of the trials of an Optuna study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = SAMPLERS[cell.strategy.removeprefix("optuna.")](problem, cell.seed)
    study = optuna.create_study(directions=["minimize"] * len(problem.metrics), sampler=sampler)
    space = problem.study("random", cell.seed, cell.evaluations).space
    for number in range(cell.evaluations):
        trial = study.ask()
        config = walk(space, partial(suggest, trial))
        (metrics,) = Function(Setting(config, trial_seed(cell.seed, number), (1,))).run()
        study.tell(trial, [metrics[name] for name in problem.metrics])
        yield metrics


def suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    """The value for a knob, as a user of Optuna would have it suggested."""
    match domain:
        case Uniform():
            return trial.suggest_float(name, domain.low, domain.high, step=domain.step or None)
        case Log():
            return trial.suggest_float(name, domain.low, domain.high, log=True)
        case Int():
            return trial.suggest_int(name, domain.low, domain.high, log=domain.log, step=domain.step)
        case Ordinal():
            return domain.options[trial.suggest_int(name, 0, len(domain.options) - 1)]
        case Choice():
            return trial.suggest_categorical(name, domain.options)
    raise TypeError(f"a fixed value is not drawn: {domain}")


def reached(losses: Sequence[float], target: float) -> int | None:
    """The evaluation after which a loss is first no more than the target; None where it never is."""
    return next((i + 1 for i, loss in enumerate(losses) if loss <= target), None)
