"""Vision transformer without a class token: the representation is the mean of the last tokens.

    z₀ = E patches + positions
    z' = z + attention(LN(z)),   z ← z' + mlp(LN(z'))      in each layer (eq. 2 and 3 of the source)

The positions are sines and cosines of rows and columns at geometric frequencies (Chen, Xie, He 2021, *An Empirical
Study of Training Self-Supervised Vision Transformers*, section 4.1), fixed or, as `learned`, trained from there on.
Methods that drop or replace patches use `embed` and `blocks`; `forward` is the mean over `blocks(embed(images))`.
`mirror` is a stack of as many layers again, for methods that decode tokens by layers of the encoder's kind.

Source: A. Dosovitskiy et al., *An Image is Worth 16x16 Words*, ICLR 2021, section 3.1; its appendix D.3 for the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.domains import Choice, Int

OFFERS = ("patches", "maps", "mirror")


@dataclass(frozen=True)
class Config:
    """Size of the network; a token has heads × head_width features."""

    patch: Annotated[int, Choice(1, 2, 4, 8, 16)] = 4  # pixels; the side of a patch, which must divide the image's
    heads: Annotated[int, Int(1, 8, log=True)] = 3  # attention heads
    head_width: Annotated[int, Choice(16, 32, 64)] = 32  # features of one head; a token has heads × head_width
    depth: Annotated[int, Int(1, 12, log=True)] = 4  # layers
    positions: Annotated[str, Choice("fixed", "learned")] = "fixed"  # whether training moves them


def build(config: Config, shape: tuple[int, int, int]) -> VisionTransformer:
    """A network for images of `shape` (C, H, W).

    Raises:
        ValueError: the patch does not divide the image's sides.
    """
    return VisionTransformer(config, shape)


class TokenNetwork(nn.Module):
    """Images `(B, C, H, W)` to features `(B, features)`: patches as tokens, layers, a norm, and the mean.

    Args:
        name: what the backbone is called in an error.
        shape: (C, H, W) of the images.
        patch: the side of a patch in pixels.
        features: of a token.
        layer: what makes one of the `depth` layers.
        learned: whether positions are trained.

    Attributes:
        patch: the side of a patch in pixels.
        grid: how many (rows, columns) of patches an image has; tokens are ordered row by row.
        features: of a token.
        positions: what is added to the tokens for their place, `(N, features)`.

    Raises:
        ValueError: the patch does not divide the image's sides.
    """

    positions: Tensor

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        patch: int,
        features: int,
        layer: Callable[[], nn.Module],
        depth: int,
        learned: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        if height % patch or width % patch:
            raise ValueError(f"{name}: patch {patch} does not divide an image of {height} × {width} pixels")
        self.patch, self.features = patch, features
        self.grid = (height // patch, width // patch)
        self.project = nn.Conv2d(channels, features, patch, patch)
        table = sine_positions(self.grid, features)
        if learned:
            self.positions = nn.Parameter(table)
        else:
            self.register_buffer("positions", table, persistent=False)
        self.layers = nn.Sequential(*(layer() for _ in range(depth)))
        self.norm = nn.LayerNorm(features)
        self.apply(initialise)

    def embed(self, images: Tensor) -> Tensor:
        """The patches of images `(B, C, H, W)` as tokens with their positions, `(B, N, features)`."""
        return self.project(images).flatten(2).transpose(1, 2) + self.positions

    def blocks(self, tokens: Tensor) -> Tensor:
        """All layers and the final norm, on any tokens: `(B, M, features)` to `(B, M, features)`."""
        return self.norm(self.layers(tokens))

    def maps(self, images: Tensor) -> Tensor:
        """The last tokens in their places, `(B, features, rows, columns)`."""
        return self.blocks(self.embed(images)).transpose(1, 2).unflatten(2, self.grid)

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(self.embed(images)).mean(1)


class VisionTransformer(TokenNetwork):
    """Images `(B, C, H, W)` to features `(B, heads · head_width)`."""

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        features = config.heads * config.head_width
        layer = partial(Layer, features, config.heads)
        super().__init__("vit", shape, config.patch, features, layer, config.depth, config.positions == "learned")
        self.heads = config.heads

    def mirror(self) -> nn.Module:
        """As many new layers and a norm, `(B, M, features)` to `(B, M, features)`."""
        layers = (Layer(self.features, self.heads) for _ in self.layers)
        return nn.Sequential(*layers, nn.LayerNorm(self.features)).apply(initialise)


class Layer(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(features), nn.LayerNorm(features)
        self.qkv, self.join = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.mlp = nn.Sequential(nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attend(self.attention_norm(tokens))
        return tokens + self.mlp(self.mlp_norm(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        split = self.qkv(tokens).unflatten(2, (3, self.heads, -1))  # (B, M, 3, heads, features of a head)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.join(mixed.transpose(1, 2).flatten(2))


def sine_positions(grid: tuple[int, int], features: int) -> Tensor:
    """A vector for each place of a grid, row by row, `(rows · columns, features)`; features must be a multiple of 4.

    The four quarters are sine and cosine of the row, and sine and cosine of the column, at the frequencies
    10000^(−4k / features), k = 0 .. features/4 − 1.
    """
    quarter = features // 4
    frequency = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    row, column = rows.reshape(-1, 1) * frequency, columns.reshape(-1, 1) * frequency
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], dim=1).float()


def initialise(module: nn.Module) -> None:
    """Patches start as tokens of variance 1, as large as the positions; the rest by Glorot and Bengio 2010, eq. 16."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
        nn.init.zeros_(module.bias)
