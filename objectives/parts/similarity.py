"""Losses on cosines without negatives: rows agree with their targets, and all rows spread over the sphere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.parts.precision import full_precision


@full_precision
def regression(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of 2 - 2 cos over rows of predictions and targets, each `(..., D)`; a scalar in 0..4.

    It is the squared distance of the two at length 1. With `weights` `(...)`, none below 0, the mean is a weighted
    one, and 0 where all weights are 0. A row of zeros counts as orthogonal to everything and takes no gradient.
    No gradient is cut: a target from a teacher has none.

    Source: equation 2 of BYOL (Grill et al., NeurIPS 2020, arXiv 2006.07733).
    """
    cosines = (F.normalize(prediction, dim=-1) * F.normalize(target, dim=-1)).sum(dim=-1)
    distance = 2 - 2 * cosines
    if weights is None:
        return distance.mean()
    weights = weights.to(distance.dtype)
    return (weights * distance).sum() / weights.sum().clamp(min=torch.finfo(distance.dtype).tiny)


def partners(count: int, device: torch.device | None = None) -> Tensor:
    """`(count, count)` booleans: true where j is i or the other view of i, `count / 2` rows away."""
    own = torch.eye(count, dtype=torch.bool, device=device)
    return own | own.roll(count // 2, dims=0)


@full_precision
def uniformity(z: Tensor, temperature: float, exclude: Tensor | None = None) -> Tensor:
    """log of the mean over i of the mean over j of e^{z_i . z_j / t}, for rows `(n, D)` brought to length 1; a scalar.

    `exclude` is `(n, n)` booleans: pairs (i, j) that do not count, such as `partners(n)`; a row's own never does. A
    row for which nothing is left does not count, and where no row is left the loss is 0.

    Source: the code of BECLR (Poulakakis-Daktylidis and Jamali-Rad, ICLR 2024, arXiv 2402.02444).
    """
    z = F.normalize(z, dim=1)
    out = torch.eye(len(z), dtype=torch.bool, device=z.device)
    out = out if exclude is None else out | exclude
    rivals = (~out).sum(dim=1)
    rows = rivals > 0
    if not rows.any():
        return z.sum() * 0
    logits = (z @ z.T / temperature).masked_fill(out, -torch.inf)[rows]
    means = logits.logsumexp(dim=1) - rivals[rows].to(z.dtype).log()
    return means.logsumexp(dim=0) - rows.sum().to(z.dtype).log()
