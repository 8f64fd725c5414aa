from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives.images.methods.rotnet import TURNS, Config, rotation_loss, turned
from objectives.images.methods.rotnet import build as build_rotnet
from objectives.method import Task


def quarter(image: np.ndarray) -> np.ndarray:
    """One quarter turn anticlockwise, pixel by pixel: the right column becomes the top row."""
    channels, height, width = image.shape
    out = np.empty((channels, width, height))
    for c in range(channels):
        for i in range(width):
            for j in range(height):
                out[c, i, j] = image[c, j, width - 1 - i]
    return out


@pytest.mark.parametrize("turns", TURNS.values())
def test_turned_moves_every_pixel_to_its_place(turns: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    found = turned(torch.from_numpy(images), turns).numpy()
    expected = []
    for turn in turns:
        for image in images:
            for _ in range(turn):
                image = quarter(image)
            expected.append(image)
    np.testing.assert_array_equal(found, np.stack(expected))


def test_rotation_loss_is_the_papers() -> None:
    logits = np.random.default_rng(0).normal(size=(12, 4))  # three images, turn by turn
    total = 0.0
    for turn in range(4):
        for image in range(3):
            row = logits[3 * turn + image]
            total -= math.log(math.exp(row[turn]) / sum(math.exp(v) for v in row))
    assert rotation_loss(torch.from_numpy(logits)).item() == pytest.approx(total / 12, rel=1e-6)


def test_rotation_loss_gradient() -> None:
    logits = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(rotation_loss, logits)


def test_rotation_loss_in_half_precision(same_in_half) -> None:
    same_in_half(rotation_loss, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))


class Corners(nn.Module):
    """Features of an image: upper left, lower left, lower right, upper right; one bright corner walks through them."""

    features = 4

    def forward(self, images: Tensor) -> Tensor:
        return 50 * torch.stack([images[:, 0, i, j] for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))], dim=1)


@pytest.mark.parametrize("rotations", TURNS)
def test_labels_stand_with_their_copies(rotations: str, batch) -> None:
    method = build_rotnet(Config(rotations), Corners(), Task((1, 4, 4), 8, 8, 1))
    with torch.no_grad():
        method.head.weight.copy_(torch.eye(4)[list(TURNS[rotations])])
        method.head.bias.zero_()
    bright = torch.zeros(5, 1, 4, 4)
    bright[:, 0, 0, 0] = 1
    given = replace(batch(), images=bright, views=(bright,))
    assert method.loss(given) < 1e-6
    wrong = replace(given, views=(bright.rot90(1, (2, 3)),))
    assert method.loss(wrong) > 0.6


def test_only_half_turns_serve_oblong_images() -> None:
    for rotations in ("all", "sides"):
        with pytest.raises(ValueError, match="square images, got 4 by 6"):
            build_rotnet(Config(rotations), Corners(), Task((1, 4, 6), 8, 8, 1))
    method = build_rotnet(Config("half"), Corners(), Task((1, 4, 6), 8, 8, 1))
    assert turned(torch.zeros(2, 1, 4, 6), method.turns).shape == (4, 1, 4, 6)
