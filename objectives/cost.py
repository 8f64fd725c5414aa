"""What a network costs: parameters, operations, and an estimate of energy."""

from __future__ import annotations

import torch
from torch import nn

from objectives.kinds import Metric

JOULES = 2.05e-11  # a floating-point operation: 400 W over 19.5e12 a second, an NVIDIA A100 at its float32 peak
TRAINING = 3  # passes forward that a pass forward and backward amounts to
METRICS = {
    "parameters": Metric("min", False, "numbers that the backbone is made of"),
    "flops": Metric("min", False, "floating-point operations of the backbone for one image"),
    "energy": Metric("min", False, "estimated joules of the pretraining so far, by FLOPs"),
}


def parameters(network: nn.Module) -> int:
    """Numbers that a network is made of."""
    return sum(parameter.numel() for parameter in network.parameters())


def flops(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Floating-point operations for one image `(C, H, W)` forward, products and sums of matrices and convolutions.

    Attention is spelt out as products of matrices meanwhile, since the counter does not know the CPU's fused kernel.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode  # here: it is slow to import

    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device=device))
    network.train(training)
    return int(counter.get_total_flops())


def energy(flops: float, images: int, views: int, epochs: int) -> float:
    """An estimate, in joules, of pretraining: every view of every image forward and backward, at a GPU's best.

    Heads, momentum encoders and the loss are left out, so it compares backbones and lengths rather than methods.
    """
    return JOULES * TRAINING * flops * images * max(views, 1) * epochs
