"""Rotations as a further task: the method's loss and RotNet's, added to any method."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from objectives import SHELVES
from objectives.images.images import Images
from objectives.images.methods.rotnet import TURNS, rotation_loss, turned
from objectives.images.plugins import rotation_task
from objectives.images.worth import Probe
from objectives.kinds import Setting
from objectives.kinds.representation import Representation


def chosen(kind: str, name: str, **knobs: Any) -> dict[str, Any]:
    return {name: dataclasses.asdict(SHELVES[kind].load(name).config(**knobs))}


def trial(method: str, width: int = 8, epochs: int = 1, weight: float = 1.0, plugged: bool = True) -> Representation:
    """A trial on images that are brighter towards the top."""
    noise = np.random.default_rng(0).normal(0, 0.1, (96, 1, 8, width))
    pixels = (np.linspace(0.9, 0.1, 8)[:, None] + noise).clip(0, 1).astype(np.float32)
    part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [64, 16, 16])
    config = {
        "method": chosen("method", method),
        "plugin": chosen("plugin", "rotation_task", weight=weight) if plugged else {},
        "augmentation": chosen("augmentation", "noise"),
        "second_view": {},
        "architecture": chosen("architecture", "vit" if method == "mae" else "mlp"),
        "optimizer": {"batch": 32, "lr": 1e-2},
    }
    images = Images(pixels, np.arange(96) % 4, part, tuple("abcd"))
    return Representation(Setting(config, 1, (epochs,), images, Probe(draws=2, watch=False)))


@pytest.mark.parametrize("method", ["simclr", "vicreg"])  # a loss of one part, and of several
def test_it_adds_its_weighted_loss_to_the_methods(method: str) -> None:
    added, plain = trial(method, weight=3.0), trial(method, plugged=False)
    plain.method.load_state_dict(added.method.state_dict(), strict=False)
    batch = added.loop.draw_batch(torch.arange(32))
    parts, own = added.method.loss(batch), plain.method.loss(batch)
    assert isinstance(parts, dict)
    copies = added.backbone(turned(batch.views[0], TURNS["all"]))
    truth = torch.tensor([0, 1, 2, 3]).repeat_interleave(32)
    torch.testing.assert_close(parts["rotations"], 3 * rotation_loss(added.method.rotation_head(copies), truth))
    whole = sum(own.values()) if isinstance(own, dict) else own
    torch.testing.assert_close(sum(parts.values()) - parts["rotations"], whole)


def test_the_backbone_learns_the_turns_beside_a_method_without_views() -> None:
    one = trial("mae", epochs=12)
    losses = [one.loop.train_epoch()["rotations"] for _ in range(12)]
    assert losses[0] > 1.0 > 0.3 > losses[-1]


def test_its_head_is_part_of_the_state() -> None:
    one, other = trial("simclr", epochs=2), trial("simclr", epochs=2)
    one.loop.train_epoch()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert one.loop.train_epoch() == other.loop.train_epoch()
    assert torch.equal(one.method.rotation_head.weight, other.method.rotation_head.weight)


def test_oblong_images_are_refused() -> None:
    with pytest.raises(ValueError, match="square images, got 8 by 6"):
        trial("simclr", width=6)
    rotation_task.build(rotation_task.Config())  # which says so only when it is added
