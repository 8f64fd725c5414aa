"""Generators on rows whose distribution is known, and the sampler of the diffusion on a denoiser in closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from objectives.parts import generators

Draw = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
DRAW: dict[str, Draw] = {
    "kde": partial(generators.kde, bandwidth=0.2),
    "gmm": partial(generators.gmm, components=40),
    "mixture": generators.mixture,
    "vae": partial(generators.vae, steps=400),
    "diffusion": partial(generators.diffusion, steps=400),
}
PLANE = np.random.default_rng(7).normal(size=(2, 6))


def near_a_plane(count: int, seed: int) -> np.ndarray:
    """Gaussian rows `(count, 6)`, deviation 0.1 off a plane away from 0."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)) @ PLANE + 0.1 * rng.normal(size=(count, 6)) + 3


@pytest.mark.parametrize("name", DRAW)
def test_what_is_drawn_has_the_mean_and_covariance_of_the_rows(name: str) -> None:
    rows = near_a_plane(2000, 0)
    made = DRAW[name](rows, 3000, np.random.default_rng(1))
    truth = np.cov(rows.T)
    assert made.shape == (3000, 6)
    assert np.abs(made.mean(axis=0) - rows.mean(axis=0)).max() < 0.2
    assert np.abs(np.cov(made.T) - truth).max() < 0.2 * truth.max()
    off = np.linalg.svd(PLANE)[2][2:]  # axes that leave the plane
    assert ((made - 3) @ off.T).std() < (0.35 if name in ("kde", "gmm") else 0.15)  # noise along columns leaves it


@pytest.mark.parametrize("name", DRAW)
def test_the_dice_alone_decide_and_no_others_are_thrown(name: str) -> None:
    rows = near_a_plane(100, 0)
    draw = partial(DRAW[name], steps=20) if name in ("vae", "diffusion") else DRAW[name]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    made = draw(rows, 50, np.random.default_rng(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert np.array_equal(draw(rows, 50, np.random.default_rng(1)), made)
    assert not np.array_equal(draw(rows, 50, np.random.default_rng(2)), made)


@pytest.mark.parametrize("name", ["vae", "diffusion"])
def test_equal_rows_are_drawn_again(name: str) -> None:
    made = getattr(generators, name)(np.full((40, 3), 2.5), 20, np.random.default_rng(0), 50)
    assert np.isfinite(made).all()


def test_heuns_method_on_the_exact_denoiser_of_a_gaussian() -> None:
    """Rows of N(1, 0.5^2) have a linear denoiser, and the flow takes x to 1 + (x - 1) / sqrt(1 + sigma^2 / 0.5^2)."""
    x = generators.SIGMA_MAX * torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    made = generators.heun(lambda x, sigma: 1 + (x - 1) * 0.25 / (0.25 + sigma.square()), x)
    exact = 1 + (x - 1) / (1 + generators.SIGMA_MAX**2 / 0.25) ** 0.5
    assert (made - exact).abs().max() < 0.25  # of eighteen levels
    assert abs(float(made.std()) - 0.5) < 0.05
