from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.parts.masks import blank, patch_mask

PATTERNS = ("random", "block", "grid")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    pattern=st.sampled_from(PATTERNS),
    rows=st.integers(1, 7),
    columns=st.integers(2, 7),
    share=st.floats(0, 1),
)
def test_every_image_hides_its_share(seed: int, pattern: str, rows: int, columns: int, share: float) -> None:
    mask = patch_mask(pattern, 5, (rows, columns), share, seeded(seed))
    assert mask.shape == (5, rows * columns)
    assert mask.dtype == torch.bool
    expected = min(max(round(share * rows * columns), 1), rows * columns - 1)
    assert (mask.sum(1) - expected).abs().max() <= 1e-6 + (abs(share * rows * columns % 1 - 0.5) < 1e-4)  # halves


@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks_differ_by_image_come_from_the_generator_and_reach_everywhere(pattern: str) -> None:
    mask = patch_mask(pattern, 400, (4, 6), 0.25, seeded())
    assert torch.equal(mask, patch_mask(pattern, 400, (4, 6), 0.25, seeded()))
    assert len(mask.unique(dim=0)) >= 4
    often = mask.float().mean(0)
    assert often.min() > 0.05
    assert often.max() < 0.6


def test_a_block_is_a_rectangle_but_for_its_last_line() -> None:
    mask = patch_mask("block", 300, (8, 8), 0.25, seeded()).view(-1, 8, 8)
    shapes = set()
    for image in mask:
        rows, columns = image.any(1).nonzero().flatten(), image.any(0).nonzero().flatten()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert height * width - 16 < max(height, width)
        assert image.sum() == 16
        if rows.min() > 0 and rows.max() < 7 and columns.min() > 0 and columns.max() < 7:  # not cut by the border
            shapes.add((height, width))
    assert {(4, 4), (3, 6), (6, 3)} <= shapes


@pytest.mark.parametrize(("share", "places"), [(0.25, 1), (0.5, 2), (0.75, 3)])
def test_a_grid_hides_the_same_places_of_every_two_by_two(share: float, places: int) -> None:
    mask = patch_mask("grid", 50, (4, 6), share, seeded()).view(-1, 2, 2, 3, 2).permute(0, 1, 3, 2, 4).flatten(3)
    assert (mask == mask[:, :1, :1]).all()
    assert (mask.sum(3) == places).all()
    assert len(mask[:, 0, 0].unique(dim=0)) > 1


def test_random_places_are_not_those_of_a_pattern() -> None:
    mask = patch_mask("random", 2000, (3, 3), 4 / 9, seeded()).float()
    expected = 4 / 9 * (3 / 8)  # of two patches being hidden together, whichever
    together = mask.T @ mask / 2000
    assert (together - together.diagonal().diag() - expected * (1 - torch.eye(9))).abs().max() < 0.05


def test_shares_spread_about_their_mean() -> None:
    counts = patch_mask("block", 1000, (10, 10), 0.15, seeded(), spread=0.1).sum(1).float()
    assert counts.min() == 5
    assert counts.max() == 25
    assert abs(counts.mean() - 15) < 1
    assert patch_mask("random", 9, (2, 2), 0.1, seeded(), spread=0.5).sum(1).min() == 1


def test_a_single_patch_cannot_be_hidden() -> None:
    with pytest.raises(ValueError, match="one patch"):
        patch_mask("random", 3, (1, 1), 0.5, seeded())


@pytest.mark.parametrize("shape", [(4, 6), (8, 12), (5, 7)])
def test_blank_zeroes_the_pixels_of_hidden_patches(shape: tuple[int, int]) -> None:
    images = torch.rand(3, 2, *shape) + 1
    mask = patch_mask("random", 3, (2, 3), 0.5, seeded()).view(3, 2, 3)
    before = images.clone()
    found = blank(images, mask)
    for b in range(3):
        for y in range(shape[0]):
            for x in range(shape[1]):
                hidden = mask[b, y * 2 // shape[0], x * 3 // shape[1]]
                assert torch.equal(found[b, :, y, x], torch.zeros(2) if hidden else images[b, :, y, x])
    assert torch.equal(images, before)
