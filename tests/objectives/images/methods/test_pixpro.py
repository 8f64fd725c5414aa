from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from objectives import SHELVES
from objectives.images.augmentations import crop, flip, rotation, translation
from objectives.images.methods.pixpro import consistency, contrast, positives, propagated
from objectives.images.views import Views, plane, sampling_grid
from objectives.method import Task

STILL = torch.eye(3, dtype=torch.float64)[None]
FLIPPED = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))[None]


def unit(row: np.ndarray) -> np.ndarray:
    return row / math.sqrt(sum(row**2))


def box_oracle(one: np.ndarray, other: np.ndarray, cells: tuple[int, int], threshold: float) -> np.ndarray:
    """Positives of two boxes (x0, y0, x1, y1) in pixels, x1 < x0 if flipped, as the authors write them."""
    (height, width), places, diagonals = cells, [], []
    for x0, y0, x1, y1 in (one, other):
        across, down = (x1 - x0) / width, (y1 - y0) / height
        places.append([(x0 + (i + 0.5) * across, y0 + (j + 0.5) * down) for j in range(height) for i in range(width)])
        diagonals.append(math.hypot(across, down))
    return np.array([[math.dist(a, b) / max(diagonals) <= threshold for b in places[1]] for a in places[0]])


def warp_of(box: np.ndarray, image: tuple[int, int]) -> Tensor:
    (height, width), (x0, y0, x1, y1) = image, box
    warp = np.diag([(x1 - x0) / width, (y1 - y0) / height, 1])
    warp[:2, 2] = (x0 + x1) / width - 1, (y0 + y1) / height - 1
    return torch.from_numpy(warp)[None]


def propagation_oracle(x: np.ndarray, g: np.ndarray, gamma: float, clamp: float) -> np.ndarray:
    """Equation 3, of one image's cells."""
    y = np.zeros_like(g)
    for i in range(len(x)):
        for j in range(len(x)):
            y[i] += max(unit(x[i]) @ unit(x[j]), clamp) ** gamma * unit(g[j])
    return y


def consistency_oracle(y: np.ndarray, target: np.ndarray, positive: np.ndarray) -> float:
    """Equation 4, one way, of a batch."""
    means = []
    for b in range(len(y)):
        pairs = np.argwhere(positive[b])
        means.append(-np.mean([unit(y[b, i]) @ unit(target[b, j]) for i, j in pairs]) if len(pairs) else 0.0)
    return float(np.mean(means))


def contrast_oracle(x: np.ndarray, target: np.ndarray, positive: np.ndarray, temperature: float) -> float:
    """Equation 2, one way, of a batch: the mean over cells that have a positive."""
    means = []
    for b in range(len(x)):
        losses = []
        for i in range(x.shape[1]):
            e = [math.exp(unit(x[b, i]) @ unit(t) / temperature) for t in target[b]]
            if positive[b, i].any():
                losses.append(-math.log(sum(v for v, p in zip(e, positive[b, i], strict=True) if p) / sum(e)))
        means.append(np.mean(losses) if losses else 0.0)
    return float(np.mean(means))


@pytest.mark.parametrize(("cells", "image"), [((5, 5), (20, 20)), ((3, 6), (12, 24)), ((7, 7), (224, 224))])
def test_one_box_pairs_each_cell_with_itself_and_from_three_quarters_on_with_its_neighbours(cells, image) -> None:
    count, (_, width) = cells[0] * cells[1], cells
    alone = positives(STILL, STILL, cells, image, 0.7)[0]
    assert torch.equal(alone, torch.eye(count, dtype=torch.bool))
    row, column = torch.arange(count) // width, torch.arange(count) % width
    steps = (row[:, None] - row).abs() + (column[:, None] - column).abs()
    assert torch.equal(positives(STILL, STILL, cells, image, 0.75)[0], steps <= 1)


def test_a_flipped_view_pairs_cells_with_their_mirror_images() -> None:
    cells = (3, 5)
    found = positives(STILL, FLIPPED, cells, (12, 20), 0.7)[0].view(*cells, *cells)
    for j, i in np.ndindex(cells):
        assert found[j, i].nonzero().tolist() == [[j, cells[1] - 1 - i]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-3, 27), min_size=8, max_size=8), st.floats(0.3, 1.4))
def test_positives_of_boxes_are_the_authors(corners: list[float], threshold: float) -> None:
    image, cells = (16, 24), (4, 3)  # sides of image and map differ, so that x and y cannot be taken for each other
    boxes = np.array(corners).reshape(2, 4)
    boxes[:, 2:] += np.where(abs(boxes[:, 2:] - boxes[:, :2]) < 1, 5, 0)  # none without area
    one, other = (warp_of(box, image) for box in boxes)
    low, high = (box_oracle(*boxes, cells, threshold + step) for step in (-1e-9, 1e-9))
    found = positives(one, other, cells, image, threshold)[0].numpy()
    assert ((found == low) | (found == high)).all()


OPERATIONS = {
    "crop": (crop, {"scale": 0.3}),
    "flip": (flip, {}),
    "rotation": (rotation, {"degrees": 90, "p": 1.0}),
    "translation": (translation, {"shift": 0.2}),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("names", [("crop",), ("crop", "flip"), tuple(OPERATIONS)])
def test_matched_cells_of_a_gradient_differ_by_less_than_a_cell(names: tuple[str, ...], axis: int) -> None:
    """The image's value is its x, or its y; views are drawn as they are in training."""
    image, cells = (32, 48), (8, 12)
    ramp = (torch.arange(image[1 - axis]) + 0.5) / image[1 - axis]
    images = (ramp if axis == 0 else ramp[:, None]).expand(16, 1, *image).contiguous()
    views = Views([OPERATIONS[name][0].build(OPERATIONS[name][0].Config(**OPERATIONS[name][1])) for name in names])
    g = torch.Generator().manual_seed(0)
    drawn = [views.placed(images, g) for _ in range(2)]
    positive = positives(drawn[0][1], drawn[1][1], cells, image, 0.7)
    values = [nn.functional.adaptive_avg_pool2d(view, cells).flatten(1) for view, _ in drawn]
    inside = [
        (sampling_grid(warp, *image).abs() < 1).all(3).unflatten(1, (8, 4)).unflatten(3, (12, 4)) for _, warp in drawn
    ]
    seen = [whole.all(4).all(2).flatten(1) for whole in inside]  # what lies outside is black, and no gradient
    both = positive & seen[0][:, :, None] & seen[1][:, None]
    assert both.any(2).any(1).sum() >= 8
    difference = (values[0][:, :, None] - values[1][:, None]).abs() * image[1 - axis] / 4  # in whole images' cells
    assert difference[both].max() < 1


@pytest.mark.parametrize(("gamma", "clamp"), [(2.0, 0.0), (1.0, 0.2), (4.0, 0.0)])
def test_propagation_is_the_papers(gamma: float, clamp: float) -> None:
    x, g = np.random.default_rng(0).normal(size=(2, 2, 6, 4))
    found = propagated(torch.from_numpy(x), torch.from_numpy(g), gamma, clamp).numpy()
    np.testing.assert_allclose(found, [propagation_oracle(*pair, gamma, clamp) for pair in zip(x, g, strict=True)])


def test_a_root_of_no_likeness_has_a_gradient() -> None:
    x = torch.tensor([[[1.0, 0], [-1, 0], [0, 1]]], requires_grad=True)
    propagated(x, torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0)), 0.5, 0.0).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_losses_are_the_papers() -> None:
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(2, 4, 6, 5))
    positive = rng.random((4, 6, 6)) < 0.2
    positive[1] = False  # views that do not overlap
    a, b, mask = torch.from_numpy(x), torch.from_numpy(target), torch.from_numpy(positive)
    assert consistency(a, b, mask).item() == pytest.approx(consistency_oracle(x, target, positive), rel=1e-9)
    assert contrast(a, b, mask, 0.3).item() == pytest.approx(contrast_oracle(x, target, positive, 0.3), rel=1e-9)


def test_losses_in_half_precision(same_in_half) -> None:
    g = torch.Generator().manual_seed(0)
    x, target = torch.randn(2, 4, 6, 5, generator=g)
    mask = torch.rand(4, 6, 6, generator=g) < 0.3
    same_in_half(lambda a, b: consistency(a, b, mask), x, target)
    same_in_half(lambda a, b: contrast(a, b, mask, 0.3), x, target)
    same_in_half(lambda a, b: propagated(a, b, 2.0, 0.0), x, target)


@pytest.mark.parametrize("variant", ["pixpro", "pixcontrast", "plain"])
def test_views_without_overlap_cost_nothing_and_break_nothing(variant: str, build, batch) -> None:
    method, given = build("pixpro", variant=variant), batch()
    left, right = (plane(given.images, xx=0.2, dx=x) for x in (-0.8, 0.8))
    loss = method.loss(replace(given, warps=(left, right)))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_each_views_cells_are_held_against_what_the_teacher_makes_of_the_other(build, batch) -> None:
    method, given = build("pixpro", gamma=3.0), batch()
    given = replace(given, warps=(given.warps[0], plane(given.images, xx=0.7, dx=0.2)))
    student = [method.student()(view)[0] for view in given.views]
    online = [t.detach().double().numpy() for t in student]
    after = [method.g(t.mT.unflatten(2, (3, 3))).flatten(2).mT.detach().double().numpy() for t in student]
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.mul_(1.1)
    told = [method.teacher(view)[0].double().numpy() for view in given.views]
    boxes = np.array([0, 0, 8, 8]), np.array([2, 0, 7.6, 8])
    positive = np.stack([box_oracle(*boxes, (3, 3), 0.7)] * len(given.images))
    assert (positive != positive.swapaxes(1, 2)).any()
    expected = 0.0
    for k, mask in ((0, positive), (1, positive.swapaxes(1, 2))):
        y = np.stack([propagation_oracle(a, b, 3.0, 0.0) for a, b in zip(online[k], after[k], strict=True)])
        expected += consistency_oracle(y, told[1 - k], mask)
    assert method.loss(given).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("variant", ["pixpro", "pixcontrast", "plain"])
@pytest.mark.parametrize("depth", [0, 2])
def test_every_variant_learns(variant: str, depth: int, build, batch, train) -> None:
    method = build("pixpro", variant=variant, depth=depth)
    optimizer = torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=3e-3)
    losses = train(method, optimizer, [batch(seed=s) for s in range(20)])
    assert sum(losses[-4:]) < sum(losses[:4])


def test_the_instance_branch_is_a_part_of_its_own(build, batch, train) -> None:
    method = build("pixpro", instance=0.5)
    parts = method.loss(batch())
    assert set(parts) == {"cells", "instance"}
    assert 0 < parts["instance"] <= 0.5 * 8
    assert torch.equal(build("pixpro", instance=1.0).loss(batch())["instance"], 2 * parts["instance"])


def test_the_teacher_has_no_gradient_and_only_its_students_parts(build, batch) -> None:
    method = build("pixpro")
    method.loss(batch()).backward()
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.student().parameters())
    assert not any(name.startswith("network.g") for name, _ in method.teacher.named_parameters())
    assert not isinstance(method.projector[-1], nn.BatchNorm2d)


def test_spread_tells_collapse(build, batch) -> None:
    method = build("pixpro").eval()
    with torch.no_grad():
        assert 0.2 < method.measure([batch().images])["cell_spread"] <= 1
        method.projector[-1].weight.zero_()
        assert method.measure([batch().images])["cell_spread"] < 1e-3


def test_a_map_of_one_cell_is_refused(body) -> None:
    component = SHELVES["method"].load("pixpro")
    with pytest.raises(ValueError, match="1 × 1 cells"):
        component.build(component.config(), body(component.needs), Task((2, 3, 3), 64, 32, 20))


def test_permuted_boxes_are_those_of_another_image(build, batch, task) -> None:
    plugin = SHELVES["plugin"].load("pixpro_permuted_boxes")
    assert plugin.needs <= SHELVES["method"].load("pixpro").offers
    given = batch()
    views = Views([crop.build(crop.Config(scale=0.3))])
    warps = tuple(views.placed(given.images, given.generator)[1] for _ in range(2))
    given = replace(given, warps=warps)
    right, wrong = build("pixpro"), plugin.build(plugin.config())(build("pixpro"), task())
    moved = replace(given, warps=tuple(warp[[-1, *range(len(warp) - 1)]] for warp in warps))
    assert torch.equal(wrong.loss(given), right.loss(moved))
    assert wrong.loss(given) != right.loss(given)
    assert torch.equal(build("pixpro").loss(given), build("pixpro").loss(given))  # the class is as it was
