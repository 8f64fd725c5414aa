"""What a method may ask of the backbone it is given."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network from images `(B, C, H, W)` to features `(B, features)`; any module of this shape will do.

    What probes read may be more than what methods train on: a backbone that has a `readout(images)` gives them that.

    Attributes:
        features: the width of what methods train on.
    """

    features: int


class MapBackbone(Backbone):
    """A backbone that offers "maps": what it gives is the mean over the places of a map."""

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to maps `(B, features, h, w)`, before the mean."""


class LayeredBackbone(Backbone):
    """A backbone that offers "layers": one after the other, and a mean over places where a map is left.

    Attributes:
        layers: the layers, each with all that belongs to it (normalisation, activation).
    """

    layers: nn.Sequential


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


class MirrorBackbone(PatchBackbone):
    """A backbone that offers "mirror": patches, and a way back from its tokens by layers of its own kind.

    One whose layers give sparse tokens has a `densities(tokens)` besides: for tokens `(B, M, features)`, the share of
    numbers that are not 0 after each layer, `(depth,)`.

    Attributes:
        positions: what `embed` adds to the tokens for their place, `(N, features)`.
    """

    positions: Tensor

    @abstractmethod
    def mirror(self) -> nn.Module:
        """New layers from encoded tokens `(B, M, features)` to tokens that one linear map makes pixels of."""


def read_out(backbone: nn.Module, images: Tensor) -> Tensor:
    """What probes read of a backbone, `(B, D)`: its `readout`, or what methods train on."""
    return getattr(backbone, "readout", backbone)(images)
