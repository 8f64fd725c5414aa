"""Molecules, against PennyLane's operators and published energies, and their cache."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pennylane as qml
import pytest

from objectives.circuits import cache
from objectives.circuits.tasks import molecule
from objectives.circuits.tasks.molecule import Config, build
from spaces.circuits.pool import CircuitError

pytestmark = pytest.mark.usefixtures("kept")
ENERGIES = [  # wires, Pauli words, masks, ground in hartree
    (Config(), 4, 15, 2, -1.13618912),
    (Config(bond=0.735), 4, 15, 2, -1.13730604),
    (Config(molecule="lih", active_electrons=2, active_orbitals=3), 6, 62, 8, -7.86291935),
    (Config(molecule="beh2", active_electrons=4, active_orbitals=4), 8, 61, 7, -15.56599070),
    (Config(molecule="h4"), 8, 185, 27, -2.18031662),
    (Config(molecule="lih", active_electrons=2, active_orbitals=5), 10, 276, 35, -7.88209662),
    (Config(molecule="lih"), 12, 631, 84, -7.88232440),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for all tests of this file, apart from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRETUNE_CACHE", str(tmp_path_factory.mktemp("molecules")))
        yield


@pytest.mark.parametrize(("config", "wires", "words", "masks", "ground"), ENERGIES)
def test_ground_energies(config: Config, wires: int, words: int, masks: int, ground: float) -> None:
    task = build(config)
    assert task.wires == wires
    assert len(task.observables[0].masks) == masks
    assert task.ground == pytest.approx(ground, abs=1e-7)
    symbols, places = molecule._line(config)
    assert len(molecule._kept(symbols, places, config).words) == words


def test_published_constants() -> None:
    task = build(Config())
    assert (task.reference, task.threshold) == (-1.136, 0.95)
    hartree_fock = np.eye(16)[0b1100]
    energy = task.observables[0].expectation(hartree_fock)
    assert energy == pytest.approx(-1.117349, abs=1e-6)
    assert task.reward(energy) == pytest.approx(0.9836, abs=1e-4)
    assert f"{energy:.6f}" in task.meaning
    assert task.candidate(energy)
    assert not task.solved(energy)
    assert build(Config(bond=0.735)).reference == build(Config(bond=0.735)).ground


@pytest.mark.parametrize("config", [Config(), Config(molecule="h4"), Config(molecule="lih")])
def test_strict_is_chemical_accuracy(config: Config) -> None:
    task = build(config)
    assert task.strict == task.ground + 1.6e-3
    assert "within 1.6 mHa" in task.meaning


def test_strict_is_beyond_hartree_fock_even_where_that_is_accurate() -> None:
    task = build(Config(molecule="lih", active_electrons=2, active_orbitals=3))
    energy = task.observables[0].expectation(np.eye(64)[0b110000])
    assert energy < task.ground + 1.6e-3
    assert task.strict == pytest.approx(energy - 0.2 * (energy - task.ground))
    assert "within 0.8 mHa" in task.meaning


def test_six_gates_reach_the_ground_of_h2() -> None:
    @qml.qnode(qml.device("default.qubit", wires=4))
    def state(angle: float) -> np.ndarray:
        qml.RY(angle, 0)
        for q in range(3):
            qml.CNOT([q, q + 1])
        qml.X(0)
        qml.X(1)
        return qml.state()

    task = build(Config())
    angles = np.linspace(-0.3, 0, 301)
    energies = task.observables[0].expectation(np.array([state(angle) for angle in angles[80:110]]))
    assert energies.min() == pytest.approx(-1.136189, abs=1e-6)
    assert task.solved(energies.min())


@pytest.mark.parametrize("config", [ENERGIES[0][0], ENERGIES[2][0]])
def test_the_hamiltonian_is_pennylanes(config: Config) -> None:
    symbols, places = molecule._line(config)
    space = {"active_electrons": config.active_electrons or None, "active_orbitals": config.active_orbitals or None}
    operator, wires = qml.qchem.molecular_hamiltonian(symbols, places, **space)
    expected = qml.matrix(operator, wire_order=range(wires))
    np.testing.assert_allclose(build(config).observables[0].matrix().toarray(), expected, atol=1e-12)


def test_hartree_fock_is_pennylanes_determinant_in_an_active_space() -> None:
    config = ENERGIES[2][0]
    occupied = "".join(str(int(bit)) for bit in qml.qchem.hf_state(2, 6))
    energy = build(config).observables[0].expectation(np.eye(64)[int(occupied, 2)])
    assert f"Hartree-Fock at {energy:.6f} Ha" in build(config).meaning


def test_a_molecule_comes_from_a_file_in_angstrom(tmp_path: Path) -> None:
    file = tmp_path / "h2.xyz"
    file.write_text("2\nhydrogen\nH 0 0 0\nH 0.735 0 0\n\n")
    task = build(Config(molecule="file", path=str(file)))
    assert task.ground == pytest.approx(-1.13730604, abs=1e-8)
    assert task.reference == task.ground


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", r"h2\.xyz:1: found ''"),
        ("two\n\n", r"h2\.xyz:1: found 'two'"),
        ("3\n\nH 0 0 0\nH 0 0 1\n", r"h2\.xyz:1: 3 atoms are announced, 2"),
        ("1\n\nH 0 0 0\nH 0 0 1\n", r"h2\.xyz:1: 1 atoms are announced, 2"),
        ("2\n\nH 0 0 0\nH 0 0\n", r"h2\.xyz:4: found 'H 0 0'"),
        ("2\n\nH 0 0 0\nH 0 0 nan\n", r"h2\.xyz:4: found 'H 0 0 nan'"),
        ("2\n\nH 0 0 0\nQq 0 0 1\n", "molecule H Qq: .*Qq"),
        ("2\n\nH 0 0 0\nH 0 0 0\n", "stand in one place"),
        ("1\n\nH 0 0 0\n", "Open-shell"),
    ],
)
def test_what_is_no_molecule_is_refused(tmp_path: Path, written: str, complaint: str) -> None:
    (tmp_path / "h2.xyz").write_text(written)
    with pytest.raises(CircuitError, match=complaint):
        build(Config(molecule="file", path=str(tmp_path / "h2.xyz")))


def test_an_active_space_that_is_not_there_is_refused() -> None:
    with pytest.raises(CircuitError, match="active electrons"):
        build(Config(active_electrons=4, active_orbitals=3))


def unbuilt(*args: object) -> molecule.Molecule:
    raise AssertionError("built although it was kept")


def test_a_molecule_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    first = build(Config())
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    monkeypatch.setattr(molecule, "_made", unbuilt)
    again = build(Config())
    np.testing.assert_array_equal(first.observables[0].diagonals, again.observables[0].diagonals)
    assert (first.ground, first.strict, first.meaning) == (again.ground, again.strict, again.meaning)
    for other in (Config(bond=0.7), Config(active_orbitals=1, active_electrons=2)):
        with pytest.raises(AssertionError, match="built"):
            build(other)
    monkeypatch.setattr(molecule, "version", lambda package: "0.0")
    with pytest.raises(AssertionError, match="built"):
        build(Config())


@pytest.mark.parametrize("damage", [b"", b"PK nothing", 0.5, 0.97])
def test_a_damaged_cache_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | float) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    first = build(Config())
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(damage if isinstance(damage, bytes) else whole[: int(damage * len(whole))])
    assert build(Config()).ground == first.ground
    assert len(file.read_bytes()) == len(whole)


def test_a_flipped_byte_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    first = build(Config())
    (file,) = tmp_path.glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(bytes(content))
    assert build(Config()).ground == pytest.approx(first.ground, abs=1e-12)


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "taken"))
    with pytest.warns(UserWarning, match="can be kept"):
        assert build(Config()).ground == pytest.approx(-1.13618916, abs=1e-8)


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRETUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "pretune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "pretune"
