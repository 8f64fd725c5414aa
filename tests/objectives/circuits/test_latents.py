"""Latents of a pool are those of its embedding, fitted once."""

import numpy as np
import pytest

from objectives import SHELVES
from objectives.circuits import latents as module
from objectives.circuits.embeddings.gin_vae import Config
from objectives.circuits.latents import latents
from spaces.circuits.sampler import paper, sample


@pytest.fixture(autouse=True)
def kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))


def test_latents_are_fitted_once_and_kept(monkeypatch):
    pool, config = sample(paper(), 200, np.random.default_rng(0)), Config(epochs=1, hidden=16, latent=4)
    heard = []
    first = latents(pool, "gin_vae", config, seed=3, tell=heard.append)
    embedding = SHELVES["embedding"].load("gin_vae").build(config, 4, 10)
    assert [set(metrics) >= {"acc_ops", "acc_adj"} for metrics in heard] == [True]
    list(embedding.fit(pool, 3))
    np.testing.assert_array_equal(first, embedding.embed(pool))
    monkeypatch.setattr(module, "_fitted", lambda *given: pytest.fail("fitted again"))
    np.testing.assert_array_equal(latents(pool, "gin_vae", config, seed=3), first)


def test_what_decides_latents_decides_what_is_kept():
    pool = sample(paper(), 120, np.random.default_rng(0))
    turned = sample(paper(), 120, np.random.default_rng(1))
    one = latents(pool, "raw_mean")
    assert one.shape == (120, 17)
    assert not np.array_equal(one, latents(turned, "raw_mean"))
    small = Config(epochs=0, hidden=16, latent=4)
    assert not np.array_equal(latents(pool, "gin_vae", small, seed=0), latents(pool, "gin_vae", small, seed=1))
