"""The centre-biased crop: where its centres lie, how they are distributed, and what a pair of crops shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from objectives.images.augmentations import centre_crop, crop
from objectives.images.augmentations.centre_crop import looked_up, quantiles
from objectives.kinds.representation import CROPS

COUNT = 6000


def warps(module, seed: int = 0, count: int = COUNT, **knobs: float) -> Tensor:
    operation = module.build(module.Config(**knobs))
    return operation.draw(torch.zeros(count, 1, 32, 32), torch.Generator().manual_seed(seed)).double()


def overlap(one: Tensor, two: Tensor) -> np.ndarray:
    """Intersection over union of boxes given as warps, `(N,)`."""
    shared = torch.ones(len(one), dtype=torch.float64)
    for axis in (0, 1):
        low = torch.maximum(one[:, axis, 2] - one[:, axis, axis], two[:, axis, 2] - two[:, axis, axis])
        high = torch.minimum(one[:, axis, 2] + one[:, axis, axis], two[:, axis, 2] + two[:, axis, axis])
        shared *= (high - low).clamp(min=0) / 2
    areas = [box[:, 0, 0] * box[:, 1, 1] for box in (one, two)]
    return (shared / (areas[0] + areas[1] - shared)).numpy()


def official(rng: np.random.Generator, alpha: float | None, side: int = 32) -> Tensor:
    """Boxes as the authors' code draws them, in whole pixels, one by one; without alpha, as plain crops are."""
    boxes = torch.zeros(COUNT, 3, 3, dtype=torch.float64)
    for box in boxes:
        width = height = side + 1
        while not (width <= side and height <= side):
            area, stretch = side**2 * rng.uniform(0.2, 1), np.exp(rng.uniform(-np.log(4 / 3), np.log(4 / 3)))
            width, height = round(np.sqrt(area * stretch)), round(np.sqrt(area / stretch))
        for axis, length in ((0, width), (1, height)):
            if alpha is None:
                start = rng.integers(0, side - length + 1)
            else:
                low = max(side // 4 - length // 2, 0)
                high = min(3 * side // 4 - length // 2, side - length)
                start = low + int((high - low) * rng.beta(alpha, alpha))
            box[axis, axis], box[axis, 2] = length / side, (2 * start + length) / side - 1
    return boxes


def test_pairs_share_less_the_smaller_alpha_is() -> None:
    plain = warps(crop, seed=1, scale=0.2)
    shared = {a: overlap(warps(centre_crop, scale=0.2, alpha=a), plain).mean() for a in (0.1, 0.6, 1.0)}
    between = overlap(warps(crop, scale=0.2), plain)
    assert shared[0.1] <= between.mean() - 0.015
    assert shared[0.1] < shared[0.6] < shared[1.0]
    far = overlap(warps(centre_crop, scale=0.2, alpha=0.1), plain) < 0.1
    assert far.mean() > 2 * (between < 0.1).mean()


def test_in_whole_pixels_the_statistics_are_the_published_codes() -> None:
    """The figures of the pairs by an independent sampler, and ours beside it: whole pixels make crops a bit smaller."""
    rng = np.random.default_rng(0)
    plain = official(rng, None)
    shared = {alpha: overlap(official(rng, alpha), plain) for alpha in (None, 0.1)}
    assert shared[None].mean() == pytest.approx(0.494, abs=0.01)
    assert shared[0.1].mean() == pytest.approx(0.464, abs=0.01)
    ours = overlap(warps(centre_crop, scale=0.2, alpha=0.1), warps(crop, seed=1, scale=0.2))
    assert ours.mean() == pytest.approx(shared[0.1].mean(), abs=0.025)


@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.0, 2.0])
def test_centres_follow_their_distribution_on_both_axes(alpha: float) -> None:
    box = warps(centre_crop, scale=0.2, alpha=alpha, half_width=0.2)
    for axis in (0, 1):
        reach = (1 - box[:, axis, axis]).clamp(max=0.4)
        inside = reach > 1e-3
        place = ((box[:, axis, 2] / reach + 1) / 2)[inside].numpy()
        # Rounding to the interval's ends leaves ties there, which the test counts as they are.
        places = np.linspace(0.02, 0.98, 25)
        below = (place[:, None] <= places).mean(0)
        assert np.abs(below - stats.beta(alpha, alpha).cdf(places)).max() < 1.95 / np.sqrt(len(place))
    across, down = box[:, 0, 2], box[:, 1, 2]
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.05


@pytest.mark.parametrize("half_width", [0.0, 0.1, 0.25, 0.5])
def test_crops_stay_inside_and_their_centres_in_the_box(half_width: float) -> None:
    box = warps(centre_crop, half_width=half_width, scale=0.05)
    for axis in (0, 1):
        assert (box[:, axis, 2].abs() <= 2 * half_width + 1e-6).all()
        assert (box[:, axis, 2].abs() + box[:, axis, axis] <= 1 + 1e-6).all()


def test_a_uniform_centre_over_all_of_the_image_is_the_plain_crop() -> None:
    ours = warps(centre_crop, scale=0.2, alpha=1.0, half_width=0.5)
    plain = warps(crop, seed=1, scale=0.2)
    for axis in (0, 1):
        assert stats.ks_2samp(ours[:, axis, axis], plain[:, axis, axis]).pvalue > 1e-3
        assert stats.ks_2samp(ours[:, axis, 2], plain[:, axis, 2]).pvalue > 1e-3


def test_the_table_is_the_inverse_of_the_distribution() -> None:
    probability = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability[:2] = torch.tensor([0.0, 1.0])
    for alpha in (0.1, 0.6, 2.0):
        exact = 2 * stats.beta(alpha, alpha).ppf(probability.numpy()) - 1
        np.testing.assert_allclose(looked_up(quantiles(alpha), probability).numpy(), exact, atol=1e-2)


def test_a_small_views_own_crop_takes_its_place() -> None:
    assert "centre_crop" in CROPS
