"""Multi-crop: small views of the side and the share of the image that are asked for, for those that take them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from objectives import SHELVES
from objectives.images.images import Images
from objectives.images.plugins import multicrop
from objectives.images.worth import Probe
from objectives.kinds import Setting
from objectives.kinds.representation import Representation


def chosen(kind: str, name: str, **knobs: Any) -> dict[str, Any]:
    return {name: dataclasses.asdict(SHELVES[kind].load(name).config(**knobs))}


def trial(method: str = "swav", architecture: str = "resnet", **crop: Any) -> Representation:
    """A trial on images whose two channels are their pixels' places, from 0 to 1."""
    row, column = np.mgrid[:16, :12].astype(np.float32)
    pixels = np.broadcast_to(np.stack([row / 15, column / 11]), (96, 2, 16, 12)).copy()
    part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [64, 16, 16])
    config = {
        "method": chosen("method", method),
        "plugin": chosen("plugin", "multicrop", **crop),
        "augmentation": chosen("augmentation", "crop") | chosen("augmentation", "noise", p=0.0),
        "second_view": {},
        "architecture": chosen("architecture", architecture),
        "optimizer": {"batch": 32},
    }
    return Representation(
        Setting(config, 1, (1,), Images(pixels, np.arange(96) % 4, part, tuple("abcd")), Probe(draws=2))
    )


def test_small_views_have_their_side_and_show_their_share() -> None:
    one = trial(count=5, ratio=0.5, least=0.1, most=0.3)
    batch = one.loop.draw_batch(torch.arange(32))
    assert [view.shape for view in batch.small] == [(32, 2, 8, 6)] * 5
    shown = torch.cat(batch.small) * one.encoder.std + one.encoder.mean  # back to places
    extent = (shown.amax((2, 3)) - shown.amin((2, 3))).prod(1)
    inside = 7 / 8 * 5 / 6 * 16 / 15 * 12 / 11  # from centre to centre of the outermost pixels
    assert extent.max() < 0.3 * inside * 1.1
    assert 0.1 * inside * 0.5 < extent.min() < 0.15 * inside  # at the edge, a part of the view repeats it
    assert [view.shape for view in batch.views] == [(32, 2, 16, 12)] * 2


def test_a_trial_with_small_views_trains_and_goes_on(tmp_path: Any) -> None:
    (metrics,) = trial().run()
    assert np.isfinite(metrics["loss"])
    assert trial("simclr").method.small is None  # a method that does not take them is left as it is


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least \(0\.5\) must not be above most \(0\.4\)"):
        multicrop.build(multicrop.Config(least=0.5))
    with pytest.raises(ValueError, match="Perceptron takes images of 16 × 12 pixels alone, not 8 × 6"):
        trial(architecture="mlp")
