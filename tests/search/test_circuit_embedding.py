"""Trials that pretrain an embedding of circuits and probe it: against replays and fits made by hand."""

import io
import json
import runpy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from objectives.circuits.embedding import reward_probes
from objectives.circuits.embeddings import gin_vae, raw_mean
from objectives.circuits.labelled import PROBLEMS, Labelled, labelled
from objectives.circuits.latents import restored
from objectives.kinds import Failed, Setting
from search.compare.export import export
from search.executors import serial
from search.folder import Folder
from search.kinds import circuit_embedding as kind
from search.kinds._embedding_probes import VALIDATION, Probing, chosen, probed, ratios_of, scores
from search.latent.searchers import reinforce
from search.run import CATALOGUE, load_data, load_study, start, sweep
from search.rungs import load_state
from spaces.circuits.pool import CircuitError
from spaces.circuits.sampler import paper, sample
from spaces.document import StudyError, parse
from spaces.study import read_study

SMALL = gin_vae.Config(hidden=16, latent=4)
PROBE = Probing(tasks="maxcut,bell", test_tasks="state0,ghz", queries=60, seeds=2, generated=20)
SHIPPED = Path(__file__).parents[2] / "spaces" / "library" / "circuits" / "embedding.yaml"
TEXT = """
name: tiny
objective: circuit_embedding
space:
  pool: {count: 400}
  embedding: {gin_vae: {hidden: 16, latent: {choice: [4, 6]}}}
probe: {tasks: "maxcut, bell", test_tasks: "state0, ghz", queries: 60, seeds: 2, generated: 20}
budget: {trials: 3, epochs: 3}
search: {metric: candidates_ratio, seed: 1}
"""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRETUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pool(cache):
    return labelled(paper(), 400, 0, ("maxcut", "bell", "state0", "ghz"))


def knobs(cls, **changes):
    return vars(cls()) | changes


def trial(rungs=(1, 2, 3), seed=5, probe=PROBE, embedding=None, **circuits):
    config = {
        "circuits": knobs(kind.CircuitSpace, **circuits),
        "pool": knobs(kind.Draws, count=400),
        "embedding": embedding or {"gin_vae": vars(SMALL)},
    }
    return kind.build(Setting(config, seed, rungs, None, probe))


def study(*settings, text=TEXT):
    from spaces.document import assign

    document = parse(text, "tiny.yaml")
    for setting in settings:
        document = assign(document, setting)
    return read_study(document, CATALOGUE)


def by_hand(vectors, pool, task, queries, seed):
    """Candidates of one search that asks for one circuit at a time, over those of a random one."""
    row, seen = pool.tasks.index(task), []
    searcher = reinforce.build(reinforce.Config(**reinforce.PUBLISHED[4].get(task, {})), vectors, seed)
    for _ in range(queries):
        (circuit,) = searcher.ask(1)
        searcher.tell([circuit], [max(0.0, pool.rewards[row, circuit])])
        seen.append(circuit)
    return sum(pool.candidates[row, circuit] for circuit in seen) / (queries * pool.candidates[row].mean())


def plain(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


def test_a_trial_is_a_fit_of_the_budgets_length_and_its_probes(pool):
    found = trial()
    *_, last = found.run()
    direct = gin_vae.build(replace(SMALL, epochs=3), 4, 10)
    *_, told = direct.fit(pool.pool, 5)
    vectors = direct.embed(pool.pool)
    assert found.embedding.embed(pool.pool).tobytes() == vectors.tobytes()
    assert told.items() <= last.items()
    assert kind.METRICS.keys() <= last.keys()
    each = [np.mean([by_hand(vectors, pool, task, 60, seed) for task in ("maxcut", "bell")]) for seed in (1, 2)]
    assert last["candidates_ratio"] == pytest.approx(np.mean(each))
    assert last["candidates_ratio_std"] == pytest.approx(np.std(each))
    assert last["test_candidates_ratio"] == pytest.approx(
        np.mean([by_hand(vectors, pool, "state0", 60, seed) for seed in (1, 2)])
    )
    for prefix, tasks in (("", ("maxcut", "bell")), ("test_", ("state0", "ghz"))):
        probes = [reward_probes(vectors, pool.rewards[pool.of(task)]) for task in tasks]
        for name in ("smoothness", "ridge_r2", "knn_r2", "knn_spearman"):
            assert last[prefix + name] == pytest.approx(np.mean([probe[name] for probe in probes]))


@pytest.mark.parametrize("embedding", [None, {"raw_mean": vars(raw_mean.Config())}], ids=["gin_vae", "raw_mean"])
def test_a_continued_trial_equals_an_unbroken_one_to_the_byte(embedding):
    whole = trial(embedding=embedding)
    rungs = list(whole.run())
    for stop in (1, 2):
        first = trial(embedding=embedding)
        for _ in first.run():
            if first.epoch == stop:
                break
        second = trial(embedding=embedding)
        second.load_state_dict(plain(first.state_dict()))
        assert list(second.run()) == rungs[stop:]
        circuits = sample(paper(), 30, np.random.default_rng(9))
        assert second.embedding.embed(circuits).tobytes() == whole.embedding.embed(circuits).tobytes()
        assert repr(second.state_dict()) == repr(whole.state_dict())


def test_an_embedding_that_stops_before_the_budget_keeps_what_it_said_last(monkeypatch):
    whole_fit = gin_vae.GinVae.fit

    def one_epoch(self, *given):
        return islice(whole_fit(self, *given), max(0, 1 - max(self.learner.epoch, 0)))

    monkeypatch.setattr(gin_vae.GinVae, "fit", one_epoch)
    first, second = trial(rungs=(1, 2)), trial(rungs=(1, 2))
    reached = next(first.run())
    second.load_state_dict(plain(first.state_dict()))
    assert list(second.run()) == [reached]


def test_probes_leave_the_training_alone():
    (alone,) = trial(rungs=(3,)).run()
    *_, last = trial(rungs=(1, 2, 3)).run()
    assert alone == last


def test_what_has_no_decoder_and_trains_nothing_has_the_other_metrics_at_every_rung():
    first, *others = trial(embedding={"raw_mean": vars(raw_mean.Config())}).run()
    assert others == [first, first]
    assert first.keys() & kind.METRICS.keys() == kind.METRICS.keys() - kind.DECODED.keys()


def test_tasks_that_choose_and_tasks_that_are_reported_are_kept_apart(pool):
    for wires, known in PROBLEMS.items():
        tasks, rest = chosen(Probing(), wires)
        assert tasks == VALIDATION[wires]
        assert sorted((*tasks, *rest)) == sorted(known)
    assert chosen(replace(PROBE, test_tasks="none"), 4) == (("maxcut", "bell"), ())
    embedding = raw_mean.build(raw_mean.Config(), 4, 10)
    both = probed(embedding, raw_mean.Config(), pool, PROBE)
    without = probed(embedding, raw_mean.Config(), pool, replace(PROBE, test_tasks="none"))
    assert without == {name: value for name, value in both.items() if not name.startswith("test_")}


def planted(hits, seed=0):
    """Circuits on a line, rewards 1 where `hits` says so and else 0, as a pool with one task."""
    count = len(hits)
    circuits = sample(paper(), count, np.random.default_rng(seed))
    table = hits[None].astype(float)
    few = np.zeros(count, np.int16)
    return Labelled(circuits, ("bell",), -table, table, hits[None], hits[None], few[None], few, few)


def test_a_task_that_all_circuits_solve_is_searched_no_faster_than_at_random():
    vectors = np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)
    assert ratios_of(vectors, planted(np.ones(300, bool)), "bell", PROBE).tolist() == [1.0, 1.0]


def test_candidates_in_one_place_are_found_faster_than_at_random_and_scattered_ones_are_not():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2000, 2)).astype(np.float32)
    corner = vectors.sum(1) > np.sort(vectors.sum(1))[-200]
    probing = replace(PROBE, queries=150, seeds=6)
    near, far = (ratios_of(vectors, planted(h), "bell", probing) for h in (corner, rng.permutation(corner)))
    assert near.mean() > 3
    assert far.mean() < 1.6


def test_a_task_without_candidates_counts_with_its_rewards_alone(pool):
    vectors = raw_mean.build(raw_mean.Config(), 4, 10).embed(pool.pool)
    assert ratios_of(vectors, pool, "ghz", PROBE) is None
    one, two = (scores(vectors, pool, tasks, PROBE) for tasks in (("maxcut",), ("maxcut", "ghz")))
    assert one["candidates_ratio"] == two["candidates_ratio"]
    smooth = reward_probes(vectors, pool.rewards[pool.of("ghz")])["smoothness"]
    assert two["smoothness"] == pytest.approx((one["smoothness"] + smooth) / 2)
    with pytest.raises(Failed, match="searches cannot be judged: on none of ghz is random search expected"):
        next(trial(probe=replace(PROBE, tasks="ghz", test_tasks="none")).run())


def test_thresholds_of_the_searcher_are_those_of_the_tasks():
    for wires, problems in PROBLEMS.items():
        assert reinforce.PUBLISHED[wires].keys() <= problems.keys()
        for name, problem in problems.items():
            config = reinforce.Config(**reinforce.PUBLISHED[wires].get(name, {}))
            assert config.threshold == problem.task().threshold


def test_latents_that_are_not_finite_and_gates_that_are_foreign_fail_the_trial(monkeypatch):
    with pytest.raises(Failed, match="is not in the gate set"):
        next(trial(gates="ions").run())
    monkeypatch.setattr(gin_vae.GinVae, "embed", lambda self, pool: np.full((len(pool), 4), np.nan, np.float32))
    with pytest.raises(Failed, match="latents are not finite"):
        next(trial().run())
    monkeypatch.setattr(gin_vae.GinVae, "fit", lambda *given: iter([{"loss": np.inf}]))
    with pytest.raises(Failed, match="diverged: loss became inf in epoch 1"):
        next(trial().run())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["probe.tasks=maxcat"], "probe: there is no benchmark task 'maxcat' on 4 wires"),
        (["probe.tasks=maxcat"], "did you mean 'maxcut'"),
        (["probe.tasks=', '"], "no task is named to choose by"),
        (["probe.test_tasks=bell"], "the task 'bell' cannot both choose"),
        (["space.pool.wires={choice: [4, 8]}"], "there is no benchmark task 'bell' on 8 wires"),
        (["space.pool.wires=5"], "space.pool.wires: 5 is out of bounds"),
        (["probe.queries=400"], "a pool of 400 circuits is too small for searches of 400"),
        (["space.pool.count={int: [200, 900]}", "probe.queries=300"], "a pool of 200 circuits is too small"),
        (["space.embedding.gin_vae.epochs=9"], "gin_vae.epochs: how long an embedding is trained is for the budget"),
        (["space.embedding=[gin_vae, raw_mean]", "search.metric=validity"], "'raw_mean' neither rebuilds nor invents"),
        (["space.circuits.gates=ions"], "its gate set 'paper' lacks RXX"),
        (["space.circuits.gates=ions"], "allowed: ions, ising"),
        (["space.circuits.path=none.yaml"], "no circuit space can be read"),
    ],
)
def test_a_study_that_cannot_be_is_refused_with_its_place(settings, message):
    with pytest.raises(StudyError) as error:
        load_data(study(*settings))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["space.circuits.gates={choice: [paper, ions]}"],
        ["space.embedding.gin_vae.gates={choice: [paper, ions]}", "space.circuits.gates=ions"],
        ["space.embedding.gin_vae.gates=ising", "space.circuits.gates=ions", "space.circuits.coupling=line"],
        ["space.embedding=search"],
        ["space.pool.wires=8", "probe.tasks=default", "probe.test_tasks=others"],
    ],
)
def test_a_study_that_may_be_is_let_through(settings):
    load_data(study(*settings))


def test_the_shipped_study_is_one():
    found = load_study(str(SHIPPED))
    load_data(found)
    tasks, _ = chosen(found.probe, 4)
    assert tasks == VALIDATION[4]
    assert found.goal.metric == "candidates_ratio"


def test_floors_are_raw_rows_and_an_untrained_encoder(pool):
    found = kind.floors(study(), None)
    raw = raw_mean.build(raw_mean.Config(), 4, 10)
    assert found["raw"] == probed(raw, raw_mean.Config(), pool, PROBE)
    config = replace(gin_vae.Config(hidden=16), epochs=0)
    untrained = gin_vae.build(config, 4, 10)
    list(untrained.fit(pool.pool, 1))
    assert found["untrained"] == probed(untrained, config, pool, PROBE)
    other = kind.floors(study("space.embedding=reach", "space.circuits.gates=ising"), None)
    assert list(other) == ["raw"]  # rows of the circuits' own gates, and nothing to leave untrained


def test_a_study_runs_resumes_and_its_winner_comes_home(tmp_path, capsys):
    found, folder = study(), Folder(tmp_path / "run")
    load_data(found)
    history = sweep(found, None, folder, start(found, folder, None), lambda *event: None, serial.run)
    assert [trial.reason for trial in history.trials.values()] == ["", "", ""]
    assert set(history.floors) == {"raw", "untrained"}
    best = history.best()
    assert best.epoch == 3
    export(folder.root, None, tmp_path / "winner")
    circuits = sample(paper(), 30, np.random.default_rng(9))
    state = load_state(folder, best.id, 3)
    _, embedding = kind.built(best.config, 3)
    embedding.load_state_dict(state["embedding"])
    assert restored(tmp_path / "winner").embed(circuits).tobytes() == embedding.embed(circuits).tobytes()
    card = json.loads((tmp_path / "winner" / "embedding.json").read_text())
    assert card["config"] == {**best.config["embedding"]["gin_vae"], "epochs": 3}
    runpy.run_path(str(tmp_path / "winner" / "load.py"))
    assert capsys.readouterr().out == f"(4, {best.config['embedding']['gin_vae']['latent']})\n"


def test_a_name_that_is_unknown_is_told_with_the_nearest():
    with pytest.raises(CircuitError, match="did you mean 'state1'"):
        chosen(Probing(tasks="stat1"), 4)
