"""What a network costs, against its operations counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objectives import SHELVES
from objectives.cost import JOULES, energy, flops, parameters


@pytest.mark.parametrize(("patch", "heads", "width", "depth"), [(4, 3, 32, 4), (2, 2, 16, 1), (1, 1, 32, 2)])
def test_a_transformer_is_counted_with_its_attention(patch: int, heads: int, width: int, depth: int) -> None:
    component = SHELVES["architecture"].load("vit")
    config = component.config(patch=patch, heads=heads, head_width=width, depth=depth)
    tokens, size = (8 // patch) ** 2, heads * width
    embedding = 2 * tokens * patch**2 * size
    linear = 2 * tokens * size * (3 * size + size + 4 * size + 4 * size)  # query, key and value; join; the perceptron
    attention = 2 * 2 * tokens**2 * size  # each token with each other, and their mixture
    assert flops(component.build(config, (1, 8, 8)), (1, 8, 8)) == embedding + depth * (linear + attention)


def test_layers_are_counted_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 6 * 4, 7))
    assert flops(network, (3, 6, 4)) == 2 * 6 * 4 * 5 * 3 * 9 + 2 * 120 * 7
    assert parameters(network) == 5 * 27 + 5 + 120 * 7 + 7


def test_counting_leaves_the_network_and_the_random_stream_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before, stream = network[1].running_mean.clone(), torch.get_rng_state()
    flops(network, (1, 2, 2))
    assert network.training
    assert torch.equal(network[1].running_mean, before)
    assert torch.equal(torch.get_rng_state(), stream)


def test_energy_is_three_passes_of_every_view_of_every_image() -> None:
    assert energy(10.0, 7, 2, 5) == pytest.approx(JOULES * 3 * 10 * 7 * 2 * 5)
    assert energy(10.0, 7, 0, 5) == energy(10.0, 7, 1, 5)
