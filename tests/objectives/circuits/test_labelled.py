"""The pool benchmark: its labels are those of an evaluation, it is kept, and its digest names the circuits."""

import io

import numpy as np
import pytest

from objectives.circuits import cache, labelled
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.labelled import PROBLEMS, SPACES
from spaces.circuits.pool import CircuitError
from spaces.circuits.sampler import paper


@pytest.fixture(autouse=True)
def kept_here(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path_factory.getbasetemp() / "labels"))


def test_labels_are_those_of_the_published_training():
    found = labelled.labelled(SPACES[4], 300, 1, ("maxcut", "bell"))
    for row, name in enumerate(("maxcut", "bell")):
        task = PROBLEMS[4][name].task()
        wanted = evaluate(found.pool, task, Training(steps=50))
        np.testing.assert_array_equal(found.costs[row], wanted.values)
        np.testing.assert_array_equal(found.steps[row], wanted.steps)
        np.testing.assert_array_equal(found.candidates[row], wanted.values / task.reference >= task.threshold)
    assert found.of("bell") == 1
    with pytest.raises(CircuitError, match="did you mean 'maxcut'"):
        found.of("maxcutt")


def test_a_pool_is_labelled_once_and_a_damaged_file_anew(monkeypatch):
    first = labelled.labelled(SPACES[4], 50, 2, ("ghz",))
    monkeypatch.setattr(labelled, "evaluate", None)
    again = labelled.labelled(SPACES[4], 50, 2, ("ghz",))
    np.testing.assert_array_equal(first.costs, again.costs)
    monkeypatch.undo()
    for file in cache.folder().glob("labels-*.npz"):
        file.write_bytes(b"torn")
    np.testing.assert_array_equal(labelled.labelled(SPACES[4], 50, 2, ("ghz",)).costs, first.costs)


def test_the_digest_is_that_of_the_circuits():
    found = labelled.labelled(SPACES[4], 100, 0, ("bell",))
    assert found.digest == labelled.labelled(SPACES[4], 100, 0, ("ghz",)).digest
    assert found.digest != labelled.labelled(SPACES[4], 100, 1, ("bell",)).digest
    with np.load(io.BytesIO(found.packed()), allow_pickle=False) as arrays:
        assert arrays["tasks"].tolist() == ["bell"]
        np.testing.assert_array_equal(arrays["op"], found.pool.op)
        np.testing.assert_array_equal(arrays["solved"], found.solved)


def test_eight_wires_and_what_there_is_not():
    found = labelled.labelled(SPACES[8], 20, 0, ("tfim",))
    assert found.costs.shape == (1, 20)
    with pytest.raises(CircuitError, match="no benchmark tasks on 5 wires"):
        labelled.labelled(paper(5), 10, 0)
