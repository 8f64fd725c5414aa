"""SimVQ: reconstruction through discrete codes that all learn together, by one linear layer.

Each place z of a map is replaced by the nearest of K codes Q, and an image is restored from the codes. In a plain
VQ-VAE only codes that were taken learn, so that most are never taken. Here the codes are a fixed random table C through
a learnt linear map W, and whichever code is taken moves all:

    Q = W(C),   z_q = Q_i,  i = argmin_k |z - Q_k|^2,   x' = decoder(z + sg(z_q - z))
    loss = |x' - x|^2 + commit * ( beta |z - sg(z_q)|^2 + |z_q - sg(z)|^2 ),   sg cuts the gradient

Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer" (ICCV 2025, arXiv
2411.02038); its perceptual and adversarial losses are left out. Only the last term trains W. `vq` is the plain
VQ-VAE of van den Oord et al. (NeurIPS 2017, arXiv 1711.00937), `ema` that of its appendix A.1, whose codes are moving
means of what took them; `frozen` has the table as it is drawn, and `simvq_both` trains C and W. Finite scalar,
lookup-free and residual quantisers, which have no table of K codes to lose, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.kinds import Metric
from objectives.method import Batch, Method, Task
from objectives.parts.backbone import MapBackbone
from objectives.parts.decoder import decoder
from objectives.parts.precision import full_precision
from objectives.parts.quantiser import commit_loss, nearest, perplexity, straight_through, usage, used_share
from spaces.domains import Choice, Int, Log, Uniform

NEEDS = ("maps",)
OFFERS = ("projection",)
METRICS = {
    "code_usage": Metric("max", False, "share of codes that some place of some image takes"),
    "code_perplexity": Metric("max", False, "how many codes, taken equally, have the entropy of those that are taken"),
    "reconstruction": Metric("min", False, "mean squared error of restored images, normalised ones"),
}
PROJECTED, LEARNT = ("simvq", "simvq_both"), ("vq", "simvq_both")  # quantisers with W; those whose table is trained


@dataclass(frozen=True)
class Config:
    """The paper: 1024 to 262144 codes, beta 0.25, commit 1, 128 features, W with a bias, L1 beside its other losses."""

    quantiser: Annotated[str, Choice("simvq", "simvq_both", "vq", "ema", "frozen")] = "simvq"
    codes: Annotated[int, Int(16, 65536, log=True)] = 512  # K
    latent: Annotated[int, Int(4, 512, log=True)] = 16  # features of a code
    beta: Annotated[float, Uniform(0.05, 2.0)] = 0.25  # how strongly a place is drawn to its code
    commit: Annotated[float, Log(0.1, 10.0)] = 1.0  # weight of what draws places and codes together
    table: Annotated[str, Choice("normal", "uniform", "orthogonal", "inverse")] = "normal"  # inverse: within ±scale/K
    scale: Annotated[float, Uniform(0.1, 2.0)] = 1.0  # of the table's numbers, in 1/√latent
    bias: Annotated[bool, Choice(True, False)] = True  # of W
    depth: Annotated[int, Int(1, 2)] = 1  # linear layers of which W is made
    decay: Annotated[float, Uniform(0.5, 0.999)] = 0.99  # of ema: what stays of the moving means at each step
    error: Annotated[str, Choice("mse", "l1")] = "mse"  # of restored images
    width: Annotated[int, Int(8, 256, log=True)] = 32  # of the decoder


def drawn(kind: str, codes: int, latent: int, scale: float) -> Tensor:
    """A random table `(codes, latent)`, its mean square `scale²/latent`; `inverse`: uniform within `±scale/codes`."""
    if kind == "inverse":
        return (2 * torch.rand(codes, latent) - 1) * scale / codes
    if kind == "orthogonal":
        unit = nn.init.orthogonal_(torch.empty(codes, latent)) * max(codes, latent) ** 0.5
    elif kind == "uniform":
        unit = (2 * torch.rand(codes, latent) - 1) * 3**0.5
    else:
        unit = torch.randn(codes, latent)
    return unit * scale * latent**-0.5


@full_precision
def projected(table: Tensor, projection: nn.Module) -> Tensor:
    """The codes Q `(K, d)` from the table C `(K, d)`; coarse ones would coincide."""
    return projection(table)


@full_precision
def restoration_loss(restored: Tensor, images: Tensor, error: str) -> Tensor:
    """The mean squared, or with `l1` absolute, error of images `(B, C, H, W)`; a scalar."""
    return F.l1_loss(restored, images) if error == "l1" else F.mse_loss(restored, images)


class SimVQ(Method):
    """A backbone with maps, a table of codes with its projection, and a decoder that is thrown away after training.

    Attributes:
        table: C, `(K · d,)`: of one axis, so that the optimiser spares it weight decay where it is trained.
        taken: of `ema`, the moving count of places that take each code, `(K,)`.
        total: of `ema`, the moving sum of those places, `(K, d)`.
    """

    views = 1
    backbone: MapBackbone
    table: Tensor
    taken: Tensor
    total: Tensor

    def __init__(self, config: Config, backbone: MapBackbone, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, d = config, config.latent
        self.backbone = backbone
        self.enter = nn.Conv2d(backbone.features, d, 1)
        self.decoder = decoder(d, _grid(backbone, shape), shape, config.width)
        layers = config.depth if config.quantiser in PROJECTED else 0
        self.projection = nn.Sequential(*(nn.Linear(d, d, bias=config.bias) for _ in range(layers)))
        table = drawn(config.table, config.codes, d, config.scale)
        if config.quantiser in LEARNT:
            self.table = nn.Parameter(table.flatten())
        else:
            self.register_buffer("table", table.flatten())
        if config.quantiser == "ema":
            self.register_buffer("taken", torch.ones(config.codes))
            self.register_buffer("total", table.clone())

    def codes(self) -> Tensor:
        """The codes that places are replaced by, `(K, d)`; to decode from indices, take rows of these."""
        return projected(self.table.view(self.config.codes, -1), self.projection)

    def quantise(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The places z of images, their codes z_q, both `(B, h, w, d)`, and which these are, `(B, h, w)`."""
        z = self.enter(self.backbone.maps(images)).permute(0, 2, 3, 1)
        codes = self.codes()
        taken = nearest(z.flatten(0, 2), codes).view(z.shape[:3])
        return z, codes[taken], taken

    def restore(self, z: Tensor) -> Tensor:
        """Images `(B, C, H, W)` from places or codes `(B, h, w, d)`."""
        return self.decoder(z.permute(0, 3, 1, 2))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        c, view = self.config, batch.views[0]
        z, zq, taken = self.quantise(view)
        if c.quantiser == "ema" and self.training:
            self.follow(z.flatten(0, 2), taken.flatten())
        restored = self.restore(straight_through(z, zq))
        pixels = restoration_loss(restored, view, c.error)
        return {"pixels": pixels, "commit": c.commit * commit_loss(z, zq, c.beta)}

    @torch.no_grad()
    def follow(self, z: Tensor, taken: Tensor) -> None:
        """Moves each code towards the mean of the places `(M, d)` that take it, `(M,)`, as `ema` does."""
        decay, z = self.config.decay, z.to(self.total)
        counts = usage(taken, self.config.codes)
        self.taken.lerp_(counts.to(self.taken), 1 - decay)
        self.total.lerp_(torch.zeros_like(self.total).index_add_(0, taken, z), 1 - decay)
        self.table.copy_((self.total / self.taken.clamp(min=1e-5)[:, None]).flatten())

    def measure(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """How the codes are used over all batches, and the error of images restored from them."""
        counts, error, pixels = torch.zeros(self.config.codes, dtype=torch.long), 0.0, 0
        for images in batches:
            _, zq, taken = self.quantise(images)
            counts += usage(taken, self.config.codes).cpu()
            error += (self.restore(zq) - images).double().square().sum().item()
            pixels += images.numel()
        return {
            "code_usage": used_share(counts),
            "code_perplexity": perplexity(counts),
            "reconstruction": error / max(pixels, 1),
        }


@torch.no_grad()
def _grid(backbone: MapBackbone, shape: tuple[int, int, int]) -> tuple[int, int]:
    """The sides (h, w) of the backbone's maps of images of a shape."""
    training = backbone.training
    height, width = backbone.eval().maps(torch.zeros(1, *shape)).shape[2:]
    backbone.train(training)
    return height, width


def build(config: Config, backbone: MapBackbone, task: Task) -> Method:
    """SimVQ, or a quantiser that it is compared with, on a backbone with maps, for images of any shape."""
    return SimVQ(config, backbone, task.shape)
