"""What an encoder is worth: every probe of its frozen features, and every score that needs no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from objectives import cell_probes, factor_probes, probes, view_scores
from objectives import episodes as few_shot
from objectives.images.assay import assay
from objectives.images.encoder import Encoder, encode
from objectives.images.images import TRAIN, Images
from objectives.kinds import Metrics
from objectives.parts.backbone import MapBackbone
from spaces.domains import Int

CELLS = 4000  # labelled cells of a part that probes of maps are fitted on, or scored by
METRICS = probes.METRICS | view_scores.METRICS | factor_probes.METRICS | cell_probes.METRICS | few_shot.METRICS


@dataclass(frozen=True)
class Probe(probes.Config, few_shot.Episodes):
    """How the probes read the features; the same for every trial of a study."""

    episodes: Annotated[int, Int(0, 10_000)] = 0  # few-shot episodes, with and without transport; 0: none


class _Maps(nn.Module):
    """Images in 0..1 to the maps of an encoder's backbone, `(B, features, h, w)`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return cast(MapBackbone, self.encoder.backbone).maps(self.encoder.normalise(images))


def measured(encoder: nn.Module, pixels: Tensor, data: Images, config: Probe, maps: Encoder | None = None) -> Metrics:
    """Every probe and score of an encoder of images in 0..1; those of cells from the maps of `maps`, if it has some.

    Raises:
        ValueError: features that are not finite.
    """
    features = encode(encoder, pixels)
    found = probes.probe(features, data.labels, data.part, config, seed=0)
    if data.factors is not None:
        found |= factor_probes.factors(features, data.factors, data.part, config.penalty)
    if config.episodes:
        found |= few_shot.episodes(features, data.labels, data.part, config, seed=0)
    if data.masks is not None and maps is not None and hasattr(maps.backbone, "maps"):
        found |= cell_probes.cells(encode(_Maps(maps), pixels), data.masks, data.part, config.penalty, 0, CELLS)
    seen = view_scores.scores(assay(encoder, pixels[torch.from_numpy(data.part == TRAIN)]))
    return {**found, **seen, "label_free": view_scores.combined({**found, **seen})}
