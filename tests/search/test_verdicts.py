"""Intervals, verdicts and the seeds that would decide, against scipy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.verdicts import interval, seeds_needed, verdict

steady = settings(deadline=None, derandomize=True, max_examples=150)


@steady
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_the_interval_is_students(values: list[float]) -> None:
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    if len(set(values)) == 1:
        assert found.low == found.mean == found.high
        return
    low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-8)


@steady
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9).filter(lambda values: np.std(values) > 1e-3))
def test_an_interval_above_zero_is_a_one_sided_test_at_five_percent(values: list[float]) -> None:
    word, p = verdict(interval(values)), stats.ttest_1samp(values, 0, alternative="greater").pvalue
    if abs(p - 0.05) > 1e-6 and abs(p - 0.95) > 1e-6:
        assert (word == "holds") == (p < 0.05)
        assert (word == "fails") == (p > 0.95)


@steady
@given(st.lists(st.floats(-3, 5), min_size=2, max_size=9))
def test_the_seeds_that_would_decide_are_the_fewest(values: list[float]) -> None:
    needed, middle, spread = seeds_needed(values), abs(float(np.mean(values))), float(np.std(values, ddof=1))

    def wide(count: int) -> bool:
        return bool(stats.t.isf(0.05, count - 1) * spread / math.sqrt(count) > middle + 1e-9)

    assert len(values) <= needed <= 1001
    assert needed > 1000 or not wide(needed) or spread < 1e-9
    assert needed == len(values) or wide(needed - 1) or middle < 1e-6 or spread < 1e-6


def test_equal_margins_have_an_interval_without_width() -> None:
    assert verdict(interval([0.1, 0.1, 0.1])) == "holds"
    assert verdict(interval([-0.1, -0.1])) == "fails"
    assert verdict(interval([0.0, 0.0])) == "holds"
    assert seeds_needed([-1.0, 1.0]) > 1000


def test_an_undecided_claim_is_decided_by_as_many_seeds_as_it_says() -> None:
    margins = [1.0, -0.5, 0.8, 0.1]
    assert verdict(interval(margins)) == "undecided"
    needed = seeds_needed(margins)
    spread, middle = np.std(margins, ddof=1), np.mean(margins)
    assert stats.t.ppf(0.95, needed - 1) * spread / needed**0.5 <= middle
    assert stats.t.ppf(0.95, needed - 2) * spread / (needed - 1) ** 0.5 > middle
