"""Pretrain a representation without labels, then probe it frozen.

A config names a method, the augmentations, an architecture and the optimiser. At every rung the images are
encoded once, in evaluation mode, and all probes read those features; the pretraining itself never sees a
label, nor an image of the validation or test part.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from objectives import SHELVES, cluster_probes, cost
from objectives.collapse import EARLY, Watch
from objectives.features import spread
from objectives.images import self_report, worth
from objectives.images.augmentations import crop
from objectives.images.encoder import Encoder, encode, prepare, settle, statistics, tensor
from objectives.images.fit import check as check
from objectives.images.fit import components
from objectives.images.images import TRAIN, UNLABELLED, Images
from objectives.images.self_report import belonging, told
from objectives.images.views import Operation, Views
from objectives.images.worth import measured
from objectives.kinds import Failed, Metrics, Setting
from objectives.method import Method, Task
from objectives.optimizer import Optimizer
from objectives.pretraining import Pretraining, steps_per_epoch
from spaces.study import OneOf, SomeOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


DATA = True
PARTS = {
    "method": OneOf("method"),
    "plugin": SomeOf("plugin"),  # what is added to a method
    "sampler": OneOf("sampler", default=("shuffled",)),
    "pool": OneOf("pool", default=("real",)),
    "augmentation": SomeOf("augmentation", default=("crop", "flip", "jitter", "grey", "blur")),
    "second_view": SomeOf("augmentation"),  # where a study leaves it out, all views are drawn alike
    "architecture": OneOf("architecture", default=("resnet",), serves="method"),
    "optimizer": Optimizer,
}
TUNABLE = ("augmentation", "second_view", *(f"optimizer.{knob}" for knob in ("lr", "weight_decay", "momentum", "clip")))
METRICS = worth.METRICS | cluster_probes.METRICS | self_report.METRICS | cost.METRICS
CROPS = ("crop", "centre_crop")  # augmentations whose place a small view's own crop takes
WATCHED = 256  # training images whose features are watched for collapse
Probe = worth.Probe
LOAD = """\
from pathlib import Path

import torch
from safetensors.torch import load_file

here = Path(__file__).parent
backbone = torch.export.load(here / "backbone.pt2").module()
backbone.load_state_dict(load_file(here / "backbone.safetensors"))
features = backbone(torch.rand(4, {channels}, {height}, {width}))  # images in 0..1, any number of them
print(tuple(features.shape))
"""


def build(setting: Setting) -> Representation:
    """The trial of a setting, untrained."""
    return Representation(setting)


class Representation:
    """One trial: a method on a backbone over the training images, and its probes.

    Attributes:
        encoder: images in 0..1 to features; the backbone is the one in training.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        torch.manual_seed(setting.seed)
        images: Images = setting.data
        self.setting = setting
        self.pixels = tensor(images.pixels, setting.device)
        self.trained = torch.from_numpy(np.flatnonzero(images.part == TRAIN))
        train = self.pixels[self.trained]
        pool = _built(setting.config, "pool")()(train, setting.seed)
        optimizer, epochs = Optimizer(**setting.config["optimizer"]), setting.rungs[-1]
        batch, steps = min(optimizer.batch, len(train)), steps_per_epoch(len(train), optimizer.batch)
        task = Task(images.shape, len(pool.images), batch, epochs * steps, images.partner is not None)
        self.backbone = _built(setting.config, "architecture")(images.shape)
        self.method = _method(setting.config, self.backbone, task)
        self.encoder = Encoder(self.backbone, *statistics(images.pixels[images.part == TRAIN]))
        for module in (self.method, self.encoder):
            module.to(setting.device)
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        views, small = _views(setting.config, self.method)
        self.loop = Pretraining(
            self.method,
            pool,
            _built(setting.config, "sampler")(),
            prepare=prepare,
            views=views,
            small=small,
            partner=None if images.partner is None else tensor(images.partner, setting.device)[self.trained],
            normalise=self.encoder.normalise,
            config=optimizer,
            batch=batch,
            epochs=epochs,
            steps=steps,
            seed=setting.seed,
        )
        self.encoding = _Encoding(self.method, self.encoder)
        self.flops = cost.flops(self.backbone, images.shape)
        self.watched = spread(train, WATCHED)
        self.watch = Watch.of(encode(self.encoding, self.watched))

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.loop.epoch

    def run(self) -> Iterator[Metrics]:
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            while self.epoch < rung:
                losses = self.loop.train_epoch()
                self.look(losses, at_rung=self.epoch == rung)
            yield {**losses, **self.probe()}

    def look(self, losses: Metrics, at_rung: bool) -> None:
        """Raises Collapsed where the representation has collapsed; nothing that trains is touched by looking."""
        if self.setting.probe.watch:
            self.watch.losses(losses, self.epoch)
            if at_rung or self.epoch <= EARLY * self.setting.rungs[-1]:
                self.watch.features(encode(self.encoding, self.watched), self.epoch)
        elif bad := [name for name, value in losses.items() if not math.isfinite(value)]:
            raise Failed(f"diverged: {bad[0]} became {losses[bad[0]]} in epoch {self.epoch}")

    def probe(self) -> Metrics:
        """The metrics of the representation as it stands; training is not touched by it."""
        started = time.perf_counter()
        try:
            scores = measured(self.encoding, self.pixels, self.setting.data, self.setting.probe, self.encoder)
        except ValueError as error:
            raise Failed(f"collapsed or diverged: {error}") from None
        images = int((self.setting.data.part == TRAIN).sum())
        spent = cost.energy(self.flops, images, self.method.views, self.epoch)
        costs = {"parameters": float(cost.parameters(self.backbone)), "flops": float(self.flops), "energy": spent}
        own = {**self._belonging(), **told(self.method, self.encoder, self.pixels, self.setting.data)}
        return {**scores, **own, **costs, "probe_seconds": time.perf_counter() - started}

    def _belonging(self) -> Metrics:
        labels = np.full(len(self.loop.images), UNLABELLED)
        labels[: len(self.trained)] = self.setting.data.labels[self.trained.numpy()]
        return belonging(self.method, self.loop.met.numpy(), labels)

    def state_dict(self) -> dict[str, Any]:
        encoder = {name: value.cpu().clone() for name, value in self.encoder.state_dict().items()}
        return {"encoder": encoder, "watch": self.watch.state_dict(), **self.loop.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.watch = Watch.from_state(state["watch"]) if "watch" in state else self.watch
        self.loop.load_state_dict(state)


def restore_encoder(config: dict[str, Any], shape: tuple[int, int, int], state: dict[str, Any]) -> Encoder:
    """The encoder of a trial from its saved state, on the CPU, in evaluation mode: images in 0..1 to features."""
    saved = state["encoder"]
    encoder = Encoder(_built(config, "architecture")(shape), saved["mean"], saved["std"])
    encoder.load_state_dict(saved)
    return encoder.eval()


def files(config: dict[str, Any], data: dict[str, Any], state: dict[str, Any]) -> dict[str, bytes]:
    """The trained network to take home, by file name.

    backbone.safetensors   the weights, and the normalisation of the images
    backbone.pt2           the network's graph (torch.export), so that loading needs torch alone
    load.py                images in, features out
    """
    from safetensors.torch import save

    shape = channels, height, width = tuple(data["shape"])
    encoder = restore_encoder(config, shape, state)
    batch = {"images": {0: torch.export.Dim("batch", min=1)}}
    with torch.no_grad():
        program = torch.export.export(encoder, (torch.rand(2, *shape),), dynamic_shapes=batch)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return {
        "backbone.pt2": buffer.getvalue(),
        "backbone.safetensors": save({name: value.contiguous() for name, value in encoder.state_dict().items()}),
        "load.py": LOAD.format(channels=channels, height=height, width=width).encode(),
    }


class _Encoding(nn.Module):
    """Images in 0..1 to what the method calls their representation."""

    def __init__(self, method: Method, encoder: Encoder) -> None:
        super().__init__()
        self.method, self.encoder = method, encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.method.encode(self.encoder.normalise(images))


def _built(config: dict[str, Any], kind: str) -> partial[Any]:
    """The builder of the component that a config chose for `kind`, its knobs filled in; of a config that is older than
    that part of the space, the builder of its default."""
    part = PARTS[kind]
    assert isinstance(part, OneOf)
    ((name, knobs),) = (config.get(kind) or {name: {} for name in part.default}).items()
    component = SHELVES[kind].load(name)
    return partial(component.build, component.config(**knobs))


def _method(config: dict[str, Any], backbone: nn.Module, task: Task) -> Method:
    """The method that a config chose, with what is added to it; a plugin that it cannot take is left out."""
    ((name, _),) = config["method"].items()
    method: Method = _built(config, "method")(backbone, task)
    for plugin, knobs in config.get("plugin", {}).items():
        added = SHELVES["plugin"].load(plugin)
        if added.needs <= SHELVES["method"].load(name).offers:
            method = added.build(added.config(**knobs))(method, task)
    return method


def _views(config: dict[str, Any], method: Method) -> tuple[list[Views], list[Views]]:
    """The augmentation of each view, the second's own where a study states one, and of each small view."""
    chosen = config["augmentation"], config["second_view"] or config["augmentation"]
    views = [Views([operation for _, operation in _operations(chosen[k % 2])]) for k in range(method.views)]
    if method.small is None:
        return views, []
    boxed = crop.crop(method.small.area, crop.Config().ratio, 1.0)
    others = [operation for name, operation in _operations(chosen[0]) if name not in CROPS]
    return views, [Views([boxed, *others], method.small.side)] * method.small.count


def _operations(chosen: Any) -> list[tuple[str, Operation]]:
    """A config's augmentations in their order, by name."""
    steps = chosen.items() if isinstance(chosen, dict) else [step for one in chosen for step in one.items()]
    shelf = {name: SHELVES["augmentation"].load(name) for name, _ in steps}
    return [(name, shelf[name].build(shelf[name].config(**knobs))) for name, knobs in steps]


def floors(study: Study, data: Images) -> dict[str, Metrics]:
    """What must be beaten: the raw pixels, and the study's untrained backbones (the best of them), probed alike."""
    torch.manual_seed(study.goal.seed)
    pixels = tensor(data.pixels)
    raw = measured(nn.Flatten(), pixels, data, study.probe)
    untrained = []
    for _, component, config in components(study, "architecture"):
        train = data.part == TRAIN
        encoder = Encoder(component.build(config, data.shape), *statistics(data.pixels[train]))
        settle(encoder, pixels[torch.from_numpy(train)])
        size, work = cost.parameters(encoder.backbone), cost.flops(encoder.backbone, data.shape)
        costs = {"parameters": float(size), "flops": float(work), "energy": 0.0}
        untrained.append({**measured(encoder, pixels, data, study.probe, encoder), **costs})
    sign, metric = study.goal.sign, study.goal.metric
    return {"raw": raw, "untrained": max(untrained, key=lambda metrics: sign * metrics.get(metric, 0.0))}
