from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from objectives.parts.decoder import decoder, sizes

side = st.integers(1, 33)


@settings(max_examples=30, deadline=None)
@given(h=st.integers(1, 6), w=st.integers(1, 6), height=side, width=side, channels=st.integers(1, 3))
def test_any_map_becomes_any_image(h: int, w: int, height: int, width: int, channels: int) -> None:
    network = decoder(5, (h, w), (channels, height, width), 4)
    assert network(torch.randn(2, 5, h, w)).shape == (2, channels, height, width)


@given(h=side, w=side, height=side, width=side)
def test_sizes_double_at_most_and_end_where_they_should(h: int, w: int, height: int, width: int) -> None:
    path = [(h, w), *sizes((h, w), (height, width))]
    assert path[-1] == (height, width)
    for before, after in pairwise(path):
        assert all(0 < b <= 2 * a for a, b in zip(before, after, strict=True))
    growth = max(height / h, width / w)
    assert 2 ** (len(path) - 2) < max(growth, 1.001) * 2  # no more steps than it takes


def test_sizes_by_hand() -> None:
    assert sizes((2, 2), (8, 8)) == [(4, 4), (8, 8)]
    assert sizes((4, 4), (28, 28)) == [(7, 7), (14, 14), (28, 28)]
    assert sizes((4, 4), (4, 4)) == [(4, 4)]
    assert sizes((3, 1), (6, 8)) == [(3, 2), (3, 4), (6, 8)]


def test_images_are_decoded_one_by_one() -> None:
    network = decoder(5, (2, 2), (1, 8, 8), 6)
    maps = torch.randn(4, 5, 2, 2)
    torch.testing.assert_close(network(maps)[1:2], network(maps[1:2]))


def test_it_learns_to_paint_digits_from_maps() -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(load_digits().images[:64] / 16).float().unsqueeze(1)
    network, maps = decoder(8, (2, 2), (1, 8, 8), 32), nn.Parameter(torch.randn(64, 8, 2, 2))
    optimizer = torch.optim.Adam([maps, *network.parameters()], 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(maps), images)
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * (images - images.mean(0)).square().mean()
