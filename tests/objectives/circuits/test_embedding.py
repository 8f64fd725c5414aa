"""What embeddings share: the contract, the controls, and the metrics, on cases counted by hand."""

import io

import numpy as np
import pytest
import torch

from objectives.circuits.embedding import Graphs, generation, reconstruction, reward_probes, smoothness
from objectives.circuits.embeddings import gin_reach, gin_vae, gru_reach, one_hot, raw_mean
from spaces.circuits.encoding import Encoding, encode
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample
from spaces.components import Shelf, fields

SHELF = Shelf("embedding", "objectives.circuits.embeddings")
PAPER = GATE_SETS["paper"]
SMALL = {
    "gin_reach": gin_reach.Config(hidden=8, latent=3, layers=2, epochs=2, batch=16),
    "gin_vae": gin_vae.Config(hidden=8, latent=3, layers=2, epochs=2, batch=16),
    "gru_reach": gru_reach.Config(hidden=8, latent=3, epochs=2, batch=16),
}
WIDTH = {"gin_reach": 3, "gin_vae": 3, "gru_reach": 3, "one_hot": 10 * 15, "raw_mean": 17, "reach": 16}


@pytest.fixture(scope="module")
def pool() -> Pool:
    return sample(paper(), 120, np.random.default_rng(0))


def made(name: str):
    component = SHELF.load(name)
    return component.build(SMALL.get(name, component.config()), 4, 10)


def test_the_shelf() -> None:
    assert SHELF.names() == sorted(WIDTH)
    for name in set(SHELF.names()) - {"reach"}:  # which runs the circuits and has no graphs
        assert [f.name for f in fields(SHELF.load(name).config)][:3] == ["gates", "scheme", "symmetric_sign"]


@pytest.mark.parametrize("name", SHELF.names())
def test_the_contract(name: str, pool: Pool) -> None:
    embedding = made(name)
    before = torch.get_num_threads()
    metrics = list(embedding.fit(pool, seed=3))
    assert len(metrics) == (2 if name in SMALL else 0)
    assert list(embedding.fit(pool, seed=3)) == []  # nothing is left to do
    vectors = embedding.embed(pool)
    assert vectors.dtype == np.float32
    assert vectors.shape == (120, WIDTH[name])
    assert np.isfinite(vectors).all()
    assert torch.get_num_threads() == before
    np.testing.assert_allclose(embedding.embed(pool[7:9]), vectors[7:9], atol=1e-5)
    assert embedding.embed(pool[:0]).shape == (0, vectors.shape[1])

    file = io.BytesIO()
    torch.save(embedding.state_dict(), file)
    file.seek(0)
    other = made(name)
    other.load_state_dict(torch.load(file, weights_only=True))
    np.testing.assert_array_equal(other.embed(pool), vectors)


@pytest.mark.parametrize("name", SHELF.names())
def test_padding_and_angles_make_no_difference(name: str, pool: Pool) -> None:
    embedding = made(name)
    list(embedding.fit(pool, seed=0))
    short, long = pool[:3].gates(0)[:4], pool[:3].gates(1)
    alone, padded = Pool.of(4, [short]), Pool.of(4, [short, long])
    padded.theta[:] = 1.0
    np.testing.assert_allclose(embedding.embed(padded)[:1], embedding.embed(alone), atol=1e-5)
    assert np.abs(embedding.embed(padded)[1] - embedding.embed(padded)[0]).max() > 1e-3


@pytest.mark.parametrize("name", SHELF.names())
def test_circuits_that_do_not_fit_are_refused(name: str, pool: Pool) -> None:
    embedding = made(name)
    list(embedding.fit(pool, seed=0))
    other = Pool.of(4, [[("RXX", 0, 1, 0.1)]])
    if name == "reach":  # runs any gate
        assert np.isfinite(embedding.embed(other)).all()
    else:
        with pytest.raises(CircuitError, match="RXX is not in the gate set"):
            embedding.embed(other)
    with pytest.raises(CircuitError, match="5 wires"):
        embedding.embed(Pool.of(5, [[("H", 0)]]))


def test_raw_mean_by_hand() -> None:
    found = raw_mean.build(raw_mean.Config(gates="rotations"), 2, 10).embed(
        Pool.of(2, [[("RX", 0, 0.3), ("CNOT", 1, 0)], [("RZ", 1, 0.1)]])
    )
    # START, RX, RY, RZ, CNOT, END, two wires; START and END stand on both wires
    np.testing.assert_allclose(found[0] * 4, [1, 1, 0, 0, 1, 1, 2 + 1 + 1, 2 - 1])
    np.testing.assert_allclose(found[1] * 3, [1, 0, 0, 1, 0, 1, 2, 3], atol=1e-6)


def test_one_hot_by_hand() -> None:
    pool = Pool.of(2, [[("RX", 0, 0.3), ("CNOT", 1, 0)], [("RZ", 1, 0.1)]])
    found = one_hot.build(one_hot.Config(gates="rotations"), 2, 3).embed(pool)
    # RX, RY, RZ, CNOT, two wires
    nothing = [0] * 6
    np.testing.assert_array_equal(found[0].reshape(3, 6), [[1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, -1], nothing])
    np.testing.assert_array_equal(found[1].reshape(3, 6), [[0, 0, 1, 0, 0, 1], nothing, nothing])
    binary = one_hot.build(one_hot.Config(gates="rotations", scheme="binary"), 2, 2).embed(pool)
    np.testing.assert_array_equal(binary[0].reshape(2, 6), [[1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1]])
    with pytest.raises(CircuitError, match="a circuit of 2 gates"):
        one_hot.build(one_hot.Config(gates="rotations"), 2, 1).embed(pool)


def test_raw_mean_knows_no_order_and_one_hot_does() -> None:
    pool = Pool.of(2, [[("H", 0), ("X", 0), ("Z", 1)], [("X", 0), ("Z", 1), ("H", 0)]])
    mean, flat = raw_mean.build(raw_mean.Config(), 2, 3).embed(pool), one_hot.build(one_hot.Config(), 2, 3).embed(pool)
    np.testing.assert_array_equal(mean[0], mean[1])
    assert not np.array_equal(flat[0], flat[1])


def test_reconstruction_of_the_truth_and_of_nothing(pool: Pool) -> None:
    true = encode(pool, PAPER, "signed")
    found = reconstruction(true, true.nodes, true.adjacency, 13)
    assert (found["acc_ops"], found["acc_qubit"], found["acc_adj"], found["mean_fal_pos_adj"]) == (1, 1, 1, 0)
    edges = true.adjacency[true.adjacency > 0]
    assert found["mean_corr_adj"] == pytest.approx(edges.mean())
    found = reconstruction(true, np.zeros_like(true.nodes), np.zeros_like(true.adjacency), 13)
    assert found["acc_ops"] == pytest.approx(1 / 12)  # START is the first type
    assert found["acc_adj"] == pytest.approx(1 - len(edges) / (120 * 66))
    assert found["acc_qubit"] == pytest.approx((true.nodes[..., 13:] == 0).mean())


def test_reconstruction_by_hand() -> None:
    # one gate in two slots: START, gate, END, and a node that is none; two types of gates, one wire
    nodes = np.zeros((1, 4, 5), np.int8)
    nodes[0, [0, 1, 2], [0, 2, 3]] = 1
    nodes[0, :3, 4] = 1
    adjacency = np.zeros((1, 4, 4), np.int8)
    adjacency[0, 0, 1], adjacency[0, 1, 2] = 1, 2
    guess = nodes.astype(float)
    guess[0, 1, :4] = 0.1, 0.3, 0.2, 0.0  # the wrong gate
    guess[0, 0, 4], guess[0, 2, 4] = 0.4, 0.6
    guess[0, 3] = 7  # no node, never mind
    edges = np.full((1, 4, 4), 9.0)  # nor anything but the upper triangle
    edges[0, 0, 1], edges[0, 1, 2], edges[0, 0, 2] = 1.4, 1.4, 0.5
    found = reconstruction(Encoding(nodes, adjacency), guess, edges, 4)
    assert found["acc_ops"] == pytest.approx(2 / 3)
    assert found["acc_qubit"] == pytest.approx(2 / 3)
    assert found["acc_adj"] == pytest.approx(1 / 3)  # 1.4 is one wire, not two, and 0.5 is one
    assert found["mean_corr_adj"] == pytest.approx(1.4)
    assert found["mean_fal_pos_adj"] == pytest.approx(0.5)


@pytest.mark.parametrize("scheme", ["signed", "binary"])
def test_generation_by_hand(scheme: str) -> None:
    circuits = [[("H", 0), ("CNOT", 1, 0)], [("X", 0), ("Z", 1)], [("Z", 1), ("X", 0)], [("Y", 1), ("Y", 0)]]
    pool, graphs = Pool.of(2, circuits), Graphs(scheme=scheme)
    true = graphs.encoded(pool, 2)
    nodes, edges = true.nodes + 0.2, true.adjacency + 0.3
    whole = {"validity": 1, "loose_validity": 1, "uniqueness": 3 / 4}  # two are one circuit
    assert generation(nodes, edges, pool, graphs) == whole | {"novelty": 0}
    assert generation(nodes, edges, pool[1:2], graphs) == whole | {"novelty": 0.5}
    edges[0] = 0  # no edges at all, which the loose rule does not see
    nodes[3, 0] = nodes[3, 1]  # no START
    found = generation(nodes, edges, pool[:1], graphs)
    assert found == {"validity": 0.5, "loose_validity": 0.75, "uniqueness": 0.5, "novelty": 1}
    nothing = generation(nodes[3:], edges[3:], pool, graphs)
    assert nothing == {"validity": 0, "loose_validity": 0, "uniqueness": 0, "novelty": 0}


def test_smoothness_is_the_naive_one() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 3)).astype(np.float32)
    rewards = vectors[:, 0] + rng.normal(size=80)
    around = []
    for k in range(80):
        distance = np.linalg.norm(vectors - vectors[k], axis=1)
        distance[k] = np.inf
        around.append(rewards[np.argsort(distance)[:10]].mean())
    assert smoothness(vectors, rewards) == pytest.approx(np.corrcoef(rewards, around)[0, 1], abs=1e-9)


def test_a_circuit_is_no_neighbour_of_itself_even_among_copies() -> None:
    rewards = np.random.default_rng(1).normal(size=200)
    vectors = np.repeat(np.arange(4.0), 50)[:, None]
    assert smoothness(vectors, rewards) < 0.4  # with itself among ten it would be near 0.3 more
    lone = np.array([0.0, 1.0, 0.0, 1.0])
    assert smoothness(np.zeros((4, 1)), lone, neighbours=3) == pytest.approx(-1)  # all the others
    assert smoothness(vectors, np.ones(200)) == 0


def test_reward_probes_find_what_is_there_and_only_that() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(400, 4))
    found = reward_probes(vectors, vectors @ [1.0, -2.0, 0.5, 0.0])
    assert found["ridge_r2"] > 0.999
    assert found["ridge_spearman"] > 0.999
    assert 0.7 < found["knn_r2"] < 0.95
    assert 0.8 < found["knn_spearman"] < 1
    curved = reward_probes(vectors[:, :2], vectors[:, 0] ** 2)
    assert curved["ridge_r2"] < 0.1
    assert curved["knn_r2"] > 0.5
    assert curved["smoothness"] > 0.8
    wide = rng.normal(size=(100, 70))  # fitted to noise, and found out on what was held out
    noise = reward_probes(wide, rng.normal(size=100))
    assert noise["ridge_r2"] < 0.2
    assert noise["knn_r2"] < 0.2
    assert abs(noise["ridge_spearman"]) < 0.5


def test_probes_refuse_what_they_cannot_read() -> None:
    vectors, rewards = np.zeros((30, 2)), np.zeros(30)
    with pytest.raises(ValueError, match="at least 11 circuits"):
        smoothness(vectors[:10], rewards[:10])
    with pytest.raises(ValueError, match="finite"):
        smoothness(vectors, np.where(np.arange(30) == 3, np.nan, rewards))
    with pytest.raises(ValueError, match=r"rewards \(29,\)"):
        reward_probes(vectors, rewards[1:])
    flat = reward_probes(vectors, rewards)
    assert (flat["smoothness"], flat["knn_spearman"]) == (0, 0)
