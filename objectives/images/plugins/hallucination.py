"""Hallucinator: one more positive for each query, made in feature space.

A query q is extrapolated away from its key k, and a small network G makes a second query of the two, for the same key:

    q~ = (1 + r) q - r k,      r uniform in 0..r_max,      q^ = G([q; q~])
    loss = sum over pairs of ( L(q, k) + w L(q^, k) ) / (1 + w),      L the method's own loss of a pair

Section 3 of Wu et al., "Hallucination Improves the Performance of Unsupervised Visual Representation Learning" (ICCV
2023, arXiv 2307.12168). The paper puts q and q^ into one loss with every key twice; where keys are negatives, too, the
copy of a key is a negative equal to the positive, which costs log 2 that nothing can win back. Hence two losses here.
It fits methods that offer "pairs": see `parts/paired.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.paired import Paired
from objectives.parts.precision import full_precision
from spaces.domains import Choice, Int, Uniform

NEEDS = ("pairs",)
METRICS = {
    "hallucinated_cosine": Metric("max", False, "cosine of queries and those made of them, in the last steps"),
    "hallucinator_shift": Metric("max", False, "relative change of G's weights since the start, where it is least"),
}
KEPT = 0.9  # of the running mean of cosines, a step


@dataclass(frozen=True)
class Config:
    """The paper: r up to 0.1 drawn per batch, G of depth 3 and width 2, one copy, k detached with MoCo alone."""

    how: Annotated[str, Choice("mlp", "linear")] = "mlp"  # linear: q^ is q~ itself
    r_max: Annotated[float, Uniform(0.0, 1.0)] = 0.1  # largest r; near 1 q~ leaves the features behind
    sampling: Annotated[str, Choice("batch", "sample")] = "batch"  # one r for the whole batch, or one for each row
    depth: Annotated[int, Int(1, 3)] = 3  # linear maps in G
    width: Annotated[float, Uniform(0.5, 4.0)] = 2.0  # of G's hidden layers, in widths of q
    copies: Annotated[int, Int(1, 4)] = 1  # queries made of each
    detach_key: Annotated[bool, Choice(False, True)] = False  # whether k takes no gradient through q~
    weight: Annotated[float, Uniform(0.0, 2.0)] = 1.0  # w


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes a method learn from hallucinated queries, too.

    Raises:
        ValueError: on adding it, the method has no pairs.
    """

    def add(method: Method, task: Task) -> Method:
        if not isinstance(method, Paired):
            raise ValueError(f"{type(method).__name__} has no pairs")
        # A class of its own keeps all that the method is and does, and its parameters under their names.
        method.__class__ = type(f"Hallucinating{type(method).__name__}", (Hallucinating, type(method)), {})
        method.hallucinator = Hallucinator(config, method.width)
        return method

    return add


class Hallucinating(Paired):
    """A method with pairs that learns from hallucinated queries besides."""

    hallucinator: Hallucinator

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        c, pairs = self.hallucinator.config, self.pairs(batch)
        seen = torch.stack([self.contrast(q, k) for q, k in pairs]).sum()
        made = [(q, self.hallucinator(q, k, batch.generator), k) for q, k in pairs for _ in range(c.copies)]
        self.hallucinator.record([(q, guess) for q, guess, _ in made])
        hallucinated = torch.stack([self.contrast(guess, k) for _, guess, k in made]).sum() / c.copies
        return {"seen": seen / (1 + c.weight), "hallucinated": c.weight * hallucinated / (1 + c.weight)}

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        return {**super().measure(batches), **self.hallucinator.measure()}


class Hallucinator(nn.Module):
    """Makes queries of queries; `cosine` is the running mean of how alike they are, and `start` G's first weights."""

    cosine: Tensor
    start: Tensor

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.config = config
        self.generator = generator(config, width) if config.how == "mlp" else None
        weights = [p.detach().flatten() for p in self.parameters()]
        self.register_buffer("start", torch.cat(weights) if weights else torch.empty(0))
        self.register_buffer("cosine", torch.full((), torch.nan))

    def forward(self, q: Tensor, k: Tensor, generator: torch.Generator) -> Tensor:
        """Queries `(N, width)` made of queries and their keys, `(N, width)` each."""
        rows = 1 if self.config.sampling == "batch" else len(q)
        r = self.config.r_max * torch.rand(rows, 1, generator=generator, device=q.device)
        beyond = extrapolated(q, k.detach() if self.config.detach_key else k, r.to(q.dtype))
        return beyond if self.generator is None else self.generator(torch.cat([q, beyond.to(q.dtype)], dim=1))

    @torch.no_grad()
    def record(self, made: list[tuple[Tensor, Tensor]]) -> None:
        """Takes queries, and those that were made of them, into the running mean."""
        now = torch.stack([F.cosine_similarity(q.float(), guess.float()).mean() for q, guess in made]).mean()
        self.cosine.copy_(torch.where(self.cosine.isnan(), now, KEPT * self.cosine + (1 - KEPT) * now))

    def measure(self) -> dict[str, float]:
        """The metrics: of the steps so far, whatever images are asked about."""
        found = {} if self.cosine.isnan() else {"hallucinated_cosine": float(self.cosine)}
        weights = list(self.parameters())
        parts = self.start.split([p.numel() for p in weights]) if weights else ()
        shifts = [float((p.detach().flatten() - s).norm() / s.norm()) for p, s in zip(weights, parts, strict=True)]
        return {**found, **({"hallucinator_shift": min(shifts)} if shifts else {})}


def generator(config: Config, width: int) -> nn.Sequential:
    """G, `(N, 2 width) -> (N, width)`: linear maps with ReLUs between, without normalisation."""
    hidden = max(round(config.width * width), 1)
    sizes = [2 * width, *[hidden] * (config.depth - 1)]
    inner = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*inner, nn.Linear(sizes[-1], width))


@full_precision
def extrapolated(q: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """q~ of queries and keys `(N, D)` and r `(N, 1)` or `(1, 1)`; `(N, D)`."""
    return (1 + r) * q - r * k
