"""Residual network of basic blocks for small images: y = relu(F(x) + S(x)).

F is 3×3 convolution, batch norm, ReLU, 3×3 convolution, batch norm; the shortcut S is the identity, or a 1×1
convolution with batch norm where the shape changes (option B of section 3.3). The stem is one 3×3 convolution of
stride 1, as in the paper's CIFAR-10 networks (section 4.2). From stage to stage the channels double and the sides
halve, rounded up, so that images of every size fit.

Source: K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.domains import Choice, Int

OFFERS = ("maps", "layers")
READ = {"last": slice(-1, None), "last_two": slice(-2, None), "all": slice(None)}  # stages, by the knob `readout`


@dataclass(frozen=True)
class Config:
    """Size of the network."""

    width: Annotated[int, Int(8, 128, log=True)] = 16  # channels of the first stage; they double from stage to stage
    depth: Annotated[int, Int(1, 4)] = 1  # residual blocks in a stage
    stages: Annotated[int, Int(2, 4)] = 3  # resolutions, the first being the image's
    norm: Annotated[str, Choice("batch", "group", "none")] = "batch"  # group: in eighths; none: no image sees another
    readout: Annotated[str, Choice(*READ)] = "last"  # whose maps' means the probes read; methods train on the last


def build(config: Config, shape: tuple[int, int, int]) -> ResNet:
    """A network for images of `shape` (C, H, W)."""
    return ResNet(config, shape[0])


class ResNet(nn.Module):
    """Images `(B, C, H, W)` to features `(B, width · 2^(stages − 1))`, the mean of the last map over its places."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.features = config.width * 2 ** (config.stages - 1)
        self.read = [(stage + 1) * config.depth for stage in range(config.stages)][READ[config.readout]]
        stem = _convolution(channels, config.width, 3, config.norm), _norm(config.norm, config.width), nn.ReLU()
        layers: list[nn.Module] = [nn.Sequential(*stem)]
        inputs = config.width
        for stage in range(config.stages):
            for block in range(config.depth):
                outputs, stride = config.width * 2**stage, 2 if stage > 0 and block == 0 else 1
                layers.append(Block(inputs, outputs, stride, config.norm))
                inputs = outputs
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))

    def maps(self, images: Tensor) -> Tensor:
        """The last map, `(B, features, h, w)`."""
        return self.layers(images)

    def readout(self, images: Tensor) -> Tensor:
        """The mean of the maps that the probes read, side by side, `(B, D)`."""
        means = []
        for number, layer in enumerate(self.layers):
            images = layer(images)
            if number in self.read:
                means.append(images.mean((2, 3)))
        return torch.cat(means, dim=1)


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut: `(B, inputs, H, W)` to `(B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)`."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.first, self.norm = _convolution(inputs, outputs, 3, norm, stride), _norm(norm, outputs)
        self.second, self.last_norm = _convolution(outputs, outputs, 3, norm), _norm(norm, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, norm, stride), _norm(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.last_norm(self.second(F.relu(self.norm(self.first(x)))))
        return F.relu(inner + self.shortcut(x))


def _norm(norm: str, channels: int) -> nn.Module:
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def _convolution(inputs: int, outputs: int, size: int, norm: str, stride: int = 1) -> nn.Conv2d:
    """Without a bias where a norm follows; drawn as He et al. do (*Delving Deep into Rectifiers*, eq. 14)."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=norm == "none")
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
