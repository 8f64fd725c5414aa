"""The studies under `search/`, each run as it ships but shorter, in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search import run as runs
from search import warm
from search.compare.agreement import agreement
from search.compare.importance import importance
from search.folder import Folder
from search.ledger import History, read
from spaces.shipped import shipped

DIGITS = ["pipeline", "equal_budgets", "unlabelled", "pareto", "expert", "bohb", "population"]
FUNCTIONS = ["auto", "gp", "cmaes", "sobol", "evolution", "reinforce", "median", "ehvi"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def ran(name: str, root: Path, *settings: str) -> History:
    study = runs.load_study(f"search/{name}", settings)
    data, folder = runs.load_data(study), Folder(root)
    events, _ = warm.known(study)
    ledger = runs.start(study, folder, data, events)
    with runs.executor("serial", study) as execute:
        return runs.sweep(study, data, folder, ledger, lambda event, history: None, execute)


def test_every_one_is_here_or_below() -> None:
    assert {name for name in shipped() if name.startswith("search/")} == {
        f"search/{name}" for name in [*DIGITS, *FUNCTIONS, "again"]
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_searched(tmp_path: Path, name: str) -> None:
    few = {"auto": 13, "gp": 13, "ehvi": 13, "median": 30}.get(name, 60)
    history = ran(name, tmp_path, f"budget.trials={few}")
    assert history.finished
    assert len(history.trials) == few
    assert not any(trial.failed for trial in history.trials.values())
    values = [trial.rungs[-1].metrics["value"] for trial in history.trials.values()]
    if name not in ("sobol", "ehvi"):  # one learns nothing, the other does not look for the least value
        assert min(values[few // 2 :]) <= min(values[: few // 2])
    if name == "ehvi":
        assert len(history.front()) > 1


@pytest.mark.parametrize("name", DIGITS)
def test_digits_are_searched(tmp_path: Path, name: str) -> None:
    trials = {"equal_budgets": 1, "population": 4}.get(name, 3)
    more = ["search.scheduler.pbt.population=3", "search.scheduler.pbt.share=0.4"] if name == "population" else []
    more += ["budget.repeats=1", "budget.finalists=1"] if name == "pareto" else []
    small = ["budget.epochs=3", "probe.draws=2", "data.digits.limit=200", "data.digits.limit_test=100"]
    if name == "equal_budgets":
        small.append("budget.branches.mae.epochs=4")
    history = ran(name, tmp_path, f"budget.trials={trials}", *small, *more)
    assert history.finished
    assert history.best() is not None
    assert not any(trial.failed for trial in history.trials.values())
    match name:
        case "equal_budgets":
            assert sorted(next(iter(t.config["method"])) for t in history.trials.values()) == [
                "mae", "rotnet", "simclr", "vicreg",
            ]  # fmt: skip
        case "pareto":
            assert history.front()
            assert len(history.repeats()) == 1
        case "pipeline":
            assert all(2 <= len(trial.config["augmentation"]) <= 4 for trial in history.trials.values())
        case "population":
            assert any(trial.parent for trial in history.trials.values())


def test_the_earlier_run_is_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["budget.trials=2", "budget.epochs=2", "probe.draws=2", "data.digits.limit=200"]
    ran("expert", Path("runs/expert"), *small)
    history = ran("again", Path("runs/again"), *small)
    assert len(history.known) == 2
    assert read(Path("runs/again/ledger.jsonl"))[0].finished


def test_what_is_said_of_a_short_run_is_nothing(tmp_path: Path) -> None:
    history = ran("expert", tmp_path, "budget.trials=2", "budget.epochs=2", "probe.draws=2", "data.digits.limit=200")
    assert importance(history) == agreement(history) == (0, [])
