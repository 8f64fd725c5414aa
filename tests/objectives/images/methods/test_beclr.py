from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives.images.methods.beclr import BECLR, attraction, spreading
from objectives.images.mutations import beclr_far_prototypes
from objectives.method import Task

SOON = {"clusters": 10, "scale": 10, "start": 0.05}  # a memory of 100 rows, full after two steps of 64


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(axis=-1, keepdims=True))


def attraction_by_hand(p: np.ndarray, targets: np.ndarray, neighbours: np.ndarray) -> float:
    total = [1 - unit(a) @ unit(b) for a, own, near in zip(p, targets, neighbours, strict=True) for b in [own, *near]]
    return sum(total) / len(total)


def spreading_by_hand(views: list[list[np.ndarray]], others: list[list[np.ndarray]], temperature: float) -> float:
    """The code's formula: for each point, over all points of both views but itself and the one at its place."""
    means = []
    for i in range(len(views[0])):
        for view in views:
            own = unit(view[i])
            away = [unit(z) for some in others for j, z in enumerate(some) if j != i]
            means.append(sum(math.exp(own @ z / temperature) for z in away) / len(away))
    return math.log(sum(means) / len(means))


@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_attraction_is_the_papers(k: int) -> None:
    rng = np.random.default_rng(k)
    p, targets, neighbours = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, k, 4))
    found = attraction(*(torch.from_numpy(x) for x in (p, targets, neighbours)))
    assert found.item() == pytest.approx(attraction_by_hand(p, targets, neighbours))


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("between", ["students", "both"])
def test_the_spreading_is_the_papers(k: int, between: str) -> None:
    rng = np.random.default_rng(k)
    s, t, neighbours = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, k, 4))
    copies = neighbours.reshape(2, 3 * k, 4)
    first, second = ([[*z[3 * v : 3 * v + 3], *copies[v]] for v in range(2)] for z in (s, t))
    expected = spreading_by_hand(first, second if between == "both" else first, 2.0)
    teacher = torch.from_numpy(t) if between == "both" else None
    found = spreading(torch.from_numpy(s), teacher, torch.from_numpy(neighbours), 2.0)
    assert found.item() == pytest.approx(expected)


def test_losses_in_half_precision(same_in_half, g) -> None:
    same_in_half(
        attraction, torch.randn(8, 4, generator=g), *torch.randn(2, 8, 4, generator=g)[:1], torch.randn(8, 2, 4)
    )
    same_in_half(lambda s: spreading(s, None, s[:, None], 2.0), torch.randn(8, 4, generator=g))


def ready(build, batch, train, steps: int = 40, **knobs: object) -> BECLR:
    """A method whose memory is full and sorted and counts."""
    method = build("beclr", steps=steps, **{**SOON, **knobs})
    train(method, torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.05), batches(batch, 4))
    assert method.memory.sorted
    return method


def batches(batch, count: int, start: int = 0) -> list:
    return [batch(2, seed=start + s) for s in range(count)]


def test_each_view_is_drawn_to_the_other_and_to_its_neighbours(build, batch, train) -> None:
    method, given = ready(build, batch, train), batch(2, seed=9)
    network = copy.deepcopy(method)
    p = network.predictor(network.projector(network.backbone(torch.cat(given.views)))).split(32)
    t = network.teacher(torch.cat(given.views))
    near = network.memory.queue.rows[network.memory.nearest(t, given.index.repeat(2), 3)]
    (one, two), (near_one, near_two) = t.split(32), near.split(32)
    found = method.loss(given)["attract"]
    arrays = [tuple(x.detach().double().numpy() for x in row) for row in ((p[0], two, near_two), (p[1], one, near_one))]
    assert found.item() == pytest.approx(np.mean([attraction_by_hand(*row) for row in arrays]), rel=1e-4)
    pairs = torch.stack(
        [
            given.index.repeat(2).repeat_interleave(3),
            network.memory.queue.index[network.memory.nearest(t, given.index.repeat(2), 3)].flatten(),
        ],
        dim=1,
    )
    assert torch.equal(method.positives, pairs)


def gradients(method: BECLR, given, part: str) -> Tensor:
    copied = copy.deepcopy(method)
    copied.zero_grad()
    copied.loss(replace(given, generator=torch.Generator().manual_seed(0)))[part].backward()
    return torch.cat([p.grad.flatten() for p in copied.backbone.parameters()])


def test_neighbours_teach_by_cross_pairs_and_only_repel_by_neighbour_pairs(build, batch, train) -> None:
    given, alone = batch(2, seed=9), {}
    for pairs in ("cross", "neighbour"):
        method = ready(build, batch, train, pairs=pairs, neighbours=5)
        with_them = {part: gradients(method, given, part) for part in ("attract", "spread")}
        method.config = replace(method.config, neighbours=0)
        alone = {part: gradients(method, given, part) for part in ("attract", "spread")}
        same = {part: torch.allclose(with_them[part], alone[part], rtol=1e-4, atol=1e-7) for part in alone}
        assert same == {"attract": pairs == "neighbour", "spread": pairs == "cross"}
        assert not torch.allclose(with_them["attract"], alone["attract"] / 6, rtol=1e-2, atol=1e-6)


def test_neighbours_wait_for_a_full_memory_and_for_their_share_of_the_run(build, batch, train) -> None:
    for steps, knobs, first in ((20, {"start": 0.25}, 5), (20, {"scale": 30}, 5), (20, {}, 2)):
        method = build("beclr", steps=steps, **{**SOON, **knobs})
        optimizer = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.05)
        train(method, optimizer, batches(batch, first))
        assert method.positives is None
        train(method, optimizer, batches(batch, 1, first))
        assert method.positives.shape == (64 * 3, 2)
        assert (method.positives[:, 0] != method.positives[:, 1]).all()


@pytest.mark.parametrize("period", [0.0, 0.25])
def test_the_memory_is_sorted_anew_after_each_period(build, batch, train, period: float) -> None:
    method = build("beclr", steps=16, period=period, **SOON)
    sort, sorts = method.memory.sort, []
    method.memory.sort = lambda g: (sorts.append(int(method.step)), sort(g))  # type: ignore[method-assign]
    optimizer = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.05)
    train(method, optimizer, batches(batch, 13))
    assert sorts == ([1, 4, 8, 12] if period else [1])


@pytest.mark.parametrize("pairs", ["cross", "neighbour"])
def test_an_interrupted_training_goes_on_with_its_memory(build, batch, train, pairs: str) -> None:
    whole = ready(build, batch, train, pairs=pairs, hide=0.2)
    resumed = build("beclr", steps=40, seed=9, pairs=pairs, hide=0.2, **SOON)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    runs = []
    for method in (whole, resumed):
        optimizer = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.05)
        runs.append(train(method, optimizer, batches(batch, 4, 4)))
    assert runs[0] == runs[1]
    assert torch.equal(whole.positives, resumed.positives)


def test_only_the_student_sees_blanks(build, batch) -> None:
    method, given = build("beclr", hide=0.25, hide_spread=0.0, patch=2), batch(2)
    seen: dict[str, Tensor] = {}
    method.backbone.register_forward_pre_hook(lambda _, x: seen.update(student=x[0]))
    method.teacher.register_forward_pre_hook(lambda _, x: seen.update(teacher=x[0]))
    method.loss(given)
    views = torch.cat(given.views)
    assert torch.equal(seen["teacher"], views)
    blanked = (seen["student"] == 0).all(dim=1)
    assert blanked.sum(dim=(1, 2)).tolist() == [16] * 64  # 4 of 16 patches of 2 x 2 pixels
    kept = ~blanked.unsqueeze(1).expand_as(views)
    assert torch.equal(seen["student"][kept], views[kept])


def test_the_mistake_sends_rows_away(build, batch, train) -> None:
    method = ready(build, batch, train)
    rows = nn.functional.normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(1)), dim=1)
    distance = torch.cdist(rows, method.memory.prototypes)
    right = distance.gather(1, method.memory.assign(rows).unsqueeze(1)).mean()
    wrong_method = beclr_far_prototypes.build(beclr_far_prototypes.Config())(method, Task((2, 8, 8), 64, 32, 40))
    wrong = distance.gather(1, wrong_method.memory.assign(rows).unsqueeze(1)).mean()
    assert right < distance.mean() < wrong


def test_a_single_patch_has_nothing_to_hide(build) -> None:
    with pytest.raises(ValueError, match="single patch, 8 pixels"):
        build("beclr", hide=0.1, patch=8)
    build("beclr", patch=8)
