"""What the tests of methods share: two tiny backbones, batches with something to learn in them, and a few steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.views import plane
from objectives.method import Batch, Method, Task

SHELF = SHELVES["method"]
SHAPE = (2, 8, 8)


class Convolutions(nn.Module):
    """The smallest backbone: two convolutions and a mean."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = 12
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), nn.ReLU()
        )

    def maps(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean((2, 3))


class Patches(nn.Module):
    """The smallest backbone that offers "patches" and "mirror": tokens that see each other through their mean."""

    def __init__(self, shape: tuple[int, int, int], patch: int = 2) -> None:
        super().__init__()
        channels, height, width = shape
        self.patch, self.grid, self.features = patch, (height // patch, width // patch), 12
        self.enter = nn.Conv2d(channels, 12, patch, patch)
        self.places = nn.Parameter(torch.randn(1, self.grid[0] * self.grid[1], 12))
        self.mix, self.norm = nn.Linear(24, 12), nn.LayerNorm(12)

    def embed(self, images: Tensor) -> Tensor:
        return self.enter(images).flatten(2).transpose(1, 2) + self.places

    def blocks(self, tokens: Tensor) -> Tensor:
        around = tokens.mean(1, keepdim=True).expand_as(tokens)
        return self.norm(tokens + torch.relu(self.mix(torch.cat([tokens, around], dim=2))))

    @property
    def positions(self) -> Tensor:
        return self.places[0]

    def mirror(self) -> nn.Module:
        return nn.Sequential(nn.Linear(12, 12), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(self.embed(images)).mean(1)


def _body(needs: frozenset[str] = frozenset(), shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    assert needs <= {"patches", "maps", "layers", "mirror"}, "a new need wants a new stand-in here"
    return Patches(shape) if needs & {"patches", "mirror"} else Convolutions(shape)


def _build(name: str, steps: int = 20, shape: tuple[int, int, int] = SHAPE, seed: int = 0, **knobs: Any) -> Method:
    component = SHELF.load(name)
    torch.manual_seed(seed)
    return component.build(component.config(**knobs), _body(component.needs, shape), _task(steps, shape))


def _task(steps: int = 20, shape: tuple[int, int, int] = SHAPE, images: int = 64, batch: int = 32) -> Task:
    return Task(shape, images, batch, steps)


def _batch(views: int = 2, count: int = 32, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Batch:
    """Images of eight smooth patterns, brighter towards the top, and views that differ by noise."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(8, shape[0], 3, 3, generator=torch.Generator().manual_seed(1234))
    patterns = nn.functional.interpolate(coarse, shape[1:], mode="bilinear")
    images = patterns[torch.randint(8, (count,), generator=g)] + torch.linspace(1, -1, shape[1])[:, None]
    noisy = tuple(images + 0.3 * torch.randn(images.shape, generator=g) for _ in range(views))
    index = torch.arange(count) + count * (seed % 2)
    return Batch(images, noisy, g, index, (plane(images),) * views)


def _total(loss: Tensor | dict[str, Tensor]) -> Tensor:
    return torch.stack(list(loss.values())).sum() if isinstance(loss, dict) else loss


def _train(method: Method, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> list[float]:
    losses = []
    for batch in batches:
        loss = _total(method.loss(batch))
        optimizer.zero_grad()
        loss.backward()
        method.after_backward()
        optimizer.step()
        method.after_step()
        losses.append(loss.item())
    return losses


def _same_in_half(loss: Callable[..., Tensor], *tensors: Tensor) -> None:
    narrow = [t.bfloat16() for t in tensors]
    plain = loss(*(t.float() for t in narrow))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(*narrow), plain, rtol=1e-6, atol=0)


@pytest.fixture
def body() -> Callable[..., nn.Module]:
    """`body(needs, shape)`: a backbone that serves these needs."""
    return _body


@pytest.fixture
def build() -> Callable[..., Method]:
    """`build(name, steps, shape, seed, **knobs)`: a method of the shelf on a tiny backbone."""
    return _build


@pytest.fixture
def task() -> Callable[..., Task]:
    """`task(steps, shape, images, batch)`: what a method is to be trained on."""
    return _task


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """`batch(views, count, seed, shape)`: a batch with something to learn in it."""
    return _batch


@pytest.fixture
def total() -> Callable[..., Tensor]:
    """`total(loss)`: the scalar to minimise."""
    return _total


@pytest.fixture
def train() -> Callable[..., list[float]]:
    """`train(method, optimizer, batches)`: a step on each batch, and the loss before each."""
    return _train


@pytest.fixture
def same_in_half() -> Callable[..., None]:
    """`same_in_half(loss, *tensors)`: asserts that autocast and bfloat16 inputs do not coarsen the arithmetic."""
    return _same_in_half
