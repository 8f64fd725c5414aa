from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from objectives.parts.similarity import regression


def oracle(prediction: np.ndarray, target: np.ndarray) -> float:
    """Equation 2, in its first form: the squared distance of the normalised vectors."""
    total = 0.0
    for p, t in zip(prediction, target, strict=True):
        p, t = p / math.sqrt(sum(p**2)), t / math.sqrt(sum(t**2))
        total += sum((p - t) ** 2)
    return total / len(prediction)


@pytest.mark.parametrize(("count", "width"), [(1, 2), (5, 3), (8, 16)])
def test_prediction_loss_is_the_papers(count: int, width: int) -> None:
    p, t = np.random.default_rng(count).normal(size=(2, count, width))
    assert regression(torch.from_numpy(p), torch.from_numpy(t)).item() == pytest.approx(oracle(p, t), rel=1e-6)


def test_prediction_loss_by_hand() -> None:
    p = torch.tensor([[2.0, 0], [1, 0], [1, 0]])
    t = torch.tensor([[5.0, 0], [-1, 0], [0, 3]])
    assert regression(p, t).item() == pytest.approx((0 + 4 + 2) / 3)


def test_prediction_loss_gradient() -> None:
    g = torch.Generator().manual_seed(0)
    p, t = torch.randn(2, 4, 3, dtype=torch.float64, generator=g)
    assert torch.autograd.gradcheck(lambda x: regression(x, t), p.requires_grad_())


def test_prediction_loss_in_half_precision(same_in_half) -> None:
    same_in_half(regression, *torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0)))


def test_each_view_predicts_the_other(build, batch) -> None:
    method = build("byol")
    method.backbone, method.projector, method.predictor = nn.Flatten(), nn.Identity(), nn.Identity()
    method.teacher.network = nn.Flatten()
    given = batch()
    expected = 2 * oracle(*(view.flatten(1).double().numpy() for view in given.views))
    assert method.loss(given).item() == pytest.approx(expected, rel=1e-5)


def test_loss_is_symmetric(build, batch) -> None:
    method, given = build("byol"), batch()
    swapped = replace(given, views=given.views[::-1])
    torch.testing.assert_close(method.loss(given), method.loss(swapped))


def test_no_gradient_reaches_the_teacher(build, batch) -> None:
    method = build("byol")
    method.loss(batch()).backward()
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())
    online = [*method.backbone.parameters(), *method.projector.parameters(), *method.predictor.parameters()]
    assert all(p.grad is not None for p in online)


def test_the_teacher_starts_as_the_student_and_follows_it_alone_after_a_step(build, batch) -> None:
    method = build("byol", momentum=0.9, steps=10)
    pairs = list(zip(method.teacher.parameters(), method.student().parameters(), strict=True))
    assert all(torch.equal(old, new) for old, new in pairs)
    with torch.no_grad():
        for _, new in pairs:
            new += 1.0
    before = [old.clone() for old, _ in pairs]
    method.loss(batch())
    assert all(torch.equal(old, was) for (old, _), was in zip(pairs, before, strict=True))
    method.after_step()  # the first step: momentum 0.9, so a tenth of the way
    for (old, _), was in zip(pairs, before, strict=True):
        torch.testing.assert_close(old, was + 0.1)


def test_small_views_predict_both_full_ones_and_give_no_target(build, batch) -> None:
    method = build("byol")
    method.backbone, method.projector, method.predictor = nn.Flatten(), nn.Identity(), nn.Identity()
    method.teacher.network = nn.Flatten()
    given = replace(batch(), small=batch(views=3, seed=1).views)
    rows = [view.flatten(1).double().numpy() for view in (*given.views, *given.small)]
    expected = sum(np.mean([oracle(rows[v], rows[i]) for v in range(5) if v != i]) for i in (0, 1))
    assert method.loss(given).item() == pytest.approx(expected, rel=1e-5)


def test_small_views_of_a_smaller_side_are_learnt_from(build, batch) -> None:
    method, given = build("byol"), batch()
    given = replace(given, small=tuple(view[:, :, ::2, ::2] for view in given.views))
    loss = method.loss(given)
    assert loss != build("byol").loss(replace(given, small=()))
    loss.backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad.isfinite().all() for p in method.predictor.parameters())


def test_the_loss_without_small_views_is_each_views_prediction_of_the_other(build, batch) -> None:
    """To the last bit, in the order in which networks see the views."""
    method, given = build("byol"), batch()
    one, two = given.views
    predict = lambda view: method.predictor(method.projector(method.backbone(view)))  # noqa: E731
    expected = regression(predict(one), method.teacher(two)) + regression(predict(two), method.teacher(one))
    assert torch.equal(method.loss(given), expected)
    assert all(q.shape == k.shape == (32, method.width) for q, k in method.pairs(given))
