from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from objectives.images.methods.mae import Config, patchify, reconstruction_loss, take
from objectives.images.methods.mae import build as build_mae
from objectives.method import Task


@pytest.mark.parametrize(("shape", "patch"), [((1, 4, 4), 2), ((3, 6, 4), 2), ((2, 3, 6), 3), ((2, 3, 3), 1)])
def test_patchify_cuts_row_by_row_with_channels_first(shape: tuple[int, int, int], patch: int) -> None:
    images = np.random.default_rng(0).normal(size=(2, *shape))
    channels, height, width = shape
    expected = []
    for image in images:
        patches = []
        for top in range(0, height, patch):
            for left in range(0, width, patch):
                cells = [(c, i, j) for c in range(channels) for i in range(patch) for j in range(patch)]
                patches.append([image[c, top + i, left + j] for c, i, j in cells])
        expected.append(patches)
    np.testing.assert_array_equal(patchify(torch.from_numpy(images), patch).numpy(), np.array(expected))


def test_tokens_of_the_backbone_stand_where_their_patches_do(body) -> None:
    backbone = body(frozenset({"patches"}))
    images = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    kernel = backbone.enter.weight.flatten(1)
    tokens = patchify(images, 2) @ kernel.T + backbone.enter.bias + backbone.places
    torch.testing.assert_close(tokens, backbone.embed(images))


def oracle(decoded: np.ndarray, pixels: np.ndarray, normalise: bool) -> float:
    batch, patches, size = pixels.shape
    total = 0.0
    for b in range(batch):
        for p in range(patches):
            target = pixels[b, p]
            if normalise:
                mean = sum(target) / size
                variance = sum((target - mean) ** 2) / size
                target = (target - mean) / math.sqrt(variance + 1e-6)
            total += sum((decoded[b, p] - target) ** 2) / size
    return total / (batch * patches)


@pytest.mark.parametrize("normalise", [True, False])
def test_reconstruction_loss_is_the_papers(normalise: bool) -> None:
    decoded, pixels = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    found = reconstruction_loss(torch.from_numpy(decoded), torch.from_numpy(pixels), normalise).item()
    assert found == pytest.approx(oracle(decoded, pixels, normalise), rel=1e-6)


def test_reconstruction_loss_gradient() -> None:
    decoded, pixels = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda x: reconstruction_loss(x, pixels, True), decoded.requires_grad_())


def test_half_precision(same_in_half) -> None:
    decoded, pixels = torch.randn(2, 4, 3, 8, generator=torch.Generator().manual_seed(0))
    same_in_half(lambda a, b: reconstruction_loss(a, b, True), decoded, pixels)


def test_normalised_targets_forget_brightness_and_contrast() -> None:
    decoded, pixels = torch.randn(2, 4, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = reconstruction_loss(decoded, pixels, True)
    torch.testing.assert_close(reconstruction_loss(decoded, 3 * pixels + 2, True), plain, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("hidden", "visible"), [(0.75, 4), (0.5, 8), (0.05, 15), (0.95, 1)])
def test_the_encoder_sees_visible_patches_alone(hidden: float, visible: int, build, batch) -> None:
    method, seen = build("mae", hidden=hidden), []
    blocks = method.backbone.blocks
    method.backbone.blocks = lambda tokens: seen.append(tokens) or blocks(tokens)
    given = batch(1)
    method.loss(given)
    assert seen[0].shape == (32, visible, 12)
    # Each token seen is one of its image's, and no place is seen twice.
    equal = (seen[0][:, :, None] == method.backbone.embed(given.views[0])[:, None]).all(3)
    assert (equal.sum(2) == 1).all()
    assert (equal.sum(1) <= 1).all()


def test_every_place_is_hidden_equally_often(build, batch) -> None:
    method, orders = build("mae", hidden=0.75), []
    decode = method.decode
    method.decode = lambda codes, order: orders.append(order) or decode(codes, order)
    method.loss(batch(1, count=2048))
    assert (orders[0].sort(1).values == torch.arange(16)).all()
    often = torch.zeros(16).scatter_add_(0, orders[0][:, 4:].flatten(), torch.ones(2048 * 12)) / 2048
    torch.testing.assert_close(often, torch.full((16,), 0.75), atol=0.05, rtol=0)  # five standard errors


def test_only_hidden_patches_count_and_each_meets_its_own_pixels(build, batch) -> None:
    method = build("mae", normalise=False)
    given = batch(1)

    def truth(codes: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        pixels = take(patchify(given.views[0], 2), order)
        pixels[:, : codes.shape[1]] = 1e6  # whatever is said of the visible
        return pixels

    method.decode = truth
    assert method.loss(given).item() == 0


def test_the_decoder_knows_a_patch_by_its_place_not_its_turn(build) -> None:
    method = build("mae", hidden=0.75).eval()
    g = torch.Generator().manual_seed(0)
    codes, order = torch.randn(2, 4, 12, generator=g), torch.rand(2, 16, generator=g).argsort(1)
    turned = torch.cat([order[:, :4], order[:, 4:].flip(1)], dim=1)
    decoded, other = method.decode(codes, order), method.decode(codes, turned)
    assert decoded.shape == (2, 16, 8)
    torch.testing.assert_close(other[:, 4:], decoded[:, 4:].flip(1), rtol=1e-4, atol=1e-5)
    assert (decoded[:, 4:].std(1) > 1e-3).all()


def test_images_that_cannot_be_masked_are_refused(body) -> None:
    whole = body(frozenset({"patches"}), (1, 2, 2))
    with pytest.raises(ValueError, match="one patch"):
        build_mae(Config(), whole, Task((1, 2, 2), 8, 8, 1))
    grey = body(frozenset({"patches"}), (1, 4, 4))
    grey.patch, grey.grid = 1, (4, 4)
    with pytest.raises(ValueError, match="cannot be normalised"):
        build_mae(Config(), grey, Task((1, 4, 4), 8, 8, 1))
    build_mae(Config(normalise=False), grey, Task((1, 4, 4), 8, 8, 1))
