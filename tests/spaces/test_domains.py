"""Domains: what they contain, draw, enumerate and refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from spaces.domains import Choice, Domain, Fixed, Int, Log, Uniform, within

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
CHOICES = st.lists(SCALARS, min_size=1, max_size=5, unique_by=lambda v: (type(v), v)).map(lambda o: Choice(*o))
RANGES = UNIFORMS | LOGS | INTS | LOG_INTS
DOMAINS = RANGES | CHOICES | SCALARS.map(Fixed)


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
    ],
)
def test_bad_bounds_are_refused(kind: Any, bounds: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        kind(*bounds)


@steady
@given(DOMAINS, DOMAINS, st.integers(0, 2**32))
def test_what_is_within_draws_nothing_from_outside(inner: Domain, outer: Domain, seed: int) -> None:
    if within(inner, outer):
        rng = np.random.default_rng(seed)
        assert all(outer.contains(inner.sample(rng)) for _ in range(20))


@steady
@given(DOMAINS)
def test_every_domain_is_within_itself(domain: Any) -> None:
    assert within(domain, domain)


@pytest.mark.parametrize(
    ("inner", "outer", "answer"),
    [
        (Uniform(0.2, 0.4), Uniform(0, 1), True),
        (Uniform(0.2, 1.1), Uniform(0, 1), False),
        (Log(1e-3, 1), Uniform(0, 1), True),
        (Uniform(1e-3, 1), Log(1e-3, 1), True),
        (Uniform(1e-4, 1), Log(1e-3, 1), False),
        (Int(1, 2), Uniform(0, 2), True),
        (Int(2, 4), Int(1, 4, log=True), True),
        (Int(0, 4), Int(1, 4), False),
        (Uniform(1, 4), Int(1, 4), False),
        (Choice(1, 4), Int(1, 4), True),
        (Choice(1, 4.0), Int(1, 4), False),
        (Choice("a"), Choice("b", "a"), True),
        (Choice("a", "c"), Choice("b", "a"), False),
        (Int(16, 32), Choice(16, 32), False),  # 17 is none of the options
        (Int(1, 3), Choice(1, 2, 3), True),
        (Int(1, 3), Choice(1, 3, 5), False),
        (Int(1, 10**15), Choice(1, 2), False),
        (Uniform(0.1, 0.2), Choice(0.1, 0.2), False),
        (Log(0.1, 0.2), Choice(0.1, 0.2), False),
        (Fixed(2), Int(1, 4), True),
        (Fixed(5), Int(1, 4), False),
        (Int(2, 2), Fixed(2), True),
        (Int(2, 3), Fixed(2), False),
    ],
)
def test_within(inner: Domain, outer: Domain, answer: bool) -> None:
    assert within(inner, outer) is answer


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
    assert str(Choice("a", 2)) == "a | 2"
    assert str(Fixed(3)) == "3"
