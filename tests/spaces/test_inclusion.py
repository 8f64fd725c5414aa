"""Studies built on others: what lies over what, and what cannot be included."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.run import CATALOGUE
from spaces.document import Node, StudyError, assign
from spaces.inclusion import MOST, laid_over
from spaces.shipped import open_study, shipped
from spaces.study import read_study

Write = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes files, by their names, below the current folder; `__` in a name stands for a sub-folder."""
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def opened(name: str = "a.yaml") -> Any:
    return open_study(name).plain()


def complaint(name: str = "a.yaml") -> str:
    with pytest.raises(StudyError) as caught:
        open_study(name)
    return str(caught.value)


def test_a_mapping_is_laid_over_the_one_below_name_by_name(files: Write) -> None:
    files(
        a="include: b.yaml\nname: a\nspace: {method: {simclr: off, vicreg: search}, views: [x]}\nbudget: {epochs: 3}",
        b="name: b\nabout: it\nspace: {method: {simclr: search, swav: {lr: 1, k: 2}}, views: [y]}\nbudget: {trials: 5}",
    )
    assert opened() == {
        "name": "a",
        "about": "it",
        "space": {"method": {"simclr": "off", "swav": {"lr": 1, "k": 2}, "vicreg": "search"}, "views": ["x"]},
        "budget": {"trials": 5, "epochs": 3},
    }
    assert list(opened()["space"]["method"]) == ["simclr", "swav", "vicreg"]  # the order of the one below


@pytest.mark.parametrize(
    ("upper", "lower", "found"),
    [
        ("{uniform: [0, 1]}", "{log: [1, 2], default: 1}", {"uniform": [0, 1]}),
        ("{log: [1, 3]}", "{log: [1, 2], default: 1}", {"log": [1, 3]}),
        ("{ordinal: [1]}", "{choice: [1, 2]}", {"ordinal": [1]}),
        ("{either: [1, 2]}", "{uniform: [0, 1]}", {"either": [1, 2]}),
        ("{either: {a: 1, b: 2}}", "{either: {c: 3, d: 4}}", {"either": {"a": 1, "b": 2}}),
        ("{same: x}", "{int: [1, 2], step: 1}", {"same": "x"}),
        ("{int: [1, 2]}", "{same: x}", {"int": [1, 2]}),
        ("{sequence: {of: a}}", "{sequence: {of: b, length: 2}}", {"sequence": {"of": "a"}}),
        ("{b: search}", "{sequence: {of: b}}", {"b": "search"}),
        ("{heads: 1}", "{either: [default, search]}", {"heads": 1}),
        ("{heads: 1}", "search", {"heads": 1}),
        ("search", "{heads: 1}", "search"),
        ("5", "{int: [1, 2]}", 5),
        ("{int: [1, 2]}", "5", {"int": [1, 2]}),
        ("[c]", "[a, b]", ["c"]),
        ("{}", "{x: 1}", {"x": 1}),
        ("", "{x: 1}", None),
    ],
)
def test_what_states_one_thing_is_replaced_whole(files: Write, upper: str, lower: str, found: Any) -> None:
    files(a=f"include: b.yaml\nspace: {{k: {upper}}}", b=f"space: {{k: {lower}}}")
    assert opened()["space"]["k"] == found


@pytest.mark.parametrize("path", ["data", "objective", "search.strategy", "search.scheduler"])
def test_a_pick_is_replaced_whole(files: Write, path: str) -> None:
    section, _, name = path.partition(".")
    upper, lower = ((f"{{{name}: {text}}}" if name else text) for text in ("{npz: {path: x}}", "{digits: {size: 8}}"))
    files(a=f"include: b.yaml\n{section}: {upper}", b=f"{section}: {lower}")
    found = opened()[section]
    assert (found[name] if name else found) == {"npz": {"path": "x"}}


def test_of_several_the_later_win(files: Write) -> None:
    files(
        a="include: [b.yaml, c.yaml]\nx: {a: 1}",
        b="x: {a: 2, b: 2, c: 2}\nonly_b: 1",
        c="x: {a: 3, b: 3}\nonly_c: 1",
    )
    assert opened() == {"x": {"a": 1, "b": 3, "c": 2}, "only_b": 1, "only_c": 1}
    files(a="include: [c.yaml, b.yaml]\nx: {a: 1}")
    assert opened()["x"] == {"a": 1, "b": 2, "c": 2}


def test_one_may_come_in_twice_by_two_ways(files: Write) -> None:
    files(a="include: [b.yaml, c.yaml]", b="include: d.yaml\nx: 1", c="include: d.yaml\ny: 2", d="x: 0\ny: 0\nz: 0")
    assert opened() == {"x": 0, "y": 2, "z": 0}  # what c includes is part of c


def test_nothing_to_include(files: Write) -> None:
    files(a="include: []\nname: x")
    assert opened() == {"name": "x"}


def test_paths_start_where_the_one_that_includes_lies(files: Write, tmp_path: Path, monkeypatch: Any) -> None:
    files(a="include: sub/b.yaml", sub__b="include: [c.yaml, ../d.yaml]\nb: 1", sub__c="c: 1", d="d: 1", c="wrong: 1")
    assert opened() == {"b": 1, "c": 1, "d": 1}
    monkeypatch.chdir(tmp_path / "sub")
    assert opened("../a.yaml") == {"b": 1, "c": 1, "d": 1}
    assert opened(str(tmp_path / "a.yaml")) == {"b": 1, "c": 1, "d": 1}
    files(a=f"include: {tmp_path / 'sub' / 'c.yaml'}")
    assert opened("../a.yaml") == {"c": 1}


def test_shipped_studies_are_included_by_name(files: Write) -> None:
    files(a="include: quickstart\nname: mine\nbudget: {trials: 2}\nspace: {method: {swav: off}}")
    whole, found = open_study("quickstart").plain(), opened()
    assert found == {
        **whole,
        "name": "mine",
        "budget": {**whole["budget"], "trials": 2},
        "space": {**whole["space"], "method": {**whole["space"]["method"], "swav": "off"}},
    }
    study = read_study(open_study("a.yaml"), CATALOGUE)
    assert (study.name, study.budget.trials) == ("mine", 2)
    assert "swav" not in study.space.parts["method"].branches  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in shipped() if "/" in name][:2])
def test_names_of_folders_too(files: Write, name: str) -> None:
    files(a=f"include: {name}\nname: mine")
    assert opened() == {**open_study(name).plain(), "name": "mine"}


def test_flags_lie_on_top(files: Write) -> None:
    files(a="include: b.yaml\nbudget: {trials: 2}", b="budget: {trials: 1, epochs: 1}\nsearch: {strategy: {tpe: {}}}")
    document = open_study("a.yaml")
    for flag in ("budget.epochs=9", "budget.trials=8", "search.strategy=random"):
        document = assign(document, flag)
    assert document.plain() == {"budget": {"trials": 8, "epochs": 9}, "search": {"strategy": "random"}}


def test_what_is_wrong_is_told_in_the_file_that_says_it(files: Write) -> None:
    files(a="include: sub/b.yaml\nname: mine", sub__b="include: quickstart\n# ...\nbudget:\n  trials: 3\n  epohcs: 2")
    with pytest.raises(StudyError, match=r"^sub/b\.yaml:5: budget\.epohcs: there is no setting 'epohcs'"):
        read_study(open_study("a.yaml"), CATALOGUE)
    files(a="include: sub/b.yaml\nname: mine\nbudget:\n  trials: x", sub__b="include: quickstart")
    with pytest.raises(StudyError, match=r"^a\.yaml:4: budget\.trials: expected a whole number"):
        read_study(open_study("a.yaml"), CATALOGUE)


UNREAD = "a.yaml:1: include: the study to include cannot be read"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"a": "include: a.yaml"}, "a.yaml:1: include: this leads back to a study that is being read: a.yaml"),
        ({"a": "include: ./a.yaml"}, "a.yaml:1: include: this leads back"),
        ({"a": "include: sub/../a.yaml", "sub__b": "x: 1"}, "a.yaml:1: include: this leads back"),
        (
            {"a": "name: x\ninclude: b.yaml", "b": "include: [c.yaml]", "c": "\n\ninclude: ./a.yaml"},
            "c.yaml:3: include: this leads back to a study that is being read: b.yaml -> c.yaml -> ./a.yaml",
        ),
        ({"a": "include: b.yaml", "b": "include: c.yaml", "c": "include: b.yaml"}, "c.yaml:1: include: this leads"),
        ({"a": "include: b.yaml"}, UNREAD + ": b.yaml: there is no study"),
        ({"a": "include: [c.yaml, quikstart]", "c": "x: 1"}, "a.yaml:1: include[1]: the study to include"),
        ({"a": "include: b.yaml", "b": "x: 1\ny: ["}, UNREAD + ": b.yaml:2: not"),
        ({"a": "include: b.yaml", "b": "- x"}, "b.yaml:1: expected a study (a mapping with name, data, "),
        ({"a": "include: b.yaml", "b": "word"}, "b.yaml:1: expected a study"),
        ({"a": "include: b.yaml", "b": ""}, UNREAD + ": b.yaml: the document is empty"),
        ({"a": "include: sub", "sub__b": "x: 1"}, UNREAD + ": sub: this is a folder"),
        ({"a": "include: 3"}, "a.yaml:1: include: expected the name or path of a study, found the number 3"),
        ({"a": "include:"}, "a.yaml:1: include: expected the name or path of a study, found nothing"),
        ({"a": "include: ''"}, "a.yaml:1: include: expected the name or path of a study, found the text ''"),
        ({"a": "include: {b.yaml: 1}"}, "a.yaml:1: include: expected the name or path of a study, found a mapping"),
        ({"a": "include: [[b.yaml]]"}, "a.yaml:1: include[0]: expected the name or path of a study, found a list of 1"),
        ({"a": "include: ~nobody-at-all/b.yaml"}, UNREAD + ": ~nobody-at-all"),
        ({"a": "include: " + "x" * 5000}, UNREAD),
        ({"a": "include: ../../../../../../../../../etc/hostname/x"}, UNREAD),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_cannot_be_included_is_told(files: Write, texts: dict[str, str], said: str) -> None:
    files(**texts)
    assert complaint().startswith(said), complaint()


def test_the_nearest_name_is_told(files: Write) -> None:
    files(a="include: quikstart")
    assert "did you mean 'quickstart'?" in complaint()


def test_a_circle_through_a_link_is_one(files: Write, tmp_path: Path) -> None:
    files(a="include: link.yaml")
    os.symlink(tmp_path / "a.yaml", tmp_path / "link.yaml")
    assert complaint().startswith("a.yaml:1: include: this leads back to a study that is being read: link.yaml")
    assert "leads back" in complaint("link.yaml")


def test_a_pipe_is_not_waited_for(files: Write, tmp_path: Path) -> None:
    files(a="include: pipe")
    os.mkfifo(tmp_path / "pipe")
    assert "this is a pipe, not a study" in complaint()


@pytest.mark.parametrize(("links", "fine"), [(MOST, True), (MOST + 1, False)])
def test_a_chain_ends_somewhere(files: Write, links: int, fine: bool) -> None:
    files(**{f"s{i}": f"include: s{i + 1}.yaml\nx{i}: {i}" for i in range(links)}, **{f"s{links}": "end: 1"})
    if fine:
        assert opened("s0.yaml") == {"end": 1, **{f"x{i}": i for i in range(links)}}
    else:
        assert complaint("s0.yaml").startswith(f"s{MOST}.yaml:1: include: more than {MOST} files are included")


def test_so_does_a_tree(files: Write) -> None:
    files(
        a="include: [b.yaml, b.yaml]", **{n: f"include: [{m}.yaml, {m}.yaml]" for n, m in ("bc", "cd", "de")}, e="x: 1"
    )
    assert "more than 16 files are included" in complaint()


TREES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["search", "off"]) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)


def noded(value: Any, origin: str) -> Node:
    if isinstance(value, dict):
        value = {name: noded(child, origin) for name, child in value.items()}
    return Node([noded(child, origin) for child in value] if isinstance(value, list) else value, origin)


def merged(upper: Any, lower: Any) -> Any:
    if not (isinstance(upper, dict) and isinstance(lower, dict)):
        return upper
    return {
        k: merged(upper[k], lower[k]) if k in upper and k in lower else {**lower, **upper}[k]
        for k in {**lower, **upper}
    }


@settings(deadline=None, derandomize=True)
@given(TREES, TREES, TREES)
def test_laying_over(one: Any, two: Any, three: Any) -> None:
    upper, middle, lower = noded(one, "one"), noded(two, "two"), noded(three, "three")
    found = laid_over(upper, middle)
    assert found.plain() == merged(one, two)
    assert laid_over(upper, upper).plain() == one
    assert (upper.plain(), middle.plain()) == (one, two)  # neither is touched
    if all(isinstance(tree, dict) for tree in (one, two, three)):
        assert laid_over(noded({}, "x"), middle).plain() == two
        assert laid_over(upper, noded({}, "x")).plain() == one
        assert laid_over(found, lower).plain() == merged(merged(one, two), three)
