"""Which patches of an image to hide: at random, in a block, or in a grid.

A mask is `(B, N)` booleans, true where hidden, patches counted row by row. Every image hides exactly the number of
patches nearest to its share, though never none nor all.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Pattern = Literal["random", "block", "grid"]

_ASPECT = 2.0  # a block is at most so many times as wide as high, or as high as wide


def patch_mask(
    pattern: Pattern,
    images: int,
    grid: tuple[int, int],
    share: float,
    generator: torch.Generator,
    spread: float = 0.0,
) -> Tensor:
    """The mask `(images, rows * columns)` of a pattern on a grid of (rows, columns), on the generator's device.

    `random` hides any patches; `block` one rectangle, of a random place and shape, whose outermost line may be
    incomplete; `grid` the same places of every two by two patches, drawn for each image (a share between quarters fills
    the last place at random). The share of each image is uniform in `share` ± `spread`.

    Raises:
        ValueError: a single patch, of which nothing can be hidden.

    Sources: He et al., "Masked Autoencoders Are Scalable Vision Learners" (CVPR 2022, arXiv 2111.06377), figure 6, for
    the three patterns; BECLR (arXiv 2402.02444), whose blocks take 0.15 ± 0.1.
    """
    rows, columns = grid
    patches = rows * columns
    if patches < 2:
        raise ValueError("an image of one patch has nothing to hide")
    lots = torch.rand(images, patches, generator=generator, device=generator.device)
    if pattern == "block":
        lots = _from_a_centre(images, grid, generator)
    elif pattern == "grid":
        lots = _by_place(images, grid, generator) + lots
    around = 2 * torch.rand(images, 1, generator=generator, device=generator.device) - 1
    hidden = ((share + spread * around) * patches).round().clamp(1, patches - 1)
    return lots.argsort(dim=1).argsort(dim=1) < hidden


def _from_a_centre(images: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """How far `(images, N)` each patch is from a random centre, in a distance whose balls are rectangles."""
    rows, columns = grid
    device = generator.device
    centre_row, centre_column, lot = torch.rand(3, images, 1, 1, generator=generator, device=device)
    stretch = _ASPECT ** (lot - 0.5)
    down = (torch.arange(rows, device=device).unsqueeze(1) + 0.5 - rows * centre_row).abs() / stretch
    across = (torch.arange(columns, device=device) + 0.5 - columns * centre_column).abs() * stretch
    return (torch.maximum(down, across) + 1e-3 * torch.minimum(down, across)).flatten(1)  # a line fills from its middle


def _by_place(images: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A random order `(images, N)`, 0 to 3, of the four places of two by two patches."""
    rows, columns = grid
    device = generator.device
    order = torch.rand(images, 4, generator=generator, device=device).argsort(dim=1)
    row, column = torch.arange(rows, device=device) % 2, torch.arange(columns, device=device) % 2
    return order[:, (2 * row.unsqueeze(1) + column).flatten()]


def blank(images: Tensor, mask: Tensor) -> Tensor:
    """Images `(B, C, H, W)` with 0, the mean of normalised images, where a mask `(B, rows, columns)` is true.

    Rows and columns need not divide H and W: patches then differ by a pixel.
    """
    pixels = F.interpolate(mask.unsqueeze(1).float(), images.shape[-2:], mode="nearest")
    return images.masked_fill(pixels.bool(), 0)
