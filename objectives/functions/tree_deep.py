"""Of the conditional tree the branch with the minimum, 0, which drawn points lie far above.

f = log10²(rate/r)/2 + log10²(decay/1e-4)/5 + (layers - 7)²/25 + log2²(width/128)/8 + loss(activation), where the best
rate r = 0.01 · 64/width hangs on the width, and the losses are 0 for gelu, 0.3 for sine, 0.6 for relu, 1.2 for tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from objectives.functions._tree import bowl, decades, doublings
from spaces.domains import Choice, Int, Log, Ordinal

OPTIMUM = 0.0
LOSS = {"relu": 0.6, "gelu": 0.0, "tanh": 1.2, "sine": 0.3}


@dataclass(frozen=True)
class Config:
    """A network and its training, as it were."""

    rate: Annotated[float, Log(1e-5, 1.0)] = 0.1  # best at 0.64 over the width
    decay: Annotated[float, Log(1e-6, 0.1)] = 0.01  # best at 1e-4
    layers: Annotated[int, Int(1, 12)] = 2  # best at 7
    width: Annotated[int, Ordinal(16, 32, 64, 128, 256, 512)] = 64  # best at 128
    activation: Annotated[str, Choice("relu", "gelu", "tanh", "sine")] = "relu"  # decides the loss


def build(config: Config) -> Callable[[], float]:
    """The function at the config's point."""
    return lambda: (
        decades(config.rate, 0.64 / config.width) / 2
        + decades(config.decay, 1e-4) / 5
        + bowl(config.layers, 7, 5)
        + doublings(config.width, 128) / 8
        + LOSS[config.activation]
    )
