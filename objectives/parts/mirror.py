"""Layers that lead from one size to the next, and so back along the way that a backbone's layers have gone.

A size is that of an activity without the batch: `(D,)` of a vector, `(C, h, w)` of a map.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from objectives.parts.backbone import LayeredBackbone

Size = tuple[int, ...]
ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}


def bottom(backbone: LayeredBackbone, images: Tensor) -> Tensor:
    """Images `(B, C, H, W)` as the first of a backbone's layers takes them: as they are, or `(B, C·H·W)`."""
    weighty = (part for part in backbone.layers.modules() if isinstance(part, (nn.Linear, nn.Conv2d)))
    return images.flatten(1) if isinstance(next(weighty), nn.Linear) else images


@torch.no_grad()
def sizes(backbone: LayeredBackbone, shape: tuple[int, int, int]) -> list[Size]:
    """The sizes of what the first of a backbone's layers takes, and of what each gives, of images of a shape.

    Raises:
        ValueError: some layers give maps and some vectors.
    """
    training = backbone.training
    backbone.eval()
    found = [bottom(backbone, torch.zeros(1, *shape))]
    for layer in backbone.layers:
        found.append(layer(found[-1]))
    backbone.train(training)
    way = [tuple(x.shape[1:]) for x in found]
    if len({len(size) for size in way}) > 1:
        raise ValueError(f"layers can be mirrored that are all of maps, or all of vectors; found sizes {way}")
    return way


def path(way: list[Size], activation: str, norm: str, scale: float = 1.0, end: bool = False) -> nn.Sequential:
    """A layer from each size to the next: linear or a 3 × 3 convolution, a normalisation, an activation.

    Weights start orthogonal, times `scale`; normalisations have no scale and shift of their own. With `end` the last
    layer is linear alone, and starts at zero.

    Args:
        way: the sizes, all of maps or all of vectors.
        activation: of `ACTIVATIONS`.
        norm: `batch` or `none`.
    """
    layers = []
    for number, (before, after) in enumerate(pairwise(way)):
        last = end and number == len(way) - 2
        core = [nn.Linear(before[0], after[0])] if len(before) == 1 else _convolution(before, after)
        for part in core:
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                nn.init.orthogonal_(part.weight, gain=0.0 if last else scale)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]  # each has one
        layers.append(nn.Sequential(*core, *([] if last else _bend(after, activation, norm))))
    return nn.Sequential(*layers)


def _convolution(before: Size, after: Size) -> list[nn.Module]:
    """Of a stride where the map shrinks, behind a repetition of places where it grows."""
    grows = any(new > old for old, new in zip(before[1:], after[1:], strict=True))
    rows, columns = (1 if grows else -(-old // new) for old, new in zip(before[1:], after[1:], strict=True))
    sized, convolution = nn.Upsample(after[1:]), nn.Conv2d(before[0], after[0], 3, (rows, columns), padding=1)
    return [sized, convolution] if grows else [convolution, sized]  # a stride may miss an odd size


def _bend(size: Size, activation: str, norm: str) -> list[nn.Module]:
    batch = nn.BatchNorm1d if len(size) == 1 else nn.BatchNorm2d
    return [*([batch(size[0], affine=False)] if norm == "batch" else []), ACTIVATIONS[activation]()]
