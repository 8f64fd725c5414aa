"""What holds for every task of the shelf."""

from pathlib import Path

import numpy as np
import pytest

from spaces.circuits.pool import CircuitError
from spaces.components import Shelf, fields

SHELF = Shelf("task", "objectives.circuits.tasks")
READS_A_FILE = {"paulis"}


def test_the_shelf_holds_the_tasks_and_nothing_else() -> None:
    assert SHELF.names() == ["classify", "maxcut", "molecule", "paulis", "spin", "state", "unitary"]


@pytest.mark.parametrize("name", SHELF.names())
def test_every_default_lies_in_its_range(name: str) -> None:
    assert fields(SHELF.load(name).config)


@pytest.mark.parametrize("name", sorted(set(SHELF.names()) - READS_A_FILE))
def test_rewards_grow_as_costs_fall_and_the_ground_solves(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    component = SHELF.load(name)
    task = component.build(component.config())
    costs = np.array([task.reference * share for share in (0.2, task.threshold - 1e-9, task.threshold + 1e-9, 1.0)])
    assert task.reward(costs) == pytest.approx(np.sort(task.reward(costs)))
    assert task.candidate(costs).tolist() == [False, False, True, True]
    assert task.meaning
    if task.ground is not None:
        assert task.ground <= task.strict < 0
        assert task.solved(np.array([task.ground, task.strict, task.strict + 1e-6])).tolist() == [True, True, False]
        assert task.ground == pytest.approx(task.observables[0].ground(), abs=1e-9)


@pytest.mark.parametrize("name", ["state", "unitary", "maxcut", "molecule", "paulis"])
def test_a_task_of_a_file_asks_for_it(name: str) -> None:
    component = SHELF.load(name)
    choice = {"state": "target", "unitary": "target", "maxcut": "graph", "molecule": "molecule"}
    knobs = {choice[name]: "file"} if name in choice else {}
    with pytest.raises(CircuitError, match="no file is named"):
        component.build(component.config(**knobs))
    with pytest.raises(CircuitError, match=r"nowhere\.npy: no such file"):
        component.build(component.config(**knobs, path="nowhere.npy"))
