"""The best product state, against what is known in closed form and against a grid of Bloch angles."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.observable import Observable
from objectives.circuits.tasks._product import beyond, least_energy, most_overlap
from objectives.circuits.tasks.state import Config, target


def grid_of_states(points: int) -> np.ndarray:
    """One-qubit states on a grid of Bloch angles that has both poles: (G, 2)."""
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, points), np.linspace(0, 2 * np.pi, 2 * points - 1)[:-1])
    return np.stack([np.cos(polar / 2), np.exp(1j * azimuth) * np.sin(polar / 2)], axis=-1).reshape(-1, 2)


def pairs_of(singles: np.ndarray) -> np.ndarray:
    return np.einsum("ab,cd->acbd", singles, singles).reshape(-1, 4)


PAIRS = pairs_of(grid_of_states(21))  # 640,000 product states of two wires


@pytest.mark.parametrize("seed", range(4))
def test_least_energy_of_two_wires_is_that_of_a_grid(seed: int) -> None:
    words = ["".join(letters) for letters in product("IXYZ", repeat=2)]
    coefficients = np.random.default_rng(seed).normal(size=16)
    found = least_energy(words, coefficients)
    on_grid = Observable.of_paulis(2, words, coefficients.tolist()).expectation(PAIRS).min()
    assert found <= on_grid + 1e-9
    assert found == pytest.approx(on_grid, abs=0.03 * np.abs(coefficients).sum())


@pytest.mark.parametrize("seed", range(4))
def test_most_overlap_of_two_wires_is_the_largest_schmidt_coefficient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=4) + 1j * rng.normal(size=4)
    state /= np.linalg.norm(state)
    found = most_overlap(state)
    assert found == pytest.approx(np.linalg.svd(state.reshape(2, 2), compute_uv=False)[0] ** 2, abs=1e-10)
    assert found >= (np.abs(PAIRS.conj() @ state) ** 2).max() - 1e-12


@pytest.mark.parametrize(
    ("name", "wires", "weight", "known"),
    [
        ("ghz", 3, 0, 1 / 2),
        ("ghz", 8, 0, 1 / 2),
        ("w", 3, 0, 4 / 9),
        ("w", 7, 0, (6 / 7) ** 6),
        ("dicke", 5, 2, comb(5, 2) * (2 / 5) ** 2 * (3 / 5) ** 3),
        ("dicke", 8, 4, comb(8, 4) / 2**8),
        ("dicke", 4, 0, 1.0),
        ("bell", 5, 0, 1 / 2),
        ("bells", 6, 0, 1 / 8),
    ],
)
def test_most_overlap_of_known_states(name: str, wires: int, weight: int, known: float) -> None:
    state = target(Config(target=name, wires=wires, weight=weight))
    assert most_overlap(state) == pytest.approx(known, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_a_product_state_overlaps_with_itself_and_no_energy_undercuts_the_ground(wires: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = np.ones(1)
    for _ in range(wires):
        state = np.kron(state, rng.normal(size=2) + 1j * rng.normal(size=2))
    assert most_overlap(state / np.linalg.norm(state)) == pytest.approx(1, abs=1e-9)
    words = sorted({"".join(rng.choice(list("IXYZ"), wires)) for _ in range(6)})
    coefficients = rng.normal(size=len(words))
    observable = Observable.of_paulis(wires, words, coefficients.tolist())
    best = least_energy(words, coefficients)
    assert best >= observable.ground() - 1e-9
    assert best <= observable.expectation(state / np.linalg.norm(state)) + 1e-9


def test_a_start_is_what_its_seed_says() -> None:
    state = target(Config(target="random", wires=4))
    assert most_overlap(state, 3) == most_overlap(state, 3)
    assert most_overlap(state, 3) == pytest.approx(most_overlap(state, 4), abs=1e-9)


def test_beyond_lies_between_the_best_product_state_and_the_ground() -> None:
    strict, meaning = beyond(-10.0, -10.25)
    assert strict == pytest.approx(-10.05)
    assert "20%" in meaning
    assert beyond(-10.0, None)[0] == pytest.approx(-10.05)
    strict, meaning = beyond(-4.0, -4.0)
    assert strict == pytest.approx(-3.996)
    assert "a product state reaches it" in meaning
