"""Runs killed at random instants, and ledgers cut off at every byte: what comes out is that of the unbroken run."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search import run as runs
from search.folder import Folder
from search.ledger import LedgerWarning, read
from spaces.document import StudyError, parse
from spaces.study import Study, read_study

ROOT = Path(__file__).parents[2]
STUDY = """\
name: killed
objective: function
space: {function: {branin: search, mixed: search}}
budget: {trials: 7, epochs: 9}
search: {strategy: %s, scheduler: %s, seed: 3}
"""
SEARCHES = {
    f"{strategy.split(':')[0].strip('{')} and {scheduler.split(':')[0].strip('{')}": STUDY % (strategy, scheduler)
    for strategy in ("{tpe: {startup: 3}}", "random", "{grid: {points: 2}}")
    for scheduler in ("asha", "{none: {reports: 3}}")
} | {
    "evolution and hyperband": STUDY % ("{evolution: {startup: 3}}", "hyperband"),
    "random and pbt": STUDY % ("random", "{pbt: {population: 3, reports: 3, share: 0.4}}"),
}
KILLS = 10  # of each
# Imports all that a run needs, then forks a child for each attempt, so that kills hit the run and not its imports. An
# attempt is given longer than the one before: on a machine however slow, a run comes to its end.
HARNESS = """\
import json, os, pathlib, random, shutil, signal, sys, time
import optuna, safetensors.torch, torch
from objectives.kinds import function
from search import run as runs
from search.folder import Folder
from spaces.document import parse
from spaces.study import read_study

here, searches, kills = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
advance = function.Function.run

def noted(self):
    for metrics in advance(self):
        with open(log, "a") as file:
            file.write(f"{self.setting.seed} {self.epoch}\\n")
        yield metrics

def attempt(study, root, patience=None):
    child = os.fork()
    if not child:
        try:
            folder = Folder(root)
            ledger = runs.resume(study, folder, None) if folder.ledger.exists() else runs.start(study, folder, None)
            with runs.executor("serial", study) as execute:
                runs.sweep(study, None, folder, ledger, lambda event, history: None, execute)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    if patience is not None:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

function.Function.run = noted
for name, text in searches.items():
    study, place, rng = read_study(parse(text, name), runs.CATALOGUE), here / name, random.Random(name)
    place.mkdir()
    log = place / "warm.log"
    attempt(study, place / "warm")  # whatever is read or compiled at first use
    log = place / "whole.log"
    began = time.perf_counter()
    assert attempt(study, place / "whole") == 0
    patience, done, number = (time.perf_counter() - began) / 3, 0, 0
    while done < kills:
        number += 1
        log, root, code = place / f"{number}.log", place / f"{number}", None
        while code != 0:
            code = attempt(study, root, rng.uniform(0, patience) if done < kills else None)
            assert code in (0, -signal.SIGKILL), code
            if code:
                patience, done = patience * 1.03, done + 1
                if (root / "ledger.jsonl").exists():
                    shutil.copy(root / "ledger.jsonl", place / f"{number}-{done}.killed")
    (place / "kills").write_text(str(done))
"""


@dataclass
class Killed:
    """A study that was run in one go, in `whole`, and with kills, in `broken` folders."""

    study: Study
    place: Path

    @property
    def kills(self) -> int:
        return int((self.place / "kills").read_text())

    @property
    def whole(self) -> Path:
        return self.place / "whole"

    @property
    def broken(self) -> list[Path]:
        return [path for path in self.place.iterdir() if path.name.isdigit()]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Killed]:
    here = tmp_path_factory.mktemp("kills")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HARNESS, str(here), json.dumps(SEARCHES), str(KILLS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return {name: Killed(study(text), here / name) for name, text in SEARCHES.items()}


def study(text: str) -> Study:
    return read_study(parse(text, "killed.yaml"), runs.CATALOGUE)


def events(ledger: Path) -> list[dict[str, Any]]:
    """The whole lines of a ledger, apart from how long things took."""
    content = ledger.read_bytes()
    lines = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "crc")} for line in lines]


def states(root: Path) -> dict[str, bytes]:
    """What lies under the trials' folder by path; results, which hold times, by path alone."""
    files = [path for path in (root / "trials").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): b"" if path.suffix == ".json" else path.read_bytes() for path in files}


each = pytest.mark.parametrize("name", SEARCHES)


@each
def test_a_run_killed_at_random_instants_ends_as_the_unbroken_one(killed: dict[str, Killed], name: str) -> None:
    case = killed[name]
    whole = events(case.whole / "ledger.jsonl")
    assert whole[-1]["event"] == "finished"
    assert case.kills >= KILLS
    for root in case.broken:
        assert events(root / "ledger.jsonl") == whole
        found, expected = states(root), states(case.whole)
        assert expected.items() <= found.items()
        left = found.keys() - expected.keys()  # a kill between a rung and the removal of older states leaves one
        assert all(path.endswith(".safetensors") for path in left)
        assert len(left) <= case.kills


@each
def test_what_a_killed_run_had_told_stands_for_ever(killed: dict[str, Killed], name: str) -> None:
    case = killed[name]
    for root in case.broken:
        final = (root / "ledger.jsonl").read_bytes()
        for before in case.place.glob(f"{root.name}-*.killed"):
            content = before.read_bytes()
            assert final.startswith(content[: content.rfind(b"\n") + 1])


@each
def test_a_kill_costs_the_work_since_the_last_rung_and_no_more(killed: dict[str, Killed], name: str) -> None:
    case = killed[name]
    planned = (case.place / "whole.log").read_text().splitlines()
    done = Counter(line for root in case.broken for line in root.with_suffix(".log").read_text().splitlines())
    assert done.keys() == set(planned)
    assert len(planned) == len(set(planned))
    repeated = [line for line, times in done.items() for _ in range(times - len(case.broken))]
    assert len(repeated) <= case.kills


def cut(case: Killed, root: Path, size: int, trials: bool = True) -> Path:
    """A copy of a finished run whose ledger ends after so many bytes, with or without the files of its trials."""
    shutil.copytree(case.whole, root, ignore=None if trials else shutil.ignore_patterns("trials"))
    os.truncate(root / "ledger.jsonl", size)
    return root / "ledger.jsonl"


def reported(lines: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The epochs that each trial had reached by these lines."""
    return {
        line["id"]: [rung["epoch"] for rung in lines if rung["event"] == "rung" and rung["id"] == line["id"]]
        for line in lines
        if line["event"] == "asked"
    }


@each
def test_a_ledger_cut_off_at_any_byte_opens_or_is_refused_with_file_and_line(
    tmp_path: Path, killed: dict[str, Killed], name: str
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    shutil.copy(killed[name].whole / "ledger.jsonl", ledger)
    content, whole = ledger.read_bytes(), events(ledger)
    for size in range(len(content) - 1, -1, -1):
        os.truncate(ledger, size)
        count = content.count(b"\n", 0, size)
        if not count:
            with pytest.raises(StudyError, match=f"^{re.escape(str(ledger))}:1: "):
                read(ledger)
            continue
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            history, sound = read(ledger)
        assert sound == content.rfind(b"\n", 0, size) + 1
        assert {id: [rung.epoch for rung in t.rungs] for id, t in history.trials.items()} == reported(whole[:count])
        assert not history.finished
        assert not history.damaged
        torn = sound < size
        assert [str(warning.message).partition(": ")[0] for warning in told] == [f"{ledger}:{count + 1}"] * torn


@each
@pytest.mark.parametrize("trials", [True, False], ids=["with rungs on disk", "with its ledger alone"])
def test_a_run_whose_ledger_was_cut_off_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: dict[str, Killed], name: str, trials: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    case = killed[name]
    content, whole = (case.whole / "ledger.jsonl").read_bytes(), events(case.whole / "ledger.jsonl")
    begun = content.index(b"\n") + 1
    for size in [begun, *random.Random(name).sample(range(begun, len(content)), 4), len(content) - 1]:
        root = tmp_path / str(size)
        ledger = cut(case, root, size, trials)
        resumed(case.study, root)
        assert events(ledger) == whole, size
        assert not trials or states(root) == states(case.whole), size


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_run_whose_first_line_was_cut_off_is_refused_and_left_alone(
    tmp_path: Path, killed: dict[str, Killed], share: float
) -> None:
    case = killed["random and asha"]
    first = (case.whole / "ledger.jsonl").read_bytes().index(b"\n")
    ledger = cut(case, tmp_path / "cut", int(share * first))
    before = ledger.read_bytes()
    with pytest.raises(StudyError) as caught:
        resumed(case.study, tmp_path / "cut")
    assert str(caught.value).startswith(f"{ledger}:1: ")
    assert ledger.read_bytes() == before


def resumed(study: Study, root: Path) -> None:
    """Goes on with a run in this process until its end."""
    folder = Folder.found(root)
    with warnings.catch_warnings(), runs.executor("serial", study) as execute:
        warnings.simplefilter("ignore", LedgerWarning)
        runs.sweep(study, None, folder, runs.resume(study, folder, None), lambda event, history: None, execute)
