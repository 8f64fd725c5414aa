"""CRATE: a white-box transformer, whose every layer compresses the tokens and then makes them sparse.

    Z½ = Z + MSSA(LN(Z))                                  compress against K learnt subspaces, a step of the coding rate
    Z  ← ISTA(LN(Z½))                                     sparsify against a dictionary, a step of a non-negative LASSO

    MSSA(Z) = W · concat_k softmax(V_kᵀ V_k / √p) V_k,    V_k = U_kᵀ Z: one projection is query, key and value
    ISTA(Z) = ReLU(Z + η (Dᵀ Z − Dᵀ D Z) − η λ)           without a shortcut, so that tokens stay sparse

Such a layer has a quarter of a ViT's parameters at the same width. `mirror` is the way back, as many layers that undo
it approximately, with parameters of their own:

    Y = D' · LN(Z),   Z ← Y − MSSA'(LN(Y))                neither ReLU nor shortcut of Z

As in the authors' code W is a map of its own with bias; with `tie` it is [U_1 .. U_K], as theory has it. Tokens have
fixed positions (`vit.sine_positions`), and there is no class token: the representation is the mean of the last tokens.

Source: D. Pai et al., *Masked Completion via Structured Diffusion with White-Box Transformers*, ICLR 2024,
arXiv 2404.02446, and the authors' code; the layer is that of Y. Yu et al., *White-Box Transformers via Sparse Rate
Reduction*, NeurIPS 2023, arXiv 2306.01129.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.images.backbones.vit import TokenNetwork, initialise
from spaces.domains import Choice, Int, Log, Uniform

OFFERS = ("patches", "maps", "mirror")


@dataclass(frozen=True)
class Config:
    """Size of the network; a token has heads × head_width features.

    The paper: patches of 16 pixels, 384 (6 heads), 576 or 768 (12 heads) features, 12 layers; eta 0.1, lam 0.5 to
    restore and 0.1 to classify; not tied.
    """

    patch: Annotated[int, Choice(1, 2, 4, 8, 16)] = 4  # pixels; the side of a patch, which must divide the image's
    heads: Annotated[int, Int(1, 12, log=True)] = 3  # K, subspaces
    head_width: Annotated[int, Choice(16, 32, 64)] = 32  # p, dimensions of a subspace
    depth: Annotated[int, Int(1, 12, log=True)] = 4  # layers
    eta: Annotated[float, Uniform(0.01, 0.5)] = 0.1  # η, length of the step towards sparse tokens
    lam: Annotated[float, Log(0.01, 2.0)] = 0.5  # λ, the price of an entry: too high and no token is left
    tie: Annotated[bool, Choice(True, False)] = False  # whether W is made of the subspaces


def build(config: Config, shape: tuple[int, int, int]) -> Crate:
    """A network for images of `shape` (C, H, W).

    Raises:
        ValueError: the patch does not divide the image's sides.
    """
    return Crate(config, shape)


class Crate(TokenNetwork):
    """Images `(B, C, H, W)` to features `(B, heads · head_width)`."""

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        features = config.heads * config.head_width
        layer = partial(Layer, features, config.heads, config.eta, config.lam, config.tie)
        super().__init__("crate", shape, config.patch, features, layer, config.depth)
        self.heads, self.tie = config.heads, config.tie

    def mirror(self) -> nn.Module:
        """As many new layers of the way back and a norm, `(B, M, features)` to `(B, M, features)`."""
        layers = (MirrorLayer(self.features, self.heads, self.tie) for _ in self.layers)
        return nn.Sequential(*layers, nn.LayerNorm(self.features)).apply(initialise)

    @torch.no_grad()
    def densities(self, tokens: Tensor) -> Tensor:
        """The share of numbers that are not 0 after each layer, `(depth,)`, of tokens `(B, M, features)`."""
        shares = []
        for layer in self.layers:
            tokens = layer(tokens)
            shares.append((tokens != 0).double().mean())
        return torch.stack(shares)


class Layer(nn.Module):
    """A step of compression beside a shortcut, and a step towards sparse tokens in its place."""

    def __init__(self, features: int, heads: int, eta: float, lam: float, tie: bool) -> None:
        super().__init__()
        self.compress_norm, self.compress = nn.LayerNorm(features), Subspaces(features, heads, tie)
        self.sparsify_norm, self.sparsify = nn.LayerNorm(features), Shrinkage(features, eta, lam)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.compress(self.compress_norm(tokens))
        return self.sparsify(self.sparsify_norm(tokens))


class MirrorLayer(nn.Module):
    """What undoes a layer: a dictionary, and the step of compression the other way."""

    def __init__(self, features: int, heads: int, tie: bool) -> None:
        super().__init__()
        self.expand_norm, self.dictionary = nn.LayerNorm(features), _dictionary(features)
        self.spread_norm, self.spread = nn.LayerNorm(features), Subspaces(features, heads, tie)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = F.linear(self.expand_norm(tokens), self.dictionary)
        return tokens - self.spread(self.spread_norm(tokens))


class Subspaces(nn.Module):
    """MSSA: tokens attend to each other within each of K subspaces."""

    def __init__(self, features: int, heads: int, tie: bool) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(features, features, bias=False)  # U, a subspace after the other
        self.join = None if tie else nn.Linear(features, features)  # W

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, K, M, p)
        mixed = F.scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(2)
        return F.linear(mixed, self.project.weight.T) if self.join is None else self.join(mixed)


class Shrinkage(nn.Module):
    """ISTA: one proximal gradient step of |z - D a|² / 2 + λ |a|₁ over a ≥ 0, from a = z."""

    def __init__(self, features: int, eta: float, lam: float) -> None:
        super().__init__()
        self.eta, self.lam = eta, lam
        self.dictionary = _dictionary(features)  # D

    def forward(self, tokens: Tensor) -> Tensor:
        rest = tokens - F.linear(tokens, self.dictionary)  # z - D z
        return F.relu(tokens + self.eta * F.linear(rest, self.dictionary.T) - self.eta * self.lam)


def _dictionary(features: int) -> nn.Parameter:
    """As the authors' code starts it (He et al. 2015, *Delving Deep into Rectifiers*, uniform)."""
    return nn.Parameter(nn.init.kaiming_uniform_(torch.empty(features, features)))
