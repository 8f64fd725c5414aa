"""Population based training: its rule, and runs of it on trials that carry their past with them."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from objectives.kinds import function
from search import run as runs
from search.executors import serial
from search.folder import Folder
from search.ledger import Event, History, Ledger, LedgerWarning, Rung, Trial, read
from search.run import CATALOGUE
from search.schedulers import build_scheduler, pbt
from search.sweep import Sweep
from search.trial import Ancestor, End, Job, Work
from spaces.document import parse
from spaces.domains import Domain, Int, Log, Ordinal, Uniform, Value
from spaces.space import Group
from spaces.study import Goal, Study, read_study

SPACE = Group({"rate": Log(1e-4, 1.0), "size": Int(1, 64)})


def population(share: float = 0.2, resample: float = 0.0, size: int = 10) -> pbt.Pbt:
    config = pbt.Config(population=size, reports=3, share=share, resample=resample)
    return pbt.build(config, Goal("value", "max", 3, seed=1), SPACE, ("rate",))


def told(scheduler: pbt.Pbt, values: list[float], until: int = 1) -> list[Trial]:
    """A population at its first rung."""
    trials = [Trial(f"t{n:04d}", n, {}, 0, 1, [Rung(1, {"value": v}, 1.0)]) for n, v in enumerate(values)]
    for trial in trials:
        trial.config, trial.until = {"rate": 0.01 * (trial.number + 1), "size": 8}, until
        scheduler.tell(trial)
    return trials


def test_pbt_replaces_the_worst_fifth_by_the_best_fifth_once_the_others_have_gone_on() -> None:
    scheduler = population()
    assert [scheduler.first(number) for number in (0, 10)] == [1, 1]
    trials = told(scheduler, [float(value) for value in range(9)])
    ready = {trial.id for trial in trials}
    assert scheduler.promote(ready, True, True) is None  # the population is not complete
    assert scheduler.promote(ready, False, False) is not None  # nor will it be
    trials = told(scheduler, [float(value) for value in range(10)])
    ready = {trial.id for trial in trials}
    assert scheduler.first(10) == 0
    gone = []
    while (found := scheduler.promote(ready, True, False)) is not None:
        assert scheduler.fork(10) is None
        gone.append(found[0].number)
        found[0].until = found[1]
        scheduler.tell(found[0])
    assert gone == [9, 8, 7, 6, 5, 4, 3, 2]
    parents = Counter[int]()
    for number in range(200):
        fork = scheduler.fork(number)
        assert fork is not None
        assert (fork.start, fork.until) == (1, 2)
        assert fork.config["size"] == 8
        assert fork.config["rate"] / fork.parent.config["rate"] in (pytest.approx(0.8), pytest.approx(1.2))
        parents[fork.parent.number] += 1
    assert parents.keys() == {8, 9}
    assert min(parents.values()) > 60
    for number in (10, 11):  # two places, two forks
        fork = scheduler.fork(number)
        assert fork is not None
        child = Trial(f"t{number:04d}", number, fork.config, 0, fork.until, parent=fork.parent.id, origin=fork.start)
        scheduler.tell(child)
    assert scheduler.fork(12) is None
    assert scheduler.oldest() == 1  # should one of the forks fail, its place is taken at the first rung
    assert scheduler.promote(ready, True, False) is None
    child.reason = "it broke"
    scheduler.tell(child)
    assert scheduler.fork(12) is not None


def test_pbt_starts_another_trial_for_one_that_failed_before_its_first_rung() -> None:
    scheduler = population(size=2)
    scheduler.tell(Trial("t0000", 0, {}, 0, 1, reason="it broke"))
    scheduler.tell(Trial("t0001", 1, {}, 0, 1))
    assert scheduler.first(2) == 1
    scheduler.tell(Trial("t0002", 2, {}, 0, 1))
    assert scheduler.first(3) == 0


def test_who_was_replaced_goes_on_if_nobody_else_gets_to_the_end() -> None:
    scheduler = population(size=4, share=0.5)
    trials = told(scheduler, [0.0, 1.0, 2.0, 3.0])
    forks = [Trial(f"t{n:04d}", n, {}, 0, 2, parent="t0003", origin=1) for n in (4, 5)]
    for trial in (*trials[2:], *forks):
        scheduler.tell(replace(trial, until=3, rungs=[*trial.rungs, Rung(2, {"value": 0.0}, 1.0)], reason="it broke"))
    ready = {"t0000", "t0001"}
    assert scheduler.fork(6) is None
    assert scheduler.promote(ready, False, False) is None  # somebody is at work yet
    found = scheduler.promote(ready, False, True)
    assert found is not None
    assert (found[0].id, found[1]) == ("t0001", 2)


def test_what_pbt_draws_anew_comes_from_the_whole_domain() -> None:
    scheduler = population(resample=1.0)
    told(scheduler, [0.0] * 2 + [1.0] * 8, until=2)
    for number in (0, 1):
        scheduler.tell(replace(scheduler.trials[f"t{number:04d}"], until=1))
    rates = [fork.config["rate"] for number in range(100) if (fork := scheduler.fork(number))]
    assert len(rates) == 100
    assert np.quantile(np.log10(rates), [0.25, 0.75]) == pytest.approx([-3, -1], abs=0.5)


@pytest.mark.parametrize(
    ("domain", "value", "near"),
    [
        (Uniform(0.0, 10.0), 5.0, {4.0, 6.0}),
        (Uniform(4.5, 5.5), 5.0, {4.5, 5.5}),
        (Log(1e-3, 1.0), 0.01, {0.8 * 0.01, 1.2 * 0.01}),
        (Uniform(0.0, 1.0, step=0.25), 0.5, {0.25, 0.75}),
        (Uniform(0.0, 100.0, step=5.0), 50.0, {40.0, 60.0}),
        (Int(1, 100), 20, {16, 24}),
        (Int(1, 100), 1, {1, 2}),
        (Int(0, 100), 0, {0, 1}),
        (Int(1, 100, log=True), 50, {40, 60}),
        (Int(2, 11, step=3), 8, {5, 11}),
        (Int(2, 10, step=3), 8, {5, 8}),
        (Ordinal(16, 32, 64), 32, {16, 64}),
        (Ordinal(16, 32, 64), 16, {16, 32}),
    ],
)
def test_what_is_near(domain: Domain, value: Value, near: set[Value]) -> None:
    found = {pbt.perturbed(domain, value, np.random.default_rng(seed)) for seed in range(20)}
    assert found == near
    assert all(domain.contains(other) and type(other) is type(value) for other in found)


class Carrying(function.Function):
    """A function whose value at a rung is the sum of what its config gave in each epoch, so that it carries its past:
    the parent's epochs by the parent's config, its own by its own."""

    epochs: ClassVar[list[tuple[int, int]]] = []  # the seeds and epochs of all that was run

    def __init__(self, setting: Any) -> None:
        super().__init__(setting)
        self.total = 0.0

    def run(self) -> Iterator[dict[str, float]]:
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            while self.epoch < rung:
                self.epoch += 1
                self.total += self.evaluate()
                self.epochs.append((self.setting.seed, self.epoch))
            yield {"value": self.total}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "total": self.total, "weights": torch.full((3,), self.total)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.total = state["epoch"], state["total"]


@pytest.fixture
def carrying(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Runs such functions; what they have run."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(function, "TUNABLE", ("function",), raising=False)
    monkeypatch.setattr(function, "Function", Carrying)
    monkeypatch.setattr(Carrying, "epochs", [])
    return Carrying.epochs


def study(trials: int = 14, keep: int = 3) -> Study:
    text = f"""
name: x
objective: function
space: {{function: {{branin: search, mixed: search}}}}
budget: {{trials: {trials}, epochs: 8}}
search: {{strategy: random, scheduler: {{pbt: {{population: 5, reports: 4, share: 0.25}}}}, metric: value, seed: 5}}
resources: {{keep: {keep}}}
"""
    return read_study(parse(text, "s.yaml"), CATALOGUE)


def run(wanted: Study, root: Path, observe: Callable[[Event, History], None] = lambda event, history: None) -> History:
    """Runs a study, or goes on with it."""
    folder = Folder(root)
    ledger = runs.resume(wanted, folder, None) if folder.ledger.exists() else runs.start(wanted, folder, None)
    return runs.sweep(wanted, None, folder, ledger, observe, serial.run)


def events(root: Path) -> list[Event]:
    """The ledger's events, apart from how long things took."""
    lines = [json.loads(line) for line in (root / "ledger.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "crc")} for line in lines]


def states(root: Path) -> dict[str, bytes]:
    """The states on disk."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("trials/*/*.safetensors")}


def test_a_fork_goes_on_from_its_parents_rung_by_its_own_config(
    tmp_path: Path, carrying: list[tuple[int, int]]
) -> None:
    history = run(study(), tmp_path)
    forks = [trial for trial in history.trials.values() if trial.parent]
    assert len(forks) == 3  # one of five at each of three rungs
    assert any(history.trials[fork.parent].parent for fork in forks) or {fork.origin for fork in forks} == {2, 4, 6}

    def expected(trial: Trial, epoch: int) -> float:
        """The sum, along the line of ancestors, of what each config gives in its own epochs."""
        work = Work(study(), Folder(tmp_path), history.rungs, "cpu")
        before = expected(history.trials[trial.parent], trial.origin) if trial.parent else 0.0
        setting = function.Function(_setting(work, trial))
        for _ in range(epoch - trial.origin):
            before += setting.evaluate()
        return before

    for trial in history.trials.values():
        assert [rung.metrics["value"] for rung in trial.rungs] == [expected(trial, r.epoch) for r in trial.rungs]
        assert trial.rungs[0].epoch == trial.origin + 2
    assert len(carrying) == len(set(carrying)) == 5 * 8  # the population never trains longer
    asked = [event for event in events(tmp_path) if event["event"] == "asked"]
    assert [event["id"] for event in asked if "parent" in event] == [fork.id for fork in forks]
    assert all(event.keys() >= {"parent", "start"} or "start" not in event for event in asked)
    assert read(tmp_path / "ledger.jsonl")[0].trials == history.trials
    assert {Path(path).parent.name for path in states(tmp_path)} == {trial.id for trial in history.ranked()[:3]}


def _setting(work: Work, trial: Trial) -> Any:
    from objectives.kinds import Setting

    return Setting(trial.config, trial.seed, work.rungs)


class Crash(BaseException):
    """Stands for the end of the process; nothing in the house may catch it."""


def broken(wanted: Study, root: Path, patch: pytest.MonkeyPatch, line: int, after: bool) -> None:
    """Runs until the ledger is about to hold so many lines, then dies before or after that line."""
    append = Ledger.append

    def dying(ledger: Ledger, event: Event) -> None:
        if Folder(root).ledger.read_bytes().count(b"\n") + 1 < line:
            return append(ledger, event)
        if after:
            append(ledger, event)
        raise Crash

    with patch.context() as patched:
        patched.setattr(Ledger, "append", dying)
        with pytest.raises(Crash):
            run(wanted, root)


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("lost", ["nothing", "states", "trials"])
def test_a_run_broken_at_any_event_goes_on_to_the_same_population(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carrying: list[tuple[int, int]], after: bool, lost: str
) -> None:
    run(study(), tmp_path / "whole")
    whole, kept = events(tmp_path / "whole"), states(tmp_path / "whole")
    for line in range(2, len(whole) + 1, 2 if lost == "nothing" and not after else 4):
        root = tmp_path / str(line)
        broken(study(), root, monkeypatch, line, after)
        if lost == "trials":
            shutil.rmtree(root / "trials", ignore_errors=True)
        for state in root.glob("trials/*/*.safetensors") if lost == "states" else ():
            state.write_bytes(state.read_bytes()[:-5])
        carrying.clear()
        run(study(), root)
        assert events(root) == whole
        if lost == "nothing":
            assert states(root) == kept
            assert len(carrying) == len(set(carrying))


def test_more_trials_give_a_finished_population_more_forks(tmp_path: Path, carrying: list[tuple[int, int]]) -> None:
    assert not any(trial.parent for trial in run(study(trials=5), tmp_path).trials.values())
    assert any(trial.parent for trial in run(study(trials=6), tmp_path).trials.values())


@pytest.mark.parametrize("workers", [2, 4])
def test_no_epoch_is_run_twice_for_want_of_a_state_and_states_that_no_fork_needs_go(
    tmp_path: Path, carrying: list[tuple[int, int]], workers: int
) -> None:
    forks = 0
    for seed in range(8):
        carrying.clear()
        wanted, rng = replace(study(keep=1), goal=replace(study().goal, seed=seed)), random.Random(seed)
        folder, rungs = Folder(tmp_path / str(seed)), build_scheduler(wanted).rungs
        work = Work(wanted, folder, rungs, "cpu")
        sweep = Sweep(wanted, work, runs.start(wanted, folder, None), lambda event, history: None)
        out: list[Job] = []
        while True:
            while len(out) < workers and (job := sweep.next_job()) is not None:
                out.append(job)
            if not out:
                break
            job = out.pop(rng.randrange(len(out)))
            sweep.ended(job, work.run(job, None, partial(sweep.told, job)))
            found = Counter(path.parent.name for path in folder.root.glob("trials/*/*.safetensors"))
            oldest = sweep.retention.oldest
            assert all(count <= 2 + sum(rung >= oldest for rung in rungs) for count in found.values())
        forks += sum(bool(trial.parent) for trial in sweep.history.trials.values())
        assert not any(trial.failed for trial in sweep.history.trials.values())
        assert len(carrying) == len(set(carrying))
        sweep.finish()
        sweep.ledger.close()
        assert len(states(folder.root)) <= 2
    assert forks > 8


def test_a_state_of_another_trial_by_that_name_is_no_forks(tmp_path: Path, carrying: list[tuple[int, int]]) -> None:
    wanted = study()
    work = Work(wanted, Folder(tmp_path), build_scheduler(wanted).rungs, "cpu")
    space = {"function": {"branin": {"x": 1.0, "y": 2.0}}}, {"function": {"branin": {"x": 3.0, "y": 2.0}}}
    told: list[Rung] = []
    for job in (Job("t0001", space[1], 1, 0, 2), Job("t0000", space[0], 0, 0, 4)):
        assert work.run(job, None, lambda rung: None) == End("done")
    fork = Job("t0001", space[1], 1, 4, 6, (Ancestor("t0000", space[0], 0, 4),))
    assert work.run(fork, None, told.append) == End("done")
    values = [function.Function(_setting(work, Trial("t", 0, config, 0, 8))).evaluate() for config in space]
    assert [(rung.epoch, rung.metrics["value"]) for rung in told] == [(6, pytest.approx(4 * values[0] + 2 * values[1]))]


def test_a_fork_of_a_trial_that_is_not_on_record_is_damage(tmp_path: Path, carrying: list[tuple[int, int]]) -> None:
    run(study(), tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    fork = next(event for event in events(tmp_path) if "parent" in event)
    place = next(i for i, line in enumerate(lines) if f'"asked","id":"{fork["parent"]}"'.encode() in line)
    lines[place] = lines[place].replace(b'"seed"', b'"Seed"')
    path.write_bytes(b"".join(lines))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LedgerWarning)
        history, _ = read(path)
    assert any(f"no trial '{fork['parent']}' was asked for" in str(warning.message) for warning in caught)
    assert not {fork["id"], fork["parent"]} & history.trials.keys()
    history = History({"rungs": [1], "metric": "value", "mode": "min"})
    asked = {"event": "asked", "config": {}, "seed": 0, "until": 4}
    history.take({**asked, "id": "t0005", "number": 5})
    with pytest.raises(ValueError, match="t0005 is no parent of t0004"):
        history.take({**asked, "id": "t0004", "number": 4, "parent": "t0005", "start": 2})
