"""The learning-rate schedule and the parameter groups, against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from objectives.optimizer import Optimizer, build_optimizer, learning_rate
from spaces.components import fields


def test_the_config_declares_its_ranges():
    assert all(field.domain is not None for field in fields(Optimizer))


def test_the_rate_climbs_then_falls_by_a_cosine():
    config = Optimizer(lr=0.1, warmup=0.2)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:20] == pytest.approx([0.1 * (i + 1) / 20 for i in range(20)])
    assert rates[20:] == pytest.approx([0.05 * (1 + math.cos(math.pi * i / 80)) for i in range(80)])


@given(st.integers(1, 500), st.floats(0, 0.5))
def test_the_rate_stays_within_the_peak(steps, warmup):
    config = Optimizer(lr=0.3, warmup=warmup)
    rates = [learning_rate(config, step, steps) for step in range(steps)]
    assert all(0 <= rate <= 0.3 + 1e-12 for rate in rates)
    assert max(rates) == pytest.approx(0.3)


@pytest.mark.parametrize("rule", ["adamw", "sgd"])
def test_weight_decay_spares_biases_norms_and_frozen_weights(rule):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net[2].weight.requires_grad_(False)
    groups = build_optimizer(Optimizer(rule=rule, weight_decay=0.5), net).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    spared = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    assert decayed == {id(net[0].weight)}
    assert spared == {id(p) for p in (net[0].bias, *net[1].parameters(), net[2].bias)}


def test_one_adamw_step_moves_by_the_rate():
    weight = nn.Linear(1, 1, bias=False)
    before = weight.weight.item()
    optimizer = build_optimizer(Optimizer(lr=0.01, weight_decay=1e-8), weight)
    (weight(torch.ones(1, 1)) * 5).sum().backward()
    optimizer.step()
    assert before - weight.weight.item() == pytest.approx(0.01, rel=1e-4)
