"""Maps of latents: against the embedding itself, scikit-learn's components, and TensorBoard's own server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.decomposition import PCA

from objectives import SHELVES
from objectives.kinds.circuits import built_task, of_tensors
from search.compare import projector
from search.compare.projector import write_maps
from search.compare.tensorboard import EventFiles
from search.executors import serial
from search.folder import Folder
from search.kinds import _pictures as pictures
from search.kinds import circuit_search
from search.kinds._landscape import plane
from search.kinds._queries import Queries
from search.ledger import History, Rung, Trial, read
from search.run import load_study, start, sweep
from search.rungs import load_state, save_rung
from spaces.circuits.pool import Pool
from spaces.circuits.sampler import paper, sample
from spaces.circuits.structure import depth, two_qubit_gates
from spaces.document import StudyError

STUDY = """\
name: small
objective: circuit_search
space:
  task: {maxcut: default}
  pool: {count: 300}
  embedding: raw_mean
  searcher: {reinforce: default, random: default}
  generation: {children: 12, parents: 5, how: mutate}
  training: {steps: 15}
probe: {queries: 25}
budget: {trials: 2, epochs: 3}
search: {strategy: random, scheduler: none, metric: cost, seed: 1}
"""
QUERIES = 75


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished run with its maps: a trial whose searcher looks at latents, and one whose searcher does not."""
    room = tmp_path_factory.mktemp("maps")
    (room / "small.yaml").write_text(STUDY)
    study, folder = load_study(str(room / "small.yaml")), Folder(room / "run")
    history = sweep(study, None, folder, start(study, folder, None), EventFiles(folder), serial.run)
    write_maps(folder, history)
    return folder


def trial(folder: Folder, searcher: str) -> Trial:
    return next(t for t in read(folder.ledger)[0].trials.values() if searcher in t.config["searcher"])


def state(folder: Folder, searcher: str = "reinforce") -> dict[str, Any]:
    found = trial(folder, searcher)
    return load_state(folder, found.id, found.epoch)


def table(text: str) -> list[dict[str, str]]:
    heads, *rows = (line.split("\t") for line in text.splitlines())
    return [dict(zip(heads, row, strict=True)) for row in rows]


def drawn(state: dict[str, Any]) -> Pool:
    """The circuits of a trial, from the beginning."""
    return Pool.stack([sample(paper(), 300, np.random.default_rng(0)), *(of_tensors(4, p) for _, p in state["joined"])])


def test_vectors_are_those_of_the_circuits_and_the_table_says_what_is_known_of_them(run: Folder) -> None:
    saved, place = state(run), run.tensorboard / trial(run, "reinforce").id
    vectors, rows = np.loadtxt(place / "tensors.tsv", np.float32), table((place / "metadata.tsv").read_text())
    pool, queries = drawn(saved), {name: tensor.numpy() for name, tensor in saved["queries"].items()}
    assert len(pool) > 300
    asked = queries["circuit"]
    rest = [row for row in range(len(pool)) if row not in set(asked.tolist())]
    raw = SHELVES["embedding"].load("raw_mean")
    circuits = [*rest, *asked]
    np.testing.assert_array_equal(vectors, raw.build(raw.config(), 4, 10).embed(pool[circuits]))
    assert [row["visited"] for row in rows] == ["False"] * len(rest) + ["True"] * QUERIES
    assert [int(row["depth"]) for row in rows] == depth(pool[circuits]).tolist()
    assert [int(row["two_qubit_gates"]) for row in rows] == two_qubit_gates(pool[circuits]).tolist()
    assert [row["generated"] for row in rows] == [str(row >= 300) for row in circuits]
    assert (asked >= 300).any()
    for name in ("query", "cost", "reward", "solved"):
        assert {row[name] for row in rows[: len(rest)]} == {""}
    seen = rows[len(rest) :]
    assert [int(row["query"]) for row in seen] == list(range(1, QUERIES + 1))
    assert [float(row["cost"]) for row in seen] == queries["cost"].tolist()
    assert [float(row["reward"]) for row in seen] == (queries["cost"] / -10).tolist()  # the largest cut
    task = built_task(trial(run, "reinforce").config)
    assert [row["solved"] for row in seen] == [str(cost <= task.strict) for cost in queries["cost"]]


def test_there_is_no_map_where_the_searcher_looks_at_no_latents(run: Folder) -> None:
    blind = trial(run, "random")
    assert circuit_search.latent_map(blind.config, state(run, "random")) is None
    config = run.tensorboard / blind.id / "projector_config.pbtxt"
    assert config.read_text() == "# after epoch 3\n"
    assert not (config.parent / "tensors.tsv").exists()
    assert "latent_map.png" not in circuit_search.files(blind.config, None, state(run, "random"))


def test_of_very_many_some_are_shown_the_best_among_them(monkeypatch: pytest.MonkeyPatch, run: Folder) -> None:
    monkeypatch.setattr(circuit_search, "VISITED", 7)
    monkeypatch.setattr(circuit_search, "UNVISITED", 20)
    chosen, study = trial(run, "reinforce"), load_study(str(run.root.parent / "small.yaml"))
    search = study.objective.build(circuit_search.Setting(chosen.config, chosen.seed, (3,), None, study.probe))
    list(search.run())
    whole, some = state(run)["map"], search.state_dict()["map"]
    evenly = np.linspace(0, QUERIES - 1, 7).astype(int)
    assert some["query"].tolist() == sorted({*evenly.tolist(), *search.front})
    assert len(some["circuit"]) == 20
    assert set(some["circuit"].tolist()) <= set(whole["circuit"].tolist())
    assert len(some["latents"]) == 20 + len(some["query"])
    raw = SHELVES["embedding"].load("raw_mean")
    wanted = PCA(2).fit(raw.build(raw.config(), 4, 10).embed(drawn(state(run))[:300]).astype(np.float64)).components_
    for found in (some, whole):  # all maps of a pool are of one plane
        np.testing.assert_allclose(np.abs(found["axes"].numpy().T), np.abs(wanted), atol=1e-8)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_plane_is_that_of_the_principal_components(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    vectors = (rng.normal(3, 1, (200, dimensions)) @ rng.normal(0, 1, (dimensions, dimensions))).astype(np.float32)
    found, count = plane(vectors), min(2, dimensions)
    wanted = PCA(count).fit(vectors.astype(np.float64))
    places = (vectors - found["origin"]) @ found["axes"]
    theirs = wanted.transform(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(places[:, :count]), np.abs(theirs), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["shares"][:count], wanted.explained_variance_ratio_, atol=1e-9)
    assert found["axes"].shape == (dimensions, 2)
    assert (found["axes"].max(0) >= -found["axes"].min(0)).all()
    assert not places[:, count:].any()


def test_the_picture_has_every_circuit_in_its_place_and_rings_those_that_solved(run: Folder) -> None:
    saved, config = state(run), trial(run, "reinforce").config
    mapped = circuit_search.latent_map(config, saved)
    assert mapped is not None
    vectors, columns = mapped
    shown = {name: tensor.numpy() for name, tensor in saved["map"].items()}
    axes = pictures.latent_map(built_task(config), vectors, columns, shown).axes[0]
    grey, coloured, rings = axes.collections
    places, cost = (vectors - shown["origin"]) @ shown["axes"], saved["queries"]["cost"].numpy()
    order = np.argsort(cost / -10, kind="stable")
    np.testing.assert_allclose(grey.get_offsets(), places[:-QUERIES])
    np.testing.assert_allclose(coloured.get_offsets(), places[-QUERIES:][order])
    np.testing.assert_array_equal(coloured.get_array(), cost[order] / -10)
    solved = cost <= built_task(config).strict
    assert 0 < solved.sum() < QUERIES
    np.testing.assert_allclose(rings.get_offsets(), places[-QUERIES:][solved])
    assert tuple(grey.get_facecolor()[0]) == to_rgba("0.85")
    made = circuit_search.files(config, None, saved)
    assert all(made[f"{name}.png"].startswith(b"\x89PNG") for name in ("latent_map", "regret", "pareto"))


def test_regret_falls_and_hits_add_up() -> None:
    task = built_task({"task": {"molecule": {"molecule": "h2"}}})
    assert task.ground is not None
    cost = np.append(np.random.default_rng(0).uniform(task.ground, -0.9, 200), task.ground)
    queries = replace(Queries.none(), circuit=np.arange(len(cost)), cost=cost)
    left, right = pictures.regret(task, queries).axes
    ends = range(1, len(cost) + 1)
    regret = [max((task.ground - min(cost[:end])) / -1.136, 1e-9) for end in ends]
    np.testing.assert_allclose(left.lines[0].get_ydata(), regret, atol=1e-12)
    hits = [[sum(cost[:end] <= limit) for end in ends] for limit in (-1.136 * 0.95, task.strict)]
    for line, wanted in zip(right.lines, hits, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), ends)
        np.testing.assert_array_equal(line.get_ydata(), wanted)
    assert 0 < hits[1][-1] < hits[0][-1] < len(cost)


class Kind:
    """A shelf whose one objective has maps that say how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def names(self) -> list[str]:
        return ["search"]

    def load(self, name: str) -> Any:
        return SimpleNamespace(module=SimpleNamespace(latent_map=self.latent_map))

    def latent_map(self, config: dict[str, Any], state: dict[str, Any]) -> Any:
        self.asked.append(config["name"])
        if "reason" in state:
            raise StudyError(state["reason"])
        if "vectors" not in state:
            return None
        return np.array(state["vectors"], np.float32), {"name": [config["name"], None], "hit": [True, False]}


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Kind:
    made = Kind()
    monkeypatch.setattr(projector, "SEARCHES", made)
    return made


def history(folder: Folder, *states: dict[str, Any], epoch: int = 1) -> History:
    """A run whose trials have these states after some epoch."""
    found = History({"objective": "search"})
    for number, saved in enumerate(states):
        rung = Rung(epoch, {}, 1.0)
        save_rung(folder, f"t{number:04d}", {}, rung, saved)
        found.trials[f"t{number:04d}"] = Trial(f"t{number:04d}", number, {"name": f"n{number}"}, 0, epoch, [rung])
    return found


THIRD = 0.1 + 1 / 3


def test_a_map_is_made_once_and_again_when_the_trial_has_gone_on(tmp_path: Path, kind: Kind) -> None:
    folder = Folder(tmp_path)
    some, none = {"vectors": [[THIRD, 1e-9], [-2.0, 3e20]]}, {"no": 1}
    first = history(folder, some, none)
    first.trials["t0002"] = Trial("t0002", 2, {"name": "n2"}, 0, 1)  # has reached no rung
    write_maps(folder, first)
    assert kind.asked == ["n0", "n1"]
    place = folder.tensorboard / "t0000"
    np.testing.assert_array_equal(np.loadtxt(place / "tensors.tsv", np.float32), np.float32(some["vectors"]))
    assert (place / "metadata.tsv").read_text() == "name\thit\nn0\tTrue\n\tFalse\n"
    assert sorted(path.name for path in folder.tensorboard.iterdir()) == ["t0000", "t0001"]
    write_maps(folder, first)
    assert kind.asked == ["n0", "n1"]
    write_maps(folder, history(folder, {"vectors": [[5.0], [6.0]]}, none, epoch=12))
    assert kind.asked == ["n0", "n1", "n0", "n1"]
    assert (place / "tensors.tsv").read_text() == "5\n6\n"
    (place / "projector_config.pbtxt").unlink()
    write_maps(folder, history(folder, some, epoch=12))
    assert kind.asked[4:] == ["n0"]


def test_a_map_that_broke_off_is_made_again(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    found = history(folder, {"vectors": [[1.0], [2.0]]})
    write = projector.write_whole
    killed = lambda path, content: write(path, content) if path.name == "tensors.tsv" else sys.exit()  # noqa: E731
    monkeypatch.setattr(projector, "write_whole", killed)
    with pytest.raises(SystemExit):
        write_maps(folder, found)
    monkeypatch.setattr(projector, "write_whole", write)
    write_maps(folder, found)
    assert kind.asked == ["n0", "n0"]
    assert (folder.tensorboard / "t0000" / "metadata.tsv").exists()


def test_a_run_whose_maps_cannot_be_made_can_be_looked_at(
    tmp_path: Path, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "warning: the maps of latents are not up to date: "
    write_maps(Folder(tmp_path), history(Folder(tmp_path), {"reason": "h.txt is gone"}))
    assert capsys.readouterr().err == f"{warning}h.txt is gone\n"
    found = history(Folder(tmp_path), {"vectors": [[1.0], [2.0]]})
    (tmp_path / "tensorboard").write_text("in the way")
    write_maps(Folder(tmp_path), found)
    assert capsys.readouterr().err.startswith(warning)


@pytest.mark.parametrize("header", [{}, {"objective": "function"}, {"objective": "circuit_embedding"}])
def test_objectives_without_maps_are_left_alone(tmp_path: Path, header: dict[str, str]) -> None:
    found = history(Folder(tmp_path), {"vectors": [[1.0], [2.0]]})
    found.header = header
    write_maps(Folder(tmp_path), found)
    assert not (tmp_path / "tensorboard").exists()


@contextmanager
def board(*folders: Folder) -> Iterator[Callable[[str], bytes]]:
    """What TensorBoard, started by `serve` in a process of its own, answers."""
    code = "import sys; from pathlib import Path; from search.folder import Folder; "
    code += "from search.compare.tensorboard import serve; serve([Folder(Path(p)) for p in sys.argv[1:]], 0)"
    command = [sys.executable, "-c", code, *(str(folder.root) for folder in folders)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]

        def get(page: str) -> bytes:
            with urllib.request.urlopen(f"{address}data/{page}", timeout=30) as answer:
                return answer.read()

        yield get
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == ""
    finally:
        process.kill()
        process.wait()


def runs(get: Callable[[str], bytes], count: int) -> list[str]:
    """The runs that the projector knows, once there are so many: TensorBoard reads files while it already serves."""
    deadline = time.monotonic() + 30
    while len(found := json.loads(get("plugin/projector/runs"))) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(found)


def test_tensorboard_shows_the_map(run: Folder) -> None:
    name = trial(run, "reinforce").id
    place = run.tensorboard / name
    for path in run.tensorboard.glob("*/projector_config.pbtxt"):
        path.unlink()  # whoever looks has it made again
    with board(run) as get:
        assert json.loads(get("plugins_listing"))["projector"]["enabled"]  # its tab is there at once
        assert runs(get, 1) == [name]
        (shown,) = json.loads(get(f"plugin/projector/info?run={name}"))["embeddings"]
        tensor = get(f"plugin/projector/tensor?run={name}&name={shown['tensorName']}")
        words = get(f"plugin/projector/metadata?run={name}&name={shown['tensorName']}")
    vectors = np.loadtxt(place / "tensors.tsv", np.float32)
    assert shown["tensorShape"] == list(vectors.shape)
    np.testing.assert_array_equal(np.frombuffer(tensor, np.float32).reshape(vectors.shape), vectors)
    assert words == (place / "metadata.tsv").read_bytes()
    assert len(table(words.decode())) == len(vectors)


def test_maps_of_several_runs_stand_side_by_side(run: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    other.root.mkdir()
    other.ledger.write_bytes(run.ledger.read_bytes())
    (other.root / "trials").symlink_to(run.root / "trials")
    name = trial(run, "reinforce").id
    with board(run, other) as get:
        assert json.loads(get("plugins_listing"))["projector"]["enabled"]
        assert runs(get, 2) == [f"other/{name}", f"run/{name}"]
        both = [get(f"plugin/projector/tensor?run={folder}/{name}&name=latents") for folder in ("other", "run")]
    assert both[0] == both[1] != b""
