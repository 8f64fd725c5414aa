"""The command line as a user calls it: in a process of its own, in a folder of its own."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
IDLE = "name: idle\nobjective: function\nspace: {function: {branin: search, mixed: search}}\n"
IDLE += "budget: {trials: 9, epochs: 9}\nsearch: {seed: 5}\n"
TINY = """\
name: tiny
data: digits
space:
  method: {simclr: {hidden: 16, temperature: {log: [0.1, 0.5]}}, rotnet: default}
  augmentation: {rotation: default, noise: default}
  architecture: {resnet: {width: 8, stages: 2}}
  optimizer: {batch: 256}
probe: {draws: 2}
budget: {trials: 2, epochs: 1}
search: {strategy: random, scheduler: none}
"""


def pretune(*arguments, cwd, code=0, isolated=()):
    """Runs the command and returns its finished process; its exit code must be `code`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, *isolated, "-m", "search", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished run of a small study on real images."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY)
    done = pretune("run", "tiny.yaml", "--executor", "serial", cwd=folder)
    return folder, done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "runs/tiny"], ["run", "--help"]])
def test_light_commands_import_neither_ray_nor_torch(arguments, tiny):
    folder, _ = tiny
    loaded = pretune(*arguments, cwd=folder, isolated=["-X", "importtime"]).stderr
    heavy = {line.rsplit("|")[-1].strip() for line in loaded.splitlines()} & {"ray", "torch", "sklearn", "optuna"}
    assert not heavy


def test_check_needs_no_ray_and_shows_the_space(tmp_path):
    done = pretune("check", "quickstart", cwd=tmp_path, isolated=["-X", "importtime"])
    assert not any(line.rsplit("|")[-1].strip() == "ray" for line in done.stderr.splitlines())
    assert "method.simclr.temperature" in done.stdout
    assert "when method is simclr" in done.stdout
    config = json.loads(done.stdout.partition("one config of the space:")[2])
    parts = "method plugin sampler pool augmentation second_view architecture optimizer"
    assert set(config) == set(parts.split())
    assert list(tmp_path.iterdir()) == []


def test_list_names_the_shipped_studies(tmp_path):
    assert "quickstart" in pretune("list", cwd=tmp_path).stdout


def test_methods_documents_every_component(tmp_path):
    overview = pretune("methods", cwd=tmp_path).stdout
    for name in ("simclr", "temperature", "0.02 .. 2 (log)", "resnet", "crop", "tpe", "asha", "image_folder"):
        assert name in overview
    assert "2002.05709" in pretune("methods", "simclr", cwd=tmp_path).stdout
    circuits = pretune("methods", "circuits", cwd=tmp_path).stdout
    assert all(word in circuits for word in ("space.training", "rotosolve", "search.metric", "mean_reward"))
    assert "did you mean 'simclr'" in pretune("methods", "simcl", cwd=tmp_path, code=2).stderr


def test_a_run_ends_in_a_table_with_winner_floors_and_directions(tiny):
    _, output = tiny
    assert "leads with few_shot_accuracy" in output
    for words in ("over the raw floor", "over the untrained floor", "pretune board runs/tiny", "held-out"):
        assert words in output


def test_show_json_keeps_its_contract(tiny):
    folder, _ = tiny
    shown = json.loads(pretune("show", "runs/tiny", "--json", cwd=folder).stdout)
    assert set(shown) == {"study", "metric", "mode", "seed", "trials", "front", "best", "floors"}
    assert (shown["study"], shown["metric"], shown["mode"], shown["seed"]) == ("tiny", "few_shot_accuracy", "max", 0)
    for trial in shown["trials"]:
        assert set(trial) == {"id", "of", "state", "config", "metrics", "rungs", "seconds", "reason"}
        assert trial["state"] == "complete"
        assert trial["metrics"] == trial["rungs"][-1]["metrics"]
    values = {trial["id"]: trial["metrics"]["few_shot_accuracy"] for trial in shown["trials"]}
    assert shown["best"]["value"] == max(values.values()) == values[shown["best"]["id"]]
    assert set(shown["floors"]) == {"raw", "untrained"}
    assert 0.8 < shown["floors"]["raw"]["few_shot_accuracy"] < 0.9


def test_show_csv_has_a_row_a_trial(tiny):
    folder, _ = tiny
    rows = list(csv.DictReader(io.StringIO(pretune("show", "runs/tiny", "--csv", cwd=folder).stdout)))
    assert [row["id"] for row in rows] == ["t0000", "t0001"]
    assert {"few_shot_accuracy", "config.optimizer.lr"} <= set(rows[0])


def test_one_seed_gives_identical_metrics_in_another_process(tiny, tmp_path):
    folder, _ = tiny
    (tmp_path / "tiny.yaml").write_text(TINY)
    pretune("run", "tiny.yaml", "--executor", "serial", "-q", cwd=tmp_path)
    first, second = (json.loads(pretune("show", "runs/tiny", "--json", cwd=f).stdout) for f in (folder, tmp_path))
    for shown in (first, second):
        for trial in shown["trials"]:
            del trial["seconds"], trial["metrics"]
            for rung in trial["rungs"]:
                del rung["seconds"], rung["metrics"]["probe_seconds"]
    assert first == second


def test_the_export_loads_without_pretune(tiny, tmp_path):
    folder, _ = tiny
    pretune("export", "runs/tiny", "-o", tmp_path / "winner", cwd=folder)
    card = json.loads((tmp_path / "winner" / "card.json").read_text())
    assert card["metrics"]["few_shot_accuracy"] > 0
    assert card["floors"]["raw"]
    assert card["data"]["shape"] == [1, 8, 8]
    probe = "import runpy, sys; sys.path = [p for p in sys.path if 'main' not in p]; sys.modules['search'] = None; "
    probe += "sys.modules['spaces'] = sys.modules['objectives'] = None; import torch; torch.manual_seed(0); "
    probe += "import json; out = runpy.run_path('winner/load.py')['features']; print(json.dumps(out.tolist()))"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    features = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(features, _expected(folder / "runs/tiny", card), atol=1e-5)


def _expected(run, card):
    """The features that the trial's own network gives to the images that load.py draws."""
    import torch

    from objectives.kinds.representation import restore_encoder
    from search.folder import Folder
    from search.rungs import load_state

    state = load_state(Folder(run), card["trial"], card["epochs"])
    encoder = restore_encoder(card["config"], (1, 8, 8), state)
    torch.manual_seed(0)
    return encoder(torch.rand(4, 1, 8, 8)).detach().numpy()


BAD = {
    "unknown method": (
        TINY.replace("simclr:", "simcrl:"),
        ["bad.yaml:4: space.method.simcrl", "did you mean 'simclr'"],
    ),
    "wrong type": (
        TINY.replace("hidden: 16", "hidden: wide"),
        ["bad.yaml:4: space.method.simclr.hidden", "whole number"],
    ),
    "out of bounds": (
        TINY.replace("[0.1, 0.5]", "[0.1, 9]"),
        ["bad.yaml:4: space.method.simclr.temperature", "0.02 .. 2"],
    ),
    "log from 0": (TINY.replace("[0.1, 0.5]", "[0, 0.5]"), ["bad.yaml:4:", "must start above 0"]),
    "metric": (TINY.replace("strategy: random", "metric: acuracy"), ["bad.yaml:10: search.metric", "linear_accuracy"]),
    "no patches": (
        TINY.replace("rotnet:", "mae:"),
        ["bad.yaml:6: space.architecture", "method 'mae' needs", "patches"],
    ),
    "patch size": (TINY.replace("resnet: {width: 8, stages: 2}", "vit: {patch: 16}"), ["bad.yaml:6:", "vit", "patch"]),
    "no data": (
        TINY.replace("data: digits", "data: {image_folder: nowhere}"),
        ["bad.yaml:2: data.image_folder", "nowhere", "nothing is there"],
    ),
    "list": ("- a\n- b\n", ["bad.yaml:1: expected a study", "found a list"]),
    "empty": ("", ["bad.yaml: the document is empty"]),
    "duplicate": (TINY + "name: again\n", ["bad.yaml:11: the key 'name' stands twice"]),
    "escape": (TINY.replace("name: tiny", "name: ../tiny"), ["bad.yaml:1: name"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_nothing_is_written(case, tmp_path):
    text, words = BAD[case]
    (tmp_path / "bad.yaml").write_text(text)
    error = pretune("run", "bad.yaml", cwd=tmp_path, code=2).stderr
    assert "Traceback" not in error
    assert all(word in error for word in words), error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_corrupt_image_is_named(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    broken = tmp_path / "photos" / "b" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (tmp_path / "bad.yaml").write_text(TINY.replace("data: digits", "data: {image_folder: photos}"))
    error = pretune("run", "bad.yaml", cwd=tmp_path, code=2).stderr
    assert "bad.yaml:2:" in error
    assert "b/3.png" in error
    assert not (tmp_path / "runs").exists()


def test_unlabelled_images_can_be_searched_by_a_label_free_metric(tmp_path):
    np.savez(tmp_path / "some.npz", images=np.random.default_rng(0).random((60, 8, 8), dtype=np.float32))
    text = TINY.replace("data: digits", "data: {npz: some.npz}")
    (tmp_path / "free.yaml").write_text(text)
    error = pretune("run", "free.yaml", cwd=tmp_path, code=2).stderr
    assert "needs labels" in error
    assert "rankme" in error
    done = pretune("run", "free.yaml", "--set", "search.metric=rankme", "--executor", "serial", cwd=tmp_path)
    assert "leads with rankme" in done.stdout


def test_a_run_is_never_overwritten_and_a_changed_study_not_resumed(tmp_path):
    (tmp_path / "idle.yaml").write_text(IDLE)
    run = ["run", "idle.yaml", "--executor", "serial", "-q"]
    pretune(*run, cwd=tmp_path)
    pretune(*run, cwd=tmp_path)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"idle", "idle-2"}
    assert "a run lies here already" in pretune(*run, "--out", "runs/idle", cwd=tmp_path, code=2).stderr
    error = pretune(*run, "--resume", "--set", "search.seed=6", cwd=tmp_path, code=2).stderr
    assert "the study has changed" in error
    assert "search.seed" in error
    pretune(*run, "--resume", "--trials", "12", cwd=tmp_path)
    shown = json.loads(pretune("show", "runs/idle-2", "--json", cwd=tmp_path).stdout)
    assert len(shown["trials"]) == 12
