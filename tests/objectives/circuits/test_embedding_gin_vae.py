"""The graph autoencoder, against its formulas in float64 NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from objectives.circuits.embedding import generation
from objectives.circuits.embeddings._gin import Batch, GinLayer, initialise
from objectives.circuits.embeddings._learning import Data
from objectives.circuits.embeddings.gin_vae import (
    PUBLISHED,
    Config,
    GinVae,
    Network,
    build,
    divergence,
    edge_loss,
    node_losses,
)
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample
from spaces.components import fields

SMALL = Config(hidden=16, latent=4, layers=2, epochs=3, batch=16)


def drawn(count: int, seed: int = 0) -> Pool:
    return sample(paper(), count, np.random.default_rng(seed))


def mixed(count: int) -> Pool:
    """Circuits of different lengths."""
    return Pool.of(4, [circuit[: 1 + k % 10] for k, circuit in enumerate(drawn(count))])


def batch_of(pool: Pool, config: Config = SMALL, dtype: torch.dtype = torch.float64) -> Batch:
    found = Data(config.encoded(pool, pool.wires), pool, "cpu").batch(slice(None))
    return Batch(found.nodes.to(dtype), found.adjacency.to(dtype), found.live)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def bce(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-y log p - (1 - y) log(1 - p) for p = sigmoid(x), entry by entry."""
    return np.logaddexp(0, x) - x * y


# The network


def naive_norm(rows: np.ndarray, norm: torch.nn.BatchNorm1d) -> np.ndarray:
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    scaled = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + norm.eps)
    return np.maximum(scaled * weight + bias, 0)


@pytest.mark.parametrize("pool", [drawn(5), mixed(12)], ids=["full", "padded"])
@pytest.mark.parametrize(("depth", "ways"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_a_layer_is_its_formula_node_by_node(pool: Pool, depth: int, ways: int) -> None:
    batch, generator = batch_of(pool), torch.Generator().manual_seed(1)
    layer = GinLayer(17, 6, depth, ways).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    forward = batch.adjacency.mT
    messages = (forward, batch.adjacency)[:ways] if ways == 2 else (forward + batch.adjacency,)

    rows = []
    for b, length in enumerate(pool.length):
        for v in range(length + 2):
            heard = []
            for a in messages:
                total = (1 + layer.epsilon.item()) * batch.nodes[b, v].numpy()
                for u in range(length + 2):
                    total = total + a[b, v, u].item() * batch.nodes[b, u].numpy()
                heard.append(total)
            rows.append(np.concatenate(heard))
    x = np.array(rows)
    for linear, norm in zip(layer.mlp[::2], layer.mlp[1::2], strict=True):
        x = naive_norm(x @ linear.weight.detach().numpy().T, norm.norm)
    found = layer(batch.rows(batch.nodes), messages, batch).detach().numpy()
    np.testing.assert_allclose(found, x, atol=1e-10)


def test_weights_are_drawn_by_the_seed_within_their_bounds() -> None:
    networks = [Network(SMALL, 4) for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        initialise(network, torch.Generator().manual_seed(seed))
    a, b, c = (network.state_dict() for network in networks)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["encoder.heads.weight"], c["encoder.heads.weight"])
    assert a["decoder.nodes.weight"].abs().max() <= 0.5
    assert a["decoder.nodes.weight"].abs().max() > 0.45  # 1 / sqrt(4)


# The losses


@pytest.mark.parametrize("pool", [drawn(32), mixed(20)], ids=["full", "padded"])
def test_the_published_loss(pool: Pool) -> None:
    """BCE(X', X) + BCE(triu A', triu A) + KL, each a mean over all entries, the KL's 1/(B V) in its weight."""
    config = replace(PUBLISHED, hidden=16)
    network, batch = Network(config, 4).double(), batch_of(pool, config)
    torch.set_default_dtype(torch.float64)
    try:
        parts = network.losses(batch, torch.Generator().manual_seed(5))
        mean, s = (x.detach().numpy() for x in network.encoder(batch))
        draws = torch.Generator().manual_seed(5)
        z = mean + np.exp(s) * torch.randn(mean.shape, generator=draws).numpy()
        z *= (torch.rand(z.shape, generator=draws).numpy() >= 0.3) / 0.7
    finally:
        torch.set_default_dtype(torch.float32)
    decoder = network.decoder.nodes
    x = z @ decoder.weight.detach().numpy().T + decoder.bias.detach().numpy()
    nodes = bce(x, batch.rows(batch.nodes).numpy()).mean()
    edges, start = [], 0
    for b, count in enumerate(pool.length + 2):
        own = z[start : start + count]
        target = batch.adjacency[b, :count, :count].numpy()
        edges.append(np.triu(bce(own @ own.T, target), 1).ravel())  # zeros below: sure and right
        start += count
    kl = -np.sum(1 + 2 * s - mean**2 - np.exp(2 * s), axis=1).mean() / (2 * 32 * 12)
    assert parts["ops"].item() + parts["qubits"].item() == pytest.approx(nodes, rel=1e-10)
    assert parts["adjacency"].item() == pytest.approx(np.concatenate(edges).mean(), rel=1e-10)
    assert parts["kl"].item() == pytest.approx(kl, rel=1e-10)


def test_the_later_losses() -> None:
    rng = np.random.default_rng(3)
    pool, config = mixed(7), Config()
    batch = batch_of(pool)
    nodes = batch.rows(batch.nodes).numpy()
    raw = rng.normal(size=nodes.shape)
    ops, qubits = node_losses(torch.tensor(raw), torch.tensor(nodes), config)
    chances = np.exp(raw[:, :13]) / np.exp(raw[:, :13]).sum(1, keepdims=True)
    assert ops.item() == pytest.approx(-np.log(chances[nodes[:, :13] == 1]).mean(), rel=1e-10)
    assert qubits.item() == pytest.approx(((np.tanh(raw[:, 13:]) - nodes[:, 13:]) ** 2).mean(), rel=1e-10)

    edges = torch.tensor(rng.normal(size=batch.adjacency.shape))
    found = edge_loss(edges, batch.adjacency, batch.later(edges), len(nodes), "relu")
    errors = [
        (max(edges[b, i, j].item(), 0) - batch.adjacency[b, i, j].item()) ** 2
        for b, length in enumerate(pool.length)
        for i in range(length + 2)
        for j in range(i + 1, length + 2)
    ]
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-10)


def test_an_edge_of_two_wires_is_one_to_a_sigmoid() -> None:
    batch = batch_of(drawn(4))
    assert batch.adjacency.max() > 1
    raw = torch.randn(batch.adjacency.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    once = (batch.adjacency > 0).double()
    args = batch.later(raw), 48, "sigmoid"
    assert edge_loss(raw, batch.adjacency, *args) == edge_loss(raw, once, *args)


def test_the_divergence_is_that_of_gaussians() -> None:
    rng = np.random.default_rng(4)
    mean, s = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    p = torch.distributions.Normal(torch.tensor(mean), torch.tensor(np.exp(s)))
    q = torch.distributions.Normal(torch.zeros(6, 3, dtype=torch.float64), torch.ones(6, 3, dtype=torch.float64))
    expected = torch.distributions.kl_divergence(p, q).sum(1).mean()
    assert divergence(torch.tensor(mean), torch.tensor(s)).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("edges", ["sigmoid", "relu", "bilinear"])
def test_edges_of_latents(edges: str) -> None:
    network = Network(replace(SMALL, edges=edges), 4).double()
    decoder = network.decoder
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    z = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    n, d = z.numpy(), {name: x.detach().numpy() for name, x in decoder.named_parameters()}
    product = np.einsum("bik,bjk->bij", n, n)
    expected = {
        "sigmoid": lambda: sigmoid(product),
        "relu": lambda: np.maximum(d["scale"] * product + d["offset"], 0),
        "bilinear": lambda: np.maximum(np.einsum("bik,kl,bjl->bij", n, d["weight"], n) + d["offset"], 0),
    }[edges]()
    nodes, found = network.rebuild(z)
    np.testing.assert_allclose(found.detach(), expected, atol=1e-12)
    raw = n @ d["nodes.weight"].T + d["nodes.bias"]
    np.testing.assert_allclose(nodes[..., :13].detach().sum(-1), 1)
    np.testing.assert_array_equal(nodes[..., :13].detach().numpy().argmax(-1), raw[..., :13].argmax(-1))
    np.testing.assert_allclose(nodes[..., 13:].detach(), np.tanh(raw[..., 13:]), atol=1e-12)


def test_every_choice_of_knobs_trains_all_its_weights() -> None:
    rng, pool = np.random.default_rng(5), mixed(40)
    for _ in range(25):
        knobs = {f.name: f.domain.sample(rng) for f in fields(Config) if f.domain}
        config = Config(**knobs | {"gates": "paper", "hidden": 8, "epochs": 1, "batch": 8})
        embedding = build(config, 4, 10)
        (metrics,) = embedding.fit(pool, seed=0)
        assert all(np.isfinite(value) for value in metrics.values()), config
        idle = [name for name, p in embedding.network.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle, (config, idle)
        assert embedding.embed(pool).shape == (40, config.latent * (1 + (config.pooling == "ends")))


# The vectors


@pytest.mark.parametrize("passing", ["undirected", "forward", "both"])
@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_the_nodes_have_no_order(passing: str, pooling: str) -> None:
    network = Network(replace(SMALL, passing=passing, pooling=pooling), 4).double().eval()
    batch = batch_of(mixed(12))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed_up = Batch(batch.nodes[:, order], batch.adjacency[:, order][:, :, order], batch.live[:, order])
    torch.testing.assert_close(network.pooled(mixed_up), network.pooled(batch), rtol=0, atol=1e-12)


def test_pooling_by_hand() -> None:
    pool = Pool.of(4, [[("H", 0)], [("X", 1), ("CZ", 1, 2), ("Y", 3)]])
    batch = batch_of(pool)
    networks = {
        name: Network(replace(SMALL, pooling=name), 4).double().eval() for name in ("mean", "sum", "max", "ends")
    }
    state = {name: value.clone() for name, value in networks["mean"].state_dict().items()}
    for network in networks.values():
        network.load_state_dict(state)
        network.encoder.heads.bias.data -= 5  # below the zeros of padding
    rows = networks["mean"].encoder(batch)[0]
    first, second = rows[:3], rows[3:]
    for name, expected in {
        "mean": [first.mean(0), second.mean(0)],
        "sum": [first.sum(0), second.sum(0)],
        "max": [first.amax(0), second.amax(0)],
        "ends": [torch.cat([first[0], first[2]]), torch.cat([second[0], second[4]])],
    }.items():
        torch.testing.assert_close(networks[name].pooled(batch), torch.stack(expected), rtol=0, atol=1e-12)


def distances(config: Config, *circuits: list) -> np.ndarray:
    """How far the vectors of circuits are from the first one's."""
    embedding = build(replace(config, epochs=0), 4, 10)
    list(embedding.fit(drawn(100), seed=0))
    vectors = embedding.embed(Pool.of(4, circuits))
    return np.abs(vectors[1:] - vectors[0]).max(1)


def test_what_the_vectors_tell_apart() -> None:
    circuit = [("H", 0), ("X", 1), ("CNOT", 0, 1), ("CZ", 1, 2), ("Z", 3)]
    disjoint = [("Z", 3), ("X", 1), ("H", 0), ("CNOT", 0, 1), ("CZ", 1, 2)]
    exchanged = [("H", 0), ("X", 1), ("CNOT", 0, 1), ("CZ", 2, 1), ("Z", 3)]
    turned = [("H", 0), ("X", 1), ("CNOT", 1, 0), ("CZ", 1, 2), ("Z", 3)]
    later = [("CNOT", 0, 1), ("H", 0), ("X", 1), ("CZ", 1, 2), ("Z", 3)]
    found = distances(SMALL, circuit, disjoint, exchanged, turned, later)
    assert (found[:2] < 1e-5).all()  # the same graph
    assert (found[2:] > 1e-4).all()
    assert distances(replace(SMALL, symmetric_sign="ordered"), circuit, exchanged) > 1e-4
    binary = distances(replace(SMALL, scheme="binary"), circuit, turned, later)
    assert binary[0] < 1e-5  # which is control and which is target is not told
    assert binary[1] > 1e-4


@pytest.mark.parametrize(("passing", "start", "end"), [("undirected", 1, 1), ("forward", 0, 1), ("both", 1, 1)])
def test_messages_run_the_way_they_are_told(passing: str, start: bool, end: bool) -> None:
    """Whether START and END hear what gate stands between them."""
    network = Network(replace(SMALL, passing=passing), 4).double().eval()
    rows = network.encoder(batch_of(Pool.of(4, [[("H", 0)], [("X", 0)]])))[0]
    assert bool((rows[0] - rows[3]).abs().max() > 1e-6) == start
    assert bool((rows[2] - rows[5]).abs().max() > 1e-6) == end


# The training


def test_a_continued_fit_is_an_unbroken_one() -> None:
    pool, whole = drawn(90), build(SMALL, 4, 10)
    metrics = list(whole.fit(pool, seed=7))
    broken = build(SMALL, 4, 10)
    run = broken.fit(pool, seed=7)
    assert next(run) == metrics[0]
    state = broken.state_dict()
    torch.rand(3)  # the world goes on
    next(run)  # and so does the first process
    other = build(SMALL, 4, 10)
    other.load_state_dict(state)
    assert list(other.fit(pool, seed=99)) == metrics[1:]
    assert other.embed(pool).tobytes() == whole.embed(pool).tobytes()
    a, b = other.state_dict(), whole.state_dict()
    assert all(torch.equal(a["network"][name], b["network"][name]) for name in b["network"])
    assert torch.equal(a["draws"], b["draws"])
    assert state["epoch"] == 1


def test_the_seed_decides() -> None:
    pool = drawn(60)
    found = []
    for seed in (1, 1, 2):
        torch.rand(1)  # what the world has drawn does not
        embedding = build(SMALL, 4, 10)
        list(embedding.fit(pool, seed=seed))
        found.append(embedding.embed(pool))
    assert found[0].tobytes() == found[1].tobytes()
    assert np.abs(found[0] - found[2]).max() > 0.01


def test_the_circuits_held_out_are_not_learnt_from() -> None:
    pool, other = drawn(100), drawn(100, seed=1)
    swapped = Pool.stack([pool[:80], other[80:]])
    found = []
    for circuits in (pool, swapped):
        embedding = build(replace(SMALL, held_out=0.2, epochs=1), 4, 10)
        (metrics,) = embedding.fit(circuits, seed=0)
        found.append((embedding.embed(pool).tobytes(), metrics["loss"], metrics["kl"]))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] != found[1][2]


def test_an_untrained_network_has_the_data_s_averages() -> None:
    pool = drawn(320)
    embedding = build(replace(SMALL, epochs=0, held_out=0.2), 4, 10)
    assert list(embedding.fit(pool, seed=0)) == []
    norm = embedding.network.encoder.layers[0].mlp[1].norm
    batch = batch_of(pool[:256], dtype=torch.float32)
    summed = batch.nodes + (batch.adjacency + batch.adjacency.mT) @ batch.nodes
    before = embedding.network.encoder.layers[0].mlp[0](summed.flatten(0, 1))
    torch.testing.assert_close(norm.running_mean, before.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, before.var(0), atol=0, rtol=0.03)
    assert norm.momentum == 0.1


@pytest.fixture(scope="module")
def learnt() -> tuple[GinVae, list[dict[str, float]]]:
    """The default, for so few epochs of so few circuits."""
    embedding = build(Config(epochs=5, batch=16), 4, 10)
    return embedding, list(embedding.fit(drawn(2000), seed=0))


def test_a_few_epochs_teach_gates_wires_and_edges(learnt: tuple) -> None:
    _, metrics = learnt
    last = metrics[-1]
    assert last["acc_ops"] > 0.985
    assert last["acc_qubit"] > 0.96
    assert last["acc_adj"] > 0.89
    assert last["mean_corr_adj"] > 10 * last["mean_fal_pos_adj"]
    assert last["loss"] < 0.5 * metrics[0]["loss"]
    parts = sum(last[f"loss_{name}"] for name in ("ops", "qubits", "adjacency", "kl"))
    assert last["loss"] == pytest.approx(parts, rel=1e-5)


def test_edges_that_do_not_belong_to_the_gates_are_not_rebuilt(learnt: tuple) -> None:
    embedding, metrics = learnt
    pool = drawn(2000)[1800:]
    graphs = embedding.config.encoded(pool, 4)
    own = embedding._judged(Data(graphs, pool, "cpu"))
    assert own["acc_adj"] == metrics[-1]["acc_adj"]
    strange = replace(graphs, adjacency=np.roll(graphs.adjacency, 1, axis=0))
    assert embedding._judged(Data(strange, pool, "cpu"))["acc_adj"] < own["acc_adj"] - 0.03


def test_inventions_follow_the_latents(learnt: tuple) -> None:
    embedding, _ = learnt
    pool = drawn(400)
    nodes, edges = embedding.generate(pool, 300, seed=0)
    assert nodes.shape == (300, 12, 17)
    assert edges.shape == (300, 12, 12)
    assert nodes.dtype == edges.dtype == np.float32
    assert not np.tril(edges).any()
    again = embedding.generate(pool, 300, seed=0)
    np.testing.assert_array_equal(nodes, again[0])
    np.testing.assert_array_equal(edges, again[1])
    assert not np.array_equal(nodes, embedding.generate(pool, 300, seed=1)[0])
    assert generation(nodes, edges, pool, embedding.config)["loose_validity"] > 0.5

    def rebuilt(some: Pool) -> np.ndarray:
        batch = batch_of(some, dtype=torch.float32)
        with torch.no_grad():
            return embedding.network.rebuild(batch.dense(embedding.network.encoder(batch)[0]))[0].numpy()

    one = pool[np.zeros(5, int)]  # no spread: nothing but the circuit's own reconstruction
    np.testing.assert_allclose(embedding.generate(one, 5, seed=0)[0], rebuilt(one), atol=1e-3)

    long = Pool.of(4, [pool.gates(20)])
    mixed = Pool.of(4, [circuit[:3] for circuit in pool[:20]] + [pool.gates(20)])
    nodes, edges = embedding.generate(mixed, 200, seed=0)
    lengths = nodes.any(-1).sum(1)
    assert set(lengths) == {5, 12}
    assert (lengths == 5).mean() > 0.8
    assert not edges[lengths == 5][:, :, 5:].any()
    np.testing.assert_allclose(nodes[lengths == 12][0, 5:], rebuilt(long)[0, 5:], atol=1e-3)  # places that one has


def test_moved_latents(learnt: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded: means, shifts for all nodes of a circuit, and noise in deviations of the pool's means."""
    embedding, _ = learnt
    pool = drawn(400)
    with torch.no_grad():
        batch = batch_of(pool, dtype=torch.float32)
        means = batch.dense(embedding.network.encoder(batch)[0])
        nodes, edges = (x.numpy() for x in embedding.network.rebuild(means))
    still = embedding.moved(pool, 0.0, 0.0, seed=0)
    np.testing.assert_allclose(still[0], nodes, atol=1e-4)
    np.testing.assert_allclose(still[1], np.triu(edges, 1), atol=1e-3)

    seen, rebuild = [], embedding.network.rebuild
    monkeypatch.setattr(embedding.network, "rebuild", lambda z: seen.append(z) or rebuild(z))
    shifts = np.random.default_rng(0).normal(size=(400, 16))
    embedding.moved(pool, shifts, 0.0, seed=0)
    steps = (seen[-1] - means).numpy()
    np.testing.assert_allclose(steps, np.broadcast_to(shifts[:, None], steps.shape), atol=1e-4)
    np.testing.assert_allclose(seen[-1].mean(1).numpy(), embedding.embed(pool) + shifts, atol=1e-4)
    embedding.moved(pool, shifts, 0.7, seed=0)
    noise = ((seen[-1] - means).numpy() - shifts[:, None]) / means.numpy().std((0, 1))
    np.testing.assert_allclose(noise.std((0, 1)), 0.7, atol=0.04)
    assert np.abs(noise.mean((0, 1))).max() < 0.05
    assert np.abs(np.corrcoef(noise.reshape(400, -1)[:, ::16].T) - np.eye(12)).max() < 0.25  # each node its own way
    embedding.moved(pool, shifts, 0.7, seed=0)
    embedding.moved(pool, shifts, 0.7, seed=1)
    assert torch.equal(seen[-2], seen[-3])
    assert not torch.equal(seen[-1], seen[-2])


def test_moved_circuits_keep_their_length(learnt: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, _ = learnt
    pool = mixed(50)
    seen, rebuild = [], embedding.network.rebuild
    monkeypatch.setattr(embedding.network, "rebuild", lambda z: seen.append(z) or rebuild(z))
    nodes, edges = embedding.moved(pool, 1.0, 1.0, seed=0)
    assert nodes.dtype == edges.dtype == np.float32
    assert nodes.any(-1).sum(1).tolist() == (pool.length + 2).tolist()
    assert not np.tril(edges).any()
    assert not any(edges[row, :, length + 2 :].any() for row, length in enumerate(pool.length))
    embedding.moved(pool, 0.0, 0.0, seed=0)
    moved, means = (z[torch.from_numpy(nodes.any(-1))].numpy() for z in seen)
    np.testing.assert_allclose((moved - means - 1).std(0) / means.std(0), 1, atol=0.15)  # of real nodes alone
    with pytest.raises(ValueError, match="broadcast"):
        embedding.moved(pool, np.zeros((3, 16)), 0.0, seed=0)
    with pytest.raises(CircuitError, match="circuits on 3 wires"):
        embedding.moved(Pool.of(3, [[("X", 0)]]), 0.0, 0.0, seed=0)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(CircuitError, match="takes 2"):
        next(build(SMALL, 4, 10).fit(drawn(1), seed=0))
    with pytest.raises(CircuitError, match="circuits on 4 wires"):
        next(build(SMALL, 5, 10).fit(drawn(10), seed=0))
    with pytest.raises(CircuitError, match="not in the gate set"):
        next(build(replace(SMALL, gates="ions"), 4, 10).fit(drawn(10), seed=0))
    with pytest.raises(RuntimeError, match="not been fitted"):
        build(SMALL, 4, 10).embed(drawn(1))
    (metrics,) = build(replace(SMALL, epochs=1), 4, 10).fit(drawn(2), seed=0)
    assert np.isfinite(metrics["loss"])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_vectors() -> None:
    pool, embedding, other = drawn(100), build(SMALL, 4, 10), build(SMALL, 4, 10, "cuda")
    list(embedding.fit(pool, seed=0))
    state = embedding.state_dict() | {"draws": other.state_dict()["draws"]}
    other.load_state_dict(state)
    np.testing.assert_allclose(other.embed(pool), embedding.embed(pool), atol=1e-3)
    metrics = list(build(SMALL, 4, 10, "cuda").fit(pool, seed=0))
    assert np.isfinite(metrics[-1]["loss"])
