"""The optimiser of a pretraining trial: AdamW or SGD, warm-up and cosine, clipping."""

from __future__ import annotations

import math
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


def build_optimizer(config: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """The torch optimiser over the trainable parameters of `module`, weight decay on those of two or more axes."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
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
