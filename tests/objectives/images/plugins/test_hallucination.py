"""Hallucinator: the loss is the formula's, the method stays what it was, and its generator learns."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.images import Images
from objectives.images.mutations import untrained_hallucinator
from objectives.images.plugins import hallucination
from objectives.images.plugins.hallucination import Hallucinator, extrapolated
from objectives.images.views import plane
from objectives.images.worth import Probe
from objectives.kinds import Setting
from objectives.kinds.representation import Representation
from objectives.method import Batch, Method, Small, Task
from objectives.parts.contrastive import pairwise

SHAPE = (2, 8, 8)
HOSTS = pytest.mark.parametrize("host", ["simclr", "byol"])


def bare(host: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(128, 24), nn.BatchNorm1d(24), nn.ReLU())
    backbone.features = 24
    component = SHELVES["method"].load(host)
    return component.build(component.config(hidden=32, out=16), backbone, Task(SHAPE, 64, 32, 20))


def wrapped(host: str = "simclr", seed: int = 0, spoilt: bool = False, **knobs: Any) -> Method:
    method = bare(host, seed)
    task = Task(SHAPE, 64, 32, 20)
    method = hallucination.build(hallucination.Config(**knobs))(method, task)
    return untrained_hallucinator.build(untrained_hallucinator.Config())(method, task) if spoilt else method


def batch(seed: int = 0, count: int = 32, small: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    patterns = 2 * torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(99))
    images = patterns[torch.randint(8, (count,), generator=g)]
    views = tuple(images + 0.3 * torch.randn(images.shape, generator=g) for _ in range(2 + small))
    return Batch(images, views[:2], g, torch.arange(count), (plane(images),) * 2, views[2:])


def total(loss: Tensor | dict[str, Tensor]) -> Tensor:
    return torch.stack(list(loss.values())).sum() if isinstance(loss, dict) else loss


def train(method: Method, steps: range, optimizer: torch.optim.Optimizer | None = None) -> list[float]:
    optimizer = optimizer or torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)
    losses = []
    for step in steps:
        loss = total(method.loss(batch(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step()
        losses.append(loss.item())
    return losses


# The formula


def test_extrapolation_goes_away_from_the_key() -> None:
    q, k = torch.tensor([[1.0, 2], [0, 1]]), torch.tensor([[0.0, 1], [1, 1]])
    r = torch.tensor([[0.1], [0.5]])
    torch.testing.assert_close(extrapolated(q, k, r), torch.tensor([[1.1, 2.1], [-0.5, 1.0]]))


@pytest.mark.parametrize(
    "knobs", [{}, {"weight": 0.5, "width": 0.5}, {"copies": 3, "sampling": "sample"}, {"depth": 1, "width": 0.5}]
)
def test_the_loss_is_the_formulas(knobs: dict[str, Any]) -> None:
    """An oracle in NumPy, float64: SimCLR's one pair, G as matrices, NT-Xent pair by pair."""
    method = wrapped(**knobs).double()
    given = batch()
    given = dataclasses.replace(given, views=tuple(v.double() for v in given.views))
    c = method.hallucinator.config
    g = torch.Generator()
    g.set_state(given.generator.get_state())
    found = method.loss(given)
    ((q, k),) = method.pairs(given)
    q, k = q.detach().numpy(), k.detach().numpy()
    maps = [layer for layer in method.hallucinator.generator if isinstance(layer, nn.Linear)]
    assert len(maps) == c.depth
    assert all(m.out_features == round(c.width * 16) for m in maps[:-1])
    made = []
    for _ in range(c.copies):
        r = c.r_max * torch.rand(32 if c.sampling == "sample" else 1, 1, generator=g).numpy()
        x = np.concatenate([q, (1 + r) * q - r * k], axis=1)
        for i, m in enumerate(maps):
            x = x @ m.weight.detach().numpy().T + m.bias.detach().numpy()
            x = np.maximum(x, 0) if i + 1 < len(maps) else x
        made.append(x)
    expected = nt_xent(q, k) / (1 + c.weight)
    assert found["seen"].item() == pytest.approx(expected, rel=1e-6)
    expected = c.weight * np.mean([nt_xent(x, k) for x in made]) / (1 + c.weight)
    assert found["hallucinated"].item() == pytest.approx(expected, rel=1e-6)
    cosines = [(x * q).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(q, axis=1) for x in made]
    assert method.measure([])["hallucinated_cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)


def nt_xent(q: np.ndarray, k: np.ndarray, temperature: float = 0.2) -> float:
    z = np.concatenate([q, k])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    told = 0.0
    for i in range(len(z)):
        partner = (i + len(q)) % len(z)
        rivals = sum(math.exp(z[i] @ z[j] / temperature) for j in range(len(z)) if j != i)
        told -= math.log(math.exp(z[i] @ z[partner] / temperature) / rivals)
    return told / len(z)


def test_r_is_one_for_a_batch_or_one_for_each_row_and_stays_below_its_largest() -> None:
    q, k = torch.zeros(512, 1), -torch.ones(512, 1)  # so that q~ is r
    for sampling, count in (("batch", 1), ("sample", 512)):
        made = Hallucinator(hallucination.Config("linear", 0.4, sampling), 1)
        r = made(q, k, torch.Generator().manual_seed(0))
        assert len(r.unique()) == count
        assert 0 <= r.min() <= r.max() < 0.4
    assert r.mean() == pytest.approx(0.2, abs=0.02)


def test_linear_has_nothing_to_learn_and_r_zero_changes_nothing() -> None:
    method = wrapped(how="linear", r_max=0.0)
    assert not list(method.hallucinator.parameters())
    parts, plain = method.loss(batch()), bare("simclr").loss(batch())
    torch.testing.assert_close(total(parts), plain)
    assert method.measure([]) == {"hallucinated_cosine": pytest.approx(1.0)}


def test_a_key_is_no_negative_of_its_own_copy() -> None:
    """B orthonormal features, keys like queries, cold: nothing is left to lose, where doubled keys would cost log 2."""
    method = wrapped(how="linear")
    method.temperature = 0.01
    method.pairs = lambda batch: [(torch.eye(16), torch.eye(16))]
    assert total(method.loss(batch())).item() == pytest.approx(0.0, abs=1e-6)
    doubled = torch.cat([torch.eye(16)] * 4)
    assert pairwise(doubled, 0.01).item() == pytest.approx(math.log(3), abs=1e-4)  # four copies: three partners


@pytest.mark.parametrize("detach", [False, True])
def test_keys_take_gradient_through_the_extrapolation_unless_detached(detach: bool) -> None:
    made = Hallucinator(hallucination.Config(r_max=1.0, detach_key=detach), 4)
    q, k = (torch.randn(6, 4, requires_grad=True) for _ in range(2))
    made(q, k, torch.Generator().manual_seed(0)).sum().backward()
    assert q.grad.abs().sum() > 0
    assert (k.grad is None) == detach


# The method stays what it was


@HOSTS
def test_the_method_keeps_its_state_its_kind_and_its_encoding(host: str) -> None:
    inner, method = bare(host), wrapped(host)
    added = set(method.state_dict()) - set(inner.state_dict())
    assert set(inner.state_dict()) <= set(method.state_dict())
    assert all(name.startswith("hallucinator.") for name in added)
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in inner.state_dict().items())
    storages = [value.data_ptr() for value in method.state_dict().values() if value.numel()]
    assert len(storages) == len(set(storages))
    assert isinstance(method, type(inner))
    assert (method.views, method.small, method.rates(), method.positives) == (2, None, {}, None)
    assert method.clusters(batch().images, 3) is None
    images = batch().images
    torch.testing.assert_close(method.eval().encode(images), inner.eval().encode(images))


def test_what_a_method_says_of_itself_is_passed_on() -> None:
    method = bare("simclr")
    kind = type(method)
    told = type("Told", (kind,), {
        "small": Small(1, (4, 4), (0.1, 0.4)),
        "rates": lambda self: {"projector": 0.5},
        "measure": lambda self, batches: {"own": 1.0},
        "clusters": lambda self, images, count: "sorted",
        "after_step": lambda self: setattr(self, "positives", "these"),
    })  # fmt: skip
    method.__class__ = told
    method = hallucination.build(hallucination.Config())(method, Task(SHAPE, 64, 32, 20))
    assert method.small.count == 1
    assert method.rates() == {"projector": 0.5}
    assert method.measure([])["own"] == 1.0
    assert method.clusters(None, 2) == "sorted"
    method.after_step()
    assert method.positives == "these"


@HOSTS
def test_an_interrupted_training_goes_on_as_if_it_were_not(host: str) -> None:
    def optimizer(method: Method) -> torch.optim.Optimizer:
        return torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.05)

    method, resumed = wrapped(host), wrapped(host, seed=9)
    train(method, range(4), optimizer(method))
    resumed.load_state_dict(method.state_dict())
    rest = [train(one, range(4, 8), optimizer(one)) for one in (method, resumed)]
    assert rest[0] == rest[1]
    assert method.measure([]) == resumed.measure([])


def test_a_copy_is_no_part_of_the_original() -> None:
    method = wrapped()
    copied = copy.deepcopy(method)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    train(copied, range(3))
    assert all(torch.equal(value, before[name]) or value.isnan() for name, value in method.state_dict().items())


@HOSTS
def test_draws_come_from_the_batch_alone_and_autocast_coarsens_no_loss(host: str) -> None:
    method = wrapped(host)
    state = torch.get_rng_state()
    one = copy.deepcopy(method).loss(batch())
    two = copy.deepcopy(method).loss(batch())
    assert one == two
    assert torch.equal(torch.get_rng_state(), state)
    with torch.autocast("cpu", torch.bfloat16):
        parts = method.loss(batch())
    assert all(part.dtype == torch.float32 and part.isfinite() for part in parts.values())


def test_small_views_are_hallucinated_too() -> None:
    method, given = wrapped("byol"), batch(small=2)
    assert [tuple(q.shape) for q, _ in method.pairs(given)] == [(96, 16), (96, 16)]
    assert total(method.loss(given)).isfinite()


# It learns


@HOSTS
def test_the_generator_is_trained_and_reaches_the_encoder(host: str) -> None:
    method = wrapped(host)
    method.loss(batch())["hallucinated"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.hallucinator.parameters())
    assert all(p.grad.abs().sum() > 0 for p in method.backbone.parameters() if p.ndim > 1)
    assert method.measure([])["hallucinator_shift"] == 0
    losses = train(method, range(20))
    assert sum(losses[-4:]) < 0.98 * sum(losses[:4])
    assert method.measure([])["hallucinator_shift"] > 0.01


def test_the_shift_is_of_the_weight_that_moved_least() -> None:
    method = wrapped()
    with torch.no_grad():
        for weight in method.hallucinator.parameters():
            weight *= 1.5
        last = list(method.hallucinator.parameters())[-1]
        last /= 1.5
        last *= 1.1
    assert method.hallucinator.measure()["hallucinator_shift"] == pytest.approx(0.1, rel=1e-4)


def test_a_generator_out_of_the_optimiser_does_not_move() -> None:
    method = wrapped(spoilt=True)
    train(method, range(10))
    assert method.measure([])["hallucinator_shift"] == 0


def test_what_cannot_work_is_refused() -> None:
    task = Task(SHAPE, 64, 32, 20)
    with pytest.raises(ValueError, match="name it after"):
        untrained_hallucinator.build(untrained_hallucinator.Config())(bare("simclr"), task)
    with pytest.raises(ValueError, match="no pairs"):
        hallucination.build(hallucination.Config())(Method(), task)


def chosen(kind: str, name: str, **knobs: Any) -> dict[str, Any]:
    return {name: dataclasses.asdict(SHELVES[kind].load(name).config(**knobs))}


@HOSTS
def test_a_trial_trains_reports_and_goes_on(host: str) -> None:
    def trial() -> Representation:
        pixels = np.random.default_rng(0).random((96, 1, 8, 8), dtype=np.float32)
        part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [64, 16, 16])
        config = {
            "method": chosen("method", host, hidden=16, out=16),
            "plugin": chosen("plugin", "hallucination"),
            "augmentation": chosen("augmentation", "centre_crop"),
            "second_view": chosen("augmentation", "crop"),
            "architecture": chosen("architecture", "mlp", width=16),
            "optimizer": {"batch": 32},
        }
        data = Images(pixels, np.arange(96) % 4, part, tuple("abcd"))
        return Representation(Setting(config, 1, (1, 2), data, Probe(draws=2, watch=False)))

    one, two = trial(), trial()
    run = one.run()
    next(run)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    (there,), (here,) = list(run), list(two.run())
    assert {k: v for k, v in there.items() if "seconds" not in k} == {
        k: v for k, v in here.items() if "seconds" not in k
    }
    assert set(hallucination.METRICS) <= set(there)
    assert there["loss"] == pytest.approx(there["seen"] + there["hallucinated"], rel=1e-5)
