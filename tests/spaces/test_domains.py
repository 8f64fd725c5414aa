"""Domains: what they contain, draw, enumerate and refuse."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from spaces.domains import Choice, Domain, Fixed, Int, Log, Ordinal, Prior, Uniform

steady = settings(deadline=None, derandomize=True)
FLOATS = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-12, 1e12)
WORDS = st.text("abc", max_size=3)
SCALARS = st.one_of(st.booleans(), st.integers(-5, 5), FLOATS, WORDS)


def ordered(ends: st.SearchStrategy) -> st.SearchStrategy:
    return st.tuples(ends, ends).map(sorted)


UNIFORMS = ordered(FLOATS).map(lambda b: Uniform(*b))
LOGS = ordered(POSITIVE).map(lambda b: Log(*b))
INTS = ordered(st.integers(-1000, 1000)).map(lambda b: Int(*b))
LOG_INTS = ordered(st.integers(1, 10**6)).map(lambda b: Int(b[0], b[1], log=True))
OPTIONS = st.lists(SCALARS, min_size=1, max_size=5, unique_by=lambda v: (type(v), v))
CHOICES = OPTIONS.map(lambda o: Choice(*o))
ORDINALS = OPTIONS.map(lambda o: Ordinal(*o))
STEPPED_INTS = st.builds(lambda b, step: Int(*b, step=step), ordered(st.integers(-1000, 1000)), st.integers(1, 300))
STEPS = st.sampled_from([0.1, 0.25, 0.3, 1 / 3, 1.0, 2.5, 7.0])


@st.composite
def stepped(draw: st.DrawFn, places: int = 10_000) -> Uniform:
    """Floats on a grid; the upper end may lie on it or not."""
    step, low = draw(STEPS), draw(st.floats(-100, 100) | st.sampled_from([0.0, 0.1, 1 / 3]))
    return Uniform(low, low + step * draw(st.integers(0, places) | st.floats(0, places)), step=step)


RANGES = UNIFORMS | LOGS | INTS | LOG_INTS
GRIDS = STEPPED_INTS | stepped() | ORDINALS
OPEN = RANGES | GRIDS | CHOICES
DOMAINS = OPEN | SCALARS.map(Fixed)


@steady
@given(DOMAINS, st.integers(0, 2**32))
def test_samples_lie_in_the_domain_and_follow_the_generator(domain: Any, seed: int) -> None:
    drawn = [domain.sample(np.random.default_rng(seed)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert type(drawn[0]) is type(drawn[1])
    rng = np.random.default_rng(seed)
    assert all(domain.contains(domain.sample(rng)) for _ in range(10))


@steady
@given(RANGES, st.integers(2, 9))
def test_a_grid_rises_through_the_range_with_both_ends(domain: Any, points: int) -> None:
    values = domain.grid(points)
    assert all(domain.contains(v) for v in values)
    assert values == sorted(values)
    assert (values[0], values[-1]) == (domain.low, domain.high)
    if isinstance(domain, Int):
        assert len(values) == len(set(values)) <= points
    else:
        assert len(values) == points


@steady
@given(RANGES)
def test_a_grid_of_one_point_is_the_lower_end(domain: Any) -> None:
    assert domain.grid(1) == [domain.low]


def test_grids_are_even_on_their_own_scale() -> None:
    assert Uniform(0, 1).grid(5) == [0, 0.25, 0.5, 0.75, 1]
    assert Log(1e-4, 1).grid(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Int(1, 9).grid(3) == [1, 5, 9]
    assert Int(1, 3).grid(9) == [1, 2, 3]
    assert Int(1, 100, log=True).grid(3) == [1, 10, 100]
    assert Choice("b", "a").grid(1) == ["b", "a"]
    assert Fixed(7).grid(3) == [7]


@steady
@given(RANGES)
def test_ends_are_in_and_their_neighbours_out(domain: Any) -> None:
    whole = isinstance(domain, Int)
    below = domain.low - 1 if whole else math.nextafter(domain.low, -math.inf)
    above = domain.high + 1 if whole else math.nextafter(domain.high, math.inf)
    assert domain.contains(domain.low)
    assert domain.contains(domain.high)
    assert not domain.contains(below)
    assert not domain.contains(above)


@pytest.mark.parametrize("domain", [Uniform(0, 2), Log(0.5, 2), Int(0, 2), Int(1, 2, log=True)], ids=str)
@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, [1]], ids=repr)
def test_numbers_alone_lie_in_ranges(domain: Any, value: object) -> None:
    assert not domain.contains(value)


def test_types_are_told_apart() -> None:
    assert Uniform(0, 2).contains(1)
    assert not Int(0, 2).contains(1.0)
    assert not Choice(1, 2).contains(True)
    assert not Choice(1, 2).contains(1.0)
    assert not Fixed(True).contains(1)
    assert Choice(1, True).options == (1, True)


@pytest.mark.parametrize(
    ("kind", "bounds", "reason"),
    [
        (Uniform, (1, 0), "lower bound"),
        (Uniform, (math.nan, 1), "finite"),
        (Uniform, (0, math.inf), "finite"),
        (Log, (2, 1), "lower bound"),
        (Log, (0, 1), "above 0"),
        (Log, (-1, 1), "above 0"),
        (Log, (1, math.inf), "finite"),
        (Int, (3, 2), "lower bound"),
        (Int, (1.0, 2), "whole numbers"),
        (Int, (1, 2.5), "whole numbers"),
        (Int, (0, 2, True), "above 0"),
        (Choice, (), "at least one"),
        (Choice, (1, 2, 1), "twice"),
        (Ordinal, (), "at least one"),
        (Ordinal, (1, 2, 1), "twice"),
        (Uniform, (0, 1, -0.5), "above 0"),
        (Uniform, (0, 1, math.nan), "above 0"),
        (Uniform, (0, 1, math.inf), "above 0"),
        (Uniform, (0, 1e9, 1e-9), "too small"),
        (Uniform, (-1e308, 1e308), "too far apart"),
        (Int, (0, 9, False, 0), "above 0"),
        (Int, (0, 9, False, -1), "above 0"),
        (Int, (0, 9, False, 0.5), "whole numbers"),
        (Int, (1, 9, True, 2), "no step"),
    ],
)
def test_bad_bounds_are_refused(kind: Any, bounds: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        kind(*bounds)


@steady
@given(GRIDS, st.integers(1, 9))
def test_a_grid_of_steps_holds_its_first_values_and_its_last(domain: Any, points: int) -> None:
    values = domain.grid(points)
    assert all(domain.contains(v) for v in values)
    assert len(values) == len(set(values)) == min(points, domain.size)
    whole = domain.grid(int(domain.size))
    assert len(whole) == domain.size
    assert values[0] == whole[0]
    assert points == 1 or values[-1] == whole[-1]
    assert values == sorted(values, key=whole.index)


def test_steps_are_counted_from_the_lower_end() -> None:
    assert Uniform(0, 1, step=0.25).grid(99) == [0, 0.25, 0.5, 0.75, 1]
    assert Uniform(0.1, 0.5, step=0.1).grid(99) == [0.1, 0.2, 0.3, 0.4, 0.5]  # not 0.30000000000000004
    assert Uniform(-0.3, 0.3, step=0.1).grid(99) == [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]
    assert Uniform(0, 1, step=0.4).grid(99) == [0, 0.4, 0.8]
    assert Uniform(1e6, 1e6 + 1, step=0.5).grid(99) == [1e6, 1e6 + 0.5, 1e6 + 1]
    assert Uniform(2, 3, step=5).grid(99) == [2]
    assert Int(1, 10, step=4).grid(99) == [1, 5, 9]
    assert Ordinal(16, 32, 64).grid(2) == [16, 64]
    assert not Uniform(0, 1, step=0.25).contains(0.3)
    assert not Uniform(0, 1, step=0.4).contains(1)
    assert not Int(1, 10, step=4).contains(10)


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        (Uniform(0, 1), math.inf),
        (Uniform(2, 2), 1),
        (Uniform(0, 1, step=0.1), 11),
        (Uniform(0, 0.95, step=0.1), 10),
        (Log(1, 2), math.inf),
        (Log(2, 2), 1),
        (Int(-1, 3), 5),
        (Int(1, 10, step=4), 3),
        (Int(1, 100, log=True), 100),
        (Choice("a", "b"), 2),
        (Ordinal(1, 2, 4), 3),
        (Fixed(0), 1),
    ],
    ids=str,
)
def test_sizes(domain: Domain, size: float) -> None:
    assert domain.size == size


@steady
@given(OPEN, st.integers(0, 2**32))
def test_the_unit_scale_leads_back(domain: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for value in [domain.sample(rng) for _ in range(5)]:
        u = domain.to_unit(value)
        assert 0 <= u <= 1
        back = domain.from_unit(u)
        assert type(back) is type(value)
        assert domain.contains(back)
        if math.isinf(domain.size) or isinstance(domain, Log):
            width = domain.high - domain.low
            assert back == pytest.approx(value, rel=1e-9, abs=1e-9 * width)
        else:
            assert back == value


@steady
@given(RANGES | STEPPED_INTS | stepped(), st.floats(0, 1), st.floats(0, 1))
def test_the_unit_scale_rises_both_ways(domain: Any, one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = domain.from_unit(low), domain.from_unit(high)
    assert domain.low <= first <= second <= domain.high
    assert domain.to_unit(first) <= domain.to_unit(second)


@steady
@given(CHOICES | ORDINALS, st.floats(0, 1))
def test_options_lie_on_the_unit_scale_in_their_order(domain: Choice, u: float) -> None:
    units = [domain.to_unit(option) for option in domain.options]
    assert units == pytest.approx([(i + 0.5) / len(units) for i in range(len(units))])
    nearest = min(range(len(units)), key=lambda i: abs(units[i] - u))
    assert abs(units[domain.index(domain.from_unit(u))] - u) == pytest.approx(abs(units[nearest] - u))


@pytest.mark.parametrize(
    "domain",
    [
        Uniform(-2, 3),
        Uniform(0, 1, step=0.25),
        Uniform(0, 1, step=0.3),
        Log(1e-5, 10),
        Int(-3, 7),
        Int(0, 20, step=3),
        Int(1, 12, log=True),
        Choice("a", "b", "c"),
        Ordinal(16, 32, 64, 128),
    ],
    ids=str,
)
def test_even_places_give_what_sampling_gives(domain: Any) -> None:
    rng = np.random.default_rng(3)
    even = [domain.from_unit(u) for u in rng.random(6000)]
    drawn = [domain.sample(rng) for _ in range(6000)]
    if math.isinf(domain.size):
        assert stats.ks_2samp(even, drawn).pvalue > 0.01
    else:
        values = domain.options if isinstance(domain, Choice) else sorted(set(drawn))
        assert set(even) == set(values)
        table = [[found.count(value) for value in values] for found in (even, drawn)]
        assert stats.chi2_contingency(table).pvalue > 0.01


def test_very_large_whole_numbers() -> None:
    most = 2**63 - 1
    for domain in (
        Int(-most, most),
        Int(1, most),
        Int(1, most, log=True),
        Int(most, most, log=True),
        Int(0, most, step=2),
    ):
        rng = np.random.default_rng(0)
        drawn = [domain.sample(rng) for _ in range(20)]
        assert all(domain.contains(value) for value in (*drawn, *domain.grid(5)))
        assert all(0 <= domain.to_unit(value) <= 1 for value in drawn)


@pytest.mark.parametrize(
    ("kind", "bounds", "wrong", "right"),
    [
        (Uniform, (0, 1), [1.1, -0.1, "a", True, math.nan], [0, 0.5, 1]),
        (partial(Uniform, step=0.25), (0, 1), [0.3, 1.25], [0.25]),
        (Log, (1e-3, 1), [0, 2.0], [1e-3]),
        (Int, (1, 3), [0, 2.0, True], [3]),
        (partial(Int, step=2), (1, 5), [2], [3]),
        (Choice, ("a", 1), ["b", True, 1.0], ["a", 1]),
        (Ordinal, (16, 32), [24], [32]),
    ],
)
def test_a_belief_lies_in_its_domain(kind: Any, bounds: tuple[Any, ...], wrong: list[Any], right: list[Any]) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=r"the default .* is not in"):
            kind(*bounds, prior=Prior(value))
    for value in right:
        assert kind(*bounds, prior=Prior(value)).prior == Prior(value, "medium")
        assert kind(*bounds, prior=Prior(value)) != kind(*bounds)


def test_uniform_and_log_are_flat_on_their_scale() -> None:
    rng = np.random.default_rng(0)
    flat = [Uniform(-2, 3).sample(rng) for _ in range(4000)]
    assert stats.kstest(flat, stats.uniform(-2, 5).cdf).pvalue > 0.01
    logs = [math.log(Log(1e-5, 10).sample(rng)) for _ in range(4000)]
    assert stats.kstest(logs, stats.uniform(math.log(1e-5), math.log(1e6)).cdf).pvalue > 0.01


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_come_as_often_as_their_interval_is_wide(log: bool) -> None:
    rng = np.random.default_rng(1)
    domain, size = Int(1, 12, log=log), 20_000
    counts = np.bincount([domain.sample(rng) for _ in range(size)], minlength=13)[1:]
    numbers = np.arange(1, 13)
    widths = np.log((numbers + 0.5) / (numbers - 0.5)) if log else np.ones(12)
    assert stats.chisquare(counts, size * widths / widths.sum()).pvalue > 0.01


def test_options_come_evenly() -> None:
    rng = np.random.default_rng(2)
    domain = Choice("a", "b", "c", "d")
    drawn = [domain.sample(rng) for _ in range(4000)]
    assert stats.chisquare([drawn.count(option) for option in domain.options]).pvalue > 0.01


def test_domains_print_as_a_study_would_say_them() -> None:
    assert str(Uniform(0, 1)) == "0 .. 1"
    assert str(Uniform(0, 1.0000001)) == "0 .. 1.0000001"
    assert str(Log(1e-4, 0.1)) == "0.0001 .. 0.1 (log)"
    assert str(Int(1, 8)) == "1 .. 8"
    assert str(Int(1, 8, log=True)) == "1 .. 8 (log)"
    assert str(Int(1, 9, step=2)) == "1 .. 9 (step 2)"
    assert str(Uniform(0, 1, step=0.1)) == "0 .. 1 (step 0.1)"
    assert str(Choice("a", 2)) == "a | 2"
    assert str(Ordinal(16, 32)) == "16 < 32"
    assert str(Fixed(3)) == "3"
