"""The pretraining loop, written once for every method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from objectives.images.pools import Pool
from objectives.images.samplers import Start
from objectives.method import Batch, Method
from objectives.optimizer import Optimizer, build_optimizer, learning_rate


class View(Protocol):
    """A random view of each image, and where in its image it lies: `objectives.images.views.Views` is one."""

    def placed(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


class Pretraining:
    """A method on its way through the epochs.

    Args:
        method: what is trained, on its device.
        pool: the images, uint8 or float as the data has them, on the same device.
        start: what starts the sampler that draws the batches.
        prepare: from such images to floats in 0..1.
        views: one augmentation for each of `method.views`.
        small: one for each of the small views that the method asks for.
        partner: `(K, C, H, W)`, for each image of the pool another, from which views with odd numbers are drawn.
        normalise: from floats in 0..1 to what the backbone takes.
        config: the optimiser's.
        epochs: how many epochs the schedule is laid out for.
        steps: optimiser steps in an epoch.
        seed: decides the order of the data and every augmentation.

    Attributes:
        met: the images that met in the batches of the last epoch, `(steps, batch)`.
    """

    def __init__(
        self,
        method: Method,
        pool: Pool,
        start: Start,
        *,
        prepare: Callable[[Tensor], Tensor],
        views: Sequence[View],
        small: Sequence[View] = (),
        partner: Tensor | None = None,
        normalise: Callable[[Tensor], Tensor],
        config: Optimizer,
        batch: int,
        epochs: int,
        steps: int,
        seed: int,
    ) -> None:
        self.method, self.images, self.config = method, pool.images, config
        self.prepare, self.views, self.small, self.partner, self.normalise = prepare, views, small, partner, normalise
        self.steps = epochs * steps
        self.step, self.epoch = 0, 0
        self.optimizer = build_optimizer(config, method, method.rates())
        self.sampler = start(pool, batch, steps, seed)
        self.order = torch.Generator().manual_seed(seed)
        self.draws = torch.Generator(pool.images.device).manual_seed(seed + 1)
        self.met = torch.empty(0, batch, dtype=torch.long)
        self.amp = _mixed_precision(pool.images.device)
        self.scaler = torch.amp.GradScaler(pool.images.device.type, enabled=self.amp is torch.float16)

    def train_epoch(self) -> dict[str, float]:
        """One pass over the batches that the sampler draws; the mean loss and its named parts."""
        self.met = self.sampler.epoch(self.epoch, self.encode, self.order)
        self.method.train()
        totals: dict[str, Tensor] = {}
        for rows in self.met.to(self.images.device):
            for name, part in self.train_step(rows).items():
                totals[name] = totals.get(name, torch.zeros((), device=part.device)) + part
        self.epoch += 1
        return {name: float(total) / len(self.met) for name, total in totals.items()}

    def train_step(self, rows: Tensor) -> dict[str, Tensor]:
        """One optimiser step on the images of these rows of the pool, `(B,)`; the detached loss and its parts."""
        rate, factors = learning_rate(self.config, self.step, self.steps), self.method.rates()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * factors.get(group["prefix"], 1.0)
        with torch.autocast(rows.device.type, dtype=self.amp, enabled=self.amp is not None):
            parts = self.method.loss(self.draw_batch(rows))
        parts = parts if isinstance(parts, dict) else {"loss": parts}
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.method.after_backward()
        trainable = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trainable, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.method.after_step()
        self.step += 1
        return {name: part.detach().float() for name, part in {**parts, "loss": loss}.items()}

    def draw_batch(self, rows: Tensor) -> Batch:
        """The batch of a step: the images and their views, normalised, channels last."""
        plain = self.prepare(self.images[rows])
        other = plain if self.partner is None else self.prepare(self.partner[rows])
        finish = lambda x: self.normalise(x).contiguous(memory_format=torch.channels_last)  # noqa: E731
        drawn = [view.placed(other if number % 2 else plain, self.draws) for number, view in enumerate(self.views)]
        small = tuple(finish(view.placed(plain, self.draws)[0]) for view in self.small)
        views, warps = zip(*drawn, strict=True) if drawn else ((), ())
        return Batch(finish(plain), tuple(map(finish, views)), self.draws, rows, warps, small)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """What the method makes of stored images `(N, C, H, W)` as it stands: `(N, D)` on the CPU."""
        self.method.eval()
        chunks = (self.normalise(self.prepare(some)) for some in images.split(512))
        return torch.cat([self.method.encode(some).float().cpu() for some in chunks])

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, place in the schedule and every stream of random numbers."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "sampler": self.sampler.state_dict(),
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
        self.step, self.epoch = state["step"], state["epoch"]
        self.sampler.load_state_dict(state.get("sampler", {}))
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
