from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from objectives.parts.heads import map_head, mlp


@pytest.mark.parametrize("sizes", [[3, 2], [3, 5, 2], [4, 6, 7, 8]])
def test_shapes_and_layers(sizes: list[int]) -> None:
    head = mlp(sizes)
    assert head(torch.randn(6, sizes[0])).shape == (6, sizes[-1])
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == list(pairwise(sizes))
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in head) == len(sizes) - 2
    assert isinstance(head[-1], nn.Linear)


def test_hidden_layers_are_normalised_and_rectified() -> None:
    head = mlp([3, 4, 2])
    hidden = head[:3](5 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) + 7)
    assert (hidden >= 0).all()
    zero = (hidden == 0).float().mean(0)
    assert ((zero > 0.3) & (zero < 0.7)).all()  # a normalised feature is about as often below 0 as above


@pytest.mark.parametrize("sizes", [[3, 2], [3, 5, 2], [4, 6, 7, 8]])
def test_a_map_head_is_the_same_network_in_each_place(sizes: list[int]) -> None:
    head, flat = map_head(sizes), mlp(sizes)
    for ours, other in zip(head.parameters(), flat.parameters(), strict=True):
        other.data = ours.detach().view_as(other)
    maps = torch.randn(4, sizes[0], 3, 5, generator=torch.Generator().manual_seed(0))
    out = head(maps)
    assert out.shape == (4, sizes[-1], 3, 5)
    places = maps.permute(0, 2, 3, 1).reshape(-1, sizes[0])  # normalised over batch and places alike
    torch.testing.assert_close(out.permute(0, 2, 3, 1).reshape(-1, sizes[-1]), flat(places), rtol=1e-4, atol=1e-5)
    assert isinstance(head[-1], nn.Conv2d)
