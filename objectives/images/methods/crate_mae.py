"""CRATE-MAE: hide patches, and restore them by the encoder's own layers turned round.

Unlike MAE, the encoder sees every place, hidden ones as one learnt token m, and the decoder is the backbone's mirror:

    z_p = E x_p + position_p  where p is seen,   m + position_p  where it is hidden
    decoded = linear(mirror(blocks(z)))
    loss = mean over images and hidden p of  |decoded_p - x_p|^2 / pixels of a patch

so that its cost does not fall with the share that is hidden, and there is no decoder's width or depth to choose.
Figure 1 and section 3 of Pai et al., "Masked Completion via Structured Diffusion with White-Box Transformers" (ICLR
2024, arXiv 2404.02446); tokens are inserted where the authors' code does it. On `crate` it is the paper's method, on
`vit` the control of equal width. Probes read the mean token of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from objectives.images.methods.mae import expect_patches, patchify, reconstruction_loss, standardised
from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import MirrorBackbone
from objectives.parts.masks import Pattern, patch_mask
from spaces.domains import Choice, Uniform

NEEDS = ("patches", "mirror")
OFFERS = ("mirror",)
METRICS = {
    "masked_mse": Metric("min", False, "squared error of restored patches, under masks that stay the same"),
    "mean_patch_mse": Metric("min", False, "the same, if patches were guessed by their mean at that place"),
    "nonzero_share": Metric("min", False, "share of numbers that are not 0 after the densest layer of crate"),
    "nonzero_rise": Metric("min", False, "how far that share rises above what it is after the first layer"),
}
MASK_SEED = 0  # of the masks under which it is measured


@dataclass(frozen=True)
class Config:
    """The paper: three quarters hidden at random, pixels as they are, loss on hidden patches.

    Where images are a few patches large, so much would leave too little to restore from.
    """

    hidden: Annotated[float, Uniform(0.3, 0.9)] = 0.5  # share of patches hidden
    pattern: Annotated[str, Choice("random", "block", "grid")] = "random"  # which ones
    normalise: Annotated[bool, Choice(True, False)] = False  # each patch's pixels to mean 0 and deviation 1
    loss_on: Annotated[str, Choice("masked", "all")] = "masked"  # hidden patches, or those that are seen too


class CrateMAE(Method):
    """A backbone that sees hidden places as one token, and its mirror, which is thrown away after training."""

    views = 1
    backbone: MirrorBackbone

    def __init__(self, config: Config, backbone: MirrorBackbone, channels: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        self.missing = nn.Parameter(0.02 * torch.randn(backbone.features))
        self.mirror = backbone.mirror()
        self.leave = nn.Linear(backbone.features, channels * backbone.patch**2)

    def loss(self, batch: Batch) -> Tensor:
        view = batch.views[0]
        mask = self.mask(len(view), batch.generator)
        decoded, pixels = self.decode(view, mask), patchify(view, self.backbone.patch)
        told = mask if self.config.loss_on == "masked" else torch.ones_like(mask)
        return reconstruction_loss(decoded[told][None], pixels[told][None], self.config.normalise)

    def mask(self, images: int, generator: torch.Generator) -> Tensor:
        """Which patches are hidden, `(images, N)` booleans."""
        pattern = cast(Pattern, self.config.pattern)
        return patch_mask(pattern, images, self.backbone.grid, self.config.hidden, generator)

    def decode(self, images: Tensor, mask: Tensor) -> Tensor:
        """Pixels `(B, N, P)` of all patches, from images `(B, C, H, W)` whose patches hide where `mask` `(B, N)` is."""
        tokens = self.backbone.embed(images)
        blank = (self.missing + self.backbone.positions).to(tokens.dtype)
        tokens = torch.where(mask.unsqueeze(2), blank, tokens)
        return self.leave(self.mirror(self.backbone.blocks(tokens)))

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        generator = torch.Generator(self.missing.device).manual_seed(MASK_SEED)
        densities_of = getattr(self.backbone, "densities", None)
        error = squares = sums = hidden = torch.zeros((), dtype=torch.double, device=generator.device)
        densities = []
        for images in batches:
            mask = self.mask(len(images), generator)
            pixels = patchify(images, self.backbone.patch)
            target = (standardised(pixels) if self.config.normalise else pixels).double()
            there = mask.unsqueeze(2).double()
            error = error + (there * (self.decode(images, mask) - target).square()).sum()
            squares = squares + (there * target.square()).sum()
            sums, hidden = sums + (there * target).sum(0), hidden + there.sum(0)
            if densities_of is not None:
                densities += [densities_of(self.backbone.embed(images))] * len(images)
        size = hidden.sum() * sums.shape[1]
        guessed = squares - (sums.square() / hidden.clamp(min=1)).sum()
        found = {"masked_mse": float(error / size), "mean_patch_mse": float(guessed / size)}
        if densities:
            shares = torch.stack(densities).mean(0)
            found |= {"nonzero_share": float(shares.max()), "nonzero_rise": float((shares - shares[0]).max())}
        return found


def build(config: Config, backbone: MirrorBackbone, task: Task) -> Method:
    """CRATE-MAE on a backbone that offers "patches" and "mirror".

    Raises:
        ValueError: as `mae.expect_patches`.
    """
    expect_patches(backbone, task.shape[0], config.normalise)
    return CrateMAE(config, backbone, task.shape[0])
