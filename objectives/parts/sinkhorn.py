"""Sinkhorn-Knopp: soft assignments of samples to prototypes that use all prototypes equally."""

from __future__ import annotations

from torch import Tensor

from objectives.parts.precision import full_precision


@full_precision
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes `(..., B, K)` of samples with scores `(..., B, K)`; each row sums to 1, each column towards B / K.

    They approach the maximiser of sum(Q * scores) + epsilon * entropy(Q) over all Q with these sums, which is
    diag(u) exp(+scores / epsilon) diag(v): a higher score draws more mass. (Optimal transport minimises a cost;
    here the cost is minus the score.) Columns and rows are scaled in turn, in logarithms, so that no exponential
    can overflow; rows have the last word. Without iterations, a softmax of each row is left. No gradient is cut.

    Source: Cuturi, "Sinkhorn Distances" (NeurIPS 2013); as used here, equation 5 of SwAV (arXiv 2006.09882).
    """
    log_codes = scores / epsilon
    for _ in range(iterations):
        log_codes = log_codes.log_softmax(dim=-2)
        log_codes = log_codes.log_softmax(dim=-1)
    return log_codes.softmax(dim=-1)
