"""ConvNeXt for small images: x ← x + γ · W₂ gelu(W₁ LN(D x)).

D is a depthwise convolution, LN a layer norm over channels, W₁ and W₂ widen to four times the channels and back, γ
scales each channel (Touvron et al. 2021, *Going Deeper with Image Transformers*, eq. 4). Between stages a layer norm
and a 2×2 convolution of stride 2 halve the sides and double the channels (section 2.6 of the source).

What small images ask for, and the paper's 224 pixels do not:
- The stem takes patches of `stem` pixels with a border of one, so that even `stem` = 1 sees a neighbourhood.
- A kernel is at most 2 s − 1 wide on a map of side s: taps beyond that would never meet the map.
- A side that has come to one pixel is not halved again.
- Weights start at a variance of 1/inputs instead of 0.02², which suits the paper's hundreds of channels.

Source: Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie, *A ConvNet for the 2020s*, CVPR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.domains import Choice, Int, Log


@dataclass(frozen=True)
class Config:
    """Size of the network."""

    width: Annotated[int, Int(8, 128, log=True)] = 24  # channels of the first stage; they double from stage to stage
    depth: Annotated[int, Int(1, 4)] = 2  # blocks in a stage
    stages: Annotated[int, Int(2, 4)] = 3  # resolutions
    stem: Annotated[int, Choice(1, 2, 4)] = 2  # pixels; the side of a patch that becomes one place of the first map
    kernel: Annotated[int, Choice(3, 5, 7)] = 7  # places; the side of the depthwise convolution
    scale: Annotated[float, Log(1e-6, 1.0)] = 0.1  # γ at the start; the paper's 1e-6 is for deep networks


def build(config: Config, shape: tuple[int, int, int]) -> ConvNeXt:
    """A network for images of `shape` (C, H, W).

    Raises:
        ValueError: the image is smaller than one patch of the stem.
    """
    return ConvNeXt(config, shape)


class ConvNeXt(nn.Module):
    """Images `(B, C, H, W)` to features `(B, width · 2^(stages − 1))`: the normalised mean of the last map."""

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < config.stem:
            raise ValueError(f"convnext: an image of {height} × {width} pixels is smaller than stem {config.stem}")
        rows, columns, features = height // config.stem, width // config.stem, config.width
        stem = nn.Conv2d(channels, features, config.stem + 2, config.stem, padding=1)
        layers: list[nn.Module] = [stem, ChannelNorm(features)]
        for stage in range(config.stages):
            if stage:
                halving = min(2, rows), min(2, columns)
                layers += [ChannelNorm(features), nn.Conv2d(features, 2 * features, halving, halving)]
                rows, columns, features = rows // halving[0], columns // halving[1], 2 * features
            kernel = min(config.kernel, 2 * rows - 1), min(config.kernel, 2 * columns - 1)
            layers += [Block(features, kernel, config.scale) for _ in range(config.depth)]
        self.features = features
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(features)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.layers(images).mean((2, 3)))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map `(B, C, H, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """One residual block on a map `(B, width, H, W)`; the inner layers see the channels last."""

    def __init__(self, width: int, kernel: tuple[int, int], scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.scale * self.narrow(F.gelu(self.widen(inner)))
        return x + inner.permute(0, 3, 1, 2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every layer here has one
