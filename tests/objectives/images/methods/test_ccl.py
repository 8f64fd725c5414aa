from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from objectives import SHELVES
from objectives.images.methods.ccl import cka, cosine_loss, gram_loss, level_loss
from objectives.method import Task
from objectives.optimizer import Optimizer, build_optimizer

BODIES = {"mlp": {"width": 32, "depth": 3, "last": 12}, "resnet": {"width": 8, "stages": 2}}
every_body = pytest.mark.parametrize("body", BODIES)


@pytest.fixture
def built():
    """`built(body, shape, **knobs)`: the method on a real backbone, whose every layer has weights."""

    def make(body="mlp", shape=(2, 8, 8), **knobs):
        torch.manual_seed(0)
        architecture, method = SHELVES["architecture"].load(body), SHELVES["method"].load("ccl")
        backbone = architecture.build(architecture.config(**BODIES[body]), shape)
        return method.build(method.config(**knobs), backbone, Task(shape, 64, 32, 20))

    return make


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_level_loss_of_vectors_is_the_mean_squared_difference() -> None:
    a, c = np.random.default_rng(0).normal(size=(2, 5, 7))
    found = level_loss(torch.from_numpy(a), torch.from_numpy(c), 0.5, 3.0)
    assert found.item() == pytest.approx(0.5 * np.mean((a - c) ** 2), rel=1e-12)


def test_level_loss_of_maps_compares_patterns_too() -> None:
    a, c = np.random.default_rng(0).normal(size=(2, 5, 3, 4, 2))
    patterns = [unit((x - x.mean((2, 3), keepdims=True)).reshape(5, 3, 8)) for x in (a, c)]
    expected = 4 * (0.5 * np.mean((a - c) ** 2) + 3.0 * np.mean((patterns[0] - patterns[1]) ** 2))
    assert level_loss(torch.from_numpy(a), torch.from_numpy(c), 0.5, 3.0).item() == pytest.approx(expected, rel=1e-5)


def test_constant_maps_have_no_pattern_and_a_gradient_that_is_finite() -> None:
    a = torch.zeros(2, 3, 4, 4, requires_grad=True)
    level_loss(a, torch.ones(2, 3, 4, 4), 1.0, 1.0).backward()
    torch.testing.assert_close(a.grad, torch.full_like(a, -4 * 2 / a.numel()))


def test_gram_loss_is_the_papers_with_each_image_a_class_of_its_own() -> None:
    a, c = np.random.default_rng(0).normal(size=(2, 6, 2, 3, 3))
    rows, others = (unit(x.reshape(6, 18)) for x in (a, c))
    apart = np.mean((rows @ rows.T - np.eye(6)) ** 2) + np.mean((others @ others.T - np.eye(6)) ** 2)
    expected = 2.0 * np.mean((rows @ others.T - np.eye(6)) ** 2) + 0.5 * apart
    assert gram_loss(torch.from_numpy(a), torch.from_numpy(c), 2.0, 0.5).item() == pytest.approx(expected, rel=1e-9)


def test_cosine_loss() -> None:
    a, c = np.random.default_rng(0).normal(size=(2, 6, 5))
    expected = 2.0 * np.mean(1 - (unit(a) * unit(c)).sum(1))
    assert cosine_loss(torch.from_numpy(a), torch.from_numpy(c), 2.0).item() == pytest.approx(expected, rel=1e-9)


def test_cka_is_hsic_over_its_norms() -> None:
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(9, 4)), rng.normal(size=(9, 6))
    centre = np.eye(9) - 1 / 9
    hsic = lambda x, y: np.trace(x @ x.T @ centre @ y @ y.T @ centre)  # noqa: E731
    found = cka(torch.from_numpy(a), torch.from_numpy(c)).item()
    assert found == pytest.approx(hsic(a, c) / np.sqrt(hsic(a, a) * hsic(c, c)), rel=1e-9)
    turned = 3 * a @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + 5
    assert cka(torch.from_numpy(a), torch.from_numpy(turned)).item() == pytest.approx(1)


def learners(method) -> list[set[str]]:
    """For each level, the layers that its loss alone has a gradient for: F1 .. and B1 .., B_l giving c_{l-1}."""
    given = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    up = [*method.backbone.layers, *method.decoder]
    down = [*chain(*method.feedback)][::-1]
    layers = {f"F{k}": layer for k, layer in enumerate(up, 1)} | {f"B{k}": layer for k, layer in enumerate(down, 1)}
    found = []
    for level in range(len(up) + 1):
        method.zero_grad()
        loss = method.level_losses(*method.activities(given, given))[level]
        if loss.requires_grad:
            loss.backward()
        gradients = {name: [p.grad for p in layer.parameters()] for name, layer in layers.items()}
        found.append({name for name, some in gradients.items() if any(g is not None and g.any() for g in some)})
    return found


@every_body
@pytest.mark.parametrize("local", ["mse", "cosine", "gram"])
def test_a_level_teaches_the_two_layers_that_meet_there_and_no_other(built, body, local) -> None:
    found = learners(built(body, local=local, init_scale=1.0))
    top = len(found) - 1
    assert top == 6
    assert found[0] == {"B1"}
    assert found[top] == {f"F{top}"}
    assert found[1:top] == [{f"F{level}", f"B{level + 1}"} for level in range(1, top)]


def test_by_backpropagation_a_level_teaches_all_layers_below(built) -> None:
    found = learners(built(rule="bp", init_scale=1.0))
    assert found[3] == {"F1", "F2", "F3", "B4"}


def test_a_feedback_network_that_is_detached_learns_nothing(built) -> None:
    found = learners(built(rule="frozen_feedback", init_scale=1.0))
    assert set().union(*found) == {f"F{level}" for level in range(1, 7)}


@pytest.mark.parametrize(("rule", "learning"), [("last_only", {"F6"}), ("bp", {"F6"})])
def test_which_layers_learn_under_other_rules(built, batch, total, rule, learning) -> None:
    method = built(rule=rule)
    total(method.loss(batch(1))).backward()
    layers = [*method.backbone.layers, *method.decoder, *chain(*method.feedback)]
    moved = {
        f"F{k}" for k, one in enumerate(layers, 1) if any(p.grad is not None and p.grad.any() for p in one.parameters())
    }
    assert moved == learning  # while the last layer is zero, nothing passes through it
    nn.init.normal_(method.decoder[-1][0].weight)
    total(method.loss(batch(1))).backward()
    assert (method.backbone.layers[0][0].weight.grad is not None) == (rule == "bp")


@pytest.mark.parametrize(("body", "shape"), [("mlp", (3, 5, 7)), ("resnet", (3, 5, 7)), ("resnet", (1, 9, 6))])
def test_networks_meet_at_every_level(built, body, shape) -> None:
    method = built(body, shape)
    images = torch.randn(4, *shape)
    a, c = method.activities(images, 2 * images)
    assert [x.shape for x in a] == [x.shape for x in c]
    assert len(a) == 2 * len(method.backbone.layers) + 1
    torch.testing.assert_close(a[0].flatten(), images.flatten())
    torch.testing.assert_close(c[-1].flatten(), 2 * images.flatten())
    torch.testing.assert_close(a[len(a) // 2].flatten(2).mean(2) if a[0].ndim > 2 else a[3], method.backbone(images))


def test_deep_halves_start_small_and_each_direction_ends_at_zero(built) -> None:
    method = built(init_scale=1e-2)
    shallow, deep = method.feedback
    norms = [[layer[0].weight.norm(dim=1).mean().item() for layer in half] for half in (shallow, method.decoder, deep)]
    assert all(0.5 < norm < 1.01 for norm in norms[0])
    assert all(0.005 < norm < 0.0101 for half in norms[1:] for norm in half[:-1])
    assert norms[1][-1] == norms[2][-1] == 0
    assert not method.forwards(torch.randn(4, 2, 8, 8))[-1].any()


@every_body
def test_rates(built, body) -> None:
    method = built(body, deep_lr_multiple=20.0, feedback_lr_multiple=0.5)
    rates, backbone = method.rates(), dict(method.backbone.named_modules())
    factors = {}
    for group in build_optimizer(Optimizer(rule="sgd"), method, rates).param_groups:
        factors |= dict.fromkeys(map(id, group["params"]), rates.get(group["prefix"], 1.0))
    for name, parameter in method.named_parameters():
        if name.startswith("backbone."):
            norm = isinstance(
                backbone[name.removeprefix("backbone.").rpartition(".")[0]], nn.modules.batchnorm._BatchNorm
            )
            expected = 0.0 if norm else 0.05
        else:
            expected = {"d": 1.0, "0": 0.025, "1": 0.5}[name[9] if name.startswith("feedback.") else "d"]
        assert factors[id(parameter)] == pytest.approx(expected), name
    assert set(built(body, rule="bp").rates().values()) == {0.0}


@every_body
def test_gradients_are_centred_and_each_network_is_clipped_by_itself(built, batch, total, body) -> None:
    method = built(body, clip=0.2, init_scale=1.0)
    (100 * total(method.loss(batch(1)))).backward()
    biases = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad.ndim == 1}
    method.after_backward()
    forward = chain(method.backbone.named_parameters("backbone"), method.decoder.named_parameters("decoder"))
    for network in ([*forward], [*method.feedback.named_parameters("feedback")]):
        gradients = [p.grad for _, p in network]
        assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(0.2, rel=1e-3)
        for name, parameter in network:
            if parameter.ndim > 1:
                assert parameter.grad.flatten(1).mean(1).abs().max() < 1e-6
            elif biases[name].any():
                torch.testing.assert_close(
                    nn.functional.normalize(parameter.grad, dim=0), nn.functional.normalize(biases[name], dim=0)
                )


def test_small_gradients_stay_as_they_are(built, batch, total) -> None:
    method = built(centralise=False, clip=5.0)
    (1e-3 * total(method.loss(batch(1)))).backward()
    before = [p.grad.clone() for p in method.parameters()]
    method.after_backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, method.parameters(), strict=True))


def test_the_loss_is_the_sum_of_the_levels_and_ends_count_by_the_height(built, batch) -> None:
    method = built(level=0.5).double().eval()
    view = batch(1).views[0].double()
    found = method.loss(replace(batch(1), views=(view,)))
    a, c = ([x.detach().numpy() for x in some] for some in method.activities(view, view))
    expected = [0.5 * np.mean((one - two) ** 2) for one, two in zip(a, c, strict=True)]
    assert found["ends"].item() == pytest.approx(8 * (expected[0] + expected[-1]), rel=1e-9)
    assert found["inner"].item() == pytest.approx(sum(expected[1:-1]), rel=1e-9)


@pytest.mark.parametrize("target", ["view", "image"])
def test_what_is_restored(built, batch, target) -> None:
    method, given = built(target=target), batch(1)
    true = given.images if target == "image" else given.views[0]
    a, _ = method.activities(given.views[0], true)
    inputs = method.level_losses(*method.activities(given.views[0], true))
    assert not torch.equal(given.images, given.views[0])
    assert method.loss(given)["ends"].item() == pytest.approx((inputs[0] + inputs[-1]).item(), rel=1e-5)
    assert a[0].shape == (32, 128)


def test_measure(built, batch) -> None:
    method = built(init_scale=1.0).eval()
    images = batch(1).images
    nn.init.normal_(method.decoder[-1][0].weight, std=0.1)
    with torch.no_grad():
        found, (a, c) = method.measure([images[:20], images[20:]]), method.activities(images, images)
        one = method.measure([images])
    assert found["reconstruction"] == pytest.approx((a[-1] - images.flatten(1)).square().mean().item(), rel=1e-5)
    assert one["cka"] == pytest.approx(
        np.mean([cka(*pair).item() for pair in list(zip(a, c, strict=True))[1:-1]]), rel=1e-5
    )


def test_two_networks_come_to_agree_unless_one_is_detached(built, batch, train) -> None:
    def agreed(rule: str) -> float:
        method = built(rule=rule)
        rates = method.rates()
        groups = build_optimizer(Optimizer(rule="sgd", lr=0.3, weight_decay=1e-8), method, rates)
        for group in groups.param_groups:
            group["lr"] *= rates.get(group["prefix"], 1.0)
        train(method, groups, [batch(1, seed=s) for s in range(150)])
        with torch.no_grad():
            return method.eval().measure([batch(1, 64, seed=500).images])["cka"]

    assert agreed("ccl") > agreed("frozen_feedback") + 0.1


def test_layers_of_maps_and_of_vectors_cannot_be_mirrored() -> None:
    class Mixed(nn.Module):
        features = 4

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(108, 4)))

    method = SHELVES["method"].load("ccl")
    with pytest.raises(ValueError, match="all of maps, or all of vectors"):
        method.build(method.config(), Mixed(), Task((2, 8, 8), 64, 32, 20))


def test_half_precision(same_in_half) -> None:
    g = torch.Generator().manual_seed(0)
    a, c = torch.randn(2, 6, 3, 4, 4, generator=g)
    same_in_half(lambda a, c: level_loss(a, c, 1.0, 1.0), a, c)
    same_in_half(lambda a, c: gram_loss(a, c, 1.0, 1.0), a, c)
    same_in_half(lambda a, c: cosine_loss(a, c, 1.0), a, c)
    same_in_half(cka, a, c)
