"""The layers of CRATE, and their way back, against NumPy in float64; its contract is in `test_backbones.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives.images.backbones import crate
from tests.objectives.images.test_backbones import array, layer_norm, linear, pictures, stir


def attended(z: np.ndarray, part: crate.Subspaces) -> np.ndarray:
    """MSSA of tokens `(M, d)` with two subspaces of four dimensions, spelt out."""
    basis, heads = array(part.project.weight), []
    for one in (slice(0, 4), slice(4, 8)):
        v = z @ basis[one].T
        weight = np.exp(v @ v.T / np.sqrt(4))
        heads.append(weight / weight.sum(1, keepdims=True) @ v)
    mixed = np.concatenate(heads, axis=1)
    return mixed @ basis if part.join is None else linear(mixed, part.join)


@pytest.mark.parametrize("tie", [False, True])
def test_crate_layer_and_the_way_back_are_their_equations(tie: bool) -> None:
    eta, lam = 0.2, 0.3
    layer, back = stir(crate.Layer(8, 2, eta, lam, tie)), stir(crate.MirrorLayer(8, 2, tie))
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3)).double()
    dictionary, other = array(layer.sparsify.dictionary), array(back.dictionary)
    for z, out, undone in zip(array(tokens), array(layer(tokens)), array(back(tokens)), strict=True):
        half = layer_norm(z + attended(layer_norm(z, layer.compress_norm), layer.compress), layer.sparsify_norm)
        step = [dictionary.T @ t - dictionary.T @ dictionary @ t for t in half]
        np.testing.assert_allclose(out, np.maximum(half + eta * np.array(step) - eta * lam, 0), rtol=1e-9, atol=1e-12)
        y = layer_norm(z, back.expand_norm) @ other.T
        np.testing.assert_allclose(undone, y - attended(layer_norm(y, back.spread_norm), back.spread), rtol=1e-9)


def test_crate_with_an_orthonormal_dictionary_and_no_price_turns_tokens_by_a_step() -> None:
    part = crate.Shrinkage(8, eta=0.25, lam=0.0).double()
    dictionary = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    part.dictionary.data = torch.from_numpy(dictionary)
    tokens = torch.randn(7, 8, generator=torch.Generator().manual_seed(3)).double()
    z = array(tokens)
    np.testing.assert_allclose(array(part(tokens)), np.maximum(z + 0.25 * (z @ dictionary - z), 0), atol=1e-12)


def test_crate_step_is_downhill_on_its_lasso() -> None:
    torch.manual_seed(0)
    part = crate.Shrinkage(16, eta=0.02, lam=0.1).double()
    z = torch.randn(50, 16).double().abs()

    def price(a: torch.Tensor) -> float:
        return float((z - a @ part.dictionary.detach().T).square().sum() / 2 + 0.1 * a.sum())

    assert price(part(z).detach()) < price(z)


def test_crate_price_decides_how_sparse_tokens_are() -> None:
    shares = []
    for lam in (0.01, 0.5, 2.0):
        torch.manual_seed(0)
        net = crate.build(crate.Config(eta=0.5, lam=lam), (3, 16, 16))
        shares.append(net.densities(net.embed(pictures((3, 16, 16)))).tolist())
    assert len(shares[0]) == crate.Config().depth
    assert shares[0][0] > shares[1][0] + 0.02 > shares[2][0] + 0.2


def test_crate_ties_its_maps_to_its_subspaces() -> None:
    sizes = [sum(p.numel() for p in crate.Subspaces(12, 3, tie).parameters()) for tie in (False, True)]
    assert sizes == [2 * 144 + 12, 144]
