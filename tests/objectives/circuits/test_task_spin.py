"""Spin models and the Hubbard model, against matrices put together from Kronecker products and exact solutions."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest

from objectives.circuits.tasks.spin import Config, build
from spaces.circuits.pool import CircuitError

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0, -1.0]),
}
LOWER = np.array([[0, 1], [0, 0]])  # |1> to |0>: takes an electron away
RING5 = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]
CHAIN5 = RING5[:-1]
SQUARE = [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)]  # 2 x 3


def on(wires: int, placed: dict[int, np.ndarray]) -> np.ndarray:
    return reduce(np.kron, [placed.get(q, PAULI["I"]) for q in range(wires)])


def bonds(wires: int, edges: list[tuple[int, int]], couplings: dict[str, float]) -> np.ndarray:
    return sum(j * on(wires, {a: PAULI[p], b: PAULI[p]}) for a, b in edges for p, j in couplings.items())


def matrix(config: Config) -> np.ndarray:
    return build(config).observables[0].matrix().toarray()


@pytest.mark.parametrize(
    ("lattice", "sites", "edges"), [("ring", 5, RING5), ("chain", 5, CHAIN5), ("square", 6, SQUARE)]
)
def test_models_are_their_formulas(lattice: str, sites: int, edges: list[tuple[int, int]]) -> None:
    config = {"lattice": lattice, "sites": sites, "coupling": 0.7}
    transverse = 1.3 * sum(on(sites, {q: PAULI["X"]}) for q in range(sites))
    ising = bonds(sites, edges, {"Z": 0.7}) + transverse
    np.testing.assert_allclose(matrix(Config(model="tfim", field=1.3, **config)), ising, atol=1e-12)
    heisenberg = bonds(sites, edges, {"X": 0.7, "Y": 0.7, "Z": 0.7})
    np.testing.assert_allclose(matrix(Config(model="heisenberg", **config)), heisenberg, atol=1e-12)
    xxz = bonds(sites, edges, {"X": 0.7, "Y": 0.7, "Z": -0.7 * 1.5})
    np.testing.assert_allclose(matrix(Config(model="xxz", anisotropy=-1.5, **config)), xxz, atol=1e-12)


@pytest.mark.parametrize(("lattice", "edges"), [("chain", [(0, 1), (1, 2)]), ("ring", [(0, 1), (1, 2), (0, 2)])])
def test_hubbard_is_its_formula(lattice: str, edges: list[tuple[int, int]]) -> None:
    lowers = [on(6, {**dict.fromkeys(range(q), PAULI["Z"]), q: LOWER}) for q in range(6)]
    expected = np.zeros((64, 64), complex)
    for a, b in edges:
        for spin in (0, 1):
            hop = lowers[2 * a + spin].T @ lowers[2 * b + spin]
            expected -= 0.8 * (hop + hop.T)
    for site in range(3):
        up, down = lowers[2 * site], lowers[2 * site + 1]
        expected += 3.0 * up.T @ up @ down.T @ down
        expected -= 0.6 * (up.T @ up + down.T @ down)
    config = Config(model="hubbard", lattice=lattice, sites=3, hopping=0.8, coulomb=3.0, potential=0.6)
    np.testing.assert_allclose(matrix(config), expected, atol=1e-12)


def test_published_constants() -> None:
    task = build(Config())
    assert (task.wires, task.reference, task.threshold) == (8, -10.0, 0.9)
    assert task.ground == pytest.approx(-10.251662, abs=1e-6)
    assert task.strict == pytest.approx(-10.05, abs=1e-3)
    antiferromagnet = np.eye(256)[0b01010101]  # -8; the field does not see it
    assert task.observables[0].expectation(antiferromagnet) == pytest.approx(-8)
    minus = reduce(np.kron, [np.array([1, -1]) / np.sqrt(2)] * 8)
    assert task.observables[0].expectation(minus) == pytest.approx(-8)
    assert "best product state at -10 " in task.meaning
    assert build(Config(anisotropy=2.0)).reference == -10
    assert build(Config(field=1.1)).reference == build(Config(field=1.1)).ground


@pytest.mark.parametrize("sites", [4, 6, 10, 14])
def test_critical_rings_have_the_energy_of_free_fermions(sites: int) -> None:
    assert build(Config(sites=sites)).ground == pytest.approx(-2 / np.sin(np.pi / (2 * sites)), abs=1e-8)


def test_heisenberg_rings_have_the_known_energies() -> None:
    assert build(Config(model="heisenberg", sites=4)).ground == pytest.approx(-8, abs=1e-9)
    assert build(Config(model="heisenberg", sites=6)).ground == pytest.approx(-4 * (1 + np.sqrt(13)) / 2 - 2, abs=1e-9)


def test_a_hubbard_dimer_has_the_known_energy() -> None:
    config = Config(model="hubbard", lattice="chain", sites=2, hopping=1.0, coulomb=4.0)
    assert build(config).ground == pytest.approx(-1, abs=1e-9)  # a single electron
    half_full = (4 - np.sqrt(16 + 16)) / 2
    assert build(replace(config, potential=2.0)).ground == pytest.approx(half_full - 2 * 2, abs=1e-9)


def test_beyond_the_solved_sizes_the_best_product_state_is_the_measure() -> None:
    task = build(Config(sites=16))
    assert task.ground is None
    assert task.reference == pytest.approx(-16 * 5 / 4, abs=1e-6)  # each bond with its share of field: -(1 + 1/4)
    assert task.strict == pytest.approx(1.005 * task.reference)


def test_a_ferromagnets_ground_is_a_product_state() -> None:
    task = build(Config(model="heisenberg", sites=4, coupling=-1.0))
    assert task.ground == pytest.approx(-4)
    assert task.strict == pytest.approx(-3.996)
    assert "a product state reaches it" in task.meaning


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CircuitError, match="7 sites do not fill 2 rows"):
        build(Config(lattice="square", sites=7))
    with pytest.raises(CircuitError, match="the reference is 0"):
        build(Config(model="heisenberg", coupling=0.0, sites=4))
