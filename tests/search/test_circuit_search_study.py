"""Latent searches as a user runs them: every shipped study is sound, one is run, and its winner is PennyLane's, too."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pennylane as qml
import pytest
from click.testing import CliRunner
from pennylane import qchem

from search.cli import main
from spaces.shipped import shipped

ROOT = Path(__file__).parents[2]
STUDIES = [name for name in shipped() if name.startswith("circuits/")]
SMALL = {
    "space.pool": "{count: 4000, sieve: entanglement, keep: 0.05}",
    "space.embedding": "{gin_vae: {epochs: 2, layers: 2, hidden: 32}}",
    "space.searcher": "{reinforce: default, random: default}",
    "space.generation": "{children: 20, how: both}",
    "probe.queries": "25",
    "budget": "{trials: 2, epochs: 4}",
    "search.scheduler": "{none: {reports: 4}}",
}
SETTINGS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]


def pretune(*arguments, cwd, code=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PRETUNE_CACHE": str(cwd / "kept")}
    command = [sys.executable, "-m", "search", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_studies_are_sound(name):
    done = CliRunner().invoke(main, ["check", name])
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output
    assert done.output.startswith(f"{name.partition('/')[2]}: ")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    done = pretune("run", "circuits/h2", "--executor", "serial", "-q", *SETTINGS, cwd=folder)
    pretune("export", "runs/h2", "-o", "winner", cwd=folder)
    return folder, done.stdout


def test_the_run_ends_with_what_was_found_and_how_to_take_it_home(run):
    _, out = run
    head = next(line for line in out.splitlines() if line.startswith("trial"))
    assert {"task", "searcher", "error", "epochs"} <= set(head.split())
    for words in (
        "below the random floor",
        "below the empty floor",
        "two-qubit gates, depth",
        "of 100 circuits solved",
    ):
        assert words in out
    assert "export  pretune export runs/h2 -o winner" in out


def test_each_rung_is_in_the_ledger_with_finite_metrics(run):
    folder, _ = run
    shown = json.loads(pretune("show", "runs/h2", "--json", cwd=folder).stdout)
    for trial in shown["trials"]:
        assert [rung["metrics"]["queries"] for rung in trial["rungs"]] == [25, 50, 75, 100]
        assert all(math.isfinite(value) for rung in trial["rungs"] for value in rung["metrics"].values())
    assert set(shown["floors"]) == {"empty", "random"}


def hydrogen():
    """The Hamiltonian from PennyLane itself, at the published distance."""
    molecule = qchem.Molecule(["H", "H"], np.array([[0, 0, 0], [0, 0, 1.3228]]))
    return qchem.molecular_hamiltonian(molecule)[0]


def test_the_winner_costs_by_pennylane_what_its_card_says(run):
    folder, _ = run
    winner, hamiltonian = folder / "winner", hydrogen()
    card = json.loads((winner / "card.json").read_text())["metrics"]
    text = (winner / "circuit.qasm").read_text().replace('include "stdgates.inc";\n', "")  # which PennyLane knows

    named = qml.map_wires(hamiltonian, {q: f"q[{q}]" for q in range(4)})

    @qml.qnode(qml.device("default.qubit", wires=[f"q[{q}]" for q in range(4)]))
    def energy():
        qml.from_qasm3(text)()
        return qml.expval(named)

    assert float(energy()) == pytest.approx(card["cost"], abs=1e-6)
    ground = np.linalg.eigvalsh(qml.matrix(hamiltonian, wire_order=range(4)))[0]
    assert card["error"] == pytest.approx(card["cost"] - ground, abs=1e-6)


def test_the_script_runs_without_pretune_and_prints_the_cost(run):
    folder, _ = run
    card = json.loads((folder / "winner" / "card.json").read_text())["metrics"]
    command = [sys.executable, "-I", "winner/circuit.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == pytest.approx(card["cost"], abs=1e-9)
    assert "pretune" not in (folder / "winner" / "circuit.py").read_text()


def test_the_tables_tell_the_front_and_every_query(run):
    folder, _ = run
    winner = folder / "winner"
    queries = list(csv.DictReader(io.StringIO((winner / "search.csv").read_text())))
    front = list(csv.DictReader(io.StringIO((winner / "pareto.csv").read_text())))
    card, config = (json.loads((winner / "card.json").read_text())[part] for part in ("metrics", "config"))
    assert [int(row["query"]) for row in queries] == list(range(1, 101))
    assert sum(int(row["steps"]) for row in queries) == card["evaluations"]
    assert sum(row["solved"] == "True" for row in queries) == card["solved"]
    assert sum(row["generated"] == "True" for row in queries) == card["generated"]
    assert float(front[0]["cost"]) == card["cost"]
    for row in front:
        same = queries[int(row["query"]) - 1]
        assert all(same[name] == row[name] for name in ("cost", "reward", "two_qubit_gates", "depth"))
        assert (winner / row["file"]).read_text().startswith("OPENQASM 3.0;")
    for picture in ("circuit", "pareto", "regret", *(["latent_map"] if "reinforce" in config["searcher"] else [])):
        assert (winner / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_warning_is_one_line_and_an_error_names_its_place(tmp_path):
    (tmp_path / "s.yaml").write_text("wires: 4\ngates: [RX, RY]\n")
    study = ["check", "circuits/h2", "--set", f"space.circuits.path={tmp_path / 's.yaml'}"]
    done = CliRunner().invoke(main, study)
    assert done.exit_code == 0
    assert "warning: circuits/h2.yaml:9: space.task.molecule: no gate of its circuits entangles" in done.output
    done = CliRunner().invoke(main, ["check", "circuits/h2", "--set", "budget.epochs=1", "--set", "probe.queries=9"])
    assert done.exit_code == 2
    assert "space.searcher.gp: the searcher 'gp' takes its first 16 circuits at random" in done.output
