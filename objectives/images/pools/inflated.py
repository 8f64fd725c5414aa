"""Inflation: generated images join the real ones, each of which counts several times.

Generated images have errors of their own, so real ones are replicated; and as both generation and augmentation make
more of the data, the more is generated, the weaker augmentations should be. An epoch stays as long as it was, so that
no training is bought. Section 4 of Wang et al., "Do Generated Data Always Help Contrastive Learning?" (ICLR 2024, arXiv
2403.12448), which draws from diffusion models of its images. The generators here (`objectives.parts.generators`) are
small ones of the images' principal axes, fitted before the first epoch on the training images alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from objectives.images.encoder import prepare
from objectives.images.pools import Fill, Pool
from objectives.parts import generators
from spaces.domains import Choice, Int, Uniform

AXES = 64  # principal axes at most
AT_ONCE = 4096  # images that are made of their axes at once


@dataclass(frozen=True)
class Config:
    """The paper, on CIFAR-10: 20 generated images for each real one, ten replicas."""

    generated: Annotated[float, Uniform(0.0, 50.0)] = 2.0  # images for each real one
    replicas: Annotated[int, Int(1, 50, log=True)] = 10  # as how many each real one counts
    generator: Annotated[str, Choice("kde", "gmm", "mixture", "vae", "diffusion")] = "kde"
    fitted: Annotated[int, Int(50, 50000, log=True)] = 5000  # images, evenly spaced, that it is fitted on
    bandwidth: Annotated[float, Uniform(0.0, 1.0)] = 0.3  # of kde, in deviations of the images along each axis
    components: Annotated[int, Int(1, 200, log=True)] = 50  # of gmm
    steps: Annotated[int, Int(100, 20000, log=True)] = 2000  # of training, of vae and diffusion


def build(config: Config) -> Fill:
    """What fills the pool."""

    def fill(images: Tensor, seed: int) -> Pool:
        count = round(config.generated * len(images))
        rows = torch.arange(len(images)).repeat(config.replicas)
        if not count:
            return Pool(images, rows)
        pixels = prepare(images).flatten(1).cpu().numpy()
        whole = torch.cat([images, *(_stored(part, images) for part in generated(pixels, count, config, seed))])
        return Pool(whole, torch.cat([rows, torch.arange(len(images), len(whole))]))

    return fill


def generated(pixels: np.ndarray, count: int, config: Config, seed: int) -> Iterator[np.ndarray]:
    """`count` new rows after the rows of pixels `(N, P)`, some at a time; not yet clipped."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(seed)
    some = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), config.fitted)).astype(int)].astype(np.float64)
    axes = PCA(min(AXES, *some.shape), random_state=seed % 2**32).fit(some)
    codes = _drawn(axes.transform(some), count, config, rng)
    return (axes.inverse_transform(codes[first : first + AT_ONCE]) for first in range(0, count, AT_ONCE))


def _stored(made: np.ndarray, images: Tensor) -> Tensor:
    """Rows of pixels as images of the same form, type and device as others."""
    found = torch.from_numpy(made).float().view(len(made), *images.shape[1:]).clamp(0, 1)
    return ((found * 255).round() if images.dtype == torch.uint8 else found).to(images)


def _drawn(codes: np.ndarray, count: int, config: Config, rng: np.random.Generator) -> np.ndarray:
    match config.generator:
        case "kde":
            return generators.kde(codes, count, rng, config.bandwidth)
        case "gmm":
            return generators.gmm(codes, count, rng, config.components)
        case "mixture":
            return generators.mixture(codes, count, rng)
        case "vae":
            return generators.vae(codes, count, rng, config.steps)
        case _:
            return generators.diffusion(codes, count, rng, config.steps)
