"""What an encoder makes of the same few images under the same augmentations, whatever it was trained with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from objectives import SHELVES
from objectives.features import spread
from objectives.images.encoder import encode, prepare
from objectives.images.views import Views
from objectives.view_scores import ASSAY, IMAGES, VIEWS, Assayed


def assay(encoder: nn.Module, pixels: Tensor) -> Assayed:
    """Features of at most `IMAGES` of the stored pixels `(N, C, H, W)`, evenly spaced, clean, augmented and turned.

    Random numbers come from a generator of its own, with one seed: the same images and views for every encoder.
    """
    images = prepare(spread(pixels, IMAGES))
    generator = torch.Generator(images.device).manual_seed(0)
    shelf = {name: SHELVES["augmentation"].load(name) for name in ASSAY}
    augment = Views([shelf[name].build(shelf[name].config(**knobs)) for name, knobs in ASSAY.items()])
    clean = encode(encoder, images)
    views = np.stack([encode(encoder, augment(images, generator)) for _ in range(VIEWS)])
    if images.shape[2] != images.shape[3]:
        return Assayed(clean, views, None)
    turns = [encode(encoder, torch.rot90(images, quarter, (2, 3))) for quarter in (1, 2, 3)]
    return Assayed(clean, views, np.stack([clean, *turns]))
