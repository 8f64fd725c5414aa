"""The latent search as a trial: determinism, continuation, metrics, stopping, generation, refusals."""

import io
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives import SHELVES
from objectives.circuits.batch import Batch
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.generation import Generation
from objectives.circuits.observable import Observable
from objectives.kinds import Failed, Setting
from objectives.kinds.circuits import built_task
from search.kinds._drawing import SCORES, Drawing
from search.kinds._queries import best, front, standing
from search.kinds._script import paulis
from search.kinds._search_check import product_cost
from search.kinds._stopping import Stopping
from search.kinds.circuit_search import METRICS, SAID, CircuitSearch, Searching, files
from search.run import CATALOGUE
from spaces.circuits.canonical import digest
from spaces.circuits.pool import CircuitError
from spaces.circuits.sampler import paper, sample
from spaces.circuits.space import CircuitSpace
from spaces.circuits.structure import depth, two_qubit_gates
from spaces.document import StudyError, parse
from spaces.study import read_study

OPTIONAL = {"error", "accuracy", "validity", "uniqueness", "novelty", "generated", "gain"}
MUTANTS = Generation(children=12, parents=5, rate=0.3)


def component(kind, name, **knobs):
    return {name: asdict(CATALOGUE[kind].load(name).config(**knobs))}


def setting(
    task=("state", {"target": "bell"}), searcher=("reinforce", {}), embedding=("raw_mean", {}), seed=3, epochs=4,
    pool=None, generation=None, training=None, stopping=None, searching=None, circuits=None,
):  # fmt: skip
    config = {
        "task": component("task", task[0], **task[1]),
        "circuits": asdict(circuits or CircuitSpace()),
        "pool": asdict(pool or Drawing(count=400)),
        "embedding": component("embedding", embedding[0], **embedding[1]),
        "searcher": component("searcher", searcher[0], **searcher[1]),
        "generation": asdict(generation or Generation()),
        "training": asdict(training or Training(steps=15)),
        "stopping": asdict(stopping or Stopping()),
    }
    return Setting(config, seed, tuple(range(1, epochs + 1)), None, searching or Searching(queries=30))


def test_every_metric_is_finite_and_one_seed_gives_the_same():
    given = setting(generation=MUTANTS)
    first, second = list(CircuitSearch(given).run()), list(CircuitSearch(given).run())
    assert first == second
    assert first != list(CircuitSearch(replace(given, seed=4)).run())
    assert [metrics["queries"] for metrics in first] == [30, 60, 90, 120]
    for metrics in first:
        assert set(metrics) == set(METRICS) - {"accuracy"}
        assert all(math.isfinite(value) for value in metrics.values())
        assert all(said.format(**metrics) for said in SAID)


@pytest.mark.parametrize(
    ("searcher", "embedding", "generation"),
    [
        (("reinforce", {}), "raw_mean", MUTANTS),
        (("evolution", {"initial": 10}), "one_hot", MUTANTS),
        (("gp", {"initial": 10, "best": 50, "spread": 20}), "raw_mean", replace(MUTANTS, crossed=0.5)),
        (("random", {}), "gin_vae", replace(MUTANTS, how="both")),
        (("reinforce", {"standardise": True}), "gin_vae", replace(MUTANTS, how="decode")),
    ],
)
def test_a_continued_trial_equals_an_unbroken_one(searcher, embedding, generation, monkeypatch, tmp_path):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    knobs = {"epochs": 1, "layers": 1, "hidden": 16, "latent": 4} if embedding == "gin_vae" else {}
    given = setting(searcher=searcher, embedding=(embedding, knobs), generation=generation, stopping=Stopping(5))
    given = replace(given, config=given.config | {"training": asdict(Training(steps=15, restarts=1))})
    whole = CircuitSearch(given)
    metrics = list(whole.run())
    broken = CircuitSearch(given)
    for found in broken.run():
        if broken.epoch == 2:
            assert found == metrics[1]
            break
    continued = CircuitSearch(given)
    continued.load_state_dict(torch.load(io.BytesIO(saved(broken)), weights_only=True))
    assert list(continued.run()) == metrics[2:]
    assert saved(continued) == saved(whole)
    assert whole.joined


def saved(trial):
    buffer = io.BytesIO()
    torch.save(trial.state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("score", ["last", "best"])
def test_the_metrics_are_those_of_the_circuits_trained_one_by_one(score):
    searching = Searching(queries=30, score=score)
    trial = CircuitSearch(setting(task=("molecule", {}), searching=searching, training=Training(steps=15, step=1.2)))
    *_, metrics = trial.run()
    asked = trial.queries.circuit
    assert len(set(asked.tolist())) == 120
    pool = sample(paper(), 400, np.random.default_rng(0))[asked]
    found = evaluate(pool, trial.task, Training(steps=15, step=1.2))
    costs = found.values if score == "last" else found.best
    ground = np.linalg.eigvalsh(trial.task.observables[0].matrix().toarray())[0]
    rewards = costs / -1.136
    row = np.lexsort((np.arange(120), depth(pool), two_qubit_gates(pool), -rewards.round(5)))[0]
    assert metrics["cost"] == costs[row]
    assert metrics["error"] == pytest.approx(costs[row] - ground, abs=1e-10)
    assert metrics["candidates"] == (rewards >= 0.95).sum() > 0
    assert metrics["first_candidate"] == np.flatnonzero(rewards >= 0.95)[0] + 1
    assert (metrics["solved"], metrics["first_solved"]) == (0, 121)
    assert metrics["mean_reward"] == pytest.approx(rewards[-30:].mean())
    assert metrics["regret"] == pytest.approx(ground / -1.136 - rewards[row], abs=1e-10)
    assert metrics["evaluations"] == found.steps.sum()
    assert (metrics["two_qubit_gates"], metrics["depth"]) == (two_qubit_gates(pool)[row], depth(pool)[row])
    at_best = Batch().costs(trial.trained[trial.front[0]], trial.task)[0][0]
    assert at_best == pytest.approx(metrics["cost"], abs=1e-12)


def test_circuits_without_hope_are_stopped_at_the_rung_as_numpy_would():
    stopping, training = Stopping(rung=4, keep=0.3), Training(steps=20)
    trial = CircuitSearch(setting(stopping=stopping, training=training))
    *_, metrics = trial.run()
    pool = sample(paper(), 400, np.random.default_rng(0))[trial.queries.circuit]
    short, whole = evaluate(pool, trial.task, replace(training, steps=4)), evaluate(pool, trial.task, training)
    start, limits = 0, []
    for size in batches(trial):
        seen = np.sort(short.values[: start + size])
        place = 0.3 * (len(seen) - 1)  # the quantile by linear interpolation, written out
        low = int(place)
        limits += [seen[low] + (place - low) * (seen[min(low + 1, len(seen) - 1)] - seen[low])] * size
        start += size
    stopped = short.values > np.array(limits)
    assert 0.5 < stopped.mean() < 0.9
    np.testing.assert_array_equal(trial.queries.stopped, stopped)
    np.testing.assert_array_equal(trial.queries.cost, np.where(stopped, short.values, whole.values))
    np.testing.assert_array_equal(trial.queries.steps, np.where(stopped, short.steps, whole.steps))
    assert metrics["evaluations"] < whole.steps.sum()
    assert Batch().costs(trial.trained[trial.front[0]], trial.task)[0][0] == pytest.approx(metrics["cost"], abs=1e-12)


def batches(trial):
    """How many circuits were asked for at a time, by a searcher that is told the same again."""
    pool = sample(paper(), 400, np.random.default_rng(0))
    raw = SHELVES["embedding"].load("raw_mean")
    vectors = raw.build(raw.config(), 4, 10).embed(pool)
    component = CATALOGUE["searcher"].load("reinforce")
    searcher, done = component.build(component.config(), vectors, 3), 0
    while done < 120:
        asked = searcher.ask(min(searcher.batch, 30 - done % 30))
        searcher.tell(asked, -trial.queries.cost[done : done + len(asked)])
        done += len(asked)
        yield len(asked)


def test_restarts_are_paid_for():
    training = Training(steps=6, tolerance=-1)
    once = CircuitSearch(setting(training=training, epochs=1))
    thrice = CircuitSearch(setting(training=replace(training, restarts=2), epochs=1))
    (one,), (three,) = once.run(), thrice.run()
    assert three["evaluations"] == 3 * one["evaluations"]


def test_the_pool_is_that_of_its_seed_and_a_sieve_keeps_the_best_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    sampler = CircuitSpace().sampler(4)
    drawn = Drawing(count=300, seed=5).pool(sampler)
    whole = sample(paper(), 300, np.random.default_rng(5))
    assert (digest(drawn) == digest(whole)).all()
    for sieve, score in SCORES.items():
        kept = Drawing(count=300, seed=5, sieve=sieve, keep=0.07).pool(sampler)
        scores = score(whole, np.random.default_rng(5)).round(9)
        rows = sorted(sorted(range(300), key=lambda row, scores=scores: (-scores[row], row))[:21])
        np.testing.assert_array_equal(kept.op, whole.op[rows])
        np.testing.assert_array_equal(kept.theta, whole.theta[rows])


def test_a_pool_that_is_used_up_ends_the_queries_and_not_the_trial():
    trial = CircuitSearch(setting(pool=Drawing(count=70)))
    assert [metrics["queries"] for metrics in trial.run()] == [30, 60, 70, 70]


def test_new_circuits_join_the_pool_and_come_to_something():
    generation = replace(MUTANTS, children=60, parents=8)
    trial = CircuitSearch(setting(("state", {"target": "bells"}), generation=generation, pool=Drawing(count=300)))
    *_, metrics = trial.run()
    drawn = sample(paper(), 300, np.random.default_rng(0))
    new = [pool for _, pool in trial.joined]
    names = np.concatenate([digest(drawn), *map(digest, new)])
    assert [count for count, _ in trial.joined] == [30, 60, 90]
    assert len(np.unique(names[300:])) == len(names) - 300
    assert not np.isin(names[300:], names[:300]).any()
    invented = trial.queries.circuit >= 300
    rewards = -trial.queries.cost
    assert metrics["generated"] == invented.sum() > 0
    assert metrics["gain"] == rewards[invented].max() - rewards[~invented].max()
    assert 0 < metrics["novelty"] <= 1
    assert 0 < metrics["validity"] <= 1


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25))
def test_the_front_is_what_nothing_dominates(rows):
    found = front(np.array(rows, float))
    wanted = {a for a in rows if not any(all(x <= y for x, y in zip(b, a, strict=True)) and b != a for b in rows)}
    assert [rows[row] for row in found] == sorted(wanted)
    assert all(rows.index(rows[row]) == row for row in found)


def test_a_trial_keeps_the_front_of_all_its_queries():
    trial = CircuitSearch(setting(("state", {"target": "bells"}), generation=MUTANTS))
    list(trial.run())
    standings = standing(trial.task, trial.queries)
    assert trial.front == front(standings)
    assert trial.front[0] == best(trial.task, trial.queries)
    parents = np.lexsort(standings.T[::-1])[: MUTANTS.parents].tolist()
    assert set(trial.trained) == {*trial.front, *parents}
    for row, pool in trial.trained.items():
        assert Batch().costs(pool, trial.task)[0][0] == pytest.approx(trial.queries.cost[row], abs=1e-12)


def test_a_classifier_is_searched_by_circuits_that_read_data():
    generation = replace(MUTANTS, children=4)
    given = setting(
        ("classify", {"examples": 20}), searcher=("evolution", {"initial": 6}), generation=generation, epochs=2,
        searching=Searching(queries=8), training=Training("adam", step=0.2, steps=6), stopping=Stopping(2),
    )  # fmt: skip
    trial = CircuitSearch(given)
    *_, metrics = trial.run()
    assert metrics["accuracy"] > 0.5
    assert "error" not in metrics
    made = files(given.config, None, trial.state_dict())
    assert "def circuit(x, angles=ANGLES)" in made["circuit.py"].decode()
    assert not [name for name in made if name.endswith(".qasm")]


@pytest.mark.parametrize("target", [{"target": "w"}, {"target": "random"}])
def test_the_file_for_pennylane_measures_a_target(target):
    given = setting(("state", target), epochs=1)
    trial = CircuitSearch(given)
    (metrics,) = trial.run()
    there = {"__name__": "taken_home"}
    exec(files(given.config, None, trial.state_dict())["circuit.py"], there)
    assert float(there["cost"]()) == pytest.approx(metrics["cost"], abs=1e-9)


@given(st.dictionaries(st.text("IXYZ", min_size=3, max_size=3), st.floats(0.1, 2).map(lambda c: -c), min_size=1))
def test_the_words_of_an_observable_are_found_again(terms):
    assert paulis(Observable.of_paulis(3, list(terms), list(terms.values()))) == pytest.approx(terms)


def test_a_trial_says_why_it_cannot_be():
    with pytest.raises(Failed, match="do not fit into depth 2"):
        next(CircuitSearch(setting(circuits=CircuitSpace(length=30, depth=2))).run())


TASK = {"task": {"molecule": {"molecule": "h2"}}}
STUDY = """\
name: small
objective: circuit_search
space:
  task: {molecule: {molecule: h2}}
  circuits: {length: 8}
  pool: {count: 500}
  embedding: raw_mean
  searcher: {gp: default, random: default}
  training: {steps: 5}
probe: {queries: 20}
budget: {trials: 2, epochs: 2}
search: {strategy: random, scheduler: none, metric: cost}
"""


def checked(old="", new="", metric="cost"):
    assert old in STUDY
    text = STUDY.replace(old, new).replace("metric: cost", f"metric: {metric}")
    study = read_study(parse(text, "small.yaml"), CATALOGUE)
    study.objective.module.check(study, None)
    return study


def own(path, **keys):
    keys = {"wires": 4} | keys
    path.write_text("".join(f"{name}: {value}\n" for name, value in keys.items()))
    return f"circuits: {{path: {path}}}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("queries: 20", "queries: 8", r"small.yaml:8: space.searcher.gp: .* first 16 .* 2 of 8 queries"),
        ("{count: 500}", "{count: 500, sieve: paths, keep: 0.001}", r"space.pool: the sieve keeps no circuit"),
        ("{count: 500}", "{count: 39}", r"small.yaml:6: space.pool: 39 circuits .* fewer than 40 queries"),
        ("{count: 500}", "{count: {int: [30, 90]}}", r"30 circuits are in the pool"),
        ("raw_mean", "raw_mean\n  generation: {children: 5, how: decode}", r"embedding: .*'raw_mean' cannot"),
        ("{length: 8}", "{gates: ising}", r"'raw_mean' .* 'paper', the circuits also have RXX, RYY, RZZ\n.*: ising"),
        ("{length: 8}", "{length: 40}", r"small.yaml:4: space.task.molecule: no circuit space .* 40 gates do not fit"),
        ("metric: cost", "metric: accuracy", r"no held-out data, so no metric 'accuracy'"),
        ("metric: cost", "metric: gain", r"without generated circuits, so no metric 'gain'"),
        ("searcher: {gp", "searcher: {gps", r"there is no searcher 'gps'"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_with_its_place(old, new, message):
    with pytest.raises(StudyError, match=message):
        checked(old, new)


def test_an_error_needs_an_exact_optimum_to_be_counted_from():
    with pytest.raises(StudyError, match=r"small.yaml:4: .* no least cost that is known exactly, so no metric 'error'"):
        checked("{molecule: {molecule: h2}}", "{spin: {sites: 15}}", "error")


def test_files_that_a_study_names_are_complained_of_by_line(tmp_path):
    space = own(tmp_path / "s.yaml", gates="[RX, CNOT]", coupling="{edges: [[0, 1], [2, 3]]}", depth=5)
    with pytest.raises(StudyError, match=r"small.yaml:5: space.circuits.path: .* groups of wires: 0, 1; 2, 3"):
        checked("circuits: {length: 8}", space)
    with pytest.raises(StudyError, match=r"space.task.molecule: .*its circuits have 6 wires, the task 4"):
        checked("circuits: {length: 8}", own(tmp_path / "s.yaml", wires=6))
    (tmp_path / "h.txt").write_text("0.5 Z0 Z1\n-1.0 Q2\n")
    with pytest.raises(StudyError, match=r"small.yaml:4: space.task.paulis: .*h.txt:2: 'Q2' is no Pauli letter"):
        checked("{molecule: {molecule: h2}}", f"{{paulis: {{path: {tmp_path / 'h.txt'}}}}}")
    (tmp_path / "m.xyz").write_text("2\n\nH 0 0 0\nH 0 zero 1\n")
    with pytest.raises(StudyError, match=r"space.task.molecule: .*m.xyz:4: found 'H 0 zero 1'"):
        checked("{molecule: {molecule: h2}}", f"{{molecule: {{molecule: file, path: {tmp_path / 'm.xyz'}}}}}")


def test_a_goal_beyond_product_states_is_warned_of_where_no_gate_entangles(tmp_path):
    space = own(tmp_path / "s.yaml", gates="[RX, RY, SWAP]")
    with pytest.warns(UserWarning, match=r"space.task.molecule: .* product states cost -1.117\d* or more; .*-1.13459"):
        checked("circuits: {length: 8}", space)
    assert product_cost(CircuitSearch(setting(("state", {"target": "ghz"}))).task) == pytest.approx(-0.5, abs=1e-6)


def test_floors_are_the_empty_register_and_random_searches():
    study = checked()
    floors = study.objective.module.floors(study, None)
    assert set(floors) == {"empty", "random"}
    assert set(floors["random"]) == set(floors["empty"]) == set(METRICS) - OPTIONAL | {"error"}
    assert floors["empty"]["queries"] == 1
    assert floors["empty"]["evaluations"] == floors["empty"]["depth"] == 0
    assert floors["empty"]["error"] > 1.8
    pool, task = sample(CircuitSpace(length=8).sampler(4), 500, np.random.default_rng(0)), built_task(TASK)
    hits = []
    for number in range(3):
        seed = int(np.random.default_rng((0, number)).integers(2**31))
        rows = np.random.default_rng(seed).permutation(500)[:40]
        hits.append(task.candidate(evaluate(pool[rows], task, Training(steps=5)).values).sum())
    assert floors["random"]["candidates"] == np.mean(hits) > 0


def test_neither_drawn_nor_generated_circuits_have_more_two_qubit_gates_than_may_be():
    drawing = Drawing(count=200, two_qubit_gates=2)
    trial = CircuitSearch(setting(generation=Generation(children=20, rate=0.3), pool=drawing))
    list(trial.run())
    assert len(drawing.pool(paper())) == 200
    assert trial.joined
    assert trial.queries.two_qubit_gates.max() == 2
    with pytest.raises(CircuitError, match="found 0 of 20 circuits with 0 two-qubit gates or fewer, in 2000 draws"):
        Drawing(count=20, two_qubit_gates=0).pool(paper(4, 40, 40))
