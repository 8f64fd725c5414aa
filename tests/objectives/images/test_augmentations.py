"""The augmentations: settings fixed, they equal kornia's pixel by pixel; left to chance, they are distributed alike."""

import kornia
import kornia.augmentation as K
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from objectives.images.augmentations import (
    blur,
    crop,
    erase,
    flip,
    grey,
    jitter,
    noise,
    rotation,
    solarise,
    translation,
)
from objectives.images.views import Operation, Views, plane, recoloured
from spaces.components import Shelf, fields
from spaces.domains import Uniform

SHELF = Shelf("augmentation", "objectives.images.augmentations")
NAMES = ["blur", "crop", "erase", "flip", "grey", "jitter", "noise", "rotation", "solarise", "translation"]
DRAWS = 3000


@pytest.fixture(autouse=True)
def _kornias_seed():
    torch.manual_seed(0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(*shape, generator=seeded(1))


def warped(images, matrix, outside=False):
    """Images under warps without chance."""
    return Views([Operation("warp", 1.0, lambda images, generator: matrix, outside)])(images, seeded())


def drawn(module, images, seed=0, **knobs):
    """What the operation draws for the images."""
    return module.build(module.Config(**knobs)).draw(images, seeded(seed))


def assert_alike(ours, theirs):
    """Two samples of one distribution: the Kolmogorov-Smirnov test does not tell them apart."""
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert stats.ks_2samp(ours, theirs, method="asymp").pvalue > 1e-3


# The shelf


def test_the_shelf_has_them_all():
    assert set(NAMES) <= set(SHELF.names())


@pytest.mark.parametrize("name", SHELF.names())
def test_configs_state_their_knobs(name):
    component = SHELF.load(name)
    knobs = {field.name: field for field in fields(component.config)}
    assert knobs["p"].domain == Uniform(0.0, 1.0)
    assert all(field.domain is not None for field in knobs.values())
    operation = component.build(component.config(p=0.25))
    assert isinstance(operation, Operation)
    assert operation.p == 0.25


def edges(name):
    """Strategies for every knob at an end of its range or in between."""
    config = SHELF.load(name).config
    chances = {f.name: st.sampled_from([f.default, *f.domain.grid(3)]) for f in fields(config) if f.name != "p"}
    return st.builds(config, p=st.just(1.0), **chances)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), channels=st.integers(1, 4), height=st.integers(8, 24), width=st.integers(8, 24))
@settings(max_examples=15, deadline=None)
def test_every_setting_on_any_shape(name, data, channels, height, width):
    images = pictures(3, channels, height, width)
    view = Views([SHELF.load(name).build(data.draw(edges(name)))])(images, seeded())
    assert view.shape == images.shape
    assert view.isfinite().all()
    assert 0 <= view.min() <= view.max() <= 1


# Warps


def test_flip_mirrors():
    images = pictures(4, 3, 9, 12)
    torch.testing.assert_close(warped(images, drawn(flip, images)), kornia.geometry.transform.hflip(images))


def test_flip_with_vertical_mirrors_all_three_ways_equally_often():
    images = pictures(1, 1, 6, 6).repeat(DRAWS, 1, 1, 1)
    view = warped(images, drawn(flip, images, vertical=True))
    ways = [images.flip(3), images.flip(2), images.flip(2, 3)]
    counts = [int(((view - way).abs().amax((1, 2, 3)) < 1e-5).sum()) for way in ways]
    assert sum(counts) == DRAWS
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(16, 16), (11, 20)])
@pytest.mark.parametrize("degrees", [-70.0, 0.0, 25.0, 90.0, 180.0])
def test_rotation_by_a_known_angle(height, width, degrees):
    images, angle = pictures(2, 3, height, width), torch.full((2,), degrees)
    view = warped(images, rotation.turned(images, angle.deg2rad()), outside=True)
    expected = kornia.geometry.transform.rotate(images, angle, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(view, expected, atol=2e-5, rtol=0)


def test_rotation_in_distribution():
    matrix = drawn(rotation, torch.zeros(DRAWS, 1, 8, 8), degrees=40.0)
    ours = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert_alike(ours, K.RandomRotation(40.0, p=1.0).forward_parameters((DRAWS, 1, 8, 8))["degrees"])


def test_translation_by_a_known_shift():
    images, shift = pictures(2, 3, 10, 16), torch.tensor([[3.0, -2.0], [0.5, 1.25]])
    matrix = translation.shifted(images, shift[:, 0] / 16, shift[:, 1] / 10)
    expected = kornia.geometry.transform.translate(images, shift, align_corners=False)
    torch.testing.assert_close(warped(images, matrix, outside=True), expected, atol=1e-5, rtol=0)


def test_translation_in_distribution():
    matrix = drawn(translation, torch.zeros(DRAWS, 1, 20, 50), shift=0.3)
    theirs = K.RandomAffine(0.0, translate=(0.3, 0.3), p=1.0).forward_parameters((DRAWS, 1, 20, 50))["translations"]
    assert_alike(-matrix[:, 0, 2] / 2, theirs[:, 0] / 50)
    assert_alike(-matrix[:, 1, 2] / 2, theirs[:, 1] / 20)


@pytest.mark.parametrize(("left", "top", "width", "height"), [(3, 5, 8, 6), (0, 0, 16, 12), (7, 0, 9, 12)])
def test_crop_of_a_known_box(left, top, width, height):
    images = pictures(2, 3, 12, 16)
    x, y = (2 * left + width) / 16 - 1, (2 * top + height) / 12 - 1
    view = warped(images, plane(images, xx=width / 16, dx=x, yy=height / 12, dy=y))
    corners = torch.tensor([[left, top], [left + width - 1, top], [left + width - 1, top + height - 1]])
    box = torch.cat([corners, torch.tensor([[left, top + height - 1]])])[None].float().expand(2, -1, -1)
    expected = kornia.geometry.transform.crop_by_indices(images, box, (12, 16), align_corners=False)
    # kornia cuts the box out first; ours still sees the neighbours of its outermost half pixel.
    rows, columns = round(6 / height + 0.5), round(8 / width + 0.5)
    inner = (..., slice(rows, 12 - rows), slice(columns, 16 - columns))
    torch.testing.assert_close(view[inner], expected[inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("scale", "ratio"), [(0.08, 4 / 3), (0.5, 2.0), (0.2, 1.0)])
def test_crop_in_distribution(scale, ratio):
    side = 4096  # kornia rounds its boxes to whole pixels
    matrix = drawn(crop, torch.zeros(DRAWS, 1, 4, 4), scale=scale, ratio=ratio)
    theirs = K.RandomResizedCrop((8, 8), scale=(scale, 1.0), ratio=(1 / ratio, ratio))
    box = theirs.forward_parameters((DRAWS, 1, side, side))["src"].double()
    width, height = (box[:, 1, 0] - box[:, 0, 0] + 1) / side, (box[:, 3, 1] - box[:, 0, 1] + 1) / side
    x, y = box[:, 0, 0] / side * 2 + width - 1, box[:, 0, 1] / side * 2 + height - 1
    ours = [matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2], matrix[:, 0, 0] / matrix[:, 1, 1]]
    for mine, other in zip(ours, [width, height, x, y, width / height], strict=True):
        if mine.std() > 1e-4:  # a ratio of 1 leaves nothing to the stretch
            assert_alike(mine, other)


def test_crops_lie_inside_the_image_and_the_whole_is_a_crop():
    images = torch.zeros(DRAWS, 1, 8, 8)
    matrix = drawn(crop, images, scale=0.02, ratio=3.0)
    reach = matrix[:, [0, 1], [0, 1]] + matrix[:, :2, 2].abs()
    assert reach.max() <= 1 + 1e-6
    torch.testing.assert_close(drawn(crop, images, scale=1.0), torch.eye(3).expand(DRAWS, 3, 3))


# Colours


def spread(low, high, count):
    return torch.linspace(low, high, count)


def test_colours_by_known_factors():
    images, factor = pictures(8, 3, 6, 6), spread(0.2, 1.8, 8)
    enhance = kornia.enhance
    cases = [
        (jitter.brightened, enhance.adjust_brightness_accumulative),
        (jitter.contrasted, enhance.adjust_contrast_with_mean_subtraction),
        (jitter.saturated, enhance.adjust_saturation_with_gray_subtraction),
    ]
    for ours, theirs in cases:
        view = recoloured(images, ours(images, factor)).clamp(0, 1)
        torch.testing.assert_close(view, theirs(images, factor), atol=1e-5, rtol=0)


def test_hue_is_hsvs_at_thirds_and_near_it_between():
    images = pictures(8, 3, 16, 16)

    def error(turn):
        view = recoloured(images, jitter.hue_turned(images, torch.full((8,), turn))).clamp(0, 1)
        return (view - kornia.enhance.adjust_hue(images, turn * 2 * torch.pi)).abs()

    assert error(1 / 3).max() < 1e-5
    assert error(-1 / 3).max() < 1e-5
    assert error(0.05).mean() < 0.045  # leaving the hue alone errs by 0.05
    assert error(0.2).mean() < 0.08  # and by 0.2 here


def functionals(images):
    """Per image: mean, spread, and how far apart the channels are."""
    return images.mean((1, 2, 3)), images.std((1, 2, 3)), (images.amax(1) - images.amin(1)).mean((1, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_in_distribution(channels):
    images = pictures(1, channels, 8, 8, low=0.3, high=0.6).repeat(DRAWS, 1, 1, 1)
    ours = jitter.build(jitter.Config(p=0.8, strength=0.5, brightness=0.6, contrast=0.5, saturation=0.8, hue=0.0))
    amounts = {"brightness": 0.3, "contrast": 0.25, "saturation": 0.4 if channels == 3 else 0.0, "hue": 0.0}
    theirs = K.ColorJitter(**amounts, p=0.8)(images)
    for mine, other in zip(functionals(Views([ours])(images, seeded())), functionals(theirs), strict=True):
        assert_alike(mine.round(decimals=5), other.round(decimals=5))  # so that unchanged images are ties


def test_jitter_at_simclrs_strength_is_near_kornias():
    # Here colours are clamped and hues turned, which kornia does otherwise; a hundredth of the range is let pass.
    images = pictures(1, 3, 8, 8, low=0.1, high=0.9).repeat(DRAWS, 1, 1, 1)
    theirs = functionals(K.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8)(images))
    ours = functionals(Views([jitter.build(jitter.Config(strength=0.5))])(images, seeded()))
    for mine, other in zip(ours, theirs, strict=True):
        error = ((mine.var() + other.var()) / DRAWS).sqrt()
        assert abs(mine.mean() - other.mean()) < 4 * error + 0.01
        assert abs(mine.std() - other.std()) < 4 * error + 0.01


def test_only_brightness_moves_the_mean_grey():
    images = pictures(20, 3, 8, 8)
    knobs = [{"contrast": c, "saturation": c, "hue": 0.0} for c in (0.0, 0.8)]
    plain, full = (recoloured(images, drawn(jitter, images, **k)) for k in knobs)  # the brightness is drawn first
    mean = kornia.color.rgb_to_grayscale(full).mean((1, 2, 3))
    torch.testing.assert_close(mean, kornia.color.rgb_to_grayscale(plain).mean((1, 2, 3)))
    assert not torch.allclose(full, plain, atol=0.1)


def test_jitter_with_strength_zero_changes_nothing():
    images = pictures(4, 3, 8, 8)
    torch.testing.assert_close(recoloured(images, drawn(jitter, images, strength=0.0)), images)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_only_three_channels_have_a_colour_to_lose(channels):
    images = pictures(4, channels, 8, 8)
    same = drawn(jitter, images, brightness=0.0, contrast=0.0, saturation=1.0, hue=0.5)
    torch.testing.assert_close(recoloured(images, same), images)
    torch.testing.assert_close(recoloured(images, drawn(grey, images)), images)


def test_grey_is_luma():
    images = pictures(4, 3, 8, 8)
    expected = kornia.color.rgb_to_grayscale(images).expand(-1, 3, -1, -1)
    torch.testing.assert_close(recoloured(images, drawn(grey, images)), expected)


def test_a_contrast_of_other_channels_is_about_their_mean():
    images = pictures(3, 5, 8, 8)
    view = recoloured(images, jitter.contrasted(images, torch.tensor([0.5, 1.0, 1.5])))
    mean = images.mean((1, 2, 3), keepdim=True)
    factor = torch.tensor([0.5, 1.0, 1.5])[:, None, None, None]
    torch.testing.assert_close(view, factor * images + (1 - factor) * mean)


# Pixels


@pytest.mark.parametrize(("side", "radius"), [(8, 1), (17, 3), (32, 7)])
def test_blur_by_known_sigmas(side, radius):
    images, sigma = pictures(5, 3, side, side + 3), spread(0.2, 2.5, 5)
    expected = kornia.filters.gaussian_blur2d(images, 2 * radius + 1, torch.stack([sigma, sigma], 1), "reflect")
    torch.testing.assert_close(blur.blurred(images, sigma, radius), expected, atol=1e-5, rtol=0)


def test_blur_in_distribution():
    dots = F.pad(torch.ones(DRAWS, 1, 1, 1), (16,) * 4)
    pixel = 33 / 224  # sigma is in pixels of an image of side 224
    theirs = K.RandomGaussianBlur((9, 9), (0.1 * pixel, 8.0 * pixel), p=1.0)(dots)
    ours = drawn(blur, dots, sigma=8.0)
    assert_alike(ours[:, 0, 16, 16], theirs[:, 0, 16, 16])
    assert_alike(ours[:, 0, 16, 18], theirs[:, 0, 16, 18])
    torch.testing.assert_close(ours.sum((1, 2, 3)), torch.ones(DRAWS))


def test_blur_means_the_same_at_every_size():
    def width(side):
        dots = torch.zeros(400, 1, side, side)
        dots[..., side // 2, side // 2] = 1
        rows = drawn(blur, dots, sigma=16.0).sum((1, 3))
        at = torch.arange(side) / side
        return float(((rows * at**2).sum(1) - (rows * at).sum(1) ** 2).clamp(0).sqrt().mean())

    assert width(48) == pytest.approx(8.05 / 224, rel=0.1)
    assert width(96) == pytest.approx(8.05 / 224, rel=0.1)


def test_noise_is_normal_and_independent():
    images = torch.full((20, 3, 16, 16), 0.5)
    residual = (drawn(noise, images, std=0.1) - 0.5) / 0.1
    assert stats.kstest(residual.flatten().numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(residual.flatten(2).transpose(0, 1).reshape(3, -1)) - torch.eye(3)
    assert correlation.abs().max() < 4 / (20 * 256) ** 0.5
    theirs = K.RandomGaussianNoise(mean=0.0, std=0.1, p=1.0)(images) - 0.5
    assert_alike(residual.flatten() * 0.1, theirs.flatten())


def test_erase_in_distribution():
    images = torch.ones(DRAWS, 1, 64, 64)
    theirs = K.RandomErasing(scale=(0.02, 0.3), ratio=(0.5, 2.0), p=1.0).forward_parameters((DRAWS, 1, 4096, 4096))
    share = theirs["widths"] * theirs["heights"] / 4096**2
    width, height, x, y = crop.draw_box(images, (0.02, 0.3), 2.0, seeded())
    assert_alike(width * height, share)
    kept = drawn(erase, images, area=0.3, ratio=2.0, fill="zero").mean((1, 2, 3))
    assert_alike(1 - kept, share + 1e-4 * torch.randn(DRAWS, generator=seeded()))
    assert stats.kstest(np.asarray((width / height).log()) / np.log(2), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    inner = (1 - width) > 0.3
    for place in (x / (1 - width), y / (1 - height)):
        assert stats.kstest(np.asarray(place[inner]), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_erase_fills_one_box():
    images = pictures(200, 3, 24, 24, low=0.2, high=0.8)
    for fill, low, high in (("zero", 0.0, 0.0), ("noise", 0.0, 1.0)):
        view = drawn(erase, images, fill=fill)
        changed = view != images
        assert torch.equal(changed.any(1), changed.all(1))  # all channels of a pixel or none
        rows, columns = changed.any(1).any(2), changed.any(1).any(1)
        assert torch.equal(changed.any(1), rows[:, :, None] & columns[:, None, :])
        filled = view[changed]
        assert low <= filled.min()
        assert filled.max() <= high
        if fill == "noise":
            assert stats.kstest(filled.numpy(), "uniform").pvalue > 1e-3


def test_erase_of_a_known_box():
    images, expected = torch.zeros(1, 1, 8, 10), torch.zeros(1, 1, 8, 10, dtype=torch.bool)
    expected[..., 1:4, 5:9] = True
    box = [torch.tensor([share]) for share in (4 / 10, 3 / 8, 2 * 7 / 10 - 1, 2 * 2.5 / 8 - 1)]
    assert torch.equal(erase.inside(images, *box), expected)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_solarise_inverts_what_is_bright(threshold):
    images = (8 * pictures(4, 3, 8, 8)).round() / 8  # some lie on the threshold
    expected = kornia.enhance.solarize(images, threshold)
    torch.testing.assert_close(drawn(solarise, images, threshold=threshold), expected)
