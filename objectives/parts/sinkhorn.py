"""Sinkhorn-Knopp: spread mass over pairs at little cost, so that every row and every column gets its share.

There is one iteration, and it minimises a *cost*. Where the more is the better, the cost is minus the score.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.parts.precision import full_precision

Kernel = Literal["absolute", "inner", "positive"]


@full_precision
def transport(
    cost: Tensor, epsilon: float, iterations: int, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """A plan `(..., n, m)` of mass 1 over pairs with cost `(..., n, m)`: a lower cost draws more mass.

    Row i of the plan sums to `rows` `(..., n)`, by default 1/n; column j towards `columns` `(..., m)`, by default
    1/m. Both sum to 1 and may hold zeros. It approaches the minimiser of sum(P * cost) - epsilon * entropy(P) over
    all plans with these sums, which is diag(u) exp(-cost / epsilon) diag(v). Columns and rows are scaled in turn, in
    logarithms, so that no exponential can overflow; rows have the last word. Without iterations, a softmax of each
    row is left. No gradient is cut.

    Source: Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport" (NeurIPS 2013).
    """
    n, m = cost.shape[-2:]
    rows = cost.new_full((n,), 1 / n) if rows is None else rows.to(cost.dtype)
    columns = cost.new_full((m,), 1 / m) if columns is None else columns.to(cost.dtype)
    log_kernel, log_rows, log_columns = -cost / epsilon, rows.log().unsqueeze(-1), columns.log().unsqueeze(-2)
    log_u, log_v = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for _ in range(iterations):
        log_v = log_columns - (log_kernel + log_u).logsumexp(dim=-2, keepdim=True)
        log_u = log_rows - (log_kernel + log_v).logsumexp(dim=-1, keepdim=True)
    return rows.unsqueeze(-1) * (log_kernel + log_v).softmax(dim=-1)


@full_precision
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes `(..., B, K)` of samples with scores `(..., B, K)`; each row sums to 1, each column towards B / K.

    A higher score draws more mass: this is `transport` with the cost minus the score, scaled to mass B.

    Source: as used here, equation 5 of SwAV (arXiv 2006.09882).
    """
    return transport(-scores, epsilon, iterations) * scores.shape[-2]


@full_precision
def affinity(c: Tensor, eta: float, iterations: int, kernel: Kernel = "absolute", symmetric: bool = False) -> Tensor:
    """How much each row of `(n, d)`, brought to length 1, belongs with each other: `(n, n)`, no entry below 0.

    Cosines (their absolute value, as they are, or the positive ones alone) draw mass, which `transport` spreads at
    softness `eta`. Rows sum to 1, columns towards 1: the scale that the coding rate of parts wants. `symmetric` is the
    mean with its transpose, whose rows and columns alike sum towards 1. No gradient is cut.

    Source: Ding et al., "Unsupervised Manifold Linearizing and Clustering" (ICCV 2023, arXiv
    2301.01805), whose kernel is the inner product; the absolute value is that of Chu et al. (arXiv 2306.05272).
    """
    c = F.normalize(c, dim=1)
    cosines = c @ c.T
    if kernel == "absolute":
        cosines = cosines.abs()
    elif kernel == "positive":
        cosines = cosines.relu()
    plan = sinkhorn(cosines, eta, iterations)
    return (plan + plan.T) / 2 if symmetric else plan
