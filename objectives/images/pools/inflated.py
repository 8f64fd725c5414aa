"""Inflation: generated images join the real ones, each of which counts several times.

Generated images have errors of their own, so real ones are replicated; and as both generation and augmentation make
more of the data, the more is generated, the weaker augmentations should be. An epoch stays as long as it was, so that
no training is bought. Section 4 of Wang et al., "Do Generated Data Always Help Contrastive Learning?" (ICLR 2024, arXiv
2403.12448), which takes diffusion models; here are generators that need no training of their own, fitted on the
training images alone:

    kde       an image plus Gaussian noise along the principal axes, a bandwidth times the images' deviation
    gmm       a mixture of Gaussians in the principal axes
    mixture   a point between an image and one of its nearest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from objectives.images.encoder import prepare
from objectives.images.pools import Fill, Pool
from spaces.domains import Choice, Int, Uniform

AXES = 64  # principal axes at most
NEAREST = 5  # images of which one is mixed in
FITTED = 5000  # images, evenly spaced, that a generator is fitted on


@dataclass(frozen=True)
class Config:
    """The paper, on CIFAR-10: 20 generated images for each real one, ten replicas."""

    generated: Annotated[float, Uniform(0.0, 50.0)] = 2.0  # images for each real one
    replicas: Annotated[int, Int(1, 50, log=True)] = 10  # as how many each real one counts
    generator: Annotated[str, Choice("kde", "gmm", "mixture")] = "kde"
    bandwidth: Annotated[float, Uniform(0.0, 1.0)] = 0.3  # of kde, in deviations of the images along each axis
    components: Annotated[int, Int(1, 200, log=True)] = 50  # of gmm


def build(config: Config) -> Fill:
    """What fills the pool."""

    def fill(images: Tensor, seed: int) -> Pool:
        count = round(config.generated * len(images))
        rows = torch.arange(len(images)).repeat(config.replicas)
        if not count:
            return Pool(images, rows)
        made = generated(prepare(images).flatten(1).cpu().numpy(), count, config, seed)
        found = torch.from_numpy(made).view(count, *images.shape[1:]).clamp(0, 1)
        stored = (found * 255).round().to(torch.uint8) if images.dtype == torch.uint8 else found
        whole = torch.cat([images, stored.to(images.device)])
        return Pool(whole, torch.cat([rows, torch.arange(len(images), len(whole))]))

    return fill


def generated(pixels: np.ndarray, count: int, config: Config, seed: int) -> np.ndarray:
    """`count` new rows after the rows of pixels `(N, P)`, float32; not yet clipped."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    some = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), FITTED)).astype(int)].astype(np.float64)
    axes = PCA(min(AXES, *some.shape), random_state=seed % 2**32).fit(some)
    codes = {"kde": _kde, "gmm": _gmm, "mixture": _mixture}[config.generator](axes.transform(some), count, config, rng)
    return axes.inverse_transform(codes).astype(np.float32)


def _kde(z: np.ndarray, count: int, config: Config, rng: np.random.Generator) -> np.ndarray:
    return z[rng.integers(len(z), size=count)] + config.bandwidth * z.std(axis=0) * rng.normal(size=(count, z.shape[1]))


def _gmm(z: np.ndarray, count: int, config: Config, rng: np.random.Generator) -> np.ndarray:
    from sklearn.mixture import GaussianMixture

    state = int(rng.integers(2**31))
    mixture = GaussianMixture(min(config.components, len(z)), covariance_type="diag", random_state=state).fit(z)
    return mixture.sample(count)[0][rng.permutation(count)]


def _mixture(z: np.ndarray, count: int, config: Config, rng: np.random.Generator) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(NEAREST, len(z) - 1)).fit(z).kneighbors(return_distance=False)
    one = rng.integers(len(z), size=count)
    other = near[one, rng.integers(near.shape[1], size=count)]
    share = rng.random((count, 1))
    return share * z[one] + (1 - share) * z[other]
