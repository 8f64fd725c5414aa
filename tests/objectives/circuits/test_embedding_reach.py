"""What circuits can reach: against Kronecker products, NumPy's states and scikit-learn's principal components."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from objectives.circuits.batch import states
from objectives.circuits.embeddings import reach
from objectives.circuits.embeddings.reach import Config, Reach, build, extremes, sketched
from objectives.circuits.latents import exported, fitted, restored
from spaces.circuits.gates import CODES, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample
from tests.objectives.circuits.drawn import dense_states, pools

PAULIS = {"X": [[0, 1], [1, 0]], "Y": [[0, -1j], [1j, 0]], "Z": [[1, 0], [0, -1]]}
SMALL = Config(settings=3, latent=5)


def drawn(count: int, seed: int = 0) -> Pool:
    return sample(paper(), count, np.random.default_rng(seed))


def learnt(config: Config = SMALL, pool: Pool | None = None, slots: int = 10, seed: int = 0) -> Reach:
    pool = drawn(80) if pool is None else pool
    embedding = build(config, pool.wires, slots)
    assert list(embedding.fit(pool, seed=seed)) == []
    return embedding


def word(wires: int, letters: dict[int, str]) -> np.ndarray:
    found = np.eye(1)
    for wire in range(wires):
        found = np.kron(found, PAULIS[letters[wire]] if wire in letters else np.eye(2))
    return found


def naive_sketch(psi: np.ndarray) -> list[np.ndarray]:
    """One state's four blocks, by matrices on the whole register; mixedness by the purity of what is left of it."""
    wires = psi.size.bit_length() - 1

    def expected(letters: dict[int, str]) -> float:
        return (psi.conj() @ word(wires, letters) @ psi).real

    local = {(a, p): expected({a: p}) for a in range(wires) for p in "XYZ"}
    joint, connected = [], []
    for a, b in combinations(range(wires), 2):
        for p in "XYZ":
            for q in "XYZ":
                joint.append(expected({a: p, b: q}))
                connected.append(joint[-1] - local[a, p] * local[b, q])
    mixed = []
    for a in range(wires):
        left = np.moveaxis(psi.reshape((2,) * wires), a, 0).reshape(2, -1)
        density = left @ left.conj().T
        mixed.append(2 - 2 * np.trace(density @ density).real)
    return [np.array(list(local.values())), np.array(joint), np.array(connected), np.array(mixed)]


def naive_places(embedding: Reach, pool: Pool, setting: int) -> Pool:
    """The circuits with the angles of a setting: the k-th gate with angles on each wire has its own."""
    found = []
    angles = embedding.angles[setting].reshape(embedding.wires, embedding.slots, 3)
    for circuit in pool:
        seen, placed = [0] * pool.wires, []
        for name, *rest in circuit:
            kind = GATES[CODES[name]]
            on = rest[: kind.wires]
            if kind.parameters:
                first = min(on) if kind.symmetric else on[0]
                placed.append((name, *on, *angles[first, seen[first], : kind.parameters]))
                seen[first] += 1
            else:
                placed.append((name, *on))
        found.append(placed)
    return Pool.of(pool.wires, found)


def naive_blocks(embedding: Reach, pool: Pool) -> list[np.ndarray]:
    """Mean, largest and smallest over the settings, block by block: (B, 3 F_i) each."""
    runs = [
        [naive_sketch(psi) for psi in dense_states(naive_places(embedding, pool, k))]
        for k in range(len(embedding.angles))
    ]
    blocks = []
    for block in range(4):
        values = np.array([[sketch[block] for sketch in run] for run in runs])
        blocks.append(np.concatenate([values.mean(0), values.max(0), values.min(0)], axis=1))
    return blocks


# What is looked at


@pytest.mark.parametrize("wires", [1, 2, 3, 4])
def test_sketches_are_those_of_matrices_on_the_whole_register(wires: int) -> None:
    rng = np.random.default_rng(wires)
    psi = rng.normal(size=(3, 2**wires)) + 1j * rng.normal(size=(3, 2**wires))
    psi /= np.linalg.norm(psi, axis=1, keepdims=True)
    found = sketched(psi)
    pairs = wires * (wires - 1) // 2
    assert [block.shape for block in found] == [(3, 3 * wires), (3, 9 * pairs), (3, 9 * pairs), (3, wires)]
    for row in range(3):
        for block, expected in zip(found, naive_sketch(psi[row]), strict=True):
            np.testing.assert_allclose(block[row], expected, atol=1e-12)


def test_bell_and_ghz_by_hand() -> None:
    bell = Pool.of(2, [[("H", 0), ("CNOT", 0, 1)]])
    local, joint, connected, mixed = (block[0] for block in sketched(states(bell)))
    np.testing.assert_allclose(local, 0, atol=1e-12)
    np.testing.assert_allclose(joint.reshape(3, 3), np.diag([1, -1, 1]), atol=1e-12)  # XX, YY, ZZ
    np.testing.assert_allclose(connected, joint, atol=1e-12)
    np.testing.assert_allclose(mixed, 1, atol=1e-12)
    ghz = Pool.of(4, [[("H", 0), ("CNOT", 0, 1), ("CNOT", 1, 2), ("CNOT", 2, 3)]])
    local, joint, connected, mixed = (block[0] for block in sketched(states(ghz)))
    np.testing.assert_allclose(local, 0, atol=1e-12)
    np.testing.assert_allclose(joint.reshape(6, 3, 3), np.tile(np.diag([0, 0, 1]), (6, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(connected, joint, atol=1e-12)
    np.testing.assert_allclose(mixed, 1, atol=1e-12)


@given(pools(st.integers(2, 4)))
@settings(max_examples=25, deadline=None)
def test_products_are_neither_correlated_nor_mixed(pool: Pool) -> None:
    single = [[gate for gate in circuit if len(gate) < 3 or not isinstance(gate[2], int)] for circuit in pool]
    _, _, connected, mixed = sketched(states(Pool.of(pool.wires, single)))
    np.testing.assert_allclose(connected, 0, atol=1e-12)
    np.testing.assert_allclose(mixed, 0, atol=1e-12)


def test_extremes_by_hand() -> None:
    values = [np.array([[1.0, 5.0]]), np.array([[4.0, -1.0]]), np.array([[1.0, -1.0]])]
    np.testing.assert_allclose(extremes(iter(values)), [[2, 1, 4, 5, 1, -1]])
    assert values[0].tolist() == [[1, 5]]
    np.testing.assert_allclose(extremes(values[:1]), [[1, 5, 1, 5, 1, 5]])


# The vectors


@given(pools(st.just(3), gates=8), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_vector_is_the_projected_sketch_at_the_settings(pool: Pool, seed: int) -> None:
    """Of circuits of all gates of the table, that were not learnt from."""
    embedding = learnt(SMALL, sample(paper(wires=3), 40, np.random.default_rng(0)), seed=seed)
    blocks = naive_blocks(embedding, pool)
    # what is kept stands statistic by statistic, not block by block
    sketch = np.concatenate([np.split(block, 3, axis=1)[k] for k in range(3) for block in blocks], axis=1)
    expected = (sketch - embedding.centre) @ embedding.components
    np.testing.assert_allclose(embedding.embed(pool), expected, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, Config(settings=2, latent=3, entanglement=2.0)])
def test_components_are_those_of_scikit_learn(config: Config) -> None:
    pool = drawn(60)
    embedding = learnt(config, pool)
    blocks = naive_blocks(embedding, pool)
    weights = (1, 1, config.entanglement, config.entanglement)
    scaled = [w * block / np.sqrt(block.var(axis=0).sum()) for w, block in zip(weights, blocks, strict=True)]
    expected = PCA(config.latent, svd_solver="full").fit_transform(np.concatenate(scaled, axis=1))
    expected /= np.sqrt((expected**2).mean())
    vectors = embedding.embed(pool)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors * np.sign(vectors[0]), expected * np.sign(expected[0]), atol=1e-4)
    assert (vectors**2).mean() == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors.mean(axis=0)).max() < 1e-5


def test_a_vector_is_that_of_a_single_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, embedding = drawn(150, seed=1), learnt()
    vectors = embedding.embed(pool)
    order = np.random.default_rng(0).permutation(150)[:40]
    np.testing.assert_allclose(embedding.embed(pool[order]), vectors[order], atol=1e-5)
    monkeypatch.setattr(reach, "AMPLITUDES", 7 * 16)
    np.testing.assert_allclose(embedding.embed(pool), vectors, atol=1e-5)
    pieces = learnt()  # of 7 circuits
    np.testing.assert_allclose(pieces.centre, embedding.centre, atol=1e-12)
    np.testing.assert_allclose(np.abs(pieces.components), np.abs(embedding.components), atol=1e-8)


def test_angles_and_who_shares_them_make_no_difference() -> None:
    pool, embedding = drawn(50), learnt()
    vectors = embedding.embed(pool)
    turned = replace(pool, theta=np.random.default_rng(1).uniform(0, 6, pool.theta.shape))
    np.testing.assert_array_equal(embedding.embed(turned), vectors)
    first = np.where(pool.parameter >= 0, 0, pool.parameter)
    shared = replace(pool, parameter=first, theta=pool.theta[:, :3])  # a U3 reads three
    np.testing.assert_array_equal(embedding.embed(shared), vectors)


def test_what_the_vectors_tell_apart() -> None:
    circuit = [("RX", 0, 0.1), ("RY", 1, 0.2), ("H", 3), ("CNOT", 0, 1), ("CZ", 1, 2), ("RY", 2, 0.3)]
    disjoint = [("H", 3), ("RY", 1, 0.2), ("RX", 0, 0.1), ("CNOT", 0, 1), ("CZ", 1, 2), ("RY", 2, 0.3)]
    exchanged = [*circuit[:4], ("CZ", 2, 1), circuit[5]]
    turned = [*circuit[:3], ("CNOT", 1, 0), *circuit[4:]]
    earlier = [*circuit[:4], circuit[5], circuit[4]]
    vectors = learnt().embed(Pool.of(4, [circuit, disjoint, exchanged, turned, earlier]))
    distance = np.abs(vectors[1:] - vectors[0]).max(axis=1)
    assert (distance[:2] < 1e-6).all()
    assert (distance[2:] > 0.1).all()
    symmetric = Pool.of(4, [[("H", 0), ("RXX", a, b, 0.1), ("RX", 0, 0.1)] for a, b in ((0, 1), (1, 0))])
    np.testing.assert_allclose(*learnt().embed(symmetric), atol=1e-6)


def test_what_has_no_angles_reaches_one_state() -> None:
    pool = Pool.of(3, [[("H", 0), ("CNOT", 0, 1)], [("X", 1)], []])
    (sketch,) = learnt(pool=sample(paper(3), 20, np.random.default_rng(0)))._sketches(pool, np.zeros((4, 90)), 1)
    mean, largest, smallest = np.split(sketch, 3, axis=1)
    np.testing.assert_allclose(mean, largest, atol=1e-12)
    np.testing.assert_array_equal(largest, smallest)


def test_one_rotation_reaches_a_circle() -> None:
    pool = Pool.of(1, [[("RX", 0, 0.0)], [("H", 0)], [("RY", 0, 0.0)]])
    embedding = learnt(Config(settings=64), pool, slots=1)
    (sketch,) = embedding._sketches(pool[:1], embedding.angles, 1)
    x, y, z, mixed = sketch.reshape(3, 4).T
    theta = embedding.angles[:, 0]
    np.testing.assert_allclose(x, 0, atol=1e-12)
    np.testing.assert_allclose(y, [(-np.sin(theta)).mean(), (-np.sin(theta)).max(), (-np.sin(theta)).min()], atol=1e-12)
    np.testing.assert_allclose(z, [np.cos(theta).mean(), np.cos(theta).max(), np.cos(theta).min()], atol=1e-12)
    np.testing.assert_allclose(mixed, 0, atol=1e-12)
    assert embedding.embed(pool).shape == (3, 2)  # three points span a plane


def test_what_does_not_vary_is_left_out_and_not_blown_up() -> None:
    products = Pool.of(4, [[gate for gate in circuit if gate[0] in ("RX", "RY", "H")] for circuit in drawn(60)])
    with_them = learnt(replace(SMALL, entanglement=3.0), products)
    np.testing.assert_allclose(with_them.embed(products), learnt(SMALL, products).embed(products), atol=1e-5)
    assert not with_them.components.reshape(3, -1, 5)[:, 12 + 54 :].any()
    same = learnt(SMALL, drawn(1)[np.zeros(9, int)])
    np.testing.assert_allclose(same.embed(drawn(1)), 0, atol=1e-6)
    assert np.isfinite(same.embed(drawn(5))).all()
    two = learnt(SMALL, drawn(2))
    assert two.embed(drawn(5)).shape == (5, 1)
    np.testing.assert_allclose(np.abs(two.embed(drawn(2))), 1, atol=1e-5)


def test_the_seed_decides() -> None:
    pool = drawn(30, seed=1)
    found = [learnt(seed=seed).embed(pool) for seed in (1, 1, 2)]
    assert found[0].tobytes() == found[1].tobytes()
    assert np.abs(found[0] - found[2]).max() > 0.1


def test_circuits_run_on_the_threads_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(reach, "states", lambda pool, threads: seen.append(threads) or states(pool, threads=threads))
    embedding = build(SMALL, 4, 10)
    list(embedding.fit(drawn(20), seed=0, threads=5))
    embedding.embed(drawn(20))
    assert seen == [5] * 3 + [torch.get_num_threads()] * 3


# What is kept and what is refused


def test_a_fit_is_kept_and_taken_elsewhere(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    pool, others = drawn(40), drawn(20, seed=5)
    embedding = fitted(pool, "reach", SMALL, seed=4)
    vectors = embedding.embed(others)
    np.testing.assert_array_equal(learnt(SMALL, pool, seed=4).embed(others), vectors)
    monkeypatch.setattr(Reach, "fit", lambda *given: pytest.fail("fitted again"))
    np.testing.assert_array_equal(fitted(pool, "reach", SMALL, seed=4).embed(others), vectors)
    for file, content in exported(embedding, "reach", SMALL, 4, 10).items():
        (tmp_path / file).write_bytes(content)
    np.testing.assert_array_equal(restored(tmp_path).embed(others), vectors)


def test_what_is_fitted_stays_and_states_are_copies() -> None:
    embedding = learnt()
    vectors, state = embedding.embed(drawn(5)), embedding.state_dict()
    list(embedding.fit(drawn(50, seed=3), seed=9))  # nothing is left to do
    state["angles"].zero_()
    np.testing.assert_array_equal(embedding.embed(drawn(5)), vectors)


def test_what_cannot_be_embedded_is_refused() -> None:
    embedding = learnt()
    with pytest.raises(CircuitError, match="5 wires; the embedding is one of circuits on 4"):
        embedding.embed(Pool.of(5, [[("H", 0)]]))
    with pytest.raises(CircuitError, match="a circuit of 11 gates; the embedding is one of at most 10"):
        embedding.embed(Pool.of(4, [[("H", 0)] * 11]))
    pool = drawn(3)
    with pytest.raises(CircuitError, match="circuits that read inputs"):
        embedding.embed(replace(pool, theta=pool.theta[:, :0]))
    with pytest.raises(CircuitError, match="found 1 circuits; principal components take 2"):
        next(build(SMALL, 4, 10).fit(drawn(1), seed=0))
    with pytest.raises(RuntimeError, match="not been fitted"):
        build(SMALL, 4, 10).embed(pool)
