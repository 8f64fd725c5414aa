"""Pauli sums from files: what is read, and that every slip is told with its line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from objectives.circuits.tasks.paulis import Config, build
from spaces.circuits.pool import CircuitError

WORDS, COEFFICIENTS = ["ZZI", "IXX", "YIY", "III"], [0.5, -1.25, 2e-1, -3.0]
EXPECTED = Observable.of_paulis(3, WORDS, COEFFICIENTS).matrix().toarray()
TEXTS = {
    "first.txt": "0.5 ZZI\n-1.25 IXX\n2e-1 YIY\n-3 III\n",
    "last.txt": "# a sum\nZZI 0.5  # a comment\n\nIXX\t-1.25\nYIY +0.2\nIII -3.0\n",
    "sparse.txt": "0.5 Z0 Z1\n-1.25 X2 X1\nY0*Y2 0.2\n-3 I\n",
    "starred.txt": "0.5 * zzi\n-1.25*IXX\n(0.2+0j) * YIY\nI -3\n",
    "sum.json": '{\n\t"ZZI": 0.5,\n\t"IXX": -1.25, "YIY": 2E-1,\n\t"III": -3\n}',
    "sum.yaml": "ZZI: 0.5\nIXX: -1.25\nY0 Y2: 2e-1  # a comment\nI: -3\n",
}


def built(folder: Path, name: str, written: str, **knobs: object) -> Task:
    (folder / name).write_text(written)
    return build(Config(path=str(folder / name), **knobs))


@pytest.mark.parametrize("name", TEXTS)
def test_every_way_to_write_a_sum(tmp_path: Path, name: str) -> None:
    task = built(tmp_path, name, TEXTS[name])
    assert task.wires == 3
    np.testing.assert_allclose(task.observables[0].matrix().toarray(), EXPECTED, atol=1e-15)
    assert task.ground == task.reference == pytest.approx(np.linalg.eigvalsh(EXPECTED)[0])
    assert task.threshold == 0.95
    assert task.ground < task.strict


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.text("IXYZ", min_size=4, max_size=4), st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1),
    st.booleans(),
)
def test_text_and_json_say_the_same(tmp_path_factory: pytest.TempPathFactory, terms: dict, sparse: bool) -> None:
    terms = {**terms, "IIII": -1e5}
    folder = tmp_path_factory.mktemp("sums")
    lines = []
    for word, value in terms.items():
        shown = " ".join(f"{p}{q}" for q, p in enumerate(word) if p != "I") or "I"
        lines.append(f"{value!r} {shown if sparse else word}")
    text = built(folder, "sum.txt", "\n".join(lines), wires=4)
    mapped = built(folder, "sum.json", json.dumps(terms))
    np.testing.assert_array_equal(text.observables[0].diagonals, mapped.observables[0].diagonals)


def test_knobs_are_heard(tmp_path: Path) -> None:
    task = built(tmp_path, "sum.txt", "1 Z0 Z1\n", wires=4, reference=-2.0, threshold=0.5, strict=-0.75)
    assert (task.wires, task.reference, task.threshold, task.strict) == (4, -2.0, 0.5, -0.75)
    assert "-0.75" in task.meaning
    assert task.ground == pytest.approx(-1)


@pytest.mark.parametrize(
    ("name", "written", "complaint"),
    [
        ("s.txt", "1 ZZ\n1 ZQ\n", r"s\.txt:2: no Pauli letter 'Q' in 'ZQ'"),
        ("s.txt", "1 ZZ\n1 Q0\n", r"s\.txt:2: 'Q0' is no Pauli letter"),
        ("s.txt", "1 ZZ\n1 Z Z\n", r"s\.txt:2: 'Z' is no Pauli letter with its wire"),
        ("s.txt", "1 ZZ\n\n1 ZZZ\n", r"s\.txt:3: the word has 3 letters, the one at .*s\.txt:1 has 2"),
        ("s.txt", "1 ZZ\n1 Z5\n", r"s\.txt:2: wire 5 is outside the 2 wires"),
        ("s.txt", "1 ZZ\n1 Z1 X1\n", r"s\.txt:2: wire 1 has two letters"),
        ("s.txt", "ZZ\n", r"s\.txt:1: found 'ZZ': there is no coefficient"),
        ("s.txt", "# c\nZZ one\n", r"s\.txt:2: found 'ZZ one': there is no coefficient"),
        ("s.txt", "1.5\n", r"s\.txt:1: found '1.5': there is no word"),
        ("s.txt", "1.5 2.5\n", r"s\.txt:1: '2.5' is no Pauli letter"),
        ("s.txt", "1+2j ZZ\n", r"s\.txt:1: the coefficient is \(1\+2j\)"),
        ("s.txt", "ZZ nan\n", r"s\.txt:1: the coefficient is nan"),
        ("s.txt", "ZZ -inf\n", r"s\.txt:1: the coefficient is -inf"),
        ("s.txt", "1 ZZ\n1 XX\n2 Z1 Z0\n", r"s\.txt:3: the word ZZ stands twice, first at .*s\.txt:1"),
        ("s.txt", "1 Z1000000\n", r"s\.txt:1: the sum acts on 1000001 wires\n  allowed: at most 24"),
        ("s.txt", "# nothing\n", "there are no terms"),
        ("s.txt", "1 II\n", "the reference is 1;"),
        ("s.json", '{"ZZ": 1,\n "ZQ": 2}', r"s\.json:2: no Pauli letter 'Q'"),
        ("s.json", '{"ZZ": "a lot"}', r"s\.json:1: the coefficient of ZZ is the text 'a lot'"),
        ("s.json", '{"ZZ": true}', r"s\.json:1: the coefficient of ZZ is true"),
        ("s.json", '{"ZZ": null}', r"s\.json:1: the coefficient of ZZ is nothing"),
        ("s.json", '{"ZZ": "0.5+0.1j"}', r"s\.json:1: the coefficient is \(0\.5\+0\.1j\)"),
        ("s.json", '["ZZ", 1]', r"s\.json:1: expected a mapping of Pauli words"),
        ("s.json", '{"ZZ": 1', r"s\.json:1: not valid YAML"),
        ("s.yaml", "ZZ: 1\nXX: 2\nZZ: 3\n", r"s\.yaml:3: the key 'ZZ' stands twice"),
        ("s.yaml", "ZZ: 1\nXX: {a: 2}\n", r"s\.yaml:2: the coefficient of XX is a mapping"),
        ("s.yaml", "ZZ: 1\n2: 3\n", r"s\.yaml:2: a key must be text"),
        ("s.yaml", "ZZ: 1\nZZI: 3\n", r"s\.yaml:2: the word has 3 letters"),
        ("s.yaml", "ZZ: 1\n'': 3\n", r"s\.yaml:2: the word is empty"),
    ],
)
def test_every_slip_is_told_with_its_line(tmp_path: Path, name: str, written: str, complaint: str) -> None:
    with pytest.raises(CircuitError, match=complaint):
        built(tmp_path, name, written)


def test_slips_of_the_knobs(tmp_path: Path) -> None:
    with pytest.raises(CircuitError, match=r"s\.txt:1: the word has 2 letters, 3 wires are set"):
        built(tmp_path, "s.txt", "1 ZZ\n", wires=3)
    with pytest.raises(CircuitError, match=r"s\.txt:1: wire 4 is outside the 3 wires"):
        built(tmp_path, "s.txt", "1 Z4\n", wires=3)
    with pytest.raises(CircuitError, match="the reference is 1;"):
        built(tmp_path, "s.txt", "1 ZZ\n", reference=1.0)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CircuitError, match="cannot be read as text"):
        build(Config(path=str(tmp_path / "s.txt")))


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(CircuitError, match=r"no path|no such file") as caught:
        build(Config(path=path))
    assert len(str(caught.value)) < 1000
