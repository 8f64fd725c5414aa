"""Denoising autoencoder: restore an image from a damaged copy of it.

Corruption adds Gaussian noise and blanks random squares; an encoder f and a decoder g restore the clean image x:

    loss = mean over images and pixels of ( g(f(corrupt(x))) - x )^2

Section 3 of Vincent et al., "Stacked Denoising Autoencoders" (JMLR 11, 2010), with its Gaussian and masking noise;
the whole network is trained at once, not layer by layer. Without any corruption this is a plain autoencoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import Backbone
from objectives.parts.heads import mlp
from objectives.parts.precision import full_precision
from spaces.domains import Int, Uniform


@dataclass(frozen=True)
class Config:
    """The paper tries both kinds of corruption, one at a time, on single pixels."""

    noise: Annotated[float, Uniform(0.0, 3.0)] = 0.3  # deviation of the noise, in deviations of the normalised images
    blank: Annotated[float, Uniform(0.0, 0.95)] = 0.3  # share of squares set to 0, the mean of normalised images
    square: Annotated[int, Int(1, 32)] = 1  # pixels along a blanked square's side
    hidden: Annotated[int, Int(16, 8192, log=True)] = 256  # width of the decoder's hidden layer


def corrupt(images: Tensor, noise: float, blank: float, square: int, generator: torch.Generator) -> Tensor:
    """A damaged copy of images `(B, C, H, W)`: noise on every number, then blanked squares, the same in all channels.

    Squares lie on a grid from the upper left corner; each is blanked with probability `blank`.
    """
    batch, _, height, width = images.shape
    rows, columns = math.ceil(height / square), math.ceil(width / square)
    lots = torch.rand((batch, 1, rows, columns), generator=generator, device=images.device)
    kept = (lots >= blank).repeat_interleave(square, dim=2).repeat_interleave(square, dim=3)
    drawn = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return (images + noise * drawn) * kept[:, :, :height, :width]


@full_precision
def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """The mean squared error of decoded images `(B, C * H * W)` and images `(B, C, H, W)`; a scalar."""
    return F.mse_loss(decoded, images.flatten(1))


class DAE(Method):
    """A backbone as encoder, and a decoder that is thrown away after training."""

    views = 1

    def __init__(self, config: Config, backbone: Backbone, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.decoder = mlp([backbone.features, config.hidden, math.prod(shape)])

    def loss(self, batch: Batch) -> Tensor:
        c, view = self.config, batch.views[0]
        damaged = corrupt(view, c.noise, c.blank, c.square, batch.generator)
        return reconstruction_loss(self.decoder(self.backbone(damaged)), view)


def build(config: Config, backbone: Backbone, task: Task) -> Method:
    """A denoising autoencoder on a backbone, for images of any shape."""
    return DAE(config, backbone, task.shape)
