"""From a map back to an image: light, convolutional, for a map and an image of any size."""

from __future__ import annotations

from torch import nn


def decoder(features: int, grid: tuple[int, int], shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """A network from maps `(B, features, h, w)` to images `(B, C, H, W)`; `grid` is (h, w) and `shape` (C, H, W).

    Layers of 3 × 3 convolutions `width` wide and GELU, before each of which the map doubles by repetition, until the
    image's size is reached; at odd sizes, or where sides differ, it grows by a little less. The end is linear.
    Repetition and convolution leave no chequered trace, as transposed convolutions do (Odena et al., "Deconvolution and
    Checkerboard Artifacts", Distill 2016). No layer looks at more than one image.
    """
    channels, *sides = shape
    layers: list[nn.Module] = [nn.Conv2d(features, width, 1), nn.GELU()]
    for size in sizes(grid, (sides[0], sides[1])):
        layers += [nn.Upsample(size), nn.Conv2d(width, width, 3, padding=1), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))


def sizes(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes from `start`, left out, to `end`: each is at most twice the one before, and there is at least one."""
    path = [end]
    while any(side > 2 * first for side, first in zip(path[0], start, strict=True)):
        path.insert(0, (max(-(-path[0][0] // 2), start[0]), max(-(-path[0][1] // 2), start[1])))
    return path
