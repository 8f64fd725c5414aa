"""MAE: hide most patches of an image, encode the others, and paint in what is missing.

The encoder sees the visible patches alone. A light decoder sees their codes and, in each hidden place, one learnt
token, and predicts the pixels x_p of the hidden patches H:

    loss = mean over images and p in H of  |decoded_p - x_p|^2 / pixels of a patch

Section 3 of He et al., "Masked Autoencoders Are Scalable Vision Learners" (CVPR 2022, arXiv 2111.06377). With
`normalise`, the paper's better variant, each x_p first gets mean 0 and deviation 1 (over n here, n - 1 in the
authors' code). Positions of the decoder are learnt; the paper's are fixed sines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.method import Batch, Method, Task
from objectives.parts.backbone import PatchBackbone
from objectives.parts.precision import full_precision
from spaces.domains import Choice, Int, Uniform

NEEDS = ("patches",)


@dataclass(frozen=True)
class Config:
    """The paper: three quarters hidden, pixels normalised, decoder 512 wide and 8 deep."""

    hidden: Annotated[float, Uniform(0.05, 0.95)] = 0.75  # share of patches hidden
    normalise: Annotated[bool, Choice(True, False)] = True  # each patch's pixels to mean 0 and deviation 1
    width: Annotated[int, Choice(32, 64, 128, 256, 512)] = 64  # of the decoder, in heads of 16
    depth: Annotated[int, Int(1, 12)] = 2  # blocks of the decoder


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images `(B, C, H, W)` cut into patches, row by row: `(B, N, C * patch * patch)`, each with channels first."""
    return F.unfold(images, kernel_size=patch, stride=patch).transpose(1, 2)


@full_precision
def reconstruction_loss(decoded: Tensor, pixels: Tensor, normalise: bool) -> Tensor:
    """The mean squared error of decoded patches and their pixels, each `(B, M, P)`; a scalar."""
    return F.mse_loss(decoded, standardised(pixels) if normalise else pixels)


def standardised(pixels: Tensor) -> Tensor:
    """Patches `(B, M, P)`, each with mean 0 and deviation 1."""
    variance, mean = torch.var_mean(pixels, dim=2, correction=0, keepdim=True)
    return (pixels - mean) / (variance + 1e-6).sqrt()


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """From `(B, N, D)` the tokens at `places` `(B, M)`: `(B, M, D)`."""
    return tokens.gather(1, places.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


class MAE(Method):
    """A transformer backbone, and a decoder that is thrown away after training."""

    views = 1
    backbone: PatchBackbone

    def __init__(self, config: Config, backbone: PatchBackbone, channels: int) -> None:
        super().__init__()
        patches, width = math.prod(backbone.grid), config.width
        self.normalise = config.normalise
        self.visible = min(max(round((1 - config.hidden) * patches), 1), patches - 1)
        self.backbone = backbone
        self.enter = nn.Linear(backbone.features, width)
        self.missing = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, patches, width))
        blocks = (
            nn.TransformerEncoderLayer(width, width // 16, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(config.depth)
        )
        self.decoder = nn.Sequential(*blocks, nn.LayerNorm(width))
        self.leave = nn.Linear(width, channels * backbone.patch**2)

    def loss(self, batch: Batch) -> Tensor:
        view = batch.views[0]
        tokens = self.backbone.embed(view)
        lots = torch.rand(tokens.shape[:2], generator=batch.generator, device=view.device)
        order = lots.argsort(dim=1)  # the first places of this order are visible, the others hidden
        visible, hidden = order[:, : self.visible], order[:, self.visible :]
        codes = self.backbone.blocks(take(tokens, visible))
        decoded = self.decode(codes, order)[:, self.visible :]
        return reconstruction_loss(decoded, take(patchify(view, self.backbone.patch), hidden), self.normalise)

    def decode(self, codes: Tensor, order: Tensor) -> Tensor:
        """Pixels `(B, N, P)` of all patches in `order` `(B, N)`, from the codes `(B, M, features)` of its first M.

        The decoder knows places by its positions alone, so the patches need not return to their rows.
        """
        known = self.enter(codes)
        missing = self.missing.to(known.dtype).expand(len(order), order.shape[1] - codes.shape[1], -1)
        places = take(self.positions.expand(len(order), -1, -1), order)
        return self.leave(self.decoder(torch.cat([known, missing], dim=1) + places))


def expect_patches(backbone: PatchBackbone, channels: int, normalise: bool) -> None:
    """Raises ValueError where an image is a single patch, or a patch a single number that `normalise` makes 0."""
    if math.prod(backbone.grid) < 2:
        raise ValueError(f"an image of one patch ({backbone.patch} pixels a side) has nothing to hide")
    if normalise and channels * backbone.patch**2 < 2:
        raise ValueError("a patch of one grey pixel cannot be normalised: take a larger patch, or 'normalise: false'")


def build(config: Config, backbone: PatchBackbone, task: Task) -> Method:
    """MAE on a backbone that offers "patches".

    Raises:
        ValueError: as `expect_patches`.
    """
    expect_patches(backbone, task.shape[0], config.normalise)
    return MAE(config, backbone, task.shape[0])
