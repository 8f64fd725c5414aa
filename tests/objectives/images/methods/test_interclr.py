from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.methods.interclr import draw_negatives, draw_positives
from objectives.images.mutations import interclr_permuted_labels
from objectives.images.views import plane
from objectives.method import Batch, Method, Task
from objectives.parts.contrastive import arc_margin, bank, pairwise

TASK = Task((2, 8, 8), 64, 32, 40)
KINDS = torch.arange(64) % 8


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(axis=-1, keepdims=True))


def interclr(body: nn.Module, steps: int = 40, seed: int = 0, **knobs: object) -> Method:
    component = SHELVES["method"].load("interclr")
    torch.manual_seed(seed)
    knobs = {"clusters": 8, "warmup": 0.0, **knobs}
    return component.build(component.config(**knobs), body, Task(TASK.shape, TASK.images, TASK.batch, steps))


def epoch(number: int) -> list[Batch]:
    """Both halves of 64 images of eight patterns, each image always the same, its views by noise."""
    patterns = torch.randn(8, *TASK.shape, generator=torch.Generator().manual_seed(5))
    images = patterns[KINDS] + 0.1 * torch.randn(64, *TASK.shape, generator=torch.Generator().manual_seed(6))
    g = torch.Generator().manual_seed(number)
    halves = []
    for rows in torch.randperm(64, generator=g).view(2, 32):
        views = tuple(images[rows] + 0.1 * torch.randn(32, *TASK.shape, generator=g) for _ in range(2))
        halves.append(Batch(images[rows], views, g, rows, (plane(images[rows]),) * 2))
    return halves


def trained(method: Method, train, epochs: range) -> list[float]:
    optimizer = torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)
    return train(method, optimizer, [batch for number in epochs for batch in epoch(number)])


def purity(method: Method) -> float:
    assert method.positives is not None
    return (KINDS[method.positives[:, 0]] == KINDS[method.positives[:, 1]]).double().mean().item()


@pytest.mark.parametrize("margin_on", ["cosine", "arc"])
@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.3])
def test_the_inter_loss_is_the_papers(body, margin: float, margin_on: str) -> None:
    method = interclr(body(), sampling="hard", negatives=64, margin=margin, margin_on=margin_on, out=4).double()
    rows = unit(np.random.default_rng(0).normal(size=(64, 4)))
    queries = np.random.default_rng(1).normal(size=(32, 4))
    method.bank.features.copy_(torch.from_numpy(rows))
    method.bank.labels.copy_(KINDS)
    batch = epoch(0)[0]
    found = method.inter(torch.from_numpy(queries), batch).item()
    total = 0.0
    for i, (own, chosen) in enumerate(method.positives.tolist()):
        q = unit(queries[i])
        cosine = q @ rows[chosen]
        pull = cosine - margin if margin_on == "cosine" else math.cos(min(max(math.acos(cosine) + margin, 0), math.pi))
        push = sum(math.exp(q @ rows[j] / 0.2) for j in range(64) if j % 8 != own % 8)
        total -= math.log(math.exp(pull / 0.2) / (math.exp(pull / 0.2) + push))
    assert method.positives[:, 0].tolist() == batch.index.tolist()
    assert found == pytest.approx(total / 32, rel=1e-6)


def test_a_margin_below_zero_makes_it_easier(g) -> None:
    q, positive = torch.randn(2, 6, 5, generator=g)
    away = torch.randn(9, 5, generator=g)
    losses = [bank(q, positive, away, 0.2, margin=margin).item() for margin in (-0.5, 0.0, 0.35)]
    assert losses == sorted(losses)
    angles = [bank(q, positive, away, 0.2, margin=arc_margin(q, positive, m)).item() for m in (-0.5, 0.0, 0.35)]
    assert angles == sorted(angles)
    assert angles[1] == pytest.approx(losses[1], rel=1e-4)


def test_positives_are_other_images_of_the_label_all_alike(g) -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2, -1])
    own = torch.tensor([0, 3, 4]).repeat(600)
    chosen = draw_positives(own, labels, g).view(-1, 3)
    counts = torch.bincount(chosen[:, 0], minlength=7)
    assert counts.nonzero().flatten().tolist() == [1, 2]
    assert 250 < counts[1] < 350
    assert chosen[:, 1].unique().tolist() == [3]  # alone in its cluster
    assert chosen[:, 2].unique().tolist() == [5]


@pytest.mark.parametrize("sampling", ["random", "semi_easy", "semi_hard", "hard"])
def test_negatives_are_drawn_from_where_they_should(sampling: str, g) -> None:
    similar = torch.randn(5, 40, generator=g)
    barred = torch.rand(5, 40, generator=g) < 0.3
    rows, none = draw_negatives(similar, barred, sampling, 12, 4, g)
    assert rows.shape == none.shape == (5, 4)
    assert not none.any()
    order = similar.masked_fill(barred, -9).argsort(dim=1, descending=True)
    for query in range(5):
        chosen, free = set(rows[query].tolist()), order[query][: int((~barred[query]).sum())].tolist()
        assert len(chosen) == 4
        near = {"hard": free[:4], "semi_hard": free[:12], "semi_easy": free[-12:], "random": free}[sampling]
        assert chosen <= set(near)


@pytest.mark.parametrize("sampling", ["random", "semi_easy", "semi_hard", "hard"])
def test_where_a_label_is_everywhere_nothing_is_a_negative(sampling: str, g) -> None:
    similar, barred = torch.randn(2, 10, generator=g), torch.ones(2, 10, dtype=torch.bool)
    barred[1, 3] = False
    rows, none = draw_negatives(similar, barred, sampling, 6, 5, g)
    assert none[0].all()
    assert rows[1][~none[1]].tolist() == [3]
    q = torch.randn(2, 4, requires_grad=True, generator=g)
    loss = bank(q, torch.randn(2, 4, generator=g), torch.randn(2, 5, 4, generator=g), 0.2, exclude=none)
    loss.backward()
    assert torch.isfinite(q.grad).all()


@pytest.mark.parametrize("base", ["moco", "simclr", "byol"])
@pytest.mark.parametrize("labels", ["online", "offline"])
def test_positives_are_mostly_right_and_wrong_where_labels_are_permuted(body, train, base: str, labels: str) -> None:
    method = interclr(body(), base=base, labels=labels)
    trained(method, train, range(12))
    assert purity(method) > 0.7
    wrong = interclr(body(), base=base, labels=labels)
    wrong = interclr_permuted_labels.build(interclr_permuted_labels.Config())(wrong, TASK)
    trained(wrong, train, range(12))
    assert purity(wrong) < 0.5


@pytest.mark.parametrize(
    "knobs", [{}, {"labels": "offline"}, {"base": "byol"}, {"base": "simclr", "share_head": False}]
)
def test_an_interrupted_training_goes_on_with_its_bank(body, train, knobs) -> None:
    whole = interclr(body(), **knobs)
    optimizer = torch.optim.SGD((p for p in whole.parameters() if p.requires_grad), lr=0.05)
    train(whole, optimizer, [batch for number in range(3) for batch in epoch(number)])
    assert (whole.bank.labels >= 0).all()
    resumed = interclr(body(), seed=9, **knobs)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    other = torch.optim.SGD((p for p in resumed.parameters() if p.requires_grad), lr=0.05)
    assert train(whole, optimizer, epoch(7) + epoch(8)) == train(resumed, other, epoch(7) + epoch(8))
    assert torch.equal(whole.positives, resumed.positives)


def test_no_cluster_is_small_and_the_bank_takes_no_gradient(body, train) -> None:
    method = interclr(body(), smallest=4)
    trained(method, train, range(6))
    sizes = torch.bincount(method.bank.labels, minlength=8)
    assert sizes.sum() == 64
    assert sizes.min() > 0
    assert not method.bank.features.requires_grad
    torch.testing.assert_close(method.bank.features.norm(dim=1), torch.ones(64))


def test_other_images_wait_for_the_warm_up_and_for_an_epoch(body, train) -> None:
    method = interclr(body(), warmup=0.25)  # 10 of 40 steps
    trained(method, train, range(4))
    assert method.positives is None
    assert (method.bank.labels == -1).all()
    trained(method, train, range(4, 6))
    assert method.positives is not None
    fresh = interclr(body())
    fresh.loss(epoch(0)[0])
    assert (fresh.bank.labels == -1).all()


def test_the_bank_moves_towards_the_query_by_the_index(body) -> None:
    method = interclr(body(), bank_momentum=0.5)
    first = epoch(0)[0]
    method.bank.write(first.index, torch.eye(32)[:, :32])
    method.remember(torch.eye(32).roll(1, 0), first)
    torch.testing.assert_close(
        method.bank.features[first.index[1]], (torch.eye(32)[0] + torch.eye(32)[1]) / math.sqrt(2)
    )
    assert method.bank.visited.sum() == 32


def test_without_the_other_images_it_is_the_base(body) -> None:
    method = interclr(body(), base="simclr", inter=0.0)
    batch = epoch(0)[0]
    expected = pairwise(method.projector(method.backbone(torch.cat(batch.views))), 0.2)
    found = method.loss(batch)
    assert list(found) == ["intra"]
    torch.testing.assert_close(found["intra"], expected)


def test_an_image_in_the_queue_is_no_negative_of_itself(body) -> None:
    method = interclr(body(), inter=0.0, queue=64)
    keys: Tensor = torch.randn(32, 32)
    method.teacher.forward = lambda images: keys  # type: ignore[method-assign]
    batch = epoch(0)[0]
    one, again = method.intra(keys, batch), method.intra(keys, batch)
    assert one.item() == pytest.approx(again.item())  # all that the queue holds are these images
    assert method.queue.index.tolist() == batch.index.tolist() * 2
    q = nn.functional.normalize(keys, dim=1).double().numpy()
    others = [2 * sum(math.exp(q[i] @ q[j] / 0.2) for j in range(32) if j != i) for i in range(32)]
    expected = np.mean([-math.log(math.exp(5) / (math.exp(5) + other)) for other in others])
    assert again.item() == pytest.approx(expected, rel=1e-4)


def test_more_clusters_than_images_are_refused(body) -> None:
    with pytest.raises(ValueError, match="64 images cannot make 65 clusters"):
        interclr(body(), clusters=65)
