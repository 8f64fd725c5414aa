"""The pretraining trial: determinism, exact continuation, floors, fit of methods and backbones."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from objectives import SHELVES, cell_probes, cluster_probes, episodes, factor_probes
from objectives.images.encoder import encode, statistics
from objectives.images.images import Images
from objectives.images.worth import Probe
from objectives.kinds import Failed, Setting
from objectives.kinds.representation import METRICS, Representation, restore_encoder
from objectives.optimizer import Optimizer

METHODS, BACKBONES = SHELVES["method"].names(), SHELVES["architecture"].names()
SMALL = {"resnet": {"width": 8, "stages": 2}, "convnext": {"width": 8, "stages": 2, "depth": 1}}
SMALL |= {"vit": {"patch": 2, "heads": 2, "head_width": 16, "depth": 1}, "mlp": {"width": 32}}


def knobs(config):
    return dataclasses.asdict(config)


def chosen(kind, name, **changes):
    return {name: knobs(SHELVES[kind].load(name).config(**changes))}


@pytest.fixture(scope="module")
def images():
    """Stripes in four directions with noise: 96 to train on, 32 each to choose by and to hold out."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    row, column = np.mgrid[:8, :8]
    waves = np.stack([row, column, row + column, row - column]) * np.pi / 2
    pixels = 0.5 + 0.4 * np.sin(waves[labels] + rng.uniform(0, 6, (160, 1, 1))) + rng.normal(0, 0.1, (160, 8, 8))
    part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [96, 32, 32])
    return Images(pixels[:, None].clip(0, 1).astype(np.float32), labels.astype(np.int64), part, ("a", "b", "c", "d"))


def setting(images, method="simclr", backbone="resnet", rungs=(1, 2, 4), seed=3, **optimizer):
    config = {
        "method": chosen("method", method),
        "augmentation": chosen("augmentation", "crop", scale=0.6) | chosen("augmentation", "noise"),
        "second_view": {},
        "architecture": chosen("architecture", backbone, **SMALL.get(backbone, {})),
        "optimizer": knobs(Optimizer(batch=32, **optimizer)),
    }
    return Setting(config, seed, rungs, images, Probe(draws=3))


def serving(method):
    """The first backbone that a method can train on."""
    needs = SHELVES["method"].load(method).needs
    return next(name for name in ("resnet", "vit", *BACKBONES) if needs <= SHELVES["architecture"].load(name).offers)


def run(trial):
    """The metrics of every rung, less the one figure that is a clock."""
    return [{k: v for k, v in metrics.items() if k != "probe_seconds"} for metrics in trial.run()]


def test_one_seed_gives_the_same_metrics_and_another_seed_others(images):
    first, second = run(Representation(setting(images))), run(Representation(setting(images)))
    assert first == second
    assert run(Representation(setting(images, seed=4))) != first


def test_every_declared_metric_is_given(images):
    (metrics,) = run(Representation(setting(images, rungs=(1,))))
    some = (cluster_probes, cell_probes, factor_probes, episodes)
    only_some = {name for module in some for name in module.METRICS} | {"positive_purity"}
    assert set(METRICS) - only_some <= set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_continued_trial_equals_an_unbroken_one_to_the_byte(images, method, tmp_path):
    backbone = serving(method)
    whole = Representation(setting(images, method, backbone))
    expected = run(whole)
    broken = Representation(setting(images, method, backbone))
    begun = next(broken.run())
    torch.save(broken.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)  # what happens elsewhere in the process must not matter
    resumed = Representation(setting(images, method, backbone))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    begun.pop("probe_seconds")
    assert [begun, *run(resumed)] == expected
    for name, value in whole.method.state_dict().items():
        assert torch.equal(value, resumed.method.state_dict()[name]), name


def test_probing_leaves_the_pretraining_untouched(images):
    probed, plain = Representation(setting(images)), Representation(setting(images))
    for _ in range(2):
        probed.loop.train_epoch()
        probed.probe()
        plain.loop.train_epoch()
    for name, value in plain.method.state_dict().items():
        assert torch.equal(value, probed.method.state_dict()[name]), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_method_trains_every_backbone_that_meets_its_needs(images, method, backbone):
    needs, offers = SHELVES["method"].load(method).needs, SHELVES["architecture"].load(backbone).offers
    if not needs <= offers:
        pytest.skip(f"{method} needs {set(needs)}")
    trial = Representation(setting(images, method, backbone, rungs=(1,)))
    before = [p.detach().clone() for p in trial.backbone.parameters()]
    assert math.isfinite(trial.loop.train_epoch()["loss"])
    assert any(not torch.equal(a, b) for a, b in zip(before, trial.backbone.parameters(), strict=True))


def test_labels_and_held_out_images_never_reach_the_pretraining(images):
    rng = np.random.default_rng(1)
    elsewhere = images.part != 0
    pixels = images.pixels.copy()
    pixels[elsewhere] = rng.random(pixels[elsewhere].shape, dtype=np.float32)
    changed = dataclasses.replace(images, pixels=pixels, labels=rng.permutation(images.labels))
    trials = [Representation(setting(data)) for data in (images, changed)]
    losses = [[trial.loop.train_epoch()["loss"] for _ in range(2)] for trial in trials]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverging_trial_says_so(images, monkeypatch, value):
    trial = Representation(setting(images))
    healthy = trial.method.loss
    monkeypatch.setattr(trial.method, "loss", lambda batch: healthy(batch) * (value if trial.loop.step == 4 else 1))
    with pytest.raises(Failed, match=r"loss became (nan|inf) in epoch 2"):
        run(trial)


def test_the_saved_encoder_gives_the_features_that_were_probed(images):
    trial = Representation(setting(images, rungs=(1,)))
    run(trial)
    restored = restore_encoder(trial.setting.config, images.shape, trial.state_dict())
    pixels = torch.from_numpy(images.pixels)
    np.testing.assert_allclose(encode(restored, pixels), encode(trial.encoder, pixels), atol=1e-6)


def test_statistics_are_those_of_the_stored_scale():
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (7, 3, 5, 4), dtype=np.uint8)
    mean, std = statistics(stored)
    floats = stored.astype(np.float64) / 255
    np.testing.assert_allclose(mean.flatten(), floats.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.flatten(), floats.std((0, 2, 3)), rtol=1e-6)


def test_a_second_view_is_drawn_by_its_own_augmentation(images):
    base = setting(images)
    own = dataclasses.replace(base, config=base.config | {"second_view": chosen("augmentation", "noise", p=0.0)})
    trial = Representation(own)
    batch = trial.loop.draw_batch(torch.arange(8))
    torch.testing.assert_close(batch.views[1], batch.images)
    assert not torch.allclose(batch.views[0], batch.images)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_a_gpu(images, method):
    backbone = serving(method)
    trial = Representation(dataclasses.replace(setting(images, method, backbone), device="cuda"))
    assert all(math.isfinite(metrics["few_shot_accuracy"]) for metrics in run(trial))
    resumed = Representation(dataclasses.replace(setting(images, method, backbone), device="cuda"))
    resumed.load_state_dict(trial.state_dict())
    assert resumed.epoch == trial.epoch
