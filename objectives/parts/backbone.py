"""What a method may ask of the backbone it is given."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network from images `(B, C, H, W)` to representations `(B, features)`; any module of this shape will do.

    Attributes:
        features: the width of the representation.
    """

    features: int


class PatchBackbone(Backbone):
    """A backbone that offers "patches": the image as a row of tokens, of which any subset can be encoded.

    Attributes:
        patch: pixels along a side of a patch.
        grid: patches along the height and along the width, N in all, counted row by row.
    """

    patch: int
    grid: tuple[int, int]

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to tokens `(B, N, features)` that know their place."""

    @abstractmethod
    def blocks(self, tokens: Tensor) -> Tensor:
        """Any M of those tokens, `(B, M, features)`, encoded: `(B, M, features)`."""
