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

import torch
from torch import Tensor, nn

from objectives import SHELVES, cost, probes, view_scores
from objectives.collapse import EARLY, Watch
from objectives.features import spread
from objectives.images.assay import assay
from objectives.images.encoder import Encoder, encode, prepare, settle, statistics, tensor
from objectives.images.images import TRAIN, Images
from objectives.images.views import Views
from objectives.kinds import Failed, Metrics, Setting
from objectives.method import Method
from objectives.optimizer import Optimizer
from objectives.pretraining import Pretraining, steps_per_epoch
from spaces.components import Component
from spaces.document import Node
from spaces.space import Switch, settled
from spaces.study import OneOf, SomeOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


DATA = True
PARTS = {
    "method": OneOf("method"),
    "augmentation": SomeOf("augmentation", default=("crop", "flip", "jitter", "grey", "blur")),
    "second_view": SomeOf("augmentation"),  # where a study leaves it out, all views are drawn alike
    "architecture": OneOf("architecture", default=("resnet",), serves="method"),
    "optimizer": Optimizer,
}
TUNABLE = ("augmentation", "second_view", *(f"optimizer.{knob}" for knob in ("lr", "weight_decay", "momentum", "clip")))
METRICS = probes.METRICS | view_scores.METRICS | cost.METRICS
WATCHED = 256  # training images whose features are watched for collapse
Probe = probes.Config
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
        epoch: epochs done.
        encoder: images in 0..1 to features; the backbone is the one in training.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        torch.manual_seed(setting.seed)
        images: Images = setting.data
        self.setting, self.epoch = setting, 0
        self.pixels = tensor(images.pixels, setting.device)
        train = self.pixels[torch.from_numpy(images.part == TRAIN)]
        optimizer = Optimizer(**setting.config["optimizer"])
        epochs = setting.rungs[-1]
        steps = epochs * steps_per_epoch(len(train), optimizer.batch)
        self.backbone = _built(setting.config, "architecture")(images.shape)
        self.method: Method = _built(setting.config, "method")(self.backbone, images.shape, steps)
        self.encoder = Encoder(self.backbone, *statistics(images.pixels[images.part == TRAIN]))
        for module in (self.method, self.encoder):
            module.to(setting.device)
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loop = Pretraining(
            self.method,
            train,
            prepare=prepare,
            views=tuple(_views(setting.config, number) for number in range(self.method.views)),
            normalise=self.encoder.normalise,
            config=optimizer,
            epochs=epochs,
            seed=setting.seed,
        )
        self.encoding = _Encoding(self.method, self.encoder)
        self.flops = cost.flops(self.backbone, images.shape)
        self.watched = spread(train, WATCHED)
        self.watch = Watch.of(encode(self.encoding, self.watched))

    def run(self) -> Iterator[Metrics]:
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            while self.epoch < rung:
                losses = self.loop.train_epoch()
                self.epoch += 1
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
            scores = measured(self.encoding, self.pixels, self.setting.data, self.setting.probe)
        except ValueError as error:
            raise Failed(f"collapsed or diverged: {error}") from None
        images = int((self.setting.data.part == TRAIN).sum())
        spent = cost.energy(self.flops, images, self.method.views, self.epoch)
        costs = {"parameters": float(cost.parameters(self.backbone)), "flops": float(self.flops), "energy": spent}
        return {**scores, **costs, "probe_seconds": time.perf_counter() - started}

    def state_dict(self) -> dict[str, Any]:
        encoder = {name: value.cpu().clone() for name, value in self.encoder.state_dict().items()}
        return {"epoch": self.epoch, "encoder": encoder, "watch": self.watch.state_dict(), **self.loop.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.watch = Watch.from_state(state["watch"]) if "watch" in state else self.watch
        self.loop.load_state_dict(state)


def measured(encoder: nn.Module, pixels: Tensor, data: Images, config: probes.Config) -> Metrics:
    """What an encoder's features are worth: every probe, and every score that needs no label.

    Raises:
        ValueError: features that are not finite.
    """
    scores = probes.probe(encode(encoder, pixels), data.labels, data.part, config, seed=0)
    seen = view_scores.scores(assay(encoder, pixels[torch.from_numpy(data.part == TRAIN)]))
    return {**scores, **seen, "label_free": view_scores.combined({**scores, **seen})}


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

    def forward(self, images: Tensor) -> Tensor:
        return self.method.encode(self.encoder.normalise(images))


def _built(config: dict[str, Any], kind: str) -> partial[Any]:
    """The builder of the component that a config chose for `kind`, its knobs filled in."""
    ((name, knobs),) = config[kind].items()
    component = SHELVES[kind].load(name)
    return partial(component.build, component.config(**knobs))


def _views(config: dict[str, Any], number: int) -> Views:
    """The augmentation of view `number`: the second's own where a study states one, else the common one."""
    chosen = (number % 2 == 1 and config["second_view"]) or config["augmentation"]
    steps = chosen.items() if isinstance(chosen, dict) else [step for one in chosen for step in one.items()]
    shelf = {name: SHELVES["augmentation"].load(name) for name, _ in steps}
    return Views([shelf[name].build(shelf[name].config(**knobs)) for name, knobs in steps])


def check(study: Study, data: Images) -> None:
    """Raises StudyError where a metric needs labels that the data lacks, or a component cannot serve its images."""
    _goal_fits(study, data)
    methods, architectures = _components(study, "method"), _components(study, "architecture")
    bodies = {}
    for place, component, config in architectures:
        try:
            bodies[component.name] = component, component.build(config, data.shape)
        except ValueError as error:
            raise place.wrong(f"'{component.name}' cannot serve images of shape {data.shape}: {error}") from None
    for place, component, config in methods:
        _, body = next(b for b in bodies.values() if component.needs <= b[0].offers)
        try:
            component.build(config, body, data.shape, 1)
        except ValueError as error:
            raise place.wrong(f"'{component.name}' cannot serve images of shape {data.shape}: {error}") from None


def _goal_fits(study: Study, data: Images) -> None:
    """Raises StudyError where a metric that is sought or bounded cannot be had from these images."""
    search = study.document.value.get("search", study.document)
    named = {full: "subject_to" for bound in study.goal.bounds for _, full in bound.names}
    named |= {target.metric: "metric" for target in study.goal.targets}
    _, height, width = data.shape
    for name in [name for name in named if name in METRICS]:
        node = search.value.get(named[name], search) if isinstance(search.value, dict) else search
        if METRICS[name].labels and not data.labelled:
            free = [other for other, metric in METRICS.items() if not metric.labels]
            raise node.wrong(f"the metric '{name}' needs labels, and the data has none for some part", free)
        if name == "rotation_accuracy" and height != width:
            raise node.wrong(f"the metric '{name}' needs square images, and these are of {height} × {width} pixels")


def floors(study: Study, data: Images) -> dict[str, Metrics]:
    """What must be beaten: the raw pixels, and the study's untrained backbones (the best of them), probed alike."""
    torch.manual_seed(study.goal.seed)
    pixels = tensor(data.pixels)
    raw = measured(nn.Flatten(), pixels, data, study.probe)
    untrained = []
    for _, component, config in _components(study, "architecture"):
        train = data.part == TRAIN
        encoder = Encoder(component.build(config, data.shape), *statistics(data.pixels[train]))
        settle(encoder, pixels[torch.from_numpy(train)])
        size, work = cost.parameters(encoder.backbone), cost.flops(encoder.backbone, data.shape)
        costs = {"parameters": float(size), "flops": float(work), "energy": 0.0}
        untrained.append({**measured(encoder, pixels, data, study.probe), **costs})
    best = max if study.goal.mode == "max" else min
    return {"raw": raw, "untrained": best(untrained, key=lambda metrics: metrics[study.goal.metric])}


def _components(study: Study, kind: str) -> list[tuple[Node, Component, Any]]:
    """Each component that the study may take for `kind`, its open knobs at their defaults, and its place."""
    space = study.document.value.get("space", study.document)
    place = space.value.get(kind, space)
    switch = study.space.parts[kind]
    assert isinstance(switch, Switch)
    found = []
    for name, group in switch.branches.items():
        component = SHELVES[kind].load(name)
        node = place.value.get(name, place) if isinstance(place.value, dict) else place
        found.append((node, component, component.config(**settled(group))))
    return found
