"""Beliefs: their densities and their draws, against SciPy's truncated normal distribution."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats  # type: ignore[import-untyped]

from spaces.domains import Choice, Fixed, Int, Log, Ordinal, Prior, Uniform
from spaces.priors import CONFIDENCES, density, sample

steady = settings(deadline=None, derandomize=True)
Confidence = Literal["low", "medium", "high"]
DEVIATION = {"low": 0.5, "medium": 0.25, "high": 0.125}
LEVELS = pytest.mark.parametrize("confidence", CONFIDENCES)
CONTINUOUS: list[Any] = [(Uniform, (-2.0, 3.0), -1.5), (Uniform, (0.0, 1.0), 1.0), (Log, (1e-5, 10.0), 1e-2)]
GRIDS: list[Any] = [
    (Uniform, (0.0, 1.0, 0.1), 0.3),
    (Int, (-3, 7), 0),
    (Int, (0, 20, False, 4), 20),
    (Int, (1, 12, True), 2),
    (Ordinal, (16, 32), 16),
    (Ordinal, ("small", "middle", "large"), "middle"),
]


def normal(center: float, confidence: str) -> Any:
    """The distribution that a belief is on the unit scale."""
    width = DEVIATION[confidence]
    return stats.truncnorm(-center / width, (1 - center) / width, loc=center, scale=width)


def cells(domain: Any) -> dict[Any, tuple[float, float]]:
    """Every value of a grid with the part of the unit scale from which `from_unit` gives it."""
    places = np.linspace(0, 1, 20_001)
    found: dict[Any, tuple[float, float]] = {}
    for u in places:
        value = domain.from_unit(float(u))
        found[value] = (found.get(value, (float(u), 0))[0], float(u))
    return found


@LEVELS
@pytest.mark.parametrize(("kind", "bounds", "center"), CONTINUOUS)
def test_a_density_over_the_unit_scale_is_a_truncated_normal_one(
    kind: Any, bounds: tuple[float, ...], center: float, confidence: Confidence
) -> None:
    domain = kind(*bounds, prior=Prior(center, confidence))
    expected = normal(domain.to_unit(center), confidence)
    for u in np.linspace(0, 1, 41):
        assert density(domain, domain.from_unit(float(u))) == pytest.approx(float(expected.pdf(u)), rel=1e-6)
    whole, _ = integrate.quad(lambda u: density(domain, domain.from_unit(u)), 0, 1)
    assert whole == pytest.approx(1)


@LEVELS
@pytest.mark.parametrize(("kind", "bounds", "center"), GRIDS)
def test_a_density_on_a_grid_is_the_belief_in_a_cell_against_its_width(
    kind: Any, bounds: tuple[Any, ...], center: Any, confidence: Confidence
) -> None:
    domain = kind(*bounds, prior=Prior(center, confidence))
    expected = normal(domain.to_unit(center), confidence)
    total = 0.0
    for value, (low, high) in cells(domain).items():
        mass = expected.cdf(high) - expected.cdf(low)
        assert density(domain, value) * (high - low) == pytest.approx(mass, abs=1e-3)
        total += density(domain, value) * (high - low)
    assert total == pytest.approx(1, abs=1e-3)


@LEVELS
def test_a_belief_among_options_weighs_one_against_any_other(confidence: Confidence) -> None:
    domain = Choice("a", "b", 1, True, prior=Prior(True, confidence))
    found = [density(domain, option) for option in domain.options]
    assert sum(found) / len(found) == pytest.approx(1)
    assert found[0] == found[1] == found[2]  # 1 is not true
    assert found[3] / found[0] == pytest.approx({"low": 2, "medium": 4, "high": 8}[confidence])


@steady
@given(st.sampled_from(CONFIDENCES), st.data())
def test_beliefs_average_to_one_over_chance(confidence: Confidence, data: st.DataObject) -> None:
    options = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True))
    believed = Prior(data.draw(st.sampled_from(options)), confidence)
    for domain in (Choice(*options, prior=believed), Ordinal(*options, prior=believed)):
        assert sum(density(domain, option) for option in options) / len(options) == pytest.approx(1)
        assert max(options, key=lambda o: density(domain, o)) == believed.value


@LEVELS
@pytest.mark.parametrize(("kind", "bounds", "center"), CONTINUOUS)
def test_draws_follow_the_belief(kind: Any, bounds: tuple[float, ...], center: float, confidence: Confidence) -> None:
    domain, rng = kind(*bounds, prior=Prior(center, confidence)), np.random.default_rng(0)
    drawn = [sample(domain, rng) for _ in range(1500)]
    assert all(domain.contains(value) for value in drawn)
    found = [domain.to_unit(value) for value in drawn]
    assert stats.kstest(found, normal(domain.to_unit(center), confidence).cdf).pvalue > 0.01


@LEVELS
@pytest.mark.parametrize(("kind", "bounds", "center"), [*GRIDS, (Choice, ("a", "b", "c"), "b")])
def test_draws_on_a_grid_come_as_often_as_their_density_says(
    kind: Any, bounds: tuple[Any, ...], center: Any, confidence: Confidence
) -> None:
    domain, rng, size = kind(*bounds, prior=Prior(center, confidence)), np.random.default_rng(1), 1500
    drawn = [sample(domain, rng) for _ in range(size)]
    widths = {value: high - low for value, (low, high) in cells(domain).items()}
    expected = np.array([density(domain, value) * width for value, width in widths.items()]) * size
    counts = np.array([drawn.count(value) for value in widths])
    rare = expected < 5  # together they are one kind, that the test may hold
    together = [[*c[~rare], c[rare].sum()] if rare.any() else c for c in (counts, expected)]
    seen, wanted = (np.array(c) for c in together)
    assert stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue > 0.005


@pytest.mark.parametrize("domain", [Uniform(0, 1), Log(1, 9), Int(1, 5), Choice("a", "b"), Ordinal(1, 2), Fixed(3)])
def test_without_a_belief_all_is_chance(domain: Any) -> None:
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    assert [sample(domain, one) for _ in range(20)] == [domain.sample(other) for _ in range(20)]
    assert density(domain, domain.grid(1)[0]) == 1


@LEVELS
def test_what_is_far_from_a_belief_is_unlikely_and_possible(confidence: Confidence) -> None:
    for domain in (Uniform(0, 1, prior=Prior(0, confidence)), Int(0, 100, prior=Prior(0, confidence))):
        far = density(domain, domain.high)
        assert 0 < far < density(domain, domain.low)
        assert math.isfinite(math.log(far))


def test_surer_beliefs_are_narrower() -> None:
    spreads = []
    for confidence in CONFIDENCES:
        rng = np.random.default_rng(0)
        domain = Uniform(0, 1, prior=Prior(0.5, confidence))  # type: ignore[arg-type]
        spreads.append(np.std([sample(domain, rng) for _ in range(500)]))
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize(
    "domain", [Uniform(2, 2, prior=Prior(2)), Log(2, 2, prior=Prior(2)), Int(2, 2, prior=Prior(2))]
)
def test_of_one_value_there_is_nothing_to_believe(domain: Any) -> None:
    assert sample(domain, np.random.default_rng(0)) == 2
    assert density(domain, 2) == pytest.approx(1)
