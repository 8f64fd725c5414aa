"""The pretraining loop, written once for every method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from objectives.method import Batch, Method
from objectives.optimizer import Optimizer, build_optimizer, learning_rate

View = Callable[[Tensor, torch.Generator], Tensor]


class Pretraining:
    """A method on its way through the epochs.

    Args:
        method: what is trained, on its device.
        images: `(N, C, H, W)` on the same device, uint8 or float, as the data has them.
        prepare: from such images to floats in 0..1.
        views: one augmentation for each of `method.views`.
        normalise: from floats in 0..1 to what the backbone takes.
        config: the optimiser's.
        epochs: how many epochs the schedule is laid out for.
        seed: decides the order of the data and every augmentation.
    """

    def __init__(
        self,
        method: Method,
        images: Tensor,
        *,
        prepare: Callable[[Tensor], Tensor],
        views: tuple[View, ...],
        normalise: Callable[[Tensor], Tensor],
        config: Optimizer,
        epochs: int,
        seed: int,
    ) -> None:
        self.method, self.images, self.config = method, images, config
        self.prepare, self.views, self.normalise = prepare, views, normalise
        self.batch = min(config.batch, len(images))
        self.steps = epochs * steps_per_epoch(len(images), config.batch)
        self.step = 0
        self.optimizer = build_optimizer(config, method)
        self.order = torch.Generator().manual_seed(seed)
        self.draws = torch.Generator(images.device).manual_seed(seed + 1)
        self.amp = _mixed_precision(images.device)
        self.scaler = torch.amp.GradScaler(images.device.type, enabled=self.amp is torch.float16)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the images in a fresh order; the mean loss and its named parts.

        The last images, too few for a batch, wait for another epoch's order.
        """
        self.method.train()
        order = torch.randperm(len(self.images), generator=self.order).to(self.images.device)
        totals: dict[str, Tensor] = {}
        count = len(order) // self.batch
        for rows in order[: count * self.batch].split(self.batch):
            for name, part in self.train_step(self.images[rows]).items():
                totals[name] = totals.get(name, torch.zeros((), device=part.device)) + part
        return {name: float(total) / count for name, total in totals.items()}

    def train_step(self, images: Tensor) -> dict[str, Tensor]:
        """One optimiser step on the images `(B, C, H, W)`; the detached loss and its parts."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step, self.steps)
        with torch.autocast(images.device.type, dtype=self.amp, enabled=self.amp is not None):
            parts = self.method.loss(self.draw_batch(images))
        parts = parts if isinstance(parts, dict) else {"loss": parts}
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        trainable = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trainable, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.method.after_step()
        self.step += 1
        return {name: part.detach().float() for name, part in {**parts, "loss": loss}.items()}

    def draw_batch(self, images: Tensor) -> Batch:
        """The batch of a step: the images and their views, normalised, channels last."""
        plain = self.prepare(images)
        finish = lambda x: self.normalise(x).contiguous(memory_format=torch.channels_last)  # noqa: E731
        views = tuple(finish(view(plain, self.draws)) for view in self.views)
        return Batch(finish(plain), views, self.draws)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, place in the schedule and every stream of random numbers."""
        return {
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "order": self.order.get_state(),
            "draws": self.draws.get_state(),
            "torch": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken, by its own config where that differs from the one of the state."""
        kept = ("params", "lr")  # the rate is set at every step
        own = [{k: v for k, v in group.items() if k not in kept} for group in self.optimizer.param_groups]
        self.step = state["step"]
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group, settings in zip(self.optimizer.param_groups, own, strict=True):
            group.update(settings)
        self.scaler.load_state_dict(state["scaler"])
        self.order.set_state(state["order"])
        self.draws.set_state(state["draws"])
        torch.set_rng_state(state["torch"])


def steps_per_epoch(images: int, batch: int) -> int:
    """Optimiser steps in an epoch: whole batches only, one at least."""
    return max(images // batch, 1)


def _mixed_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the GPU has it, float16 (with loss scaling) on older ones, None on CPU: full precision."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
