"""Of the conditional tree the branch not worth a visit: minimum 2.5 at rate 0.001, rounds 10, kind b.

f = 2.5 + log10²(rate/0.001)/2 + log2²(rounds/10)/4 + loss(kind), the losses being 0 for `b`, 0.5 for `a`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import decades, doublings
from spaces.domains import Choice, Int, Log

OPTIMUM = 2.5
LOSS = {"a": 0.5, "b": 0.0}


@dataclass(frozen=True)
class Config:
    """Three knobs that do not help."""

    rate: Annotated[float, Log(1e-5, 1.0)] = 0.1  # best at 0.001
    rounds: Annotated[int, Int(1, 100, log=True)] = 1  # best at 10
    kind: Annotated[str, Choice("a", "b")] = "a"  # decides the loss


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: OPTIMUM + decades(config.rate, 0.001) / 2 + doublings(config.rounds, 10) / 4 + LOSS[config.kind]
