from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from objectives.images.methods.swav import prototype_scores, swapped_loss, unit


def swapped(scores: np.ndarray, codes: np.ndarray, temperature: float) -> float:
    """Equations 1 and 2: view s is predicted from view t, and t from s; half their sum, the batch's mean."""
    _, count, k = scores.shape
    total = 0.0
    for seen, told in ((0, 1), (1, 0)):
        for b in range(count):
            mass = sum(math.exp(scores[seen, b, j] / temperature) for j in range(k))
            for j in range(k):
                total -= codes[told, b, j] * math.log(math.exp(scores[seen, b, j] / temperature) / mass)
    return total / count / 2


@pytest.mark.parametrize(("count", "k"), [(1, 2), (4, 3), (6, 8)])
def test_swapped_loss_is_the_papers(count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    scores, codes = rng.uniform(-1, 1, (2, count, k)), rng.dirichlet(np.ones(k), (2, count))
    found = swapped_loss(torch.from_numpy(scores), torch.from_numpy(codes), 0.1).item()
    assert found == pytest.approx(swapped(scores, codes, 0.1), rel=1e-6)


@pytest.mark.parametrize("views", [2, 3, 6])
def test_small_views_are_told_the_codes_of_both_full_ones(views: int) -> None:
    rng = np.random.default_rng(views)
    scores, codes = rng.uniform(-1, 1, (views, 5, 4)), rng.dirichlet(np.ones(4), (2, 5))
    logs = scores / 0.2 - np.log(np.exp(scores / 0.2).sum(2, keepdims=True))
    each = [[-(codes[i] * logs[v]).sum(1).mean() for v in range(views) if v != i] for i in (0, 1)]
    found = swapped_loss(torch.from_numpy(scores), torch.from_numpy(codes), 0.2).item()
    assert found == pytest.approx(np.mean(each), rel=1e-9)


def test_small_views_give_no_codes_and_are_not_remembered(build, batch) -> None:
    method, given = build("swav", queue=32, freeze=0.0), batch()
    small = tuple(view[:, :, ::2, ::2] for view in given.views) * 2
    with_small = replace(given, small=small)
    alone, plain = build("swav", queue=32, freeze=0.0), method.loss(with_small)
    alone.loss(given)
    assert method.queue.shape == alone.queue.shape == (2, 32, 64)
    assert torch.isfinite(plain)
    assert plain != alone.loss(given)
    plain.backward()
    assert method.prototypes.grad.abs().sum() > 0


def test_hard_codes_name_one_prototype(build) -> None:
    method = build("swav", hard=True, out=4)
    codes = method.codes(unit(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).unflatten(0, (2, 32)))
    assert torch.equal(codes.sum(2), torch.ones(2, 32))
    assert set(codes.unique().tolist()) == {0.0, 1.0}


def test_used_prototypes_are_counted_over_all_batches(build) -> None:
    method = build("swav", prototypes=4, out=4).eval()
    method.backbone, method.projector = nn.Flatten(), nn.Identity()
    with torch.no_grad():
        method.prototypes.copy_(torch.eye(4))
    batches = [torch.eye(4)[:1].expand(6, 4), torch.eye(4)[[0, 1]]]
    found = method.measure(batches)
    assert found["prototypes_used"] == 0.5
    share = np.array([7 / 8, 1 / 8])
    assert found["prototype_perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()) / 4)


def test_swapped_loss_by_hand() -> None:
    scores = torch.tensor([[[1.0, 0]], [[0, 1]]], dtype=torch.float64)
    crossed = torch.tensor([[[0.0, 1]], [[1, 0]]], dtype=torch.float64)  # each view's code is what the other scores
    assert swapped_loss(scores, crossed, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert swapped_loss(scores, crossed.flip(0), 1.0).item() == pytest.approx(math.log(1 + math.e))


def test_gradient_of_the_loss_through_scores() -> None:
    g = torch.Generator().manual_seed(0)
    z, prototypes = torch.randn(2, 3, 4, dtype=torch.float64, generator=g), torch.randn(5, 4, generator=g).double()
    codes = torch.rand(2, 3, 5, dtype=torch.float64, generator=g)
    whole = lambda z, c: swapped_loss(prototype_scores(z, c), codes, 0.3)  # noqa: E731
    assert torch.autograd.gradcheck(whole, (z.requires_grad_(), prototypes.requires_grad_()))


def test_half_precision(same_in_half) -> None:
    g = torch.Generator().manual_seed(0)
    z, prototypes, codes = torch.randn(2, 8, 4, generator=g), torch.randn(5, 4, generator=g), torch.rand(2, 8, 5)
    same_in_half(unit, z[0])
    same_in_half(prototype_scores, z, prototypes)
    same_in_half(lambda s, q: swapped_loss(s, q, 0.1), z @ prototypes.T, codes)


def test_codes_are_constants_that_use_all_prototypes(build) -> None:
    method = build("swav", prototypes=8, epsilon=0.3, iterations=20, out=4)
    z = unit(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).unflatten(0, (2, 32)).requires_grad_()
    codes = method.codes(z)
    assert not codes.requires_grad
    torch.testing.assert_close(codes.sum(2), torch.ones(2, 32))
    torch.testing.assert_close(codes.sum(1), torch.full((2, 8), 4.0), rtol=0.1, atol=0)


def test_each_view_is_told_the_others_code(build, batch) -> None:
    method = build("swav", prototypes=32, out=128)
    method.backbone, method.projector = nn.Flatten(), nn.Identity()
    given = batch()
    same = replace(given, views=(given.views[0], given.views[0]))
    other = replace(given, views=(given.views[0], given.views[0].roll(1, 0)))
    assert method.loss(same) < method.loss(other) - 0.1
    z = unit(torch.cat(given.views).flatten(1)).unflatten(0, (2, 32)).double()
    scores = (z @ method.prototypes.double().T).detach().numpy()
    expected = swapped(scores, method.codes(z.float()).double().numpy(), 0.1)
    assert method.loss(given).item() == pytest.approx(expected, rel=1e-4)


def test_centring_takes_from_each_score_its_mean_so_far(build) -> None:
    method = build("swav", assigner="centering", out=4, epsilon=0.1, centre_momentum=0.75)
    centre = np.zeros(64)
    for seed in range(3):
        z = unit(torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))).unflatten(0, (2, 32))
        scores = (z.double() @ method.prototypes.double().T).detach().numpy()
        mass = np.exp((scores - centre) / 0.1)
        np.testing.assert_allclose(method.codes(z).numpy(), mass / mass.sum(2, keepdims=True), rtol=1e-3, atol=1e-7)
        centre = 0.75 * centre + 0.25 * scores.mean((0, 1))
        np.testing.assert_allclose(method.centre.numpy(), centre, atol=1e-6)
    assert "centre" in method.state_dict()
    assert "centre" not in build("swav").state_dict()


def test_prototypes_keep_length_one_stand_still_at_first_and_move_then(build, batch, train) -> None:
    method = build("swav", steps=10, freeze=0.3)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.1)
    start = method.prototypes.detach().clone()
    train(method, optimizer, [batch(seed=s) for s in range(3)])
    torch.testing.assert_close(method.prototypes.detach(), start)
    train(method, optimizer, [batch(seed=3)])
    assert (method.prototypes - start).abs().max() > 1e-3
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(64))


def test_the_queue_holds_the_newest_first(build, batch) -> None:
    method = build("swav", queue=40, out=4)
    shown = []
    for seed in range(3):
        z = unit(torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))).unflatten(0, (2, 32))
        method.remember(z)
        shown.insert(0, z)
    torch.testing.assert_close(method.queue, torch.cat(shown, dim=1)[:, :40])
    assert not method.queue.requires_grad


def test_the_queue_counts_once_it_is_full_and_due(build, batch) -> None:
    def codes(queue: int, start: float, remembered: int, steps_done: int) -> torch.Tensor:
        method = build("swav", steps=10, queue=queue, queue_start=start, out=4)
        for seed in range(remembered):
            past = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed + 1))
            method.remember(unit(past).unflatten(0, (2, 32)))
        for _ in range(steps_done):
            method.after_step()
        z = unit(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).unflatten(0, (2, 32))
        return method.codes(z)

    without = codes(0, 0.0, 2, 5)
    assert torch.allclose(codes(64, 0.0, 1, 5), without)  # half full
    assert torch.allclose(codes(64, 0.8, 2, 5), without)  # full, not due
    due = codes(64, 0.5, 2, 5)
    assert due.shape == without.shape
    assert not torch.allclose(due, without, atol=1e-3)


def test_a_full_queue_survives_an_interruption(build, batch, train) -> None:
    def optimizer(method: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(method.parameters(), lr=0.05)

    knobs = {"queue": 48, "queue_start": 0.2, "freeze": 0.5, "steps": 8}
    method, resumed = build("swav", **knobs), build("swav", seed=5, **knobs)
    train(method, optimizer(method), [batch(seed=s) for s in range(3)])
    assert method.queue[:, -1].any()
    resumed.load_state_dict(method.state_dict())
    rest = [[batch(seed=s) for s in range(3, 8)] for _ in range(2)]
    assert train(method, optimizer(method), rest[0]) == train(resumed, optimizer(resumed), rest[1])


def test_equal_use_is_what_prevents_collapse(build, batch, train) -> None:
    def used(iterations: int) -> int:
        method = build("swav", iterations=iterations, prototypes=16, freeze=0.0, steps=60)
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
        train(method, optimizer, [batch(seed=s) for s in range(60)])
        with torch.no_grad():
            z = unit(method.projector(method.backbone(batch(seed=100, count=256).images)))
        return len(prototype_scores(z, method.prototypes).argmax(1).unique())

    assert used(iterations=3) >= 8  # there are eight patterns
    assert used(iterations=0) <= 4
