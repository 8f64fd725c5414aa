"""Images cut into regions: a regular grid, superpixels that keep to edges, and what a map holds of each.

Regions are given by the number of each pixel's own, 0 to rows · columns - 1, row by row.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.method import Task
from objectives.parts.backbone import LayeredBackbone, MapBackbone
from objectives.parts.precision import full_precision

FEWEST = 4  # cells of a map, below which it has no places to speak of


def mapped(backbone: MapBackbone, images: Tensor, back: int = 0) -> Tensor:
    """The map `(B, D, h, w)` of images `(B, C, H, W)` before the last `back` layers of a backbone that offers them."""
    return cast(LayeredBackbone, backbone).layers[:-back](images) if back else backbone.maps(images)


def expect_map(backbone: MapBackbone, task: Task, back: int = 0) -> tuple[int, int, int]:
    """(D, h, w) of `mapped`, for a method that matches places in the two views of an image.

    Raises:
        ValueError: the map has fewer than `FEWEST` cells, or the views show two images.
    """
    if task.pairs:
        raise ValueError("it matches places within one image, and each view shows another image of a pair")
    training = backbone.training
    like: nn.Parameter = next(backbone.parameters())
    with torch.no_grad():
        width, *cells = mapped(backbone.eval(), like.new_zeros(1, *task.shape), back).shape[1:]
    backbone.train(training)
    if cells[0] * cells[1] < FEWEST:
        what = (
            f"the backbone's map has {cells[0]} × {cells[1]} cells, and {FEWEST} are needed: a resnet of fewer stages"
        )
        raise ValueError(what)
    return width, cells[0], cells[1]


def rows_and_columns(count: int, height: int, width: int) -> tuple[int, int]:
    """How many rows and columns make about `count` regions, nearly square, of images of `height` × `width`."""
    rows = min(max(round((count * height / width) ** 0.5), 1), height)
    return rows, min(max(round(count / rows), 1), width)


def grid(height: int, width: int, rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Equal boxes: the region `(height, width)` of each pixel, by its centre."""
    down = (2 * torch.arange(height, device=device) + 1) * rows // (2 * height)
    across = (2 * torch.arange(width, device=device) + 1) * columns // (2 * width)
    return down[:, None] * columns + across


@full_precision
@torch.no_grad()
def slic(images: Tensor, rows: int, columns: int, compactness: float = 1.0, iterations: int = 5) -> Tensor:
    """Superpixels `(B, H, W)` of normalised images `(B, C, H, W)`: k-means of colours and places, near home.

    Each centre starts as the mean of a box of `grid`. A pixel takes the nearest centre among those of its own box and
    the eight around it, by |colour|^2 + compactness^2 |place|^2, places in sides of a box; some regions may end up
    empty, and none is made to hang together.

    Source: Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods" (TPAMI 2012), whose
    windows follow the centres instead.
    """
    count, _, height, width = images.shape
    home = grid(height, width, rows, columns, images.device).flatten()
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device) * (rows / height),
        torch.arange(width, device=images.device) * (columns / width),
        indexing="ij",
    )
    place = compactness * torch.stack([y, x], -1).flatten(0, 1).to(images.dtype).expand(count, -1, -1)
    points = torch.cat([images.flatten(2).mT, place], dim=2)
    row, column = home // columns, home % columns
    steps = [(down, across) for down in (0, -1, 1) for across in (0, -1, 1)]  # a pixel stays at home where others tie
    near = torch.stack([(row + i).clamp(0, rows - 1) * columns + (column + j).clamp(0, columns - 1) for i, j in steps])
    labels = home.expand(count, -1)
    middles = _means(points, labels, points.new_zeros(count, rows * columns, points.shape[2]))
    for _ in range(iterations):
        distances = torch.stack([(points - middles[:, one]).square().sum(2) for one in near])
        labels = near.T[torch.arange(len(home), device=home.device), distances.argmin(0)]
        middles = _means(points, labels, middles)
    return labels.unflatten(1, (height, width))


def overlap(regions: Tensor, count: int, height: int, width: int) -> Tensor:
    """How many pixels each of `count` regions has in each cell of a map: `(B, count, height · width)`."""
    rows, columns = regions.shape[1:]
    cells = grid(rows, columns, height, width, regions.device)
    pairs = (regions * height * width + cells).flatten(1)
    pixels = torch.zeros(len(regions), count * height * width, device=regions.device)
    return pixels.scatter_add_(1, pairs, torch.ones_like(pairs, dtype=pixels.dtype)).unflatten(1, (count, -1))


@full_precision
def pooled(maps: Tensor, masks: Tensor) -> Tensor:
    """The mean of maps `(B, D, h, w)` over each of the masks `(B, K, h·w)`, `(B, K, D)`; 0 where a mask is empty."""
    masks = masks.to(maps.dtype)
    return masks @ maps.flatten(2).mT / masks.sum(2, keepdim=True).clamp(min=1)


@full_precision
def carried(labels: Tensor, places: Tensor, count: int) -> Tensor:
    """The masks of a view `(B, count, h · w)`, of 0 and 1, from the image's pixel labels `(B, H, W)`, 0 to count - 1.

    Places `(B, h, w, 2)` say where in the image each cell of the view's map lies, in -1..1 from edge to edge. The cell
    takes the label of the pixel there; outside the image it is in no mask.
    """
    marked = (labels + 1).to(places.dtype).unsqueeze(1)
    found = F.grid_sample(marked, places, "nearest", "zeros", align_corners=False)
    return F.one_hot(found.flatten(1).long(), count + 1)[:, :, 1:].mT.to(places.dtype)


def shared(one: Tensor, other: Tensor, presence: float, by_area: bool) -> Tensor:
    """The weights `(B, K)` of masks `(B, K, N)` of two views: 0 where a mask covers no more than `presence` of one."""
    areas = torch.stack([one, other]).mean(3)
    return (areas > presence).all(0) * (areas.mean(0) if by_area else 1.0)


def _means(points: Tensor, labels: Tensor, before: Tensor) -> Tensor:
    """The mean `(B, K, D)` of the points `(B, N, D)` of each label `(B, N)`, or what was there before."""
    into = labels.unsqueeze(2).expand_as(points)
    sums = torch.zeros_like(before).scatter_add_(1, into, points)
    sizes = torch.zeros_like(before).scatter_add_(1, into, torch.ones_like(points))
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), before)
