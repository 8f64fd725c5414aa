"""State preparation: the targets, against PennyLane and against kets written out."""

from pathlib import Path

import numpy as np
import pennylane as qml
import pytest

from objectives.circuits.tasks._circuits import haar_unitary, paper_circuit, state_of, unitary_of
from objectives.circuits.tasks.state import Config, build, target
from spaces.circuits.pool import CircuitError, GateRow

KETS = {
    ("ghz", 3, 0): ["000", "111"],
    ("w", 3, 0): ["100", "010", "001"],
    ("dicke", 4, 2): ["1100", "1010", "1001", "0110", "0101", "0011"],
    ("dicke", 3, 3): ["111"],
    ("bell", 4, 0): ["0000", "1100"],
    ("bells", 4, 0): ["0000", "0011", "1100", "1111"],
}
PENNYLANE = {"X": "PauliX", "Y": "PauliY", "Z": "PauliZ", "H": "Hadamard"}


def pennylane_matrix(wires: int, circuit: list[GateRow]) -> np.ndarray:
    def run() -> None:
        for name, *rest in circuit:
            gate = getattr(qml, PENNYLANE.get(name, name))
            gate(*rest[gate.num_wires :], wires=rest[: gate.num_wires])

    return qml.matrix(run, wire_order=range(wires))()


@pytest.mark.parametrize(("name", "wires", "weight"), KETS)
def test_a_target_is_the_even_superposition_of_its_kets(name: str, wires: int, weight: int) -> None:
    state = target(Config(target=name, wires=wires, weight=weight))
    kets = KETS[name, wires, weight]
    expected = np.zeros(2**wires)
    expected[[int(ket, 2) for ket in kets]] = 1 / np.sqrt(len(kets))
    np.testing.assert_allclose(state, expected, atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("wires", "gates"), [(3, 9), (4, 10), (6, 18)])
def test_the_state_and_matrix_of_a_circuit_are_pennylanes(wires: int, gates: int, seed: int) -> None:
    circuit = paper_circuit(wires, gates, 5, seed)
    matrix = pennylane_matrix(wires, circuit)
    unitary = unitary_of(wires, circuit)
    phase = np.vdot(unitary, matrix)
    np.testing.assert_allclose(unitary * phase / abs(phase), matrix, atol=1e-12)
    np.testing.assert_allclose(state_of(wires, circuit), unitary[:, 0], atol=1e-15)
    np.testing.assert_array_equal(
        target(Config(target="circuit", wires=wires, gates=gates, seed=seed)), state_of(wires, circuit)
    )


def test_the_cost_is_minus_the_fidelity() -> None:
    task, rng = build(Config(target="w")), np.random.default_rng(0)
    states = rng.normal(size=(5, 16)) + 1j * rng.normal(size=(5, 16))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    np.testing.assert_allclose(
        task.observables[0].expectation(states), -(np.abs(states[:, [1, 2, 4, 8]].sum(1) / 2) ** 2), atol=1e-14
    )


@pytest.mark.parametrize(("wires", "threshold"), [(4, 0.95), (7, 0.95), (8, 0.75)])
def test_thresholds_are_the_published_ones(wires: int, threshold: float) -> None:
    task = build(Config(wires=wires))
    assert (task.wires, task.reference, task.threshold, task.ground) == (wires, -1, threshold, -1)


def test_the_strict_fidelity_is_beyond_every_product_state(tmp_path: Path) -> None:
    assert build(Config(target="bells")).strict == -0.99
    nearly = np.array([np.sqrt(0.998), 0, 0, np.sqrt(0.002)])
    np.save(tmp_path / "nearly.npy", nearly)
    task = build(Config(target="file", path=str(tmp_path / "nearly.npy")))
    assert task.strict == pytest.approx(-(0.998 + 0.2 * 0.002))
    product = build(Config(target="dicke", weight=4))
    assert product.strict == -0.99
    assert "a product state" in product.meaning


def test_random_targets_are_seeded_and_haar() -> None:
    same = [target(Config(target="random", wires=3, seed=5)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    states = np.array([target(Config(target="random", wires=2, seed=seed)) for seed in range(4000)])
    np.testing.assert_allclose(np.linalg.norm(states, axis=1), 1, atol=1e-14)
    np.testing.assert_allclose(np.einsum("ki,kj->ij", states, states.conj()) / 4000, np.eye(4) / 4, atol=0.02)
    # Porter and Thomas: |amplitude|^4 has mean 2 / (N (N + 1))
    np.testing.assert_allclose((np.abs(states) ** 4).mean(0), 2 / 20, atol=0.01)


def test_random_unitaries_are_unitary_and_haar() -> None:
    rng = np.random.default_rng(0)
    matrices = np.array([haar_unitary(3, rng) for _ in range(4000)])
    np.testing.assert_allclose(
        matrices @ matrices.conj().transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-13
    )
    traces = np.trace(matrices, axis1=1, axis2=2)  # Diaconis and Evans: E tr = 0, E |tr|^2 = 1, E |tr|^4 = 2
    assert abs(traces.mean()) < 0.05
    assert (np.abs(traces) ** 2).mean() == pytest.approx(1, abs=0.06)
    assert (np.abs(traces) ** 4).mean() == pytest.approx(2, abs=0.3)
    assert (traces**2).mean() == pytest.approx(0, abs=0.08)  # fails without the phases taken out


@pytest.mark.parametrize("suffix", ["npy", "npz", "txt"])
def test_a_state_comes_from_a_file(tmp_path: Path, suffix: str) -> None:
    state, file = np.array([0.6, 0, 0.8j, 0]), tmp_path / f"state.{suffix}"
    if suffix == "npy":
        np.save(file, state)
    elif suffix == "npz":
        np.savez(file, state=state)
    else:
        file.write_text("# a state\n0.6\n0\n0.8j\n0+0j\n")
    config = Config(target="file", path=str(file), wires=9)
    np.testing.assert_allclose(target(config), state)
    assert build(config).wires == 2


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (np.array([1.0, 1.0]), "norm 1, found 1.41421"),
        (np.ones(3) / np.sqrt(3), r"found shape \(3,\)"),
        (np.eye(2), r"found shape \(2, 2\)"),
        (np.array([np.nan, 1.0]), "no finite number"),
        (np.array(["a", "b"]), "expected numbers"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, state: np.ndarray, complaint: str) -> None:
    np.save(tmp_path / "state.npy", state)
    with pytest.raises(CircuitError, match=complaint):
        build(Config(target="file", path=str(tmp_path / "state.npy")))


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.ones(1), b=np.ones(1))
    (tmp_path / "bad.npy").write_bytes(b"not numpy")
    (tmp_path / "bad.txt").write_text("0.6 zero\n")
    for name, complaint in [("two.npz", "found a, b"), ("bad.npy", "cannot be read"), ("bad.txt", "cannot be read")]:
        with pytest.raises(CircuitError, match=complaint):
            build(Config(target="file", path=str(tmp_path / name)))
    with pytest.raises(CircuitError, match="this is a folder"):
        build(Config(target="file", path=str(tmp_path)))


def test_what_a_register_cannot_hold_is_refused() -> None:
    with pytest.raises(CircuitError, match="weight 5"):
        build(Config(target="dicke", weight=5))
    with pytest.raises(CircuitError, match="even number of wires"):
        build(Config(target="bells", wires=5))
