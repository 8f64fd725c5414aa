from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from objectives import SHELVES
from objectives.images.augmentations import crop, flip
from objectives.images.methods.r2o import Config, clusters_at
from objectives.images.views import Views, plane
from objectives.method import Task
from objectives.optimizer import Optimizer, build_optimizer
from objectives.parts.regions import grid

SHAPE = (2, 12, 12)


@pytest.fixture
def placed(batch):
    """A batch whose views say that they were cropped and flipped."""
    given = batch(shape=SHAPE)
    views = Views([crop.build(crop.Config(scale=0.4)), flip.build(flip.Config())])
    warps = tuple(views.placed(given.images, given.generator)[1] for _ in range(2))
    return replace(given, warps=warps)


def unit(row: np.ndarray) -> np.ndarray:
    return row / math.sqrt(sum(row**2))


def masks_oracle(labels: np.ndarray, warp: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """The label of each cell `(h, w)` of a view, from the pixel in which its centre lies, -1 outside the image."""
    found = np.full(cells, -1)
    for j, i in np.ndindex(cells):
        x, y, _ = warp @ [(2 * i + 1) / cells[1] - 1, (2 * j + 1) / cells[0] - 1, 1]
        row, column = (math.floor((c + 1) / 2 * side) for c, side in ((y, labels.shape[0]), (x, labels.shape[1])))
        if 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]:
            found[j, i] = labels[row, column]
    return found


@pytest.mark.parametrize("schedule", ["linear", "cosine", "steps"])
def test_clusters_go_from_the_first_number_to_the_last(schedule: str) -> None:
    config = Config(k_start=128, k_end=4, schedule=schedule)
    upwards = Config(k_start=128, k_end=4, schedule=schedule, reverse=True)
    found = [clusters_at(done, config) for done in np.linspace(0, 1, 101)]
    assert (found[0], found[-1]) == (128, 4)
    assert all(before >= after for before, after in pairwise(found))
    assert [clusters_at(done, upwards) for done in np.linspace(1, 0, 101)] == found


def test_clusters_by_hand() -> None:
    halfway = {name: clusters_at(0.5, Config(k_start=128, k_end=4, schedule=name)) for name in ("linear", "cosine")}
    assert halfway == {"linear": 66, "cosine": round(124 * math.sqrt(0.5) + 4)}
    steps = [clusters_at(done, Config(k_start=128, k_end=2, schedule="steps")) for done in (0.1, 0.3, 0.6, 0.9)]
    assert steps == [128, 32, 8, 2]
    assert clusters_at(1, Config(schedule="constant", k_start=9)) == 9


def test_loss_is_byols_of_what_masks_pool(build, placed) -> None:
    method = build("r2o", shape=SHAPE)
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.mul_(1.2)
    labels = method.masks(placed.images, torch.Generator().manual_seed(0))
    asked = []
    method.masks = lambda images, generator: asked.append(images) or labels
    maps = [method.backbone.maps(view).detach() for view in placed.views]
    told = [method.teacher.network.backbone.maps(view).detach() for view in placed.views]
    at = [
        [masks_oracle(labels[b].numpy(), w[b].double().numpy(), method.cells) for w in placed.warps] for b in range(32)
    ]
    pools: list[list[np.ndarray]] = [[], [], [], []]
    for b, (one, other) in enumerate(at):
        for k in sorted((set(one.flat) & set(other.flat)) - {-1}):
            for pool, source, where in zip(pools, (*maps, *told), (one, other, one, other), strict=True):
                pool.append(source[b].numpy()[:, where == k].mean(axis=1))
    rows = [torch.from_numpy(np.stack(pool)) for pool in pools]
    guesses = [method.predictor(method.projector(row)).detach().double().numpy() for row in rows[:2]]
    targets = [method.teacher.network.projector(row).detach().double().numpy() for row in rows[2:]]
    expected = 0.0
    for guess, target in ((guesses[0], targets[1]), (guesses[1], targets[0])):
        expected += np.mean([sum((unit(p) - unit(t)) ** 2) for p, t in zip(guess, target, strict=True)])
    assert method.loss(placed).item() == pytest.approx(expected, rel=1e-3)
    assert torch.equal(asked[0], placed.images)  # the plain ones, not a view


def test_masks_are_unions_of_regions_alike_in_all_images_and_as_many_as_clusters(build, batch) -> None:
    method = build("r2o", shape=SHAPE, k_start=8, regions=9)
    given = batch(shape=SHAPE)
    images = given.images.clone()
    images[16:] = images[:16]
    labels = method.eval().masks(images, given.generator)
    assert torch.equal(labels[16:], labels[:16])
    assert labels.unique().tolist() == list(range(8))
    for region in range(9):
        inside = labels[:, grid(12, 12, 3, 3) == region]
        assert (inside == inside[:, :1]).all()


def test_few_regions_make_few_clusters(build, batch) -> None:
    method = build("r2o", shape=SHAPE, k_start=256, regions=9).eval()
    given = batch(count=4, shape=SHAPE)
    assert method.masks(given.images, given.generator).unique().numel() == 4 * 9 // 5


@pytest.mark.parametrize(
    "knobs",
    [
        {"prior": "slic"},
        {"prior": "none"},
        {"clustering": "none"},
        {"clustering": "agglomerative"},
        {"memory": 500},
        {"source": "online", "back": 1},
        {"by_area": True, "schedule": "steps", "reverse": True},
    ],
)
def test_every_way_to_masks_learns(knobs, build, batch, train) -> None:
    method = build("r2o", shape=SHAPE, **knobs)
    optimizer = torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)
    losses = train(method, optimizer, [batch(count=16, seed=s, shape=SHAPE) for s in range(16)])
    assert sum(losses[-4:]) < sum(losses[:4])


def test_past_regions_are_clustered_with_the_batchs(build, batch) -> None:
    method = build("r2o", shape=SHAPE, memory=400)
    for seed, count in ((0, 288), (1, 400), (2, 400)):
        given = batch(count=8, seed=seed, shape=SHAPE)
        assert method.masks(given.images, given.generator).shape == (8, 12, 12)
        assert int(method.memory.count) == count
    kept = method.memory.rows.clone()
    method.eval().masks(batch(count=8, seed=9, shape=SHAPE).images, given.generator)
    assert torch.equal(method.memory.rows, kept)


def test_views_without_anything_in_common_cost_nothing_and_break_nothing(build, batch) -> None:
    method, given = build("r2o"), batch()
    left, right = (plane(given.images, xx=0.3, dx=x) for x in (-0.7, 0.7))
    method.masks = lambda images, generator: grid(8, 8, 1, 2).expand(32, -1, -1)
    loss = method.loss(replace(given, warps=(left, right)))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_the_learning_rate_follows_k_where_that_is_asked_for(build) -> None:
    assert build("r2o").rates() == {}
    method = build("r2o", k_start=128, k_end=4, by_k=16.0, steps=10)
    optimizer = build_optimizer(Optimizer(), method, method.rates())
    assert {group["prefix"] for group in optimizer.param_groups} == {""}
    assert method.rates() == {"": 8.0}
    method.teacher.step += 10
    assert method.rates() == {"": 0.25}


def test_no_gradient_reaches_the_teacher(build, placed) -> None:
    method = build("r2o", shape=SHAPE)
    method.loss(placed).backward()
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad is not None for p in (*method.student().parameters(), *method.predictor.parameters()))


def test_masks_of_an_image_are_counted(build, batch) -> None:
    method = build("r2o", shape=SHAPE, clustering="none", regions=9).eval()
    assert method.measure([batch(shape=SHAPE).images]) == {"masks_per_image": 9.0}


@pytest.mark.parametrize(
    ("knobs", "batch_size", "what"),
    [
        ({"k_start": 8, "k_end": 9}, 32, "must not be above"),
        ({"k_end": 32, "regions": 9}, 16, "144 regions"),
        ({"back": 1, "needs": {"patches"}}, 32, "layers"),
        ({"clustering": "agglomerative", "regions": 100, "memory": 1000}, 32, "4200"),
    ],
)
def test_what_cannot_work_is_refused(knobs, batch_size, what, body) -> None:
    component = SHELVES["method"].load("r2o")
    backbone = body(frozenset(knobs.pop("needs", component.needs)), SHAPE)
    with pytest.raises(ValueError, match=what):
        component.build(component.config(**knobs), backbone, Task(SHAPE, 64, batch_size, 20))


def test_permuted_masks_are_those_of_another_image(build, placed, task) -> None:
    plugin = SHELVES["plugin"].load("r2o_permuted_masks")
    assert plugin.needs <= SHELVES["method"].load("r2o").offers
    right, wrong = build("r2o", shape=SHAPE), plugin.build(plugin.config())(build("r2o", shape=SHAPE), task())
    masks = right.masks(placed.images, torch.Generator().manual_seed(0))
    given = replace(placed, generator=torch.Generator().manual_seed(0))
    found, true = wrong.loss(given), right.loss(replace(placed, generator=torch.Generator().manual_seed(0)))
    other = [-1, *range(31)]
    right.masks = lambda images, generator: masks[other]
    assert torch.equal(found, right.loss(replace(placed, warps=tuple(warp[other] for warp in placed.warps))))
    assert found > true
