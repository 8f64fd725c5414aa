from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from objectives.parts.mirror import path, sizes


class Backbone(nn.Module):
    features = 4

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)


map_sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=40, deadline=None)
@given(way=st.lists(map_sizes, min_size=2, max_size=4) | st.lists(st.tuples(st.integers(1, 9)), min_size=2, max_size=4))
def test_each_layer_gives_the_next_size(way) -> None:
    x = torch.randn(3, *way[0])
    layers = path(way, "relu", "none", end=True)
    assert len(layers) == len(way) - 1
    for layer, size in zip(layers, way[1:], strict=True):
        x = layer(x)
        assert x.shape == (3, *size)
    assert not x.any()


def test_halving_and_doubling_read_every_pixel() -> None:
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    path([(1, 8, 8), (2, 4, 4), (1, 8, 8)], "elu", "none")(x).sum().backward()
    assert (x.grad != 0).all()


def test_weights_start_orthogonal_times_the_scale_and_the_end_is_linear() -> None:
    layers = path([(5,), (4,), (3,)], "tanh", "batch", scale=0.1, end=True)
    first = layers[0][0].weight
    torch.testing.assert_close(first @ first.T, 0.01 * torch.eye(4))
    assert [type(part).__name__ for part in layers[0]] == ["Linear", "BatchNorm1d", "Tanh"]
    assert [type(part).__name__ for part in layers[1]] == ["Linear"]
    assert not any(p.any() for p in layers[1].parameters())
    assert [name for name, _ in layers.named_parameters()] == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]


def test_sizes_are_those_of_the_layers_which_are_left_as_they_were() -> None:
    maps = Backbone(nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.BatchNorm2d(3)), nn.Conv2d(3, 5, 3))
    before = {name: value.clone() for name, value in maps.state_dict().items()}
    assert sizes(maps, (2, 7, 8)) == [(2, 7, 8), (3, 4, 4), (5, 2, 2)]
    assert maps.training
    assert all(torch.equal(value, before[name]) for name, value in maps.state_dict().items())
    assert sizes(Backbone(nn.Linear(12, 4), nn.Linear(4, 2)), (1, 3, 4)) == [(12,), (4,), (2,)]


def test_sizes_of_both_kinds_are_refused() -> None:
    mixed = Backbone(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))
    with pytest.raises(ValueError, match="all of maps, or all of vectors"):
        sizes(mixed, (1, 4, 4))
