"""InfoNCE in its forms: tell the one that belongs from those that do not.

    loss = mean over rows of  -log( e^{positive} / (e^{positive} + sum over negatives e^{negative}) )

The forms differ in where positives and negatives come from: `pairwise` from the batch, `queue` from past batches,
`bank` from other images that are thought to be alike, `scores` from a critic that is no cosine. All but the last
bring rows to length 1 and divide cosines by a temperature. `exclude` names pairs that are no negatives, though they
stand among them: another copy of the same image would cost log 2 that nothing can win back.

Sources: van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (arXiv 1807.03748),
equation 4; the functions name their own.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.parts.precision import full_precision


@full_precision
def pairwise(z: Tensor, temperature: float, exclude: Tensor | None = None) -> Tensor:
    """NT-Xent of projections `(2B, D)`, of which row i and row B + i are views of one image; a scalar.

    `exclude` is `(B, B)` booleans: true where two images are the same, so that no view of the one is a negative of
    the other. An image's own entry says nothing: its other view is its positive always.

    Source: equation 1 and algorithm 1 of SimCLR (Chen et al., ICML 2020, arXiv 2002.05709).
    """
    z = F.normalize(z, dim=1)
    out = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
    if exclude is not None:
        out = (out | exclude.tile(2, 2)).scatter(1, partner.unsqueeze(1), False)
    return F.cross_entropy((z @ z.T / temperature).masked_fill(out, -torch.inf), partner)


@full_precision
def queue(q: Tensor, k: Tensor, negatives: Tensor, temperature: float, exclude: Tensor | None = None) -> Tensor:
    """The loss of queries `(B, D)`, their keys `(B, D)`, and past keys `(M, D)` as negatives of all; a scalar.

    `exclude` is `(B, M)` booleans: pairs that are no negatives.

    Source: equation 1 and algorithm 1 of MoCo (He et al., CVPR 2020, arXiv 1911.05722).
    """
    return bank(q, k, negatives, temperature, exclude=exclude)


@full_precision
def bank(
    q: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float,
    margin: float | Tensor = 0.0,
    exclude: Tensor | None = None,
) -> Tensor:
    """The loss of queries `(B, D)`, a positive each `(B, D)`, and negatives `(B, N, D)`, or `(N, D)` for all; a scalar.

    `margin`, one or `(B, 1)`, is taken from the positive's cosine: above 0 the positive must win by so much, below 0 it
    is let off so much, as befits positives that may be wrong. `exclude` is `(B, N)` booleans: pairs that are no
    negatives. A row without any has loss 0.

    Source: InterCLR (Xie et al., IJCV 2022, arXiv 2008.11702), whose margin is -0.5.
    """
    q, positive, negatives = F.normalize(q, dim=1), F.normalize(positive, dim=1), F.normalize(negatives, dim=-1)
    pull = (q * positive).sum(dim=1, keepdim=True) - margin
    push = q @ negatives.T if negatives.dim() == 2 else torch.einsum("bd,bnd->bn", q, negatives)
    if exclude is not None:
        push = push.masked_fill(exclude, -torch.inf)
    logits = torch.cat([pull, push], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


@full_precision
def arc_margin(q: Tensor, positive: Tensor, margin: float) -> Tensor:
    """What `bank` must take from cosines of queries and positives `(B, D)` to see cos(angle + margin): `(B, 1)`.

    The angle with its margin, in radians, goes no further than 0 and pi.

    Source: ArcFace (Deng et al., CVPR 2019, arXiv 1801.07698), equation 3; as an alternative, the code of InterCLR.
    """
    cosine = (F.normalize(q, dim=1) * F.normalize(positive, dim=1)).sum(dim=1, keepdim=True)
    angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # at its ends the slope is infinite
    return cosine - (angle + margin).clamp(0, math.pi).cos()


@full_precision
def scores(logits: Tensor, symmetric: bool = False, exclude: Tensor | None = None) -> Tensor:
    """The loss of a critic's scores `(B, B)`, row i and column i being a pair: each row tells its column; a scalar.

    Scores are taken as they are, neither cosines nor cooled. `symmetric` is the mean with the loss of columns that
    tell their rows. `exclude` is `(B, B)` booleans: pairs off the diagonal that are no negatives.

    Source: the first term of the loss of Ozair et al., "Wasserstein Dependency Measure for Representation Learning"
    (NeurIPS 2019, arXiv 1903.11780).
    """
    own = torch.arange(len(logits), device=logits.device)
    if exclude is not None:
        logits = logits.masked_fill(exclude & (own != own.unsqueeze(1)), -torch.inf)
    loss = F.cross_entropy(logits, own)
    return (loss + F.cross_entropy(logits.T, own)) / 2 if symmetric else loss
