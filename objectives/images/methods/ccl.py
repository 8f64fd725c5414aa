"""Counter-current learning: two networks in opposite directions teach each other, layer by layer.

The forward network goes from an image to its reconstruction: the backbone's layers, then a decoder that mirrors them.
A feedback network of the same sizes goes from the target, the image itself, back to the input. No gradient passes from
a layer to the one before. A loss at each level trains the forward layer and the feedback layer that meet there:

    a_0 = x,  a_l = F_l(sg a_{l-1});   c_L = target,  c_{l-1} = B_l(sg c_l);   sg cuts the gradient
    loss = w s_0 |x - c_0|^2 + w s_L |a_L - target|^2 + sum_{0<l<L} s_l ( w |a_l - c_l|^2 + p |a'_l - c'_l|^2 )

s is a level's height, a' a map with each channel centred over places and at length 1. Kao and Hariharan,
"Counter-Current Learning: A Biologically Plausible Dual Network Approach for Deep Learning" (NeurIPS 2024, arXiv
2409.19841). Each network is best informed near its own input. Its other, *deep* half must therefore follow the other
network's shallow half, not lead it: it starts small (`init_scale`), and shallow halves move slowly, at the optimiser's
rate over `deep_lr_multiple`. As in the authors' code, the scale and shift of normalisations stand still, gradients are
centralised (Yong et al., ECCV 2020), and each network's are clipped by themselves; the optimiser's `clip` comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import LayeredBackbone
from objectives.parts.mirror import ACTIVATIONS, bottom, path, sizes
from objectives.parts.precision import full_precision
from spaces.domains import Choice, Log, Uniform

NEEDS = ("layers",)
METRICS = {
    "reconstruction": Metric("min", False, "mean squared error of restored images, normalised ones"),
    "cka": Metric("max", False, "alignment of the two networks' activities (linear CKA), mean of the inner levels"),
}
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Config:
    """The paper's autoencoder: weights 1 and 1, start 0.001 at equal rates, clip 0.2, SGD 0.01, momentum 0.9."""

    rule: Annotated[str, Choice("ccl", "frozen_feedback", "last_only", "bp")] = "ccl"  # last_only: F_L alone learns
    local: Annotated[str, Choice("mse", "cosine", "gram")] = "mse"  # loss of inner levels
    level: Annotated[float, Uniform(0.05, 4.0)] = 1.0  # w
    pattern: Annotated[float, Uniform(0.0, 4.0)] = 1.0  # p, for maps, of mse
    spread: Annotated[float, Uniform(0.0, 4.0)] = 0.5  # of gram: how strongly images are kept apart
    deep_lr_multiple: Annotated[float, Log(1.0, 100.0)] = 30.0  # learning rate of deep halves to shallow ones'
    feedback_lr_multiple: Annotated[float, Log(0.01, 100.0)] = 1.0  # of the feedback network to the forward one
    init_scale: Annotated[float, Log(1e-4, 1.0)] = 1e-3  # of the weights of deep halves at the start
    clip: Annotated[float, Log(0.1, 5.0)] = 1.0  # largest gradient norm of each network
    centralise: Annotated[bool, Choice(True, False)] = True  # gradients of weights, by their mean for each output
    activation: Annotated[str, Choice(*ACTIVATIONS)] = "relu"  # of the mirrored layers
    norm: Annotated[str, Choice("batch", "none")] = "batch"  # of the mirrored layers
    target: Annotated[str, Choice("view", "image")] = "view"  # image: what augmentation does to the input is undone


@full_precision
def level_loss(a: Tensor, c: Tensor, level: float, pattern: float) -> Tensor:
    """w s |a - c|^2 + p s |a' - c'|^2 of activities `(B, D)` or `(B, C, h, w)`, means over elements; a scalar.

    s is h, and 1 for vectors, which have no pattern over places.
    """
    loss = level * F.mse_loss(a, c)
    return loss if a.ndim == 2 else a.shape[2] * (loss + pattern * F.mse_loss(shape_of(a), shape_of(c)))


def shape_of(maps: Tensor) -> Tensor:
    """Each channel of each map `(B, C, h, w)` centred over places, and at length 1 where it is not constant."""
    centred = maps - maps.mean((2, 3), keepdim=True)
    return centred / (centred.square().sum((2, 3), keepdim=True) + 1e-6).sqrt()


@full_precision
def gram_loss(a: Tensor, c: Tensor, level: float, spread: float) -> Tensor:
    """w |A C^T - I|^2 + spread (|A A^T - I|^2 + |C C^T - I|^2), means over elements, of activities `(B, ...)`.

    A and C are the activities of a level, each image's at length 1: the networks agree on an image and on no two.
    """
    a, c = F.normalize(a.flatten(1)), F.normalize(c.flatten(1))
    same = torch.eye(len(a), dtype=a.dtype, device=a.device)
    return level * F.mse_loss(a @ c.T, same) + spread * (F.mse_loss(a @ a.T, same) + F.mse_loss(c @ c.T, same))


@full_precision
def cosine_loss(a: Tensor, c: Tensor, level: float) -> Tensor:
    """w (1 - cos(a, c)), the mean over images, of activities `(B, ...)`."""
    return level * (1 - F.cosine_similarity(a.flatten(1), c.flatten(1))).mean()


@full_precision
def cka(a: Tensor, c: Tensor) -> Tensor:
    """Linear centred kernel alignment of activities `(B, ...)` of the same images, 0 to 1 (Kornblith et al. 2019)."""
    a, c = (x.flatten(1) - x.flatten(1).mean(0) for x in (a, c))
    one, two = a @ a.T, c @ c.T
    return (one * two).sum() / (one.norm() * two.norm()).clamp(min=1e-12)


class CCL(Method):
    """A backbone's layers and their mirror images: a decoder, and the two halves of the feedback network."""

    views = 1
    backbone: LayeredBackbone

    def __init__(self, config: Config, backbone: LayeredBackbone, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.height = config, shape[1]
        self.backbone = backbone
        up, kind = sizes(backbone, shape), (config.activation, config.norm)
        self.decoder = path(up[::-1], *kind, config.init_scale, end=True)
        self.feedback = nn.Sequential(path(up, *kind), path(up[::-1], *kind, config.init_scale, end=True))

    def activities(self, images: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """a_0 .. a_L and c_0 .. c_L from an input and a target `(B, C, H, W)`."""
        return self.forwards(images), run(chain(*self.feedback), bottom(self.backbone, target), local=True)[::-1]

    def forwards(self, images: Tensor) -> list[Tensor]:
        """a_0 .. a_L alone."""
        layers = chain(self.backbone.layers, self.decoder)
        return run(layers, bottom(self.backbone, images), local=self.config.rule != "bp")

    def level_losses(self, a: list[Tensor], c: list[Tensor]) -> list[Tensor]:
        """The loss of each level, 0 to L."""
        k = self.config
        if k.rule == "frozen_feedback":
            c = [partner.detach() for partner in c]
        inner = [self.inner_loss(*pair) for pair in zip(a[1:-1], c[1:-1], strict=True)]
        return [self.end_loss(a[0], c[0]), *inner, self.end_loss(a[-1], c[-1])]

    def inner_loss(self, a: Tensor, c: Tensor) -> Tensor:
        """What draws the activities of both networks at an inner level together."""
        k = self.config
        match k.local:
            case "cosine":
                return cosine_loss(a, c, k.level)
            case "gram":
                return gram_loss(a, c, k.level, k.spread)
        return level_loss(a, c, k.level, k.pattern)

    def end_loss(self, made: Tensor, true: Tensor) -> Tensor:
        """w H |made - true|^2 of images of height H, as the layers give and take them."""
        return self.height * level_loss(made.flatten(1), true.flatten(1), self.config.level, 0.0)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        view = batch.views[0]
        target = view if self.config.target == "view" else batch.images
        if self.config.rule in ("bp", "last_only"):
            return {"ends": self.end_loss(self.forwards(view)[-1], bottom(self.backbone, target))}
        first, *inner, last = self.level_losses(*self.activities(view, target))
        return {"ends": first + last, "inner": torch.stack(inner).sum()}

    def rates(self) -> Mapping[str, float]:
        k = self.config
        norms = (name for name, part in self.backbone.named_modules() if isinstance(part, NORMS))
        still = {f"backbone.{name}.": 0.0 for name in norms}
        if k.rule == "bp":
            return still
        shallow, feedback = 1 / k.deep_lr_multiple, k.feedback_lr_multiple
        return {"backbone.": shallow, "feedback.0.": feedback * shallow, "feedback.1.": feedback, **still}

    @torch.no_grad()
    def after_backward(self) -> None:
        if self.config.centralise:
            for weight in self.parameters():
                if weight.grad is not None and weight.ndim > 1:
                    weight.grad -= weight.grad.flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))
        for network in (chain(self.backbone.parameters(), self.decoder.parameters()), self.feedback.parameters()):
            nn.utils.clip_grad_norm_(network, self.config.clip)

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """The error of restored images over all batches, and the alignment of levels, the mean over batches."""
        error, pixels, aligned = 0.0, 0, []
        for images in batches:
            a, c = self.activities(images, images)
            error += (a[-1] - c[-1]).double().square().sum().item()
            pixels += images.numel()
            aligned += [cka(*pair).item() for pair in list(zip(a, c, strict=True))[1:-1]]
        return {"reconstruction": error / max(pixels, 1), "cka": sum(aligned) / max(len(aligned), 1)}


def run(layers: Iterable[nn.Module], x: Tensor, local: bool) -> list[Tensor]:
    """The input and what each layer makes of what the one before gave; with `local`, gradients stay in a layer."""
    found = [x]
    for layer in layers:
        found.append(layer(found[-1].detach() if local else found[-1]))
    return found


def build(config: Config, backbone: LayeredBackbone, task: Task) -> Method:
    """Counter-current learning of a backbone's layers, for images of any shape.

    Raises:
        ValueError: some of the layers give maps and some vectors.
    """
    return CCL(config, backbone, task.shape)
