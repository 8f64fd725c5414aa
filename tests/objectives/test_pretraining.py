"""The pretraining loop: how a state is taken up, by the same config and by another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from objectives.images.augmentations import noise
from objectives.images.pools import real
from objectives.images.samplers import shuffled
from objectives.images.views import Views
from objectives.method import Batch, Method
from objectives.optimizer import Optimizer
from objectives.pretraining import Pretraining
from search.checkpoint import pack, unpack


class Linear(Method):
    """A line through pixels."""

    views = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(4, 2)

    def loss(self, batch: Batch) -> Tensor:
        return self.backbone(batch.views[0].flatten(1)).square().mean()


def pretraining(config: Optimizer) -> Pretraining:
    images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return Pretraining(
        Linear(),
        real.build(real.Config())(images, 0),
        shuffled.build(shuffled.Config()),
        prepare=lambda images: images,
        views=[Views([noise.build(noise.Config(p=1.0))])],
        normalise=lambda images: images,
        config=config,
        batch=config.batch,
        epochs=4,
        steps=2,
        seed=0,
    )


def packed(loop: Pretraining) -> bytes:
    return pack(loop.state_dict())


@pytest.mark.parametrize("rule", ["adamw", "sgd"])
def test_a_state_is_taken_up_by_the_own_config_of_whoever_takes_it(rule: str) -> None:
    config = Optimizer(rule=rule, batch=4)
    whole = pretraining(config)
    for _ in range(2):
        whole.train_epoch()
    state = packed(whole)
    resumed = pretraining(config)
    resumed.load_state_dict(unpack(state))
    assert packed(resumed) == state
    whole.train_epoch()
    resumed.train_epoch()
    assert packed(resumed) == packed(whole)
    other = replace(config, weight_decay=0.3, momentum=0.5, lr=0.1)
    child = pretraining(other)
    child.load_state_dict(unpack(state))
    fresh = pretraining(other).optimizer.param_groups
    for group, expected in zip(child.optimizer.param_groups, fresh, strict=True):
        settings = group.keys() - {"params", "lr"}
        assert {name: group[name] for name in settings} == {name: expected[name] for name in settings}
    assert [group["weight_decay"] for group in child.optimizer.param_groups] == [0.3, 0.0]
    child.train_epoch()
    assert packed(child) != packed(resumed)
