"""A study of circuits as a user runs it: from the shipped YAML to a circuit taken home that PennyLane simulates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pennylane as qml
import pytest

from objectives.circuits.edges.openqasm import from_qasm
from objectives.circuits.edges.tape import to_tape
from objectives.circuits.tasks import molecule

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "probe.batch=60", "--trials", "6", "--set", "budget.epochs=3", "--set", "search.seed=3"]


def pretune(*arguments, cwd, code=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "search", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, pretune("run", "circuits", *SMALL, "--set", "search.metric=cost", cwd=folder)


def test_ray_runs_the_shipped_study_and_the_table_names_what_differs(run):
    _, out = run
    head = next(line for line in out.splitlines() if line.startswith("trial"))
    assert {"task", "gates", "coupling", "optimiser", "cost"} <= set(head.split())
    assert "leads with cost -1." in out


def test_the_winner_is_as_good_by_pennylane(run):
    folder, _ = run
    pretune("export", "runs/circuits", "-o", "winner", cwd=folder)
    card = json.loads((folder / "winner" / "card.json").read_text())
    circuit = from_qasm((folder / "winner" / "circuit.qasm").read_text())
    matrix = molecule.build(molecule.Config()).observables[0].matrix().toarray()
    tape = to_tape(circuit, 0, measurements=[qml.expval(qml.Hermitian(matrix, wires=range(4)))])
    energy = qml.execute([tape], qml.device("default.qubit"))[0]
    assert energy == pytest.approx(card["metrics"]["cost"], abs=1e-9)
    assert card["data"] == {"said": None}
    assert card["floors"]["empty"]["cost"] > card["metrics"]["cost"]


def test_resuming_goes_on_where_it_was(run):
    folder, _ = run
    ledger = folder / "runs/circuits/ledger.jsonl"
    before = ledger.read_text()
    pretune(
        "run",
        "circuits",
        *SMALL[:2],
        "--trials",
        "7",
        *SMALL[4:],
        "--set",
        "search.metric=cost",
        "--resume",
        cwd=folder,
    )
    assert ledger.read_text().startswith(before[: before.rindex('{"event"')])
    shown = json.loads(pretune("show", "runs/circuits", "--json", cwd=folder))
    assert len(shown["trials"]) == 7
    assert np.isfinite([t["metrics"]["cost"] for t in shown["trials"] if t["metrics"]]).all()
