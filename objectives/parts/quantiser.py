"""Discrete codes: the nearest row of a table, and how gradients get past it.

A quantiser replaces z by its nearest code. The encoder learns as if it had not (`straight_through`), and both are
drawn together (`commit_loss`), which is all the gradient that the codes get. A method decides what the codes are: a
table, or, as in SimVQ, a fixed table through a learnt linear map.

Sources: van den Oord et al., "Neural Discrete Representation Learning" (NeurIPS 2017, arXiv 1711.00937), section 3.2;
Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer" (arXiv 2411.02038).
"""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.parts.precision import full_precision

_ROOM = 2**22  # distances in one chunk


@full_precision
@torch.no_grad()
def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """Which of the codes `(K, d)` is nearest to each row of `(M, d)`: `(M,)` long; of equal codes the first."""
    middle = codes.mean(dim=0)  # distances from there, lest a common offset drown the differences
    codes, lengths = codes - middle, (codes - middle).square().sum(dim=1)
    chunks = (z - middle).split(max(_ROOM // len(codes), 1))
    return torch.cat([torch.addmm(lengths, chunk, codes.T, alpha=-2).argmin(dim=1) for chunk in chunks])


def straight_through(z: Tensor, zq: Tensor) -> Tensor:
    """The value of `zq` with the gradient of `z`, both `(..., d)`: nothing flows into the codes."""
    return z + (zq - z).detach()


@full_precision
def commit_loss(z: Tensor, zq: Tensor, beta: float) -> Tensor:
    """beta |z - sg(zq)|^2 + |zq - sg(z)|^2, the mean over all elements of `(..., d)`; a scalar.

    sg cuts the gradient. The first term, of weight `beta`, moves the encoder alone, the second the codes alone.
    """
    return beta * (z - zq.detach()).square().mean() + (zq - z.detach()).square().mean()


def usage(indices: Tensor, codes: int) -> Tensor:
    """How often each of so many codes was taken, `(codes,)` long, in indices of any shape."""
    return torch.bincount(indices.flatten(), minlength=codes)


def used_share(counts: Tensor) -> float:
    """The share of codes taken at least once, from counts `(K,)`."""
    return (counts > 0).double().mean().item()


def perplexity(counts: Tensor) -> float:
    """How many codes it would take, used equally, for the entropy of counts `(K,)`: from 1 to K."""
    shares = counts.double() / counts.sum().clamp(min=1)
    return torch.special.entr(shares).sum().exp().item()
