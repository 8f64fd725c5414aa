"""`pretune claim` as a user calls it: in a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BOWL = """\
name: bowl
about: a bowl
objective: function
space: {function: {noisy: {x1: 0.2}}}
budget: {epochs: 9}
claim:
  says: it is lower here
  source: nobody
  published: twice as low
  variants:
    ours: {}
    theirs: {space.function.noisy.x1: 0.9}
  holds: [ours.truth <= theirs.truth, ours.value <= theirs.value]
  mutation: {name: the sign is lost, of: ours, set: {space.function.noisy.x1: 0.95}}
"""
WELL = BOWL.replace("name: bowl", "name: well").replace("ours.truth <= theirs.truth", "ours.truth > theirs.truth")


def pretune(*arguments: Any, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command and returns its finished process; its exit code must be `code`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "search", "claim", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "bowl.yaml").write_text(BOWL)
    (tmp_path / "well.yaml").write_text(WELL)
    return tmp_path


def test_claims_are_run_told_and_read_again(here: Path) -> None:
    first = pretune("bowl.yaml", "well.yaml", "--executor", "serial", cwd=here, code=1)
    lines = first.stdout.splitlines()
    table = lines[next(place for place, line in enumerate(lines) if "measured" in line) :]
    assert table[1].split()[0] == "bowl"
    assert "holds" in table[1]
    assert "twice as low" in table[1]
    assert table[2].split()[0] == "well"
    assert "fails" in table[2]
    assert "well: ours.truth > theirs.truth fails" in first.stdout
    assert sorted(path.name for path in (here / "runs/claims").iterdir()) == ["bowl", "well"]

    page = ("--markdown", "docs/claims.md")
    again = pretune("bowl.yaml", "well.yaml", "--json", *page, "--executor", "serial", cwd=here, code=1)
    told = json.loads(again.stdout)
    assert again.stderr == ""
    assert {name: one["verdict"] for name, one in told.items()} == {"bowl": "holds", "well": "fails"}
    assert told["bowl"]["seeds"] == 5
    written = (here / "docs/claims.md").read_text()
    assert "## bowl" in written
    assert "## well" in written

    more = pretune("bowl.yaml", "--seeds", "6", "--json", "--executor", "serial", cwd=here)
    assert json.loads(more.stdout)["bowl"]["seeds"] == 6
    assert "t0015" in more.stderr  # progress stands aside
    assert "t0014" not in more.stderr


def test_a_killed_claim_goes_on_to_the_same_numbers(here: Path) -> None:
    command = [sys.executable, "-m", "search", "claim", "bowl.yaml", "--seeds", "400", "--json", "--executor", "serial"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"t0007"):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    process.wait()
    lines = (here / "runs/claims/bowl/ledger.jsonl").read_text()
    assert "finished" not in lines
    went_on = json.loads(pretune("bowl.yaml", "--json", "--executor", "serial", cwd=here).stdout)["bowl"]
    whole = pretune("bowl.yaml", "--json", "--executor", "serial", "--out", "whole", cwd=here)
    unbroken = json.loads(whole.stdout)["bowl"]
    count = unbroken["seeds"]
    assert went_on["seeds"] >= count == 5
    for one, other in zip(went_on["conditions"], unbroken["conditions"], strict=True):
        assert one["margins"][:count] == other["margins"]


def test_ray_finds_what_one_process_finds(here: Path) -> None:
    done = pretune("bowl.yaml", "well.yaml", "--seeds", "2", "--json", cwd=here, code=1)
    told = json.loads(done.stdout)
    assert [one["seeds"] for one in told.values()] == [2, 2]
    serial = pretune("bowl.yaml", "--seeds", "2", "--json", "--executor", "serial", "--out", "serial", cwd=here)
    assert json.loads(serial.stdout)["bowl"]["conditions"] == told["bowl"]["conditions"]


def test_the_shipped_claims_are_listed(tmp_path: Path) -> None:
    listed = pretune("--list", cwd=tmp_path).stdout
    assert "swav" in listed
    assert "2006.09882" in listed
    assert list(tmp_path.iterdir()) == []


def test_the_help_shows_a_claim(tmp_path: Path) -> None:
    shown = pretune("--help", cwd=tmp_path).stdout
    for words in ("variants:", "mutation:", "--seeds", "pretune claim --all --markdown docs/claims.md", "exit code"):
        assert words in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which claims?"),
        (["bwol.yaml"], "no claim of this name"),
        (["bowl.yaml", "--seeds", "1"], "an interval needs two seeds"),
        (["bowl.yaml", "copy.yaml"], "two claims are called 'bowl'"),
        (["wrong.yaml"], "did you mean 'theirs'?"),
        (["bowl.yaml", "--markdown", "."], "this is a folder"),
        (["bowl.yaml", "--budget", "large"], "'large' is not one of"),
    ],
)
def test_bad_input_is_told_in_one_message(here: Path, arguments: list[str], said: str) -> None:
    (here / "copy.yaml").write_text(BOWL)
    (here / "wrong.yaml").write_text(BOWL.replace("of: ours", "of: their"))
    done = pretune(*arguments, "--executor", "serial", cwd=here, code=2)
    assert said in done.stderr
    assert not (here / "runs").exists()


def test_a_claim_that_changed_says_how_to_go_on(here: Path) -> None:
    pretune("bowl.yaml", "--executor", "serial", cwd=here)
    (here / "bowl.yaml").write_text(BOWL.replace("epochs: 9", "epochs: 8"))
    said = pretune("bowl.yaml", "--executor", "serial", cwd=here, code=2).stderr
    assert "budget.epochs" in said
    assert "--again" in said
