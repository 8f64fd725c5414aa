"""Views: a batch of images augmented by a list of operations, in as few passes over the pixels as they allow.

Most augmentations are one of two affine maps: of the plane (crop, flip, rotation, translation) or of the colours
(jitter, grey). Affine maps compose by a product of small matrices, so a run of neighbouring warps costs one
resampling and a run of neighbouring colours one pass, however many operations it has. What is neither (blur,
noise) works on the pixels themselves.

Resampling is plain bilinear, without a filter against aliasing: a crop enlarges, it never shrinks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Stage = Literal["warp", "colour", "pixels"]


@dataclass(frozen=True)
class Operation:
    """One augmentation as data.

    Attributes:
        stage: what `draw` gives.
            `warp`: `(B, 3, 3)` homogeneous matrices from output to input positions, both in -1..1 from edge to
            edge (`grid_sample`'s, `align_corners=False`).
            `colour`: `(B, C, C + 1)` affine maps of the channels, the offset in the last column.
            `pixels`: new images `(B, C, H, W)`.
        p: the chance of each image to be changed; the others stay as they are.
        draw: `draw(images, generator)`, the images as they stand `(B, C, H, W)`. For a colour they come as their
            mean colours, `(B, C, 1, 1)`: an affine map takes a mean to the mean, so it can be carried through the
            matrices of a run, and nothing else of the pixels may be asked for. For pixels, only the chosen images.
        outside: whether a warp may look beyond the image's edge, where it then finds black.

    Raises:
        ValueError: an unknown stage, or a p outside 0..1.
    """

    stage: Stage
    p: float
    draw: Callable[[Tensor, torch.Generator], Tensor]
    outside: bool = False

    def __post_init__(self) -> None:
        if self.stage not in get_args(Stage):
            raise ValueError(f"a stage is one of {', '.join(get_args(Stage))}, got {self.stage!r}")
        if not 0 <= self.p <= 1:
            raise ValueError(f"a probability lies in 0..1, got p = {self.p}")


@dataclass(frozen=True)
class Views:
    """Turns images `(B, C, H, W)`, floats in 0..1, into one random view of each, alike in shape, type and range.

    The operations follow each other as listed, each image drawing for itself. The generator lives on the images'
    device; its state decides the view. The images are left untouched.

    Two things are decided once a run, not once an operation, and differ in the small from doing one after the
    other: colours are clamped to 0..1 at the end of their run, and a rotation after a crop shows what lies around
    the crop instead of black.
    """

    operations: Sequence[Operation]
    side: tuple[int, int] | None = (
        None  # height and width of the views, if not the images'; the first warp makes them so
    )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.placed(images, generator)[0]

    def placed(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The views, and where in its image each lies: the warps from their positions to the image's, `(B, 3, 3)`."""
        active = [operation for operation in self.operations if operation.p > 0]
        place = plane(images)
        # Mixed precision is the network's affair: half a float would misplace pixels.
        with torch.autocast(images.device.type, enabled=False):
            for stage, run in groupby(active, key=lambda operation: operation.stage):
                match stage:
                    case "warp":
                        images, warp = _warp(images, list(run), generator, self.side)
                        place = place @ warp
                    case "colour":
                        images = _colour(images, list(run), generator)
                    case "pixels":
                        images = _pixels(images, list(run), generator)
        return images, place


def _warp(
    images: Tensor, run: list[Operation], generator: torch.Generator, side: tuple[int, int] | None
) -> tuple[Tensor, Tensor]:
    """One resampling for the whole run, and its warp.

    Padding: a crop's outermost pixels lie within half a pixel of the image's edge, where padding with zeros would
    draw a dark rim, so the edge is repeated (`border`). An operation that looks farther outside would smear that
    edge into stripes, so its run takes `zeros`.
    """
    stay = plane(images)
    matrix = stay
    for operation in run:
        # The last operation is the first to be asked where an output pixel comes from: products grow to the right.
        matrix = matrix @ torch.where(_chosen(images, operation, generator), operation.draw(images, generator), stay)
    padding = "zeros" if any(operation.outside for operation in run) else "border"
    grid = sampling_grid(matrix, *(side or images.shape[2:]))
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return warped.clamp_(0, 1), matrix  # interpolation may pass 1 by a rounding


def _colour(images: Tensor, run: list[Operation], generator: torch.Generator) -> Tensor:
    """One map of the colours for the whole run."""
    mean = images.mean((2, 3), keepdim=True)
    stay = same_colour(images)
    colour = stay
    for operation in run:
        drawn = operation.draw(recoloured(mean, colour), generator)
        colour = compose(torch.where(_chosen(images, operation, generator), drawn, stay), colour)
    return recoloured(images, colour).clamp_(0, 1)


def _pixels(images: Tensor, run: list[Operation], generator: torch.Generator) -> Tensor:
    """One operation after the other, each on the images that it was drawn for."""
    images = images.clone()
    for operation in run:
        rows = _chosen(images, operation, generator).flatten().nonzero().squeeze(1)
        if len(rows):
            images[rows] = operation.draw(images[rows], generator).clamp(0, 1)
    return images


def _chosen(images: Tensor, operation: Operation, generator: torch.Generator) -> Tensor:
    """Which images an operation changes, `(B, 1, 1)` of bool: the one place that reads `p`."""
    return (uniform(images, 0, 1, generator) < operation.p)[:, None, None]


def uniform(images: Tensor, low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform draws in low..high for every image, `(B, *shape)`, of the images' type and on their device."""
    draws = torch.rand(len(images), *shape, generator=generator, dtype=images.dtype, device=images.device)
    return draws * (high - low) + low


def plane(
    images: Tensor,
    *,
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    dx: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    dy: Tensor | float = 0.0,
) -> Tensor:
    """The warps `x' = xx x + xy y + dx`, `y' = yx x + yy y + dy`, `(B, 3, 3)`, each entry a number or `(B,)`."""
    matrix = torch.eye(3, dtype=images.dtype, device=images.device).repeat(len(images), 1, 1)
    for row, entries in enumerate(((xx, xy, dx), (yx, yy, dy))):
        for column, entry in enumerate(entries):
            matrix[:, row, column] = entry
    return matrix


def centres(side: int, like: Tensor) -> Tensor:
    """The pixels' centres along a side, in -1..1 from edge to edge, `(side,)`."""
    return (2 * torch.arange(side, dtype=like.dtype, device=like.device) + 1) / side - 1


def sampling_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    """Where every output pixel lies in the input, `(B, H, W, 2)`, for warps `(B, 3, 3)`.

    Equals `affine_grid`, but adds a part that depends on the column to one that depends on the row instead of
    multiplying every pixel's position by the matrix; on a CPU that was most of a warp's time.
    """
    across = matrix[:, :2, 0, None] * centres(width, matrix)
    down = matrix[:, :2, 1, None] * centres(height, matrix) + matrix[:, :2, 2, None]
    grid = matrix.new_empty(len(matrix), height, width, 2)
    for axis in (0, 1):
        torch.add(across[:, axis, None, :], down[:, axis, :, None], out=grid[..., axis])
    return grid


def same_colour(images: Tensor) -> Tensor:
    """The map that leaves every colour as it is, `(1, C, C + 1)`."""
    channels = images.shape[1]
    return torch.eye(channels, channels + 1, dtype=images.dtype, device=images.device)[None]


def compose(second: Tensor, first: Tensor) -> Tensor:
    """The colour map `(B, C, C + 1)` that does `first` and then `second`."""
    return second[..., :-1] @ first + F.pad(second[..., -1:], (first.shape[1], 0))


def recoloured(images: Tensor, colour: Tensor) -> Tensor:
    """Images `(B, C, H, W)` under colour maps `(B or 1, C, C + 1)`, not clamped."""
    colour = colour.expand(len(images), -1, -1)
    return torch.baddbmm(colour[..., -1:], colour[..., :-1], images.flatten(2)).view(images.shape)
