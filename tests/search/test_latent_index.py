"""The nearest unvisited circuit, against measuring all distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from search.latent.index import nearest


def distances(latents: NDArray, point: NDArray) -> NDArray:
    return np.square(latents.astype(np.float64) - np.float32(point).astype(np.float64)).sum(1)


@settings(deadline=None)  # the first example waits for the compiler
@given(st.data())
def test_it_is_the_first_of_the_nearest_unvisited(data: st.DataObject) -> None:
    """On whole numbers, where distances are exact and many are equal."""
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 6)))
    latents = data.draw(arrays.arrays(np.int8, shape, elements=st.integers(-3, 3))).astype(np.float32)
    point = data.draw(arrays.arrays(np.int8, shape[1], elements=st.integers(-9, 9))).astype(np.float32)
    free = data.draw(arrays.arrays(bool, shape[0]))
    free[data.draw(st.integers(0, shape[0] - 1))] = True
    assert nearest(latents, point, free) == np.argmin(np.where(free, distances(latents, point), np.inf))


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    dimensions=st.integers(1, 40),
    spread=st.sampled_from([1e-25, 1e-6, 1.0, 1e6, 1e25]),
    shift=st.sampled_from([0.0, 1.0, 100.0]),
    reach=st.sampled_from([0.0, 0.01, 1.0, 50.0]),
)
def test_nothing_unvisited_is_nearer(seed: int, dimensions: int, spread: float, shift: float, reach: float) -> None:
    """Also where squares in float32 overflow, vanish, or differ by less than they are rounded."""
    rng = np.random.default_rng(seed)
    latents = (spread * (rng.standard_normal((300, dimensions)) + shift)).astype(np.float32)
    point = (spread * (reach * rng.standard_normal(dimensions) + shift)).astype(np.float32)
    free = rng.random(300) < 0.5
    found, far = nearest(latents, point, free), np.where(free, distances(latents, point), np.inf)
    assert free[found]
    assert far[found] <= far.min() * (1 + 1e-12)


def test_a_region_that_is_exhausted_is_left() -> None:
    latents = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
    free, point = np.ones(500, bool), np.zeros(4)
    visited = []
    for _ in range(500):
        visited.append(nearest(latents, point, free))
        free[visited[-1]] = False
    assert visited == np.argsort(distances(latents, point), kind="stable").tolist()
    with pytest.raises(ValueError, match="every circuit"):
        nearest(latents, point, free)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_point_that_is_nowhere_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        nearest(np.zeros((2, 2), np.float32), np.array([0.0, value]), np.ones(2, bool))
