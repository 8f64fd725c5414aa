"""What every method promises, asked of every file in the shelf."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from objectives import SHELVES
from objectives.method import Batch, Method
from spaces.components import fields

SHELF = SHELVES["method"]
every_method = pytest.mark.parametrize("name", SHELF.names())


def adamw(method: Method) -> torch.optim.Optimizer:
    return torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)


def test_the_shelf_holds_the_methods() -> None:
    first = {"simclr", "swav", "byol", "vicreg", "barlow_twins", "rotnet", "mae", "dae"}
    assert first <= set(SHELF.names())


@every_method
def test_config_and_build_are_well_formed(name: str) -> None:
    component = SHELF.load(name)
    assert all(field.domain is not None for field in fields(component.config))
    assert component.config.__dataclass_params__.frozen
    assert list(inspect.signature(component.build).parameters) == ["config", "backbone", "task"]
    assert component.module.__doc__


def gained(method: Method, before: dict[str, Tensor], batches: Callable[[], list[Batch]], total) -> float:
    """By what share training has lowered the loss of batches, the weights of before being put into what it is now.

    So memories, teachers and stages of training are the same on both sides, and so are the dice.
    """

    def loss(weights: dict[str, Tensor]) -> float:
        again = copy.deepcopy(method)
        again.load_state_dict(weights, strict=False)
        return sum(total(again.loss(given)).item() for given in batches())

    first = loss(before)
    return (first - loss({})) / abs(first)


def learnt(method: Method) -> dict[str, Tensor]:
    """A copy of the weights that are trained."""
    return {key: p.detach().clone() for key, p in method.named_parameters() if p.requires_grad}


@every_method
def test_training_lowers_the_loss_and_the_backbone_learns(name, build, batch, train, total) -> None:
    method = build(name, steps=20)
    start, before = learnt(method), {key: p.detach().clone() for key, p in method.backbone.named_parameters()}
    train(method, adamw(method), [batch(method.views, seed=s) for s in range(20)])
    assert gained(method, start, lambda: [batch(method.views, seed=s) for s in range(16, 20)], total) > 0.02
    for key, parameter in method.backbone.named_parameters():
        assert parameter.grad is not None, key
        assert not torch.equal(parameter, before[key]), key


@every_method
def test_an_interrupted_training_goes_on_as_if_it_were_not(name, build, batch, train) -> None:
    method = build(name)
    optimizer = adamw(method)
    batches = [batch(method.views, seed=s) for s in range(8)]
    train(method, optimizer, batches[:4])
    saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))
    resumed = build(name, seed=99)
    resumed.load_state_dict(saved[0])
    optimizer_too = adamw(resumed)
    optimizer_too.load_state_dict(saved[1])
    fresh = [batch(method.views, seed=s) for s in range(8)]
    assert train(method, optimizer, batches[4:]) == train(resumed, optimizer_too, fresh[4:])


@every_method
def test_state_is_tensors_each_stored_once(name, build) -> None:
    state = build(name).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    storages = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(storages) == len(set(storages))


@every_method
def test_draws_come_from_the_batch_alone(name, build, batch, total) -> None:
    method = build(name)
    torch.manual_seed(1)
    one = total(copy.deepcopy(method).loss(batch(method.views)))
    torch.manual_seed(2)
    global_state = torch.get_rng_state()
    two = total(copy.deepcopy(method).loss(batch(method.views)))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), global_state)


@every_method
def test_inputs_and_the_backbone_given_are_left_alone(name, build, batch, body, task) -> None:
    component = SHELF.load(name)
    backbone = body(component.needs)
    before = copy.deepcopy(backbone.state_dict())
    method = component.build(component.config(), backbone, task(1))
    assert method.backbone is backbone
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    given = batch(method.views)
    copies = [t.clone() for t in (given.images, *given.views)]
    method.loss(given)
    assert all(torch.equal(a, b) for a, b in zip(copies, (given.images, *given.views), strict=True))


@every_method
def test_encoding_is_the_backbones(name, build, batch) -> None:
    method = build(name).eval()
    images = batch().images
    torch.testing.assert_close(method.encode(images), method.backbone(images))
    assert method.encode(images).shape == (32, method.backbone.features)


@every_method
def test_losses_stay_in_full_precision_under_autocast(name, build, batch) -> None:
    method = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(batch(method.views))
    for part in loss.values() if isinstance(loss, dict) else [loss]:
        assert part.shape == ()
        assert part.dtype == torch.float32
        assert torch.isfinite(part)


@every_method
def test_double_precision_is_kept(name, build, batch) -> None:
    method = build(name).double()
    given = batch(method.views)
    given = replace(
        given,
        images=given.images.double(),
        views=tuple(v.double() for v in given.views),
        warps=tuple(w.double() for w in given.warps),
    )
    loss = method.loss(given)
    for part in loss.values() if isinstance(loss, dict) else [loss]:
        assert part.dtype == torch.float64


@pytest.mark.gpu
@every_method
def test_methods_train_on_a_gpu(name, build, batch, total) -> None:
    def there(seed: int) -> Batch:
        given = batch(method.views, seed=seed)
        views, warps = (tuple(t.cuda() for t in some) for some in (given.views, given.warps))
        generator = torch.Generator("cuda").manual_seed(seed)
        return Batch(given.images.cuda(), views, generator, given.index.cuda(), warps)

    method = build(name, steps=20).to("cuda", memory_format=torch.channels_last)
    optimizer, start = adamw(method), learnt(method)
    for seed in range(20):
        given = there(seed)
        with torch.autocast("cuda", torch.bfloat16):
            loss = total(method.loss(given))
        optimizer.zero_grad()
        loss.backward()
        method.after_backward()
        optimizer.step()
        method.after_step()
    assert gained(method, start, lambda: [there(seed) for seed in range(16, 20)], total) > 0.02
