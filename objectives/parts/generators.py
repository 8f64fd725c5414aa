"""Generators: they are fitted to rows `(N, D)`, float64, and draw new ones like them, `(count, D)`.

kde        a row plus Gaussian noise
gmm        a mixture of Gaussians
mixture    a point between a row and one of its nearest
vae        a variational autoencoder: Kingma & Welling, "Auto-Encoding Variational Bayes" (ICLR 2014, arXiv
           1312.6114), its noise the error that is left: Rybkin et al., "Simple and Effective VAE Training with
           Calibrated Decoders" (ICML 2021, arXiv 2006.13202), eq. 6
diffusion  a denoiser of every level of noise, and Heun's method along them: Karras et al., "Elucidating the Design
           Space of Diffusion-Based Generative Models" (NeurIPS 2022, arXiv 2206.00364), Table 1 and Algorithm 1
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

NEAREST = 5  # rows of which one is mixed in
BATCH, HIDDEN, RATE = 256, 256, 1e-3  # of the two that are trained
LATENT = 16  # of the autoencoder
NOISE_MEAN, NOISE_STD = -1.2, 1.2  # of ln sigma, in training
SIGMA_MIN, SIGMA_MAX, RHO, LEVELS = 0.002, 80.0, 7.0, 18  # in sampling
BANDS = 16  # cosines that tell the denoiser its sigma


def kde(rows: np.ndarray, count: int, rng: np.random.Generator, bandwidth: float) -> np.ndarray:
    """`bandwidth` is the noise's deviation, in deviations of each column."""
    noise = rng.normal(size=(count, rows.shape[1]))
    return rows[rng.integers(len(rows), size=count)] + bandwidth * rows.std(axis=0) * noise


def gmm(rows: np.ndarray, count: int, rng: np.random.Generator, components: int) -> np.ndarray:
    """So many Gaussians, each of a diagonal covariance; at most one a row."""
    from sklearn.mixture import GaussianMixture

    state = int(rng.integers(2**31))
    fitted = GaussianMixture(min(components, len(rows)), covariance_type="diag", random_state=state).fit(rows)
    return fitted.sample(count)[0][rng.permutation(count)]


def mixture(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The share of either row is uniform."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(NEAREST, len(rows) - 1)).fit(rows).kneighbors(return_distance=False)
    one = rng.integers(len(rows), size=count)
    other = near[one, rng.integers(near.shape[1], size=count)]
    share = rng.random((count, 1))
    return share * rows[one] + (1 - share) * rows[other]


def vae(rows: np.ndarray, count: int, rng: np.random.Generator, steps: int) -> np.ndarray:
    """Two hidden layers on either side, trained for so many steps; what is drawn has the decoder's noise."""

    def draw(rows: Tensor) -> Tensor:
        columns = rows.shape[1]
        encoder, decoder = _mlp(columns, 2 * LATENT), _mlp(LATENT, columns)

        def passed(x: Tensor) -> tuple[Tensor, Tensor]:
            """How far the codes of rows are from the prior, in nats, and the mean squared error of what they give."""
            mean, log_variance = encoder(x).chunk(2, dim=1)
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
            return divergence, (x - decoder(z)).square().mean()

        def loss(x: Tensor) -> Tensor:
            divergence, error = passed(x)
            return divergence + columns / 2 * error.clamp(min=1e-6).log()  # the noise that is best is the error's

        _train(loss, rows, steps, encoder, decoder)
        made = decoder(torch.randn(count, LATENT))
        return made + passed(rows)[1].sqrt() * torch.randn_like(made)

    return _learned(draw, rows, rng)


def diffusion(rows: np.ndarray, count: int, rng: np.random.Generator, steps: int) -> np.ndarray:
    """A denoiser of two hidden layers, trained for so many steps."""

    def draw(rows: Tensor) -> Tensor:
        network = _mlp(rows.shape[1] + BANDS, rows.shape[1])

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            kept = 1 / (1 + sigma.square())  # for data of deviation 1
            bands = torch.cos(sigma.log() / 4 * torch.arange(BANDS) + torch.arange(BANDS) % 2 * torch.pi / 2)
            told = torch.cat([kept.sqrt() * x, bands.expand(len(x), BANDS)], dim=1)
            return kept * x + sigma * kept.sqrt() * network(told)

        def loss(x: Tensor) -> Tensor:
            sigma = (NOISE_MEAN + NOISE_STD * torch.randn(len(x), 1)).exp()
            error = denoised(x + sigma * torch.randn_like(x), sigma) - x
            return ((1 + sigma.square()) / sigma.square() * error.square()).mean()

        _train(loss, rows, steps, network)
        return heun(denoised, SIGMA_MAX * torch.randn(count, rows.shape[1]))

    return _learned(draw, rows, rng)


@torch.no_grad()
def heun(denoised: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """What is left of noise `(M, D)` of deviation SIGMA_MAX when a denoiser of (x, sigma) has led it to no noise."""
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    sigmas = [(high + i / (LEVELS - 1) * (low - high)) ** RHO for i in range(LEVELS)]
    for sigma, following in pairwise([*sigmas, 0.0]):
        slope = (x - denoised(x, torch.tensor([[sigma]]))) / sigma
        ahead = x + (following - sigma) * slope
        if following:
            other = (ahead - denoised(ahead, torch.tensor([[following]]))) / following
            ahead = x + (following - sigma) * (slope + other) / 2
        x = ahead
    return x


def _learned(draw: Callable[[Tensor], Tensor], rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What `draw` makes of rows of mean 0 and, all columns together, deviation 1; its dice are torch's, by `rng`."""
    mean = rows.mean(axis=0)
    std = float((rows - mean).std()) or 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        made = draw(torch.from_numpy((rows - mean) / std).float())
    return made.double().numpy() * std + mean


def _mlp(columns: int, out: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(columns, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, out)
    )


def _train(loss: Callable[[Tensor], Tensor], rows: Tensor, steps: int, *networks: nn.Module) -> None:
    """Trains networks for so many steps; they are fixed from then on."""
    optimizer = torch.optim.Adam([p for network in networks for p in network.parameters()], RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(rows[torch.randint(len(rows), (BATCH,))]).backward()
        optimizer.step()
    for network in networks:
        network.requires_grad_(False)
