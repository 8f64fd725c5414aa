from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from objectives.images.views import plane, sampling_grid
from objectives.method import Task
from objectives.parts.regions import carried, expect_map, grid, overlap, pooled, rows_and_columns, shared, slic


@settings(deadline=None, max_examples=50)
@given(st.integers(9, 200), st.integers(4, 64), st.integers(4, 64))
def test_a_grid_has_about_as_many_regions_and_none_is_empty(count: int, height: int, width: int) -> None:
    rows, columns = rows_and_columns(count, height, width)
    found = grid(height, width, rows, columns)
    assert found.unique().tolist() == list(range(rows * columns))
    assert rows * columns <= 1.5 * count
    sizes = found.flatten().bincount()
    assert sizes.max() <= 4 * sizes.min()
    if height * width >= 4 * count and max(height, width) <= 2 * min(height, width):
        assert rows * columns >= 0.7 * count


def test_a_grid_by_hand() -> None:
    assert grid(2, 4, 1, 2).tolist() == [[0, 0, 1, 1]] * 2
    assert grid(4, 2, 2, 1).tolist() == [[0, 0]] * 2 + [[1, 1]] * 2


def test_superpixels_keep_to_an_edge_that_boxes_cross() -> None:
    images = torch.zeros(2, 1, 12, 18)
    images[0, :, :, 7:] = 2  # the boxes end at 6 and 12
    images[1, :, 5:] = 2
    found = slic(images, 2, 3, compactness=0.3)
    for one, image in zip(found, images, strict=True):
        for region in one.unique():
            assert image[0][one == region].unique().numel() == 1
    crossing = grid(12, 18, 2, 3)
    assert any(images[0, 0][crossing == region].unique().numel() == 2 for region in range(6))
    assert found.unique().numel() <= 6


def test_superpixels_of_a_flat_image_are_the_boxes() -> None:
    assert torch.equal(slic(torch.ones(2, 3, 9, 12), 3, 4)[1], grid(9, 12, 3, 4))


def test_overlap_counts_pixels_and_pooling_over_it_is_the_mean_by_pixels() -> None:
    rng = np.random.default_rng(0)
    regions, maps = rng.integers(0, 5, (3, 6, 8)), rng.normal(size=(3, 4, 3, 2))
    found = overlap(torch.from_numpy(regions), 5, 3, 2)
    assert found.sum() == 3 * 6 * 8
    large = maps.repeat(2, axis=2).repeat(4, axis=3)  # every pixel with the features of its cell
    means = pooled(torch.from_numpy(maps), found).numpy()
    for b, region in np.ndindex(3, 5):
        np.testing.assert_allclose(means[b, region], large[b][:, regions[b] == region].mean(axis=1), rtol=1e-6)


def test_an_empty_mask_pools_to_zero() -> None:
    assert torch.equal(pooled(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 4)), torch.zeros(1, 2, 3))


def test_masks_follow_crop_and_flip() -> None:
    labels = torch.arange(32).view(1, 4, 8)
    box = plane(torch.zeros(1, 1, 4, 8), xx=-0.5, dx=0.25, yy=0.5, dy=-0.5)  # columns 3 to 6 mirrored, upper half
    masks = carried(labels, sampling_grid(box, 2, 4), 32)
    assert torch.equal(masks[0].argmax(0).view(2, 4), labels[0, :2, 3:7].flip(1))
    assert torch.equal(masks.sum(1), torch.ones(1, 8))


def test_what_lies_outside_the_image_is_in_no_mask() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    aside = plane(torch.zeros(1, 1, 4, 4), dx=1.0)
    assert carried(labels, sampling_grid(aside, 2, 2), 1).tolist() == [[[1, 0, 1, 0]]]


def test_masks_absent_from_one_view_have_no_weight() -> None:
    one = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]])
    other = torch.tensor([[[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]]])
    assert shared(one, other, 1e-3, by_area=False).tolist() == [[1, 0, 0]]
    assert shared(one, other, 1e-3, by_area=True).tolist() == [[0.375, 0, 0]]
    assert shared(one, other, 0.25, by_area=False).tolist() == [[0, 0, 0]]


class _Maps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 5, 2, 2))

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def test_the_map_is_known_without_a_trace_in_the_backbone() -> None:
    backbone, task = _Maps(), Task((1, 4, 6), 8, 8, 1)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    assert expect_map(backbone, task) == (5, 2, 3)
    assert expect_map(backbone, task, back=1) == (3, 4, 6)
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    with pytest.raises(ValueError, match="1 × 3 cells"):
        expect_map(backbone, Task((1, 2, 6), 8, 8, 1))
    with pytest.raises(ValueError, match="another image of a pair"):
        expect_map(backbone, Task((1, 4, 6), 8, 8, 1, pairs=True))
