"""Test functions: against their formulas written once more in NumPy, and against what is known of their minima."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from objectives import SHELVES
from objectives.functions import ackley, branin, hartmann6, inflated_spirals, noisy, two_objectives
from objectives.kinds import Metrics, Setting, function
from search.run import CATALOGUE
from spaces.components import fields, full_space
from spaces.document import StudyError, parse
from spaces.space import Switch, walk
from spaces.study import Study, read_study

load = cache(SHELVES["function"].load)
NAMES = [name for name in SHELVES["function"].names() if not hasattr(load(name).module, "SEEDED")]
TREE = [name for name in NAMES if name.startswith("tree_")]


def evaluated(name: str, **knobs: Any) -> Any:
    component = load(name)
    return component.build(component.config(**knobs))()


def drawn(name: str, seed: int) -> dict[str, Any]:
    """A point of a function's whole space."""
    rng = np.random.default_rng(seed)
    return walk(full_space(load(name).config), lambda _, domain: domain.sample(rng))


def _branin(u: Any, v: Any) -> Any:
    return (v - 5.1 / (4 * np.pi**2) * u**2 + 5 / np.pi * u - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(u) + 10


def _currin(x: Any, y: Any) -> Any:
    cubic = (2300 * x**3 + 1900 * x**2 + 2092 * x + 60) / (100 * x**3 + 500 * x**2 + 4 * x + 20)
    with np.errstate(divide="ignore"):
        return -np.expm1(-1 / (2 * np.asarray(y, float))) * cubic


def _hartmann(*x: float) -> float:
    a = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    p = [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
    inner = np.einsum("ij,ij->i", np.array(a), (np.array(x) - np.array(p) / 1e4) ** 2)
    return -float(np.sum(np.array([1, 1.2, 3, 3.2]) * np.exp(-inner)))


def _ackley(dimensions: int, shift: float, **x: float) -> float:
    z = np.array(list(x.values()))[:dimensions] - shift
    first = -20 * np.exp(-0.2 * np.sqrt(np.mean(z**2)))
    return float(first - np.exp(np.mean(np.cos(2 * np.pi * z))) + 20 + np.e)


def _square(x: float) -> float:
    return float(np.square(x))


def _deep(rate: float, decay: float, layers: int, width: int, activation: str) -> float:
    loss = dict(zip(("gelu", "sine", "relu", "tanh"), (0, 0.3, 0.6, 1.2), strict=True))[activation]
    away = np.log10([rate, decay]) - [np.log10(0.01) + np.log10(64 / width), -4]
    return float([0.5, 0.2] @ away**2) + _square(layers - 7) / 25 + _square(np.log2(width) - 7) / 8 + loss


def _ripple(x: float, y: float, kernel: int) -> float:
    away = np.array([x - 0.3, y - 0.7])
    return float(0.25 + np.sum(away**2 + np.sin(5 * np.pi * away) ** 2 / 2) + np.log2(kernel / 5) ** 2 / 4)


def _cliff(momentum: float, rate: float) -> float:
    return 4.0 if momentum > 0.9 else 0.15 + 3.6 - 4 * momentum + _square(np.log10(rate) + 1) / 4


def _code(code: str, mask: str, size: str) -> float:
    rows = {"a": (0.8, 0.5, 1.5), "b": (0.8, 1.5, 1.5), "c": (0.8, 1.5, 0.0), "d": (0.8, 1.5, 1.5)}
    steps = {"tiny": 2, "small": 1, "large": 0, "huge": 1}[size]
    return 0.4 + rows[code][["none", "odd", "even"].index(mask)] + 0.5 * steps


def _count(trees: int, depth: int, features: int) -> float:
    return 0.5 + _square(np.log2(trees) - 6) / 8 + _square(depth - 6) / 16 + _square(features - 3) / 8


def _poor(rate: float, rounds: int, kind: str) -> float:
    return 2.5 + _square(np.log10(rate) + 3) / 2 + _square(np.log2(rounds / 10)) / 4 + 0.5 * (kind == "a")


FORMULAS: dict[str, Callable[..., float]] = {
    "branin": lambda x, y: float(_branin(x, y)),
    "hartmann6": lambda **x: _hartmann(*x.values()),
    "noisy": lambda **x: _hartmann(*x.values()),
    "ackley": _ackley,
    "mixed": lambda kind, depth, rate: (
        {"a": 1, "b": 0, "c": 2}[kind] + _square(depth - 3) / 4 + _square(np.log10(rate) + 2) / 2
    ),
    "tree_deep": _deep,
    "tree_cliff": _cliff,
    "tree_ripple": _ripple,
    "tree_code": _code,
    "tree_count": _count,
    "tree_wide": lambda x, scale: 0.9 + _square(x - 0.5) / 2 + _square(np.log10(scale)) / 20,
    "tree_bare": lambda x: 1.1 + 4 * _square(x - 0.25),
    "tree_poor": _poor,
}
BEST: dict[str, dict[str, Any]] = {
    "branin": {"x": np.pi, "y": 2.275},
    "hartmann6": {f"x{i + 1}": v for i, v in enumerate((0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573))},
    "ackley": {f"x{i + 1}": 0.0 for i in range(10)},
    "mixed": {"kind": "b", "depth": 3, "rate": 0.01},
    "tree_deep": {"rate": 0.005, "decay": 1e-4, "layers": 7, "width": 128, "activation": "gelu"},
    "tree_cliff": {"momentum": 0.9, "rate": 0.1},
    "tree_ripple": {"x": 0.3, "y": 0.7, "kernel": 5},
    "tree_code": {"code": "c", "mask": "even", "size": "large"},
    "tree_count": {"trees": 64, "depth": 6, "features": 3},
    "tree_wide": {"x": 0.5, "scale": 1.0},
    "tree_bare": {"x": 0.25},
    "tree_poor": {"rate": 0.001, "rounds": 10, "kind": "b"},
}
BEST["noisy"] = BEST["hartmann6"]
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", sorted({*NAMES} - {"two_objectives"}))
def test_a_function_is_its_formula_and_never_below_its_minimum(name: str, seed: int) -> None:
    knobs = drawn(name, seed)
    found = evaluated(name, **knobs)
    assert found == pytest.approx(FORMULAS[name](**knobs), rel=1e-9, abs=1e-9)
    assert found >= load(name).module.OPTIMUM - 1e-12


@pytest.mark.parametrize("name", FORMULAS)
def test_the_minimum_is_where_it_is_said_to_be(name: str) -> None:
    component = load(name)
    found = evaluated(name, **BEST[name])
    assert found == pytest.approx(component.module.OPTIMUM, abs=1e-9 if name.startswith("tree_") else 3e-6)
    assert evaluated(name) > found + 0.1  # no search finds it by trying the defaults
    for field in fields(component.config):
        assert field.domain is None or field.domain.contains(BEST[name].get(field.name, field.default))


def test_no_search_ends_below_the_known_minima() -> None:
    start = list(BEST["hartmann6"].values())
    found = minimize(lambda x: _hartmann(*x), start, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
    assert found.fun == pytest.approx(hartmann6.OPTIMUM, abs=1e-11)
    found = minimize(
        lambda x: float(_branin(*x)), (3, 2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}
    )
    assert found.fun == pytest.approx(branin.OPTIMUM, abs=1e-11)


def test_ackley_shifts_and_shrinks() -> None:
    point = {f"x{i + 1}": 11.3 for i in range(10)}
    assert evaluated("ackley", **point, shift=11.3) == pytest.approx(0, abs=1e-12)
    assert evaluated("ackley", x1=0.0, x2=0.0, dimensions=2) == pytest.approx(0, abs=1e-12)
    assert evaluated("ackley", **point | {"x10": 3.0}, shift=11.3) > 1
    for wrong in ({"dimensions": 0}, {"dimensions": 11}, {"shift": 40.0}):
        with pytest.raises(ValueError, match=r"must"):
            ackley.Config(**wrong)


def test_the_tree_has_a_trap() -> None:
    """Its best branch is not the one whose drawn points are best; all branches but one are worse at their best."""
    typical = {name: statistics.median(evaluated(name, **drawn(name, seed)) for seed in range(400)) for name in TREE}
    least = {name: load(name).module.OPTIMUM for name in TREE}
    assert len(TREE) == 8
    assert sorted(least, key=least.__getitem__)[0] == "tree_deep"
    assert sorted(least.values())[:2] == [0.0, 0.15]
    assert min(typical, key=typical.__getitem__) == "tree_wide"
    assert typical["tree_deep"] > 2 * typical["tree_wide"]


def study(space: str, metric: str = "value") -> Study:
    text = f"{{name: x, objective: function, space: {{function: {space}}}, search: {{metric: {metric}}}}}"
    return read_study(parse(text, "s.yaml"), CATALOGUE)


def test_a_study_sees_the_tree_as_one_conditional_space() -> None:
    wanted = study("{" + ", ".join(f"{name}: search" for name in TREE) + "}")
    switch = wanted.space.parts["function"]
    assert isinstance(switch, Switch)
    assert {name: len(branch.parts) for name, branch in switch.branches.items()} == {  # type: ignore[union-attr]
        **{"tree_deep": 5, "tree_cliff": 2, "tree_ripple": 3, "tree_code": 3},
        **{"tree_count": 3, "tree_wide": 2, "tree_bare": 1, "tree_poor": 3},
    }
    assert {type(knob).__name__ for b in switch.branches.values() for knob in b.parts.values()} == {  # type: ignore[union-attr]
        *("Log", "Int", "Ordinal", "Choice", "Uniform")
    }
    function.check(wanted, None)


def trial(name: str, seed: int, knobs: dict[str, Any], rungs: tuple[int, ...] = (1, 3, 9)) -> function.Function:
    return function.build(Setting({"function": {name: knobs}}, seed, rungs))


def by_rung(name: str, seed: int, knobs: dict[str, Any]) -> list[Metrics]:
    return list(trial(name, seed, knobs).run())


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("name", ["branin", "noisy", "two_objectives", "tree_deep"])
def test_what_a_trial_sees(name: str, seed: int) -> None:
    """The error shrinks to nothing, noise stays, and the truth is told where there is noise."""
    knobs, rng = drawn(name, seed), np.random.default_rng(seed)
    error, noise = 0.3 * rng.normal(), 0.3 * rng.normal() if name == "noisy" else 0.0
    exact = evaluated(name, **knobs)
    exact = exact if name == "two_objectives" else {"value": exact}
    for epoch, seen in zip((1, 3, 9), by_rung(name, seed, knobs), strict=True):
        away = error * (1 - epoch / 9) + noise
        assert {n: v for n, v in seen.items() if n != "truth"} == pytest.approx({n: v + away for n, v in exact.items()})
        assert ("truth" in seen) == (name == "noisy")
        assert seen.get("truth", exact["value"]) == exact["value"]


def test_noise_belongs_to_the_seed() -> None:
    knobs = drawn("noisy", 0)
    noise = [m["value"] - m["truth"] for m in (by_rung("noisy", seed, knobs)[-1] for seed in range(500))]
    assert statistics.pstdev(noise) == pytest.approx(noisy.NOISE, rel=0.1)
    assert abs(statistics.mean(noise)) < 0.05
    assert by_rung("noisy", 4, knobs) == by_rung("noisy", 4, knobs)


@pytest.mark.parametrize("name", ["noisy", "two_objectives"])
def test_a_continued_trial_equals_an_unbroken_one(name: str) -> None:
    knobs = drawn(name, 1)
    broken, unbroken = trial(name, 5, knobs), by_rung(name, 5, knobs)
    first = next(broken.run())
    continued = trial(name, 5, knobs)
    continued.load_state_dict(broken.state_dict())
    assert [first, *continued.run()] == unbroken


@pytest.mark.parametrize(
    ("space", "metric", "right"),
    [
        ("{two_objectives: search}", "[value, second]", True),
        ("{noisy: search}", "truth", True),
        ("{branin: search}", "second", False),
        ("{two_objectives: search, branin: search}", "[value, second]", False),
        ("{hartmann6: search}", "truth", False),
    ],
)
def test_a_study_may_only_choose_by_what_its_functions_give(space: str, metric: str, right: bool) -> None:
    wanted = study(space, metric)
    if right:
        function.check(wanted, None)
    else:
        with pytest.raises(StudyError, match=r"the function (branin|hartmann6) gives no metric '(second|truth)'"):
            function.check(wanted, None)


@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_the_two_objectives_are_their_formulas(seed: int) -> None:
    knobs = drawn("two_objectives", seed)
    x, y = knobs["x"], knobs["y"]
    assert evaluated("two_objectives", **knobs) == pytest.approx(
        {"value": _branin(15 * x - 5, 15 * y), "second": _currin(x, y)}, rel=1e-9
    )


def test_currin_at_its_edge_is_its_limit() -> None:
    assert evaluated("two_objectives", x=0.3, y=0.0)["second"] == pytest.approx(_currin(0.3, 1e-9))


points = st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 9)), max_size=12)


@given(points=points)
@settings(max_examples=150, deadline=None)
def test_the_hypervolume_is_botorchs(points: list[tuple[float, float]]) -> None:
    reference = -torch.tensor(two_objectives.REFERENCE, dtype=torch.float64)
    expected = Hypervolume(reference).compute(-torch.tensor(points, dtype=torch.float64).reshape(-1, 2))
    assert two_objectives.hypervolume(points) == pytest.approx(expected, abs=1e-9)


def front(x: Any, value: Any) -> Any:
    """The least of the second objective at every x where the first is to be `value`: the largest y that gives it.

    Currin's function falls with y, and Branin's is a parabola in y.
    """
    u = 15 * x - 5
    rest = value - 10 * (1 - 1 / (8 * np.pi)) * np.cos(u) - 10
    middle = 6 - 5 / np.pi * u + 5.1 / (4 * np.pi**2) * u**2
    root = np.sqrt(np.maximum(rest, 0))
    fits = (rest >= 0) & (middle + root >= 0) & (middle - root <= 15)
    return np.where(fits, _currin(x, np.clip(middle + root, 1e-12, 15) / 15), np.inf).min(-1)


def test_the_reference_hypervolume_is_the_area_below_the_front() -> None:
    """Integrated over the first objective, with grids for x of which each is four times as fine as the one before."""
    middles = (np.arange(500) + 0.5) / 500  # squared, since the front is steep at its left end
    values = branin.OPTIMUM + (18 - branin.OPTIMUM) * middles**2
    weights = (18 - branin.OPTIMUM) * 2 * middles / 500
    areas = []
    for count in (1000, 4000, 16_000):
        x = np.linspace(0, 1, count) ** 3
        seconds = np.array([front(x, value) for value in values])
        areas.append(float(weights @ np.maximum(6 - seconds, 0)))
    assert all(coarse < fine <= two_objectives.HYPERVOLUME for coarse, fine in pairwise(areas))
    assert areas[-1] == pytest.approx(two_objectives.HYPERVOLUME, abs=0.005)
    assert areas[-1] + (areas[-1] - areas[-2]) / 3 == pytest.approx(two_objectives.HYPERVOLUME, abs=0.001)


def test_nothing_drawn_exceeds_the_reference_hypervolume() -> None:
    found = [evaluated("two_objectives", **drawn("two_objectives", seed)) for seed in range(2000)]
    area = two_objectives.hypervolume((m["value"], m["second"]) for m in found)
    assert 0.5 * two_objectives.HYPERVOLUME < area < two_objectives.HYPERVOLUME


# ── Functions that draw what they measure ─────────────────────────────────────────────────────────────────────────────


def test_a_spirals_representation_minimises_the_spectral_contrastive_loss() -> None:
    # sum of (A - F F')^2 over the normalised graph is least for the leading eigenvectors times the roots of their
    # values (Eckart and Young): any other F of the same width is worse.
    rng = np.random.default_rng(0)
    x, _ = inflated_spirals.spirals(40, 0.02, rng)
    weights = rng.uniform(1, 3, 40)
    squares = [[float(np.sum((a - b) ** 2)) for b in x] for a in x]
    graph = np.outer(weights, weights) * np.exp(-np.array(squares) / (4 * 0.2**2))
    graph /= np.sqrt(np.outer(graph.sum(0), graph.sum(0)))
    found, _ = inflated_spirals.embedded(x, weights, x, 0.2)
    values, vectors = np.linalg.eigh(graph)
    best = vectors[:, -8:] * np.sqrt(values[-8:])
    loss = lambda f: float(np.sum((graph - f @ f.T) ** 2))  # noqa: E731
    assert loss(best) <= min(loss(best + 0.01 * rng.normal(size=best.shape)) for _ in range(20))
    kernel = lambda f: f @ f.T / np.sqrt(np.outer(np.sum(f**2, 1), np.sum(f**2, 1)))  # noqa: E731
    np.testing.assert_allclose(found @ found.T, kernel(vectors[:, -8:]), atol=1e-6)


def test_spirals_of_a_point_that_is_known_are_carried_on_to_it() -> None:
    rng = np.random.default_rng(1)
    x, _ = inflated_spirals.spirals(60, 0.02, rng)
    known, again = inflated_spirals.embedded(x, np.ones(60), x, 0.1)
    np.testing.assert_allclose(known, again, atol=1e-8)


def test_generated_points_are_rubbish_as_often_as_asked_and_real_ones_count_as_replicas() -> None:
    config = inflated_spirals.Config(sigma=0.03, generated=600)
    build = lambda **knobs: inflated_spirals.build(dataclasses.replace(config, **knobs))(3)["accuracy"]  # noqa: E731
    assert build() > 0.95
    assert build(generated=0) < 0.8
    assert build(rubbish=1.0, replicas=1) < build(rubbish=1.0, replicas=100)
    assert build(draws=2, generated=0) != build(generated=0)


def test_a_seeded_function_is_drawn_by_the_trials_seed() -> None:
    setting = lambda seed: Setting({"function": {"inflated_spirals": {"sigma": 0.05}}}, seed, (1,))  # noqa: E731
    first, same, other = (next(function.build(setting(seed)).run()) for seed in (1, 1, 2))
    assert first == same != other
    assert first["value"] == pytest.approx(1 - first["accuracy"])
