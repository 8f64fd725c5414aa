"""Embeddings of a pool are fitted once, kept with their weights, and taken elsewhere; latents are theirs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from objectives import SHELVES
from objectives.circuits.embeddings import gin_vae, one_hot, raw_mean
from objectives.circuits.embeddings.gin_vae import Config
from objectives.circuits.latents import exported, fitted, latents, restored
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import paper, sample

SMALL = Config(epochs=1, hidden=16, latent=4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def never(monkeypatch):
    """From now on, nothing may be fitted."""
    return lambda: monkeypatch.setattr(gin_vae.GinVae, "fit", lambda *given: pytest.fail("fitted again"))


def drawn(count=200, seed=0):
    return sample(paper(), count, np.random.default_rng(seed))


def same(one, other, pool):
    """Whether two embeddings embed and generate the same bytes."""
    made = [(e.embed(pool), *e.generate(pool, 20, seed=1)) for e in (one, other)]
    return all(a.tobytes() == b.tobytes() for a, b in zip(*made, strict=True))


def test_latents_are_fitted_once_and_kept(never):
    pool, heard = drawn(), []
    first = latents(pool, "gin_vae", SMALL, seed=3, tell=heard.append)
    embedding = SHELVES["embedding"].load("gin_vae").build(SMALL, 4, 10)
    assert [set(metrics) >= {"acc_ops", "acc_adj"} for metrics in heard] == [True]
    list(embedding.fit(pool, 3))
    np.testing.assert_array_equal(first, embedding.embed(pool))
    never()
    np.testing.assert_array_equal(latents(pool, "gin_vae", SMALL, seed=3), first)


def test_what_decides_latents_decides_what_is_kept():
    pool, turned = drawn(120), drawn(120, seed=1)
    one = latents(pool, "raw_mean")
    assert one.shape == (120, 17)
    assert not np.array_equal(one, latents(turned, "raw_mean"))
    small = replace(SMALL, epochs=0)
    assert not np.array_equal(latents(pool, "gin_vae", small, seed=0), latents(pool, "gin_vae", small, seed=1))


def test_a_fit_is_kept_with_its_weights_and_comes_back_to_the_byte(never):
    pool, others, heard = drawn(), drawn(50, seed=9), []
    made = fitted(pool, "gin_vae", SMALL, seed=3, tell=heard.append)
    direct = gin_vae.build(SMALL, 4, 10)
    assert heard == list(direct.fit(pool, 3))
    never()
    again = fitted(pool, "gin_vae", SMALL, seed=3, tell=lambda metrics: pytest.fail("told again"))
    for embedding in (made, again):
        assert same(embedding, direct, others)
    np.testing.assert_array_equal(latents(pool, "gin_vae", SMALL, seed=3), direct.embed(pool))


def test_what_decides_a_fit_decides_what_is_kept(cache):
    pool = drawn(120)
    small = replace(SMALL, epochs=0)
    for change in ({}, {"seed": 1}, {"config": replace(small, latent=5)}, {"threads": 2}, {"pool": drawn(119)}):
        fitted(**{"pool": pool, "name": "gin_vae", "config": small} | change)
    turned = replace(pool, theta=pool.theta + 1)  # angles are not seen
    fitted(turned, "gin_vae", small)
    assert len(list(cache.glob("*.npz"))) == 5


@pytest.mark.parametrize("harm", ["cut", "emptied", "flipped", "replaced"])
def test_a_damaged_file_is_made_anew(cache, harm, never):
    pool, others = drawn(120), drawn(30, seed=9)
    first = fitted(pool, "gin_vae", SMALL)
    (file,) = cache.glob("*.npz")
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :]
    file.write_bytes({"cut": whole[:-100], "emptied": b"", "flipped": flipped, "replaced": b"other"}[harm])
    assert same(fitted(pool, "gin_vae", SMALL), first, others)
    never()
    assert same(fitted(pool, "gin_vae", SMALL), first, others)


def test_what_trains_nothing_keeps_no_weights(cache):
    pool, others = drawn(120), drawn(30, seed=9)
    for module in (raw_mean, one_hot):
        name = module.__name__.rpartition(".")[2]
        found = fitted(pool, name)
        np.testing.assert_array_equal(found.embed(others), module.build(module.Config(), 4, 10).embed(others))
    assert not list(cache.glob("*.npz"))


def test_latents_kept_before_stay_valid(cache):
    """The file's name was that of the first version of the format, which kept latents alone."""
    pool = Pool.of(2, [[("H", 0), ("CNOT", 0, 1)], [("RX", 1, 0.5), ("CNOT", 1, 0)]])
    latents(pool, "raw_mean", seed=7)
    assert [file.name for file in cache.glob("*.npz")] == ["latents-7a29b52a4f40c6cf1a132643.npz"]


def test_exported_files_restore_the_embedding(tmp_path):
    pool, others = drawn(), drawn(50, seed=9)
    loaded = {name: SHELVES["embedding"].load(name) for name in SHELVES["embedding"].names()}
    configs = {name: c.config(**(vars(SMALL) if name == "gin_vae" else {})) for name, c in loaded.items()}
    for name, config in configs.items():
        if hasattr(config, "epochs"):
            config = configs[name] = replace(config, epochs=1)
        embedding, folder = fitted(pool, name, config), tmp_path / name
        folder.mkdir()
        for file, content in exported(embedding, name, config, 4, 10).items():
            (folder / file).write_bytes(content)
        back = restored(folder)
        np.testing.assert_array_equal(back.embed(others), embedding.embed(others))
    assert {file.name for file in (tmp_path / "one_hot").iterdir()} == {"embedding.json"}
    assert same(restored(tmp_path / "gin_vae"), fitted(pool, "gin_vae", SMALL), others)
    card = json.loads((tmp_path / "gin_vae" / "embedding.json").read_text())
    assert (card["embedding"], card["wires"], card["slots"], card["state"]) == ("gin_vae", 4, 10, {"epoch": 1})
    assert Config(**card["config"]) == SMALL


@pytest.mark.parametrize("harm", ["missing", "json", "weights", "other", "format"])
def test_what_cannot_be_restored_is_refused(tmp_path, harm):
    for file, content in exported(fitted(drawn(60), "gin_vae", SMALL), "gin_vae", SMALL, 4, 10).items():
        (tmp_path / file).write_bytes(content)
    card, weights = tmp_path / "embedding.json", tmp_path / "embedding.safetensors"
    match harm:
        case "missing":
            weights.unlink()
        case "json":
            card.write_text("{")
        case "weights":
            weights.write_bytes(weights.read_bytes()[:-50])
        case "other":
            card.write_text(card.read_text().replace('"latent": 4', '"latent": 5'))
        case "format":
            card.write_text(card.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CircuitError, match="no embedding can be read here"):
        restored(tmp_path)
