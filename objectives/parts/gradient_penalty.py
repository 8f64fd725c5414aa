"""A critic that is nearly 1-Lipschitz: the length of its gradient, row by row, is held at 1 between samples.

    penalty = mean over rows of (|grad f| - 1)^2,    or, one-sided, of max(0, |grad f| - 1)^2

The gradient is that of a row's own score with respect to all of that row's inputs together. It is the scores' sum
that is differentiated: their mean would shrink every gradient by the number of rows. This supposes that a row's score
depends on its own inputs alone, so a critic must not normalise over the batch, and one that is to be trained through
its gradient must not work in place.

Source: section 4 of Gulrajani et al., "Improved Training of Wasserstein GANs" (NeurIPS 2017, arXiv 1704.00028); as used
for representations, Ozair et al., "Wasserstein Dependency Measure for Representation Learning" (NeurIPS 2019, arXiv
1903.11780).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def interpolates(ones: Sequence[Tensor], others: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Points `(B, ...)` between rows of `ones` and of `others`, tuples of inputs of the same shapes.

    Each row has a place of its own, uniform in 0..1, the same in all of its inputs.
    """
    place = torch.rand(len(ones[0]), generator=generator, device=generator.device).to(ones[0].device)

    def between(one: Tensor, other: Tensor) -> Tensor:
        return torch.lerp(one, other, place.to(one.dtype).view(-1, *(1,) * (one.dim() - 1)))

    return tuple(between(one, other) for one, other in zip(ones, others, strict=True))


def gradient_norms(critic: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """The length `(B,)` of the gradient of each row's score with respect to all its inputs, each `(B, ...)`.

    `critic(*inputs)` gives scores `(B,)`. It runs in full precision, and its attention, if any, in the plain form,
    the only one that can be differentiated twice. The lengths have a gradient with respect to the critic's parameters.
    """
    points = [(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).detach() for x in inputs]
    points = [x.requires_grad_() for x in points]
    with torch.enable_grad(), torch.autocast(points[0].device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(critic(*points).sum(), points, create_graph=True)
    return torch.linalg.vector_norm(torch.cat([g.flatten(1) for g in gradients], dim=1), dim=1)


def gradient_penalty(critic: Callable[..., Tensor], inputs: Sequence[Tensor], one_sided: bool = False) -> Tensor:
    """The penalty of a critic at inputs `(B, ...)`, such as `interpolates`; a scalar. See `gradient_norms`."""
    excess = gradient_norms(critic, inputs) - 1
    return (excess.relu() if one_sided else excess).square().mean()
