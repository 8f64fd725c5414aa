"""What is kept: made once, by one process at a time, and given all the same where nothing can be written."""

import numpy as np
import pytest
from filelock import FileLock, Timeout

from objectives.circuits.cache import kept


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def unwanted():
    raise AssertionError("it was kept")


def test_what_was_made_is_given_again(cache):
    made = kept("things", 1, ("a",), lambda: {"a": np.arange(3)})
    again = kept("things", 1, ("a",), unwanted)
    assert again["a"].tolist() == made["a"].tolist() == [0, 1, 2]
    assert kept("things", 2, ("a",), lambda: {"a": np.arange(2)})["a"].tolist() == [0, 1]


def test_nobody_else_makes_it_meanwhile(cache):
    def make():
        (lock,) = cache.glob("*.lock")
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        return {"a": np.zeros(1)}

    kept("things", 1, ("a",), make)
    (lock,) = cache.glob("*.lock")
    FileLock(lock).acquire(timeout=0)


def test_what_others_made_while_one_waited_is_taken(cache):
    def make():  # the wait, seen from inside: by now the file is there
        kept("things", 1, ("a",), lambda: {"a": np.ones(1)})
        return {"a": np.zeros(1)}

    assert kept("other", 1, ("a",), make)["a"] == 0
    assert kept("things", 1, ("a",), unwanted)["a"] == 1


def test_a_failure_leaves_nothing_locked(cache):
    with pytest.raises(ZeroDivisionError):
        kept("things", 1, ("a",), lambda: {"a": 1 / 0})
    assert kept("things", 1, ("a",), lambda: {"a": np.ones(1)})["a"] == 1


def test_a_damaged_file_is_made_anew(cache):
    kept("things", 1, ("a",), lambda: {"a": np.ones(1)})
    (file,) = cache.glob("*.npz")
    file.write_bytes(file.read_bytes()[:-9])
    assert kept("things", 1, ("a",), lambda: {"a": np.zeros(1)})["a"] == 0


def test_where_nothing_can_be_written_the_result_is_given_all_the_same(cache):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="nothing can be kept"):
        assert kept("things", 1, ("a",), lambda: {"a": np.ones(1)})["a"] == 1
