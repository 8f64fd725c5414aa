"""Networks that predict what circuits can reach: the graph network and the wires' states, against NumPy."""

from dataclasses import replace
from math import cos, pi

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from objectives import SHELVES
from objectives.circuits.embeddings import gin_reach, gru_reach, reach
from objectives.circuits.embeddings._gin import Batch
from objectives.circuits.embeddings._learning import Data
from objectives.circuits.embeddings._predicted import Predicted, explained, one_cycle
from objectives.circuits.latents import exported, fitted, restored
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample
from spaces.components import fields

KNOBS = {"settings": 2, "latent": 3, "hidden": 16, "epochs": 3, "batch": 16}
SMALL = {"gin_reach": gin_reach.Config(**KNOBS, layers=2), "gru_reach": gru_reach.Config(**KNOBS)}
MODULES = {"gin_reach": gin_reach, "gru_reach": gru_reach}


@pytest.fixture(params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def drawn(count: int, seed: int = 0) -> Pool:
    return sample(paper(), count, np.random.default_rng(seed))


def mixed(count: int) -> Pool:
    """Circuits of different lengths."""
    return Pool.of(4, [circuit[: 1 + k % 10] for k, circuit in enumerate(drawn(count))])


def made(name: str, wires: int = 4, **knobs: object) -> Predicted:
    return MODULES[name].build(replace(SMALL[name], **knobs), wires, 10)


def learnt(name: str, pool: Pool, seed: int = 0, **knobs: object) -> Predicted:
    embedding = made(name, pool.wires, **knobs)
    list(embedding.fit(pool, seed=seed))
    return embedding


def batch_of(pool: Pool, config: object) -> Batch:
    found = Data(config.encoded(pool, pool.wires), pool, "cpu").batch(slice(None))
    return Batch(found.nodes.double(), found.adjacency.double(), found.live)


# The networks


def linear(layer: torch.nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().numpy() @ x + (0 if layer.bias is None else layer.bias.detach().numpy())


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def head(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    return linear(network.head[2], np.maximum(linear(network.head[0], x), 0))


@pytest.mark.parametrize("knobs", [{}, {"scheme": "binary"}, {"symmetric_sign": "ordered"}], ids=str)
def test_wires_are_renewed_gate_by_gate(knobs: dict) -> None:
    pool, config = mixed(12), replace(SMALL["gru_reach"], **knobs)
    network = gru_reach.Network(config, 4).double().eval()
    found = network(batch_of(pool, config)).detach().numpy()
    nodes = config.encoded(pool, 4).nodes.astype(float)
    for row, length in enumerate(pool.length):
        states = [network.start.weight.detach().numpy()[:, q] for q in range(4)]
        for node in nodes[row, 1 : 1 + length]:
            kind, signs = node[:13], node[13:]
            renewed = {}
            for q in np.flatnonzero(signs):
                others = [r for r in np.flatnonzero(signs) if r != q]
                sign, state = (signs[others[0]], states[others[0]]) if others else (0, np.zeros(16))
                seen = np.concatenate([kind, [signs[q], sign], state])
                reset, kept = np.split(sigmoid(linear(network.gates, np.concatenate([seen, states[q]]))), 2)
                fresh = np.tanh(linear(network.fresh, np.concatenate([seen, reset * states[q]])))
                renewed[q] = (1 - kept) * fresh + kept * states[q]
            for q, state in renewed.items():
                states[q] = state
        np.testing.assert_allclose(found[row], head(network, np.concatenate(states)), atol=1e-12)


@pytest.mark.parametrize("pool", [drawn(5), mixed(12)], ids=["full", "padded"])
def test_nodes_are_read_by_mean_and_largest(pool: Pool) -> None:
    config = SMALL["gin_reach"]
    network = gin_reach.Network(config, 4).double().eval()
    network.encoder.heads.bias.data -= 5  # below the zeros of padding
    batch = batch_of(pool, config)
    rows = torch.cat(network.encoder(batch), -1).detach().numpy()
    found, start = network(batch).detach().numpy(), 0
    for row, count in enumerate(pool.length + 2):
        own = rows[start : start + count]
        start += count
        np.testing.assert_allclose(found[row], head(network, np.concatenate([own.mean(0), own.max(0)])), atol=1e-12)


def test_every_choice_of_knobs_trains_all_its_weights(name: str) -> None:
    rng, pool = np.random.default_rng(5), mixed(40)
    for _ in range(12):
        knobs = {f.name: f.domain.sample(rng) for f in fields(type(SMALL[name])) if f.domain}
        small = {"gates": "paper", "hidden": 9, "epochs": 1, "batch": 8, "settings": 2, "latent": 4}
        embedding = made(name, **knobs | small)
        (metrics,) = embedding.fit(pool, seed=0)
        assert all(np.isfinite(value) for value in metrics.values()), knobs
        idle = [key for key, p in embedding.network.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle, (knobs, idle)


def test_the_order_of_gates_on_different_wires_makes_no_difference(name: str) -> None:
    circuit = [("H", 0), ("RX", 1, 0.1), ("CNOT", 0, 1), ("CZ", 1, 2), ("Z", 3)]
    disjoint = [("Z", 3), ("RX", 1, 0.1), ("H", 0), ("CNOT", 0, 1), ("CZ", 1, 2)]
    exchanged = [("H", 0), ("RX", 1, 0.1), ("CNOT", 0, 1), ("CZ", 2, 1), ("Z", 3)]
    turned = [("H", 0), ("RX", 1, 0.1), ("CNOT", 1, 0), ("CZ", 1, 2), ("Z", 3)]
    later = [("CNOT", 0, 1), ("H", 0), ("RX", 1, 0.1), ("CZ", 1, 2), ("Z", 3)]
    vectors = learnt(name, drawn(60)).embed(Pool.of(4, [circuit, disjoint, exchanged, turned, later]))
    distance = np.abs(vectors[1:] - vectors[0]).max(1)
    assert (distance[:2] < 1e-5).all()
    assert (distance[2:] > 1e-4).all()


@pytest.mark.parametrize("wires", [1, 2])
def test_small_registers(name: str, wires: int) -> None:
    circuits = [[("RX", 0, 0.1)], [("RY", 0, 0.1), ("H", 0)], [("H", 0)], [("X", 0)], [("RZ", 0, 0.2), ("Y", 0)]]
    circuits[0] += [("CNOT", 0, 1)] if wires == 2 else []
    embedding = learnt(name, Pool.of(wires, circuits))
    assert np.isfinite(embedding.embed(Pool.of(wires, circuits))).all()


# The training


@pytest.mark.parametrize(
    ("name", "count", "knobs", "least"),
    [
        ("gin_reach", 2000, {"hidden": 48, "layers": 3, "epochs": 10}, 0.4),
        ("gru_reach", 1000, {"hidden": 32, "epochs": 8, "lr": 2e-2}, 0.7),
    ],
)
def test_what_can_be_reached_is_learnt(name: str, count: int, knobs: dict, least: float) -> None:
    embedding = made(name, settings=4, latent=6, **knobs)
    metrics = list(embedding.fit(drawn(count), seed=0))
    assert [set(m) for m in metrics] == [{"loss", "r2"}] * knobs["epochs"]
    assert metrics[-1]["r2"] > least
    assert metrics[-1]["loss"] < 1.2 - least  # the vectors' mean square is 1
    unseen = drawn(300, seed=1)
    truth, guess = embedding.reach.embed(unseen), embedding.embed(unseen)
    assert r2_score(truth, guess, multioutput="variance_weighted") > least - 0.05


def test_the_share_explained_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    expected = r2_score(truth, truth + 0.3 * noise, multioutput="variance_weighted")
    assert explained(torch.tensor(truth), torch.tensor(truth + 0.3 * noise)) == pytest.approx(expected, abs=1e-12)
    assert explained(torch.ones(4, 2), torch.zeros(4, 2)) == 0


def test_the_rate_rises_and_falls() -> None:
    assert [one_cycle(done) for done in (0, 0.05, 0.1, 0.55, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    embedding = learnt("gru_reach", drawn(100), batch=20, lr=0.01)
    # 90 circuits: four steps an epoch, twelve in all; the last is half a step before the end
    expected = 0.01 * (0.5 + 0.5 * cos(pi * (11.5 / 12 - 0.1) / 0.9))
    assert embedding.learner.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_only_some_circuits_are_run_and_judges_are_not_learnt_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, real = [], reach.states
    monkeypatch.setattr(reach, "states", lambda pool, threads: run.append(len(pool)) or real(pool, threads=threads))
    pool = drawn(900)
    embedding = made(name, taught=100, held_out=20, epochs=1)
    (metrics,) = embedding.fit(pool, seed=0)
    vectors = embedding.embed(pool)
    assert list(embedding.fit(pool, seed=0)) == []
    assert sum(run) == 2 * (2 * 100 + 20)  # settings, and circuits that are learnt from twice
    rows = np.linspace(0, 899, 120).astype(int)
    judges = rows[np.linspace(0, 119, 20).astype(int)]
    swapped = pool[np.where(np.isin(np.arange(900), judges), 5, np.arange(900))]
    other = made(name, taught=100, held_out=20, epochs=1)
    (changed,) = other.fit(swapped, seed=0)
    assert other.embed(pool).tobytes() == vectors.tobytes()
    assert changed["loss"] == metrics["loss"]
    assert changed["r2"] != metrics["r2"]


def test_a_continued_fit_is_an_unbroken_one(name: str) -> None:
    pool, whole = drawn(90), made(name)
    metrics = list(whole.fit(pool, seed=7))
    broken = made(name)
    run = broken.fit(pool, seed=7)
    assert next(run) == metrics[0]
    state = broken.state_dict()
    torch.rand(3)  # the world goes on
    next(run)  # and so does the first process
    other = made(name)
    other.load_state_dict(state)
    assert list(other.fit(pool, seed=99)) == metrics[1:]
    assert other.embed(pool).tobytes() == whole.embed(pool).tobytes()
    a, b = other.state_dict(), whole.state_dict()
    for part in ("network", "reach"):
        assert all(torch.equal(a[part][key], b[part][key]) for key in b[part])
    assert torch.equal(a["draws"], b["draws"])
    assert state["epoch"] == 1


def test_the_seed_decides(name: str) -> None:
    pool = drawn(60)
    found = []
    for seed in (1, 1, 2):
        torch.rand(1)  # what the world has drawn does not
        found.append(learnt(name, pool, seed).embed(pool))
    assert found[0].tobytes() == found[1].tobytes()
    assert np.abs(found[0] - found[2]).max() > 0.01


def test_untrained_networks_embed(name: str) -> None:
    pool, embedding = drawn(60), made(name, epochs=0)
    assert list(embedding.fit(pool, seed=0)) == []
    vectors = embedding.embed(pool)
    assert vectors.shape == (60, 3)
    assert vectors.std(0).min() > 0
    assert vectors.tobytes() == learnt(name, pool, epochs=0).embed(pool).tobytes()


def test_there_are_no_more_dimensions_than_circuits_span(name: str) -> None:
    assert learnt(name, drawn(3)).embed(drawn(7)).shape == (7, 1)


def test_a_fit_is_kept_and_taken_elsewhere(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    pool, others = drawn(60), drawn(20, seed=5)
    embedding = fitted(pool, name, SMALL[name], seed=4)
    vectors = embedding.embed(others)
    np.testing.assert_array_equal(learnt(name, pool, seed=4).embed(others), vectors)
    monkeypatch.setattr(Predicted, "fit", lambda *given: pytest.fail("fitted again"))
    np.testing.assert_array_equal(fitted(pool, name, SMALL[name], seed=4).embed(others), vectors)
    for file, content in exported(embedding, name, SMALL[name], 4, 10).items():
        (tmp_path / file).write_bytes(content)
    np.testing.assert_array_equal(restored(tmp_path).embed(others), vectors)


def test_what_cannot_be_fitted_is_refused(name: str) -> None:
    with pytest.raises(CircuitError, match="takes 3"):
        next(made(name).fit(drawn(2), seed=0))
    with pytest.raises(CircuitError, match="circuits on 4 wires"):
        next(made(name, 5).fit(drawn(10), seed=0))
    with pytest.raises(CircuitError, match="not in the gate set"):
        next(made(name, gates="ions").fit(drawn(10), seed=0))
    with pytest.raises(CircuitError, match="a circuit of 10 gates"):
        next(MODULES[name].build(SMALL[name], 4, 9).fit(drawn(10), seed=0))
    with pytest.raises(RuntimeError, match="not been fitted"):
        made(name).embed(drawn(1))


def test_the_knobs_are_those_of_the_graphs_the_sketch_and_the_network(name: str) -> None:
    config = SHELVES["embedding"].load(name).config()
    given = {f.name: f.default for f in fields(type(config))}
    assert list(given)[:6] == ["gates", "scheme", "symmetric_sign", "settings", "entanglement", "latent"]
    assert {key: given[key] for key in vars(reach.Config())} == vars(reach.Config())
