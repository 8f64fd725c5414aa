"""The optimiser of a pretraining trial: AdamW or SGD, warm-up and cosine, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from spaces.domains import Choice, Int, Log, Uniform


@dataclass(frozen=True)
class Optimizer:
    """How the weights move. The rate climbs linearly through the warm-up, then falls by a cosine to zero."""

    rule: Annotated[str, Choice("adamw", "sgd")] = "adamw"
    lr: Annotated[float, Log(1e-5, 10.0)] = 2e-3  # peak learning rate
    weight_decay: Annotated[float, Log(1e-8, 1.0)] = 1e-4  # on matrices and filters; biases and norms are spared
    momentum: Annotated[float, Uniform(0.0, 0.99)] = 0.9  # of sgd (Nesterov where above 0); adamw's first beta
    batch: Annotated[int, Int(2, 8192, log=True)] = 128  # images a step
    warmup: Annotated[float, Uniform(0.0, 0.5)] = 0.1  # share of all steps
    clip: Annotated[float, Log(1e-3, 1e3)] = 1.0  # largest gradient norm


def build_optimizer(config: Optimizer, module: nn.Module, prefixes: Iterable[str] = ()) -> torch.optim.Optimizer:
    """The torch optimiser over the trainable parameters of `module`, weight decay on those of two or more axes.

    Parameters whose names begin with one of the `prefixes`, the longest that fits, have groups of their own; each
    group's `prefix` says which, and is empty for the others.
    """
    shares: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            prefix = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default="")
            shares.setdefault((prefix, parameter.ndim > 1), []).append(parameter)
    groups = [
        {"params": params, "weight_decay": config.weight_decay if decays else 0.0, "prefix": prefix}
        for (prefix, decays), params in sorted(shares.items(), key=lambda share: (share[0][0], not share[0][1]))
    ]
    if config.rule == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))


def learning_rate(config: Optimizer, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`."""
    warm = round(config.warmup * steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    progress = (step - warm) / max(steps - warm, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
