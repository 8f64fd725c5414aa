"""Mistake: a shortcut around the step that makes tokens sparse, as a ViT has around its perceptron.

    Z ← Z½ + ISTA(LN(Z½))    for    Z ← ISTA(LN(Z½))

It is another network, whose tokens are sparse no longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from objectives.images.backbones.crate import Layer
from objectives.method import Method, Task

NEEDS = ("mirror",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes the mistake in the method's backbone.

    Raises:
        ValueError: on adding it, the backbone has no layer of CRATE.
    """

    def add(method: Method, task: Task) -> Method:
        layers = [layer for layer in method.backbone.modules() if isinstance(layer, Layer)]
        if not layers:
            raise ValueError(f"{type(method.backbone).__name__} has no step that makes tokens sparse")
        for layer in layers:
            layer.forward = _with_shortcut(layer)  # type: ignore[method-assign, assignment]
        return method

    return add


def _with_shortcut(layer: Layer) -> Callable[[Tensor], Tensor]:
    def forward(tokens: Tensor) -> Tensor:
        tokens = tokens + layer.compress(layer.compress_norm(tokens))
        return tokens + layer.sparsify(layer.sparsify_norm(tokens))

    return forward
