"""Views: runs are fused, every image draws for itself, and nothing else is touched."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

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
from objectives.images.views import Operation, Views, centres, compose, plane, recoloured, sampling_grid

MODULES = (crop, flip, rotation, translation, jitter, grey, blur, noise, erase, solarise)
ALL = [module.build(module.Config()) for module in MODULES]
SIMCLR = [ALL[0], ALL[1], ALL[4], ALL[5], ALL[6]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape, seed=1, dtype=torch.float32):
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def fixed(stage, value, **more):
    """An operation without chance: it always gives `value`."""
    return Operation(stage, 1.0, lambda images, generator: value, **more)


@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 5),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    order=st.permutations(range(len(ALL))),
    count=st.integers(0, len(ALL)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_any_chain_on_any_images(batch, channels, height, width, dtype, order, count, seed):
    images = pictures(batch, channels, height, width, seed=seed, dtype=dtype)
    before = images.clone()
    views = Views([ALL[i] for i in order[:count]])
    view = views(images, seeded(seed))
    assert view.shape == images.shape
    assert view.dtype == dtype
    assert view.min() >= 0
    assert view.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(view, views(images, seeded(seed)))


def test_large_images():
    images = pictures(2, 3, 224, 224)
    view = Views(ALL)(images, seeded())
    assert view.shape == images.shape
    assert view.isfinite().all()


def test_another_generator_state_gives_another_view():
    images, generator = pictures(8, 3, 16, 16), seeded()
    views = Views(SIMCLR)
    assert not torch.equal(views(images, generator), views(images, generator))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_happens_with_p_zero(module):
    images = pictures(4, 3, 16, 16)
    assert torch.equal(Views([module.build(module.Config(p=0.0))])(images, seeded()), images)


@pytest.mark.parametrize(
    "operation",
    [
        fixed("warp", torch.diag(torch.tensor([-1.0, 1.0, 1.0]))),
        fixed("colour", torch.eye(1, 2) / 2),
        Operation("pixels", 1.0, lambda images, generator: 1 - images),
    ],
    ids=lambda operation: operation.stage,
)
def test_p_is_each_images_own_chance(operation):
    images, p = pictures(4000, 1, 4, 4), 0.3
    view = Views([Operation(operation.stage, p, operation.draw)])(images, seeded(5))
    changed = (view - images).abs().amax((1, 2, 3)) > 1e-5
    assert abs(changed.float().mean() - p) < 4 * (p * (1 - p) / 4000) ** 0.5
    everywhere = Views([operation])(images, seeded())
    torch.testing.assert_close(view, torch.where(changed[:, None, None, None], everywhere, images))


def test_an_image_depends_on_no_other_image():
    images = pictures(6, 3, 16, 16)
    others = images.clone()
    others[1:] = pictures(5, 3, 16, 16, seed=9)
    for seed in range(10):
        views = [Views(ALL)(batch, seeded(seed)) for batch in (images, others)]
        torch.testing.assert_close(views[0][0], views[1][0])
        assert not torch.allclose(views[0][1:], views[1][1:])


def test_images_in_another_order_with_their_draws_give_the_views_in_that_order():
    images, order = pictures(6, 3, 16, 16), torch.tensor([3, 0, 5, 1, 4, 2])
    draws = [operation.draw(images, seeded()) for operation in ALL[:5]]
    chain = [fixed(operation.stage, drawn) for operation, drawn in zip(ALL[:5], draws, strict=True)]
    moved = [fixed(operation.stage, drawn[order]) for operation, drawn in zip(ALL[:5], draws, strict=True)]
    torch.testing.assert_close(Views(moved)(images[order], seeded()), Views(chain)(images, seeded())[order])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12)])
def test_the_sampling_grid_is_torchs(height, width):
    matrix = torch.randn(5, 3, 3, generator=seeded(), dtype=torch.float64)
    expected = F.affine_grid(matrix[:, :2], [5, 1, height, width], align_corners=False)
    torch.testing.assert_close(sampling_grid(matrix, height, width), expected)


def test_fused_warps_equal_the_product_of_the_matrices():
    images = pictures(5, 3, 12, 9)
    run = [ALL[0], ALL[2], ALL[3], ALL[1]]
    matrices = [operation.draw(images, seeded(i)) for i, operation in enumerate(run)]
    fused = Views([fixed("warp", matrix, outside=True) for matrix in matrices])(images, seeded())
    product = torch.from_numpy(np.linalg.multi_dot([m[0].double().numpy() for m in matrices]))
    grid = F.affine_grid(product[None, :2], [1, 3, 12, 9], align_corners=False)
    expected = F.grid_sample(images[:1].double(), grid, align_corners=False)
    torch.testing.assert_close(fused[:1].double(), expected, atol=1e-5, rtol=0)


def test_fused_warps_equal_one_after_the_other():
    # A colour that is linear in the position is resampled without error, as long as nothing comes from outside.
    x, y = centres(33, torch.ones(())), centres(33, torch.ones(()))
    images = (0.5 + 0.2 * x + 0.3 * y[:, None] * 0.9).expand(3, 1, 33, 33)
    zoom = fixed("warp", plane(images, xx=0.5, yy=0.4, dx=torch.tensor([-0.2, 0.0, 0.3]), dy=0.1))
    turn = fixed("warp", rotation.turned(images, torch.tensor([0.1, -0.5, 1.2])))
    fused = Views([zoom, turn])(images, seeded())
    chained = Views([turn])(Views([zoom])(images, seeded()), seeded())
    middle = slice(9, 24)  # a turned square's corners come from outside
    torch.testing.assert_close(fused[..., middle, middle], chained[..., middle, middle], atol=1e-5, rtol=0)


def test_fused_colours_carry_the_mean_through_the_run():
    images = 0.4 + 0.2 * pictures(4, 3, 8, 8, dtype=torch.float64)  # mild enough never to be clamped
    factors = torch.tensor([0.8, 0.9, 1.1, 1.2], dtype=torch.float64)
    tint = torch.tensor([[[0.9, 0.1, 0, 0.02], [0, 0.8, 0, 0.1], [0.1, 0, 0.9, -0.03]]], dtype=torch.float64)
    contrast = Operation("colour", 1.0, lambda images, generator: jitter.contrasted(images, factors))
    view = Views([fixed("colour", tint), contrast, fixed("colour", tint), contrast])(images, seeded())

    expected, f = images.numpy(), factors.numpy()[:, None, None, None]
    for _ in range(2):
        expected = np.einsum("ij,bjhw->bihw", tint[0, :, :3].numpy(), expected) + tint[0, :, 3].numpy()[:, None, None]
        luma = np.einsum("c,bchw->bhw", [0.299, 0.587, 0.114], expected).mean((1, 2))[:, None, None, None]
        expected = f * expected + (1 - f) * luma
    np.testing.assert_allclose(view.numpy(), expected, atol=1e-7)


def test_compose_does_the_first_map_first():
    images, maps = pictures(3, 2, 4, 4), torch.randn(2, 3, 2, 3, generator=seeded())
    expected = recoloured(recoloured(images, maps[0]), maps[1])
    torch.testing.assert_close(recoloured(images, compose(maps[1], maps[0])), expected)


def test_a_run_is_one_pass(monkeypatch):
    calls = []
    resample = F.grid_sample
    monkeypatch.setattr(F, "grid_sample", lambda *args, **kwargs: calls.append(1) or resample(*args, **kwargs))
    crop_, flip_, turn, jitter_ = ALL[0], ALL[1], ALL[2], ALL[4]
    Views([crop_, flip_, turn, jitter_])(pictures(2, 3, 8, 8), seeded())
    assert len(calls) == 1
    Views([crop_, flip_, jitter_, turn])(pictures(2, 3, 8, 8), seeded())
    assert len(calls) == 3


def test_crops_have_no_dark_rim_and_rotations_have_black_corners():
    white = torch.ones(64, 1, 16, 16)
    torch.testing.assert_close(Views([ALL[0], ALL[1]])(white, seeded()), white)
    turn = fixed("warp", rotation.turned(white, torch.full((64,), torch.pi / 4)), outside=True)
    turned = Views([turn])(white, seeded())
    assert turned[:, :, 0, 0].max() == 0
    assert turned[:, :, 8, 8].min() > 0.999


def test_mixed_precision_around_it_changes_nothing():
    images = pictures(4, 3, 32, 32)
    plain = Views(ALL)(images, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Views(ALL)(images, seeded()), plain)


def test_other_memory_layouts():
    images = pictures(4, 3, 16, 16)
    plain = Views(ALL)(images, seeded())
    torch.testing.assert_close(Views(ALL)(images.contiguous(memory_format=torch.channels_last), seeded()), plain)


def test_no_operation_at_all():
    images = pictures(2, 3, 8, 8)
    assert torch.equal(Views([])(images, seeded()), images)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="warp, colour, pixels, got 'wrap'"):
        Operation("wrap", 1.0, ALL[0].draw)
    with pytest.raises(ValueError, match=r"p = 1\.5"):
        Operation("warp", 1.5, ALL[0].draw)


@pytest.mark.gpu
def test_the_chain_on_a_gpu():
    images = pictures(32, 3, 32, 32).cuda()
    generator = torch.Generator("cuda")
    first, again = (Views(ALL)(images, generator.manual_seed(0)) for _ in range(2))
    assert first.device == images.device
    assert torch.equal(first, again)
    assert 0 <= first.min() <= first.max() <= 1
    draws = [operation.draw(images.cpu(), seeded()) for operation in ALL[:5]]
    chain = [fixed(o.stage, d.cuda(), outside=o.outside) for o, d in zip(ALL[:5], draws, strict=True)]
    plain = [fixed(o.stage, d, outside=o.outside) for o, d in zip(ALL[:5], draws, strict=True)]
    there, here = Views(chain)(images, generator), Views(plain)(images.cpu(), seeded())
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=0)
