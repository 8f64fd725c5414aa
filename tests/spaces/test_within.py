"""Which domains lie within others, against a look at every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.domains import Choice, Domain, Fixed, Int, Log, Ordinal, Prior, Uniform, within
from tests.spaces.test_domains import DOMAINS, ordered

steady = settings(deadline=None, derandomize=True)

SMALL = (
    st.builds(lambda b, step: Int(*b, step=step), ordered(st.integers(-3, 9)), st.integers(1, 4))
    | ordered(st.integers(1, 9)).map(lambda b: Int(*b, log=True))
    | st.builds(
        lambda low, count, step: Uniform(low, low + count * step, step=step),
        st.sampled_from([0.0, 0.25, 1.0, -2.0]),
        st.sampled_from([0, 1, 2.0, 3.5, 5]),
        st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    )
    | st.lists(st.sampled_from([0, 1, 2, 4, 0.25, 1.0, "a"]), min_size=1, max_size=4, unique_by=lambda v: (type(v), v))
    .flatmap(lambda o: st.sampled_from([Choice(*o), Ordinal(*o)]))
    | st.sampled_from([0, 1, 2.0, "a"]).map(Fixed)
)  # fmt: skip
LARGE = ordered(st.sampled_from([-2.0, 0.0, 1.0, 4.0, 9.0])).map(lambda b: Uniform(*b)) | ordered(
    st.sampled_from([0.25, 1.0, 4.0, 9.0])
).map(lambda b: Log(*b))


def enumerated(domain: Any) -> list[Any]:
    """All values of a small domain, by its definition."""
    if isinstance(domain, Fixed):
        return [domain.value]
    if isinstance(domain, Choice):
        return list(domain.options)
    values, value = [], domain.low
    while value <= domain.high:
        values.append(value)
        value += domain.step
    return values


@settings(deadline=None, derandomize=True, max_examples=500)
@given(SMALL, SMALL | LARGE)
def test_within_is_what_looking_at_every_value_says(inner: Any, outer: Any) -> None:
    assert within(inner, outer) is all(outer.contains(value) for value in enumerated(inner))


@steady
@given(LARGE, SMALL)
def test_no_range_of_fractions_is_within_a_few_values(inner: Any, outer: Any) -> None:
    assert within(inner, outer) is (inner.low == inner.high and outer.contains(inner.low))


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
        (Uniform(0, 1), Uniform(0, 1, step=0.25), False),
        (Uniform(0, 0.9, step=0.3), Uniform(0, 1, step=0.1), True),
        (Uniform(0, 1, step=1e-7), Uniform(0, 1), True),  # more values than are looked at
        (Int(0, 10**9), Uniform(0, 1e9), True),
        (Int(0, 10**9, step=4), Int(-2, 10**9, step=2), True),
        (Int(0, 10**9, step=4), Int(-1, 10**9, step=2), False),
        (Ordinal(2, 4), Int(1, 4), True),
        (Ordinal(2, 5), Choice(5, 2, 1), True),
        (Uniform(0, 1, prior=Prior(0.5)), Uniform(0, 1), True),
    ],
)
def test_within(inner: Domain, outer: Domain, answer: bool) -> None:
    assert within(inner, outer) is answer
