"""The commands for circuits as a user calls them: what they compute, what they write, how they refuse."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from objectives.circuits import memory
from objectives.circuits.batch import Batch
from objectives.circuits.edges.openqasm import from_qasm, to_qasm
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.tasks import maxcut
from search import circuits_report
from search.circuits_report import Watched
from search.cli import main
from spaces.circuits.gates import matrix
from spaces.circuits.pool import Pool
from spaces.circuits.sampler import paper, sample

ROOT = Path(__file__).parents[2]
BELL = "-1 Z0 Z1\n-1 X0 X1  # least at a Bell state, -2; at product states -1\n"
SPACE = "wires: 2\ngates: [RY, CNOT]\ncoupling: directed_line\nlength: 3\ndepth: any\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own for each test, with a Hamiltonian and a few circuits."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bell.txt").write_text(BELL)
    bell, flat = [("H", 0), ("CNOT", 0, 1)], [("RY", 0, 0.3), ("RY", 1, 0.4)]
    Pool.of(2, [flat, bell, [("H", 0), ("H", 0), ("RY", 1, np.pi)]]).save(tmp_path / "pool.npz")
    return tmp_path


def circuits(*arguments, code=0):
    """Runs `pretune circuits` in this process and returns the result; its exit code must be `code`."""
    done = CliRunner().invoke(main, ["circuits", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def pretune(*arguments, cwd, isolated=()):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [sys.executable, *isolated, "-m", "search", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("arguments", [["--help"], ["circuits", "--help"], ["circuits", "evaluate", "--help"]])
def test_help_is_quick(arguments, tmp_path):
    done = pretune(*arguments, cwd=tmp_path, isolated=["-X", "importtime"])
    loaded = {line.rsplit("|")[-1].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"numba", "pennylane", "torch", "ray", "matplotlib", "sklearn"}
    assert ("scipy" in loaded) == ("evaluate" in arguments)
    assert "circuits" in done.stdout


def test_a_user_samples_and_evaluates(tmp_path):
    drawn = pretune("circuits", "sample", "--count", "300", "--seed", "3", "--out", "mine.npz", cwd=tmp_path).stdout
    assert "300 on 4 wires" in drawn
    flags = ["--task", "maxcut", "--top", "3", "--out", "r.csv"]
    done = pretune("circuits", "evaluate", "mine.npz", *flags, cwd=tmp_path)
    assert done.stderr == ""
    text = " ".join(done.stdout.split())
    assert "max-cut of paper4 on 4 wires" in text
    assert "cost / -10" in text
    assert "µs an evaluation" in text
    assert "…" not in text  # the table fits
    ranked = sorted(rows(tmp_path / "r.csv"), key=lambda row: (float(row["best"]), int(row["row"])))
    shown = [line.split()[0] for line in done.stdout.splitlines() if line.strip()[:1].isdigit() and ":" not in line]
    assert shown == [row["row"] for row in ranked[:3]]
    assert f"{float(ranked[0]['best']):.8g}, circuit {ranked[0]['row']}" in text


def test_help_tells_the_knobs_of_training_as_their_dataclass_does():
    shown = " ".join(circuits("evaluate", "--help").output.split())
    default = Training()
    for name in ("optimiser", "step", "steps", "tolerance", "restarts"):
        assert f"--{name} " in shown
        assert f"default: {getattr(default, name)}]" in shown
    assert "0.001 .. 2 (log)" in shown
    assert "rotosolve" in shown


def test_a_seed_draws_the_same_circuits_however_many_are_wanted(tmp_path):
    circuits("sample", "--count", 50, "--seed", 4, "--out", "many.npz")
    circuits("sample", "--count", 5, "--seed", 4, "--out", "few.npz")
    circuits("sample", "--count", 5, "--seed", 5, "--out", "other.npz")
    many, few, other = (list(Pool.load(tmp_path / name)) for name in ("many.npz", "few.npz", "other.npz"))
    assert many[:5] == few == list(sample(paper(), 5, np.random.default_rng(4)))
    assert few != other


def test_the_facts_of_a_sample_are_those_of_its_circuits(tmp_path):
    (tmp_path / "space.yaml").write_text("wires: 3\ngates: {H: 1, CZ: 1}\nlength: 4\ndepth: any\ntask: ghz\n")
    shown = " ".join(circuits("sample", "space.yaml", "--count", 400, "--out", "p.npz").output.split())
    pool = list(Pool.load(tmp_path / "p.npz"))
    two = [sum(gate[0] == "CZ" for gate in gates) for gates in pool]
    for name, values in (("gates", [4] * 400), ("two-qubit gates", two), ("parameters", [0] * 400)):
        expected = ", ".join(f"{v} ({values.count(v) / 400:.1%})" for v in sorted(set(values)))
        assert f"{name} {expected}" in shown


def test_distinct_circuits_differ_and_their_shortage_is_told(tmp_path):
    (tmp_path / "space.yaml").write_text("wires: 1\ngates: [X, H]\nlength: 2\n")
    shown = circuits("sample", "space.yaml", "--count", 4, "--distinct", "--out", "four.npz").output
    assert "100.00%" in shown
    names = {tuple(gate[0] for gate in gates) for gates in Pool.load(tmp_path / "four.npz")}
    assert names == {("X", "X"), ("X", "H"), ("H", "X"), ("H", "H")}
    error = circuits("sample", "space.yaml", "--count", 5, "--distinct", "--out", "five.npz", code=2).stderr
    assert "only 4 of" in error
    assert not (tmp_path / "five.npz").exists()


def test_draw_writes_text_pictures_and_openqasm(tmp_path):
    text = circuits("draw", "pool.npz", "--row", 1).output
    assert [line[:2] for line in text.splitlines()] == ["0:", "1:"]
    assert "H" in text.splitlines()[0]
    for version in (2, 3):
        written = circuits("draw", "pool.npz", "--qasm", version).output
        assert written == to_qasm(Pool.load(tmp_path / "pool.npz"), 0, version)
    circuits("draw", "pool.npz", "--row", 0, "--out", "flat.qasm")
    assert from_qasm((tmp_path / "flat.qasm").read_text()).gates(0) == [("RY", 0, 0.3), ("RY", 1, 0.4)]
    circuits("draw", "flat.qasm", "--out", "flat.png")
    assert (tmp_path / "flat.png").read_bytes().startswith(b"\x89PNG")
    circuits("draw", "flat.qasm", "--out", "flat.svg")
    assert (tmp_path / "flat.svg").read_text().startswith("<?xml")


def test_untrained_costs_are_those_of_the_matrices(tmp_path):
    flags = ["--hamiltonian", "bell.txt", "--no-training", "--out", "r.csv", "--save-best", "best.npz"]
    shown = " ".join(circuits("evaluate", "pool.npz", *flags).output.split())
    zz, xx = np.diag([1, -1, -1, 1]), np.fliplr(np.eye(4))
    pool, found = Pool.load(tmp_path / "pool.npz"), rows("r.csv")
    for gates, row in zip(pool, found, strict=True):
        state = np.eye(4)[0].astype(complex)
        for name, *rest in gates:
            if name == "CNOT":
                state = matrix(name) @ state
            else:
                one = matrix(name, *rest[1:])
                state = (np.kron(one, np.eye(2)) if rest[0] == 0 else np.kron(np.eye(2), one)) @ state
        cost = float((state.conj() @ (-zz - xx) @ state).real)
        assert float(row["cost"]) == pytest.approx(cost, abs=1e-12)
        assert float(row["best"]) == float(row["cost"])
        assert float(row["reward"]) == pytest.approx(cost / -2, abs=1e-12)
        assert row["candidate"] == str(cost / -2 >= 0.95)
        assert row["solved"] == str(cost <= -1.2)  # a fifth of the way from -1 to -2
    names = ("depth", "two_qubit_gates", "parameters", "steps")
    assert [tuple(int(row[name]) for name in names) for row in found] == [(1, 0, 2, 0), (2, 1, 0, 0), (2, 0, 1, 0)]
    assert "candidates 1 of 3 (33.33%) solved 1 of 3 (33.33%) best cost -2, circuit 1" in shown
    assert Pool.load(tmp_path / "best.npz").gates(0) == [("H", 0), ("CNOT", 0, 1)]


def test_training_lowers_the_cost_and_the_saved_best_keeps_it(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE + "hamiltonian: bell.txt\n")
    flags = ["--count", 60, "--optimiser", "rotosolve", "--steps", 30, "--restarts", 2]
    circuits("evaluate", "space.yaml", *flags, "--out", "r.csv", "--save-best", "best.qasm")
    best = min(float(row["best"]) for row in rows("r.csv"))
    assert best == pytest.approx(-2, abs=1e-6)
    circuits("evaluate", "best.qasm", "--hamiltonian", "bell.txt", "--no-training", "--out", "again.csv")
    assert float(rows("again.csv")[0]["cost"]) == pytest.approx(best, abs=1e-12)
    circuits("evaluate", "space.yaml", *flags, "--out", "twice.csv", "--threads", 1)
    assert (tmp_path / "twice.csv").read_bytes() == (tmp_path / "r.csv").read_bytes()
    circuits("evaluate", "space.yaml", "--count", 60, "--no-training", "--out", "before.csv")
    pairs = list(zip(rows("r.csv"), rows("before.csv"), strict=True))
    assert all(float(after["best"]) <= float(before["cost"]) + 1e-12 for after, before in pairs)
    assert all(after["depth"] == before["depth"] for after, before in pairs)


def test_the_last_cost_is_judged_and_the_best_is_taken_home(tmp_path):
    """Steepest descent on 2 cos θ by steps so long that they overshoot."""
    (tmp_path / "z.txt").write_text("2 Z\n")
    starts, path = [2.0, 3.1, 0.6], []
    Pool.of(1, [[("RY", 0, angle)] for angle in starts]).save(tmp_path / "turns.npz")
    angles = np.array(starts)
    for _ in range(4):
        path.append(angles)
        angles = angles + 2 * 2 * np.sin(angles)
    costs = 2 * np.cos(path)
    flags = ["--optimiser", "gradient", "--step", 2, "--steps", 3, "--tolerance", -1, "--out", "r.csv"]
    circuits("evaluate", "turns.npz", "--hamiltonian", "z.txt", *flags, "--save-best", "best.npz")
    found = rows("r.csv")
    np.testing.assert_allclose([float(row["cost"]) for row in found], costs[-1], atol=1e-12)
    np.testing.assert_allclose([float(row["best"]) for row in found], costs.min(0), atol=1e-12)
    assert (costs[-1] > costs.min(0) + 0.05).all()
    assert [row["candidate"] for row in found] == [str(bool(cost <= -1.9)) for cost in costs[-1]]
    assert [row["solved"] for row in found] == [str(bool(cost <= -1.998)) for cost in costs[-1]]
    assert {row["candidate"] + row["solved"] for row in found} == {"TrueFalse", "FalseFalse"}
    step, row = np.unravel_index(costs.argmin(), costs.shape)
    ((_, _, angle),) = Pool.load(tmp_path / "best.npz").gates(0)
    assert angle == pytest.approx(path[step][row], abs=1e-12)


@pytest.mark.parametrize("tick", [0.0, 1e9])
def test_chunks_do_not_change_results(tick, monkeypatch):
    monkeypatch.setattr(circuits_report, "TICK", tick)
    pool, task = sample(paper(), 37, np.random.default_rng(0)), maxcut.build(maxcut.Config())
    for training in (None, Training(steps=5, restarts=2), Training("lbfgs", steps=5)):
        counts = []
        one = evaluate(pool, task, training, Batch(), seed=1)
        two = evaluate(pool, task, training, Watched(Batch(), counts.append), seed=1)
        for name in ("values", "gradients", "best", "best_theta", "steps"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        np.testing.assert_array_equal(one.pool.theta, two.pool.theta)
        assert sum(counts) == circuits_report.starts(pool, training)
        assert (set(counts) == {1}) == (tick == 0)


def test_restarts_do_not_begin_at_what_drew_the_circuits(tmp_path):
    """The same random numbers would tie the angles of a restart to the gates."""
    (tmp_path / "space.yaml").write_text("wires: 1\ngates: [RX, RY]\nlength: 2\nhamiltonian: z.txt\n")
    (tmp_path / "z.txt").write_text("1 Z\n")
    circuits("evaluate", "space.yaml", "--count", 40, "--steps", 0, "--restarts", 1, "--out", "r.csv")
    circuits("sample", "space.yaml", "--count", 40, "--out", "p.npz")
    same = np.random.default_rng(0).uniform(0, 2 * np.pi, (40, 2))
    unlucky = [
        np.cos(a) * np.cos(b) if g[0][0] != g[1][0] else np.cos(a + b)
        for g, (a, b) in zip(Pool.load(tmp_path / "p.npz"), same, strict=True)
    ]
    assert not any(abs(float(row["cost"]) - cost) < 1e-9 for row, cost in zip(rows("r.csv"), unlucky, strict=True))


@pytest.mark.parametrize("evaluator", ["noisy", "pennylane"])
def test_noise_shrinks_what_its_formula_says(evaluator, tmp_path):
    (tmp_path / "z.txt").write_text("1 Z\n")
    Pool.of(1, [[("X", 0)], [("RY", 0, 1.0)]]).save(tmp_path / "flip.npz")
    noise = ["--depolarizing", 0.3, "--damping", 0.2]
    flags = ["--hamiltonian", "z.txt", "--evaluator", evaluator, "--out", "r.csv"]
    circuits("evaluate", "flip.npz", *flags, "--no-training", *noise)
    left = 1 - 4 / 3 * 0.3  # of ⟨Z⟩ after depolarising; damping then makes of it (1 - γ) ⟨Z⟩ + γ
    expected = [0.8 * left * z + 0.2 for z in (-1, np.cos(1.0))]
    assert [float(row["cost"]) for row in rows("r.csv")] == pytest.approx(expected, abs=1e-12)
    circuits("evaluate", "flip.npz", *flags, "--optimiser", "rotosolve", *noise)
    assert float(rows("r.csv")[1]["best"]) == pytest.approx(0.2 - 0.8 * left, abs=1e-9)


def test_evaluators_and_precisions_agree():
    found = {}
    for name, flags in {
        "double": [],
        "single": ["--precision", "single"],
        "noisy": ["--evaluator", "noisy"],
        "pennylane": ["--evaluator", "pennylane"],
    }.items():
        flags = [*flags, "--steps", 4, "--optimiser", "adam", "--step", 0.1]
        circuits("evaluate", "pool.npz", "--hamiltonian", "bell.txt", *flags, "--out", f"{name}.csv")
        found[name] = np.array([float(row["cost"]) for row in rows(f"{name}.csv")])
    for name, tolerance in (("noisy", 1e-10), ("pennylane", 1e-10), ("single", 1e-5)):
        np.testing.assert_allclose(found[name], found["double"], atol=tolerance)


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_processor():
    for name, flags in {"gpu.csv": ["--evaluator", "cuda"], "cpu.csv": []}.items():
        flags = [*flags, "--precision", "double", "--steps", 4]
        circuits("evaluate", "pool.npz", "--hamiltonian", "bell.txt", *flags, "--out", name)
    gpu, cpu = ([float(row["cost"]) for row in rows(name)] for name in ("gpu.csv", "cpu.csv"))
    assert gpu == pytest.approx(cpu, abs=1e-10)


def test_a_file_names_its_task_beside_it_and_flags_replace_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "bell.txt").rename(tmp_path / "deep" / "bell.txt")
    written = ["hamiltonian: bell.txt", "task: {paulis: bell.txt}", "task: {paulis: {path: bell.txt, threshold: 0.9}}"]
    for line in written:
        (tmp_path / "deep" / "space.yaml").write_text(f"gates: [RY, CNOT]\nlength: 3\n{line}\n")
        shown = circuits("evaluate", "deep/space.yaml", "--count", 3, "--steps", 2).output
        assert "ground state of bell.txt on 2 wires" in shown  # and so the register has two
        assert ("from reward 0.9 on" in shown) == ("threshold" in line)
    shown = circuits("evaluate", "deep/space.yaml", "--count", 3, "--set", "threshold=0.5", "--steps", 2).output
    assert "from reward 0.5 on" in shown
    shown = circuits("evaluate", "deep/space.yaml", "--count", 3, "--task", "ghz", "--set", "wires=3").output
    assert "prepare ghz on 3 wires" in shown
    (tmp_path / "here.txt").write_text(BELL)
    shown = circuits("evaluate", "deep/space.yaml", "--count", 3, "--hamiltonian", "here.txt", "--steps", 2).output
    assert "ground state of here.txt" in shown
    error = circuits("evaluate", "deep/space.yaml", "--set", "path=bell.txt", code=2).stderr
    assert "no such file" in error  # for a flag's path counts from where one is
    (tmp_path / "deep" / "space.yaml").write_text("task: {state: {target: file, path: nowhere.npy}}\n")
    error = circuits("evaluate", "deep/space.yaml", code=2).stderr
    assert "deep/space.yaml:1: task" in error
    assert "deep/nowhere.npy: no such file" in error


def test_a_variant_is_its_task_with_the_first_knob_set():
    flags = ["--set", "wires=3", "--count", 5, "--steps", 2]
    for name, task in {"one.csv": ["w"], "two.csv": ["state", "--set", "target=w"]}.items():
        circuits("evaluate", "--task", *task, *flags, "--out", name)
    assert rows("one.csv") == rows("two.csv")


def test_circuits_that_read_data_are_saved_as_arrays_only(tmp_path):
    flags = ["--task", "classify", "--set", "examples=20", "--count", 4, "--steps", 2]
    error = circuits("evaluate", *flags, "--save-best", "best.qasm", code=2).stderr
    assert "best.qasm: these circuits read data" in error
    shown = circuits("evaluate", *flags, "--save-best", "best.npz").output
    assert "held out" in shown
    assert "x0" in shown
    assert Pool.load(tmp_path / "best.npz").inputs == 4


BAD = {  # what is called, what the one message says
    "no task": (["evaluate", "pool.npz"], ["--task: ", "maxcut", "h2"]),
    "unknown task": (["evaluate", "pool.npz", "--task", "maxcutt"], ["no task 'maxcutt'", "did you mean 'maxcut'"]),
    "two tasks": (["evaluate", "pool.npz", "--task", "h2", "--hamiltonian", "bell.txt"], ["one or the other"]),
    "two in a file": (["evaluate", "two.yaml"], ["two.yaml:1: task", "not both"]),
    "unknown knob": (["evaluate", "--task", "spin", "--set", "site=4"], ["--set site=4", "did you mean 'sites'"]),
    "knob's type": (["evaluate", "--task", "spin", "--set", "sites=few"], ["whole number", "2 .. 20"]),
    "knobs at odds": (["evaluate", "--task", "spin", "--set=lattice=square", "--set=rows=3"], ["--task spin: rows"]),
    "optimiser": (["evaluate", "--task", "ghz", "--optimiser", "adm"], ["--optimiser adm", "did you mean 'adam'"]),
    "training and none": (["evaluate", "--task", "ghz", "--steps", "9", "--no-training"], ["--steps 9"]),
    "noise of none": (["evaluate", "--task", "ghz", "--damping", "0.1"], ["--damping: ", "noisy, pennylane"]),
    "probability": (["evaluate", "--task", "ghz", "--evaluator", "noisy", "--damping", "3"], ["0..1"]),
    "noisy wires": (["evaluate", "--task", "tfim", "--evaluator", "noisy"], ["up to 6 wires", "not 8"]),
    "count of a pool": (["evaluate", "pool.npz", "--task", "ghz", "--count", "3"], ["--count: pool.npz"]),
    "register": (["evaluate", "pool.npz", "--task", "ghz"], ["circuits on 2 wires", "needs 4"]),
    "missing pool": (["evaluate", "nowhere.npz", "--task", "ghz"], ["nowhere.npz: no such file"]),
    "damaged pool": (["evaluate", "torn.npz", "--task", "ghz"], ["torn.npz: no pool of circuits"]),
    "bent pool": (["evaluate", "bent.npz", "--task", "ghz"], ["bent.npz: no pool of circuits"]),
    "short pool": (["draw", "short.npz"], ["short.npz: no pool of circuits: theta is (1, 2), wanted a row for each"]),
    "empty pool": (["evaluate", "empty.npz", "--task", "ghz"], ["empty.npz: the pool has no circuits"]),
    "OpenQASM": (["evaluate", "bad.qasm", "--task", "ghz"], ["bad.qasm:3: ", "'foo'"]),
    "file of words": (["evaluate", "--hamiltonian", "words.txt"], ["words.txt:2: "]),
    "no Hamiltonian": (["evaluate", "--hamiltonian", "nowhere.txt"], ["nowhere.txt: no such file"]),
    "setting": (["sample", "typo.yaml", "--out", "o.npz"], ["typo.yaml:2: wire: ", "did you mean 'wires'"]),
    "no pairs": (["sample", "alone.yaml", "--out", "o.npz"], ["alone.yaml:1: gates: CNOT has no pair of wires"]),
    "outside": (["sample", "far.yaml", "--out", "o.npz"], ["far.yaml:2: coupling.edges", "leaves the register"]),
    "no space": (["sample", "pool.npz"], ["pool.npz: '.npz' files hold no circuit space"]),
    "a folder": (["sample", "."], ["this is a folder"]),
    "row": (["draw", "pool.npz", "--row", "3"], ["there is no circuit 3", "0 .. 2"]),
    "picture of text": (["draw", "pool.npz", "--out", "o.png", "--qasm", "3"], ["o.png: ", "allowed: .qasm"]),
    "no circuits": (["draw", "bell.txt"], ["'.txt' files hold no circuits", ".npz, .qasm"]),
    "ending": (["evaluate", "--task", "ghz", "--save-best", "o.csv"], ["o.csv: ", ".qasm, .npz"]),
    "no folder": (["evaluate", "--task", "ghz", "--out", "bell.txt/o.csv"], ["bell.txt is no folder"]),
}


@pytest.fixture
def spoilt(folder):
    """Files that cannot be used."""
    good = (folder / "pool.npz").read_bytes()
    arrays = dict(np.load(folder / "pool.npz"))
    (folder / "torn.npz").write_bytes(good[: len(good) // 2])
    np.savez(folder / "bent.npz", **arrays | {"op": arrays["op"].ravel()})
    np.savez(folder / "short.npz", **arrays | {"theta": arrays["theta"][:1]})
    Pool.of(2, []).save(folder / "empty.npz")
    texts = {
        "two.yaml": "task: ghz\nhamiltonian: bell.txt\n",
        "bad.qasm": "OPENQASM 3.0;\nqubit[4] q;\nfoo q[0];\n",
        "words.txt": "1 Z0\n1 Q1\n",
        "typo.yaml": "gates: paper\nwire: 3\n",
        "alone.yaml": "wires: 1\ngates: [CNOT]\n",
        "far.yaml": "wires: 2\ncoupling: {edges: [[0, 2]]}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_nothing_is_written(case, spoilt):
    arguments, words = BAD[case]
    before = sorted(spoilt.rglob("*"))
    if arguments[0] == "evaluate":
        arguments = ["evaluate", *(x for x in ("--out", "results.csv") if "--out" not in arguments), *arguments[1:]]
    done = circuits(*arguments, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error:") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert sorted(spoilt.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["evaluate", "pool.npz", "--hamiltonian", "bell.txt"], ["sample"]])
def test_what_does_not_fit_into_memory_is_refused(arguments, monkeypatch):
    monkeypatch.setattr(memory, "SHARE", 1e-12)
    assert "GiB are free" in circuits(*arguments, code=2).stderr


def test_a_folder_that_cannot_be_written_to_is_told(folder, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spaces.files.write_whole", full)
    error = circuits("evaluate", "pool.npz", "--hamiltonian", "bell.txt", "--out", "r.csv", code=2).stderr
    assert "r.csv: cannot be written" in error


def test_pennylanes_shots_repeat_by_seed_and_devices_are_named(tmp_path):
    header = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
    (tmp_path / "c.qasm").write_text(header + "qubit[2] q;\nry(0.7) q[0];\ncx q[0], q[1];\n")
    (tmp_path / "h.txt").write_text("1 Z0 Z1\n-0.5 X0\n-0.1 Y0 Y1\n")
    command = ["evaluate", str(tmp_path / "c.qasm"), "--hamiltonian", str(tmp_path / "h.txt"), "--no-training"]
    command += ["--evaluator", "pennylane", "--shots", "500", "--out", str(tmp_path / "out.csv")]

    def cost(*more):
        done = CliRunner().invoke(main, ["circuits", *command, *more])
        assert done.exit_code == 0, done.output
        return (tmp_path / "out.csv").read_text()

    assert cost() == cost()
    assert cost() != cost("--seed", "1")
    wrong = CliRunner().invoke(main, ["circuits", *command, "--device", "lightning.qubitt"])
    assert wrong.exit_code == 2
    assert "did you mean 'lightning.qubit'" in wrong.output
