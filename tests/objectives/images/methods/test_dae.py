from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from objectives.images.methods.dae import corrupt, reconstruction_loss


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_reconstruction_loss_is_the_mean_squared_error() -> None:
    rng = np.random.default_rng(0)
    decoded, images = rng.normal(size=(3, 12)), rng.normal(size=(3, 2, 2, 3))
    cells = [(b, c, i, j) for b in range(3) for c in range(2) for i in range(2) for j in range(3)]
    expected = sum((decoded[b, 6 * c + 3 * i + j] - images[b, c, i, j]) ** 2 for b, c, i, j in cells) / len(cells)
    found = reconstruction_loss(torch.from_numpy(decoded), torch.from_numpy(images))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_reconstruction_loss_gradient() -> None:
    decoded = torch.randn(2, 4, dtype=torch.float64, generator=generator(), requires_grad=True)
    images = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=generator(1))
    assert torch.autograd.gradcheck(lambda x: reconstruction_loss(x, images), decoded)


def test_half_precision(same_in_half) -> None:
    same_in_half(reconstruction_loss, torch.randn(4, 8, generator=generator()), torch.randn(4, 2, 2, 2))


def test_noise_has_its_deviation_and_no_bias() -> None:
    images = torch.randn(64, 2, 16, 16, generator=generator())
    noise = corrupt(images, 0.7, 0.0, 1, generator(1)) - images
    assert noise.std().item() == pytest.approx(0.7, rel=0.02)
    assert abs(noise.mean().item()) < 0.02


@pytest.mark.parametrize(("square", "height", "width"), [(1, 6, 6), (2, 6, 4), (3, 7, 8), (16, 5, 5)])
def test_blanks_are_whole_squares_in_all_channels(square: int, height: int, width: int) -> None:
    images = torch.ones(2000, 3, height, width)
    damaged = corrupt(images, 0.0, 0.3, square, generator())
    assert set(damaged.unique().tolist()) == {0.0, 1.0}
    for top in range(0, height, square):
        for left in range(0, width, square):
            cell = damaged[:, :, top : top + square, left : left + square].flatten(1)
            assert (cell == cell[:, :1]).all()
            assert (cell[:, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)  # five standard errors


def test_blanks_cover_noise_and_squares_are_independent() -> None:
    damaged = corrupt(torch.ones(500, 1, 4, 4), 0.5, 0.5, 2, generator())
    assert (damaged == 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    kinds = {tuple(row) for row in (damaged[:, 0, ::2, ::2].flatten(1) == 0).tolist()}
    assert len(kinds) == 16


def test_nothing_is_lost_without_corruption() -> None:
    images = torch.randn(4, 2, 5, 5, generator=generator())
    assert torch.equal(corrupt(images, 0.0, 0.0, 1, generator()), images)


def test_the_backbone_sees_damage_and_the_target_is_the_clean_view(build, batch) -> None:
    method, given, seen = build("dae", noise=0.5, blank=0.5), batch(1), []

    class Oracle(nn.Module):
        """Looks at what it is given, and knows the truth."""

        def forward(self, damaged: torch.Tensor) -> torch.Tensor:
            seen.append(damaged)
            return given.views[0].flatten(1)

    method.backbone, method.decoder = nn.Identity(), Oracle()
    assert method.loss(given).item() == 0
    assert (seen[0] != given.views[0]).float().mean() > 0.9
