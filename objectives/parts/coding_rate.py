"""Coding rates: how many nats it takes to tell rows apart to a precision, together and part by part.

    R(Z)        = log det(I + d / (n eps^2) Z^T Z)
    R(Z; gamma) = 1/n sum_j w_j log det(I + d / eps^2  Z^T diag(gamma_j) Z)

R grows with the volume that the rows of Z span; the rate of parts is small where each part spans few directions.
As in Ding et al., "Unsupervised Manifold Linearizing and Clustering" (ICCV 2023, arXiv 2301.01805), there is no factor
1/2; `half` brings that of the authors' code and of the definition in Yu et al., "Learning Diverse
and Discriminative Representations via the Principle of Maximal Coding Rate Reduction" (NeurIPS 2020, arXiv
2006.08558). Determinants are taken by Cholesky in double precision; results have the precision of the rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.parts.precision import full_precision

_ROOM = 2**23  # numbers in the matrices of one chunk


@full_precision
def coding_rate(z: Tensor, eps2: float, half: bool = False) -> Tensor:
    """R of rows `(n, d)` at squared precision `eps2`; a scalar, 0 where all rows are 0."""
    n, d = z.shape
    wide = z.double()
    gram = wide.T @ wide if d <= n else wide @ wide.T  # both have the same determinant
    return (_log_det(d / (n * eps2) * gram) * (0.5 if half else 1.0)).to(z.dtype)


@full_precision
def rate_of_parts(z: Tensor, gamma: Tensor, eps2: float, weights: Tensor | None = None, half: bool = False) -> Tensor:
    """The rate of rows `(n, d)` by parts: row j of `gamma` `(K, n)`, none below 0, says how much each belongs to j.

    `gamma` is on the scale at which a row sums to 1, as an affinity `(n, n)` does; with less the rate all but
    vanishes. `weights` `(K,)` are w, by default 1. K clusters that share out the rows are `gamma_j` = membership of j
    over its size n_j, and w_j = n_j: this is the rate that the maximal rate reduction of Yu et al. compresses.
    Returns a scalar.
    """
    n, d = z.shape
    wide, gamma = z.double(), gamma.double()
    outer = (wide.unsqueeze(2) * wide.unsqueeze(1)).view(n, d * d)  # Z^T diag(gamma_j) Z = sum_i gamma_ji z_i z_i^T
    chunks = gamma.split(max(_ROOM // (d * d), 1))
    rates = torch.cat([_log_det(d / eps2 * (chunk @ outer).view(-1, d, d)) for chunk in chunks])
    total = rates.sum() if weights is None else (weights.double() * rates).sum()
    return (total / n * (0.5 if half else 1.0)).to(z.dtype)


def _log_det(matrices: Tensor) -> Tensor:
    """log det(I + M) of positive semi-definite `(..., d, d)`; not a number where one is not, as after an overflow."""
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    factor, failed = torch.linalg.cholesky_ex(eye + matrices)
    rate = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return rate.masked_fill(failed > 0, torch.nan)
