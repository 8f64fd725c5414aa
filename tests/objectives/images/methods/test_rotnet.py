from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.methods.rotnet import TURNS, Config, RotNet, rotation_loss, turned
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


def eighth_oracle(image: np.ndarray) -> np.ndarray:
    """An eighth of a circle anticlockwise: each pixel looks where it came from, between four pixels, 0 outside."""
    side = image.shape[1]
    out, middle, half = np.zeros_like(image), (side - 1) / 2, math.sqrt(0.5)
    for i in range(side):
        for j in range(side):
            right, up = j - middle, middle - i
            x, y = middle + half * (right + up), middle - half * (up - right)
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < side and 0 <= column < side:
                        out[:, i, j] += (1 - abs(y - row)) * (1 - abs(x - column)) * image[:, row, column]
    return out


@pytest.mark.parametrize("rotations", ["all", "half", "sides"])
def test_turned_moves_every_pixel_to_its_place(rotations: str) -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    found = turned(torch.from_numpy(images), TURNS[rotations]).numpy()
    expected = []
    for turn in TURNS[rotations]:
        for image in images:
            for _ in range(turn // 2):
                image = quarter(image)
            expected.append(image)
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("side", [5, 8])
def test_eighths_of_a_circle_blend_pixels_and_have_no_corners(side: int) -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, side, side))
    places = (2 * np.arange(side) + 1) / side - 1
    inside = np.hypot(places[:, None], places) <= 1
    found = turned(torch.from_numpy(images), TURNS["eighths"]).numpy().reshape(8, 3, 2, side, side)
    for turn in range(8):
        for image, copy in zip(images * inside, found[turn], strict=True):
            image = eighth_oracle(image) * inside if turn % 2 else image
            for _ in range(turn // 2):
                image = quarter(image)
            np.testing.assert_allclose(copy, image, atol=1e-12)


def test_rotation_loss_is_the_papers() -> None:
    logits = np.random.default_rng(0).normal(size=(12, 4))  # three images, turn by turn
    total = 0.0
    for turn in range(4):
        for image in range(3):
            row = logits[3 * turn + image]
            total -= math.log(math.exp(row[turn]) / sum(math.exp(v) for v in row))
    truth = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    assert rotation_loss(torch.from_numpy(logits), truth).item() == pytest.approx(total / 12, rel=1e-6)


def test_rotation_loss_gradient() -> None:
    logits = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    truth = torch.tensor([0, 1, 1, 0, 1, 0])
    assert torch.autograd.gradcheck(lambda logits: rotation_loss(logits, truth), logits)


def test_rotation_loss_in_half_precision(same_in_half) -> None:
    truth = torch.arange(8) % 4
    loss = lambda logits: rotation_loss(logits, truth)  # noqa: E731
    same_in_half(loss, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))


class Corners(nn.Module):
    """Features of an image: upper left, lower left, lower right, upper right; one bright corner walks through them."""

    features = 4

    def forward(self, images: Tensor) -> Tensor:
        return 50 * torch.stack([images[:, 0, i, j] for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))], dim=1)


@pytest.mark.parametrize("rotations", ["all", "half", "sides"])
def test_labels_stand_with_their_copies(rotations: str, batch) -> None:
    method = build_rotnet(Config(rotations), Corners(), Task((1, 4, 4), 8, 8, 1))
    with torch.no_grad():
        method.head.weight.copy_(torch.eye(4)[[turn // 2 for turn in TURNS[rotations]]])
        method.head.bias.zero_()
    bright = torch.zeros(5, 1, 4, 4)
    bright[:, 0, 0, 0] = 1
    given = replace(batch(), images=bright, views=(bright,))
    assert method.loss(given) < 1e-6
    wrong = replace(given, views=(bright.rot90(1, (2, 3)),))
    assert method.loss(wrong) > 0.6


def test_only_half_turns_serve_oblong_images() -> None:
    for rotations in ("all", "sides", "eighths"):
        with pytest.raises(ValueError, match="square images, got 4 by 6"):
            build_rotnet(Config(rotations), Corners(), Task((1, 4, 6), 8, 8, 1))
    method = build_rotnet(Config("half"), Corners(), Task((1, 4, 6), 8, 8, 1))
    assert turned(torch.zeros(2, 1, 4, 6), method.turns).shape == (4, 1, 4, 6)


def drawn(method: RotNet, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    return method.copies(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rotations", TURNS)
def test_one_copy_of_each_image_is_turned_as_its_label_says(rotations: str, build, batch) -> None:
    method, images = build("rotnet", rotations=rotations, copies="one"), batch(count=64).images
    copies, truth = drawn(method, images)
    assert copies.shape == images.shape
    assert set(truth.tolist()) == set(range(len(TURNS[rotations])))
    every = turned(images, TURNS[rotations]).unflatten(0, (-1, 64))
    assert torch.equal(copies, torch.stack([every[turn, i] for i, turn in enumerate(truth)]))


def test_label_noise_makes_its_share_of_labels_wrong(build, batch) -> None:
    images = batch(count=2000).images
    copies, right = drawn(build("rotnet"), images)
    same, noisy = drawn(build("rotnet", label_noise=0.2), images)
    assert torch.equal(copies, same)
    wrong = (right != noisy).double().mean().item()
    assert wrong == pytest.approx(0.2 * 3 / 4, abs=4 * math.sqrt(0.15 * 0.85 / 8000))  # a draw may be right
    changed = noisy[right == 0]
    assert torch.bincount(changed[changed > 0]).tolist()[1:] == pytest.approx([100] * 3, abs=40)


def test_turns_told_is_the_share_that_the_head_names(build, batch) -> None:
    method = build("rotnet").eval()
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.copy_(torch.tensor([0.0, 0, 1, 0]))
        assert method.measure([batch(count=8).images, batch(count=5, seed=1).images]) == {"turns_told": 0.25}


def test_shuffled_labels_belong_to_other_copies(build, batch, task) -> None:
    images = batch().images
    copies, truth = drawn(build("rotnet"), images)
    mutation = SHELVES["plugin"].load("rotnet_shuffled_labels")
    same, shuffled = drawn(mutation.build(mutation.config())(build("rotnet"), task()), images)
    assert torch.equal(copies, same)
    assert torch.equal(shuffled.sort().values, truth)
    assert 0.1 < (shuffled == truth).double().mean() < 0.4  # a quarter by chance


def test_with_shuffled_labels_turns_are_not_learnt(build, batch, train, task) -> None:
    mutation = SHELVES["plugin"].load("rotnet_shuffled_labels")
    told = {}
    for name in ("right", "wrong"):
        method = build("rotnet")
        method = method if name == "right" else mutation.build(mutation.config())(method, task())
        train(method, torch.optim.Adam(method.parameters(), lr=1e-2), [batch(1, seed=s) for s in range(60)])
        with torch.no_grad():
            told[name] = method.eval().measure([batch(seed=99).images])["turns_told"]
    assert told["right"] > 0.7
    assert told["wrong"] < 0.45
