from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from objectives import SHELVES
from objectives.images.backbones import crate, mlp, vit
from objectives.images.methods.crate_mae import Config, CrateMAE
from objectives.images.methods.crate_mae import build as build_crate_mae
from objectives.images.methods.mae import patchify
from objectives.images.mutations import crate_sparsify_shortcut
from objectives.method import Task

SHAPE = (1, 8, 8)
TASK = Task(SHAPE, 64, 32, 20)
SMALL = {"patch": 2, "heads": 2, "head_width": 16, "depth": 3}


def on_crate(**knobs) -> CrateMAE:
    torch.manual_seed(0)
    return build_crate_mae(Config(**knobs), crate.build(crate.Config(**SMALL), SHAPE), TASK)


def on_vit() -> CrateMAE:
    torch.manual_seed(0)
    return build_crate_mae(Config(), vit.build(vit.Config(**SMALL), SHAPE), TASK)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("loss_on", ["masked", "all"])
def test_loss_is_the_papers(loss_on: str, normalise: bool, build, batch) -> None:
    method = build("crate_mae", loss_on=loss_on, normalise=normalise).double()
    given = batch(1, count=4)
    views = given.views[0].double()
    state = given.generator.get_state()
    mask = method.mask(4, given.generator)
    given.generator.set_state(state)
    decoded = method.decode(views, mask).detach().numpy()
    pixels, total, told = patchify(views, 2).numpy(), 0.0, 0
    for b in range(4):
        for p in range(16):
            if not mask[b, p] and loss_on == "masked":
                continue
            target = pixels[b, p]
            if normalise:
                target = (target - target.mean()) / np.sqrt(target.var() + 1e-6)
            total, told = total + ((decoded[b, p] - target) ** 2).mean(), told + 1
    assert told == (32 if loss_on == "masked" else 64)
    loss = method.loss(type(given)(views, (views,), given.generator, given.index, given.warps))
    assert loss.item() == pytest.approx(total / told, rel=1e-9)


@pytest.mark.parametrize("make", [on_crate, on_vit])
def test_what_is_hidden_stays_hidden_and_the_encoder_sees_every_place(make) -> None:
    method = make().eval()
    images, mask = torch.randn(3, *SHAPE), torch.zeros(3, 16, dtype=torch.bool)
    mask[:, ::2] = True
    seen = []
    method.backbone.layers.register_forward_pre_hook(lambda _, tokens: seen.append(tokens[0]))
    decoded = method.decode(images, mask)
    assert seen[0].shape == (3, 16, 32)
    blank = method.missing + method.backbone.positions
    torch.testing.assert_close(seen[0][mask].view(3, 8, 32), blank[::2].expand(3, -1, -1))
    rows, columns = np.divmod(np.arange(0, 16, 2), 4)
    changed = images.clone()
    for row, column in zip(rows, columns, strict=True):
        changed[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
    torch.testing.assert_close(method.decode(changed, mask), decoded)
    assert not torch.allclose(method.decode(images + 1, mask), decoded)


def test_positions_stay_fixed() -> None:
    method = on_crate()
    assert "positions" not in {name.rpartition(".")[2] for name, _ in method.named_parameters()}


def test_measures_are_those_of_numpy_under_masks_that_stay_the_same() -> None:
    method = on_crate().eval()
    images = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = method.measure(iter(images.split(24)))
        assert method.measure(iter(images.split(24))) == found
        mask = method.mask(24, torch.Generator().manual_seed(0))
        decoded, pixels = method.decode(images, mask).double().numpy(), patchify(images, 2).double().numpy()
        tokens = method.backbone.embed(images)
        shares = []
        for layer in method.backbone.layers:
            tokens = layer(tokens)
            shares.append(np.count_nonzero(tokens.numpy()) / tokens.numel())
    hidden = mask.numpy()
    assert found["masked_mse"] == pytest.approx(((decoded - pixels)[hidden] ** 2).mean(), rel=1e-6)
    guess = np.stack([pixels[hidden[:, p], p].mean(0) for p in range(16)])
    assert found["mean_patch_mse"] == pytest.approx(((guess - pixels)[hidden] ** 2).mean(), rel=1e-6)
    assert found["nonzero_share"] == pytest.approx(max(shares))
    assert found["nonzero_rise"] == pytest.approx(max(shares) - shares[0])


def test_only_a_sparse_backbone_tells_how_sparse_it_is() -> None:
    method = on_vit().eval()
    with torch.no_grad():
        found = method.measure([torch.randn(8, *SHAPE)])
    assert set(found) == {"masked_mse", "mean_patch_mse"}


def test_crate_has_at_most_three_tenths_of_a_vits_parameters() -> None:
    small, large = (sum(p.numel() for p in m.backbone.parameters()) for m in (on_crate(), on_vit()))
    assert small <= 0.3 * large


def test_a_shortcut_around_the_sparse_step_makes_tokens_dense() -> None:
    images = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(1))
    right, wrong = on_crate().eval(), crate_sparsify_shortcut.build(crate_sparsify_shortcut.Config())(on_crate(), TASK)
    with torch.no_grad():
        right, wrong = right.measure([images]), wrong.eval().measure([images])
    assert right["nonzero_share"] < 0.65
    assert wrong["nonzero_share"] > 0.99


def test_the_shortcut_needs_a_sparse_step() -> None:
    with pytest.raises(ValueError, match="VisionTransformer has no step that makes tokens sparse"):
        crate_sparsify_shortcut.build(crate_sparsify_shortcut.Config())(on_vit(), TASK)


def test_what_cannot_be_hidden_or_normalised_is_refused() -> None:
    with pytest.raises(ValueError, match="an image of one patch"):
        build_crate_mae(Config(), crate.build(crate.Config(patch=8), SHAPE), TASK)
    with pytest.raises(ValueError, match="one grey pixel cannot be normalised"):
        build_crate_mae(Config(normalise=True), crate.build(crate.Config(patch=1), SHAPE), TASK)


def test_backbones_that_have_no_mirror_cannot_serve() -> None:
    needs = SHELVES["method"].load("crate_mae").needs
    offers = {name: SHELVES["architecture"].load(name).offers for name in ("crate", "vit", "mlp")}
    assert {name for name in offers if needs <= offers[name]} == {"crate", "vit"}
    assert asdict(Config())["hidden"] == 0.5
    assert not hasattr(mlp.build(mlp.Config(), SHAPE), "mirror")
