"""Documents: YAML 1.2 with lines and paths, and settings from the command line."""

from __future__ import annotations

import math
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from spaces.document import DEEPEST, Node, StudyError, assign, complaint, parse

steady = settings(deadline=None, derandomize=True)


def plain(text: str) -> Any:
    return parse(text, "s.yaml").plain()


def refused(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse(text, "s.yaml")
    return str(caught.value)


@pytest.mark.parametrize("word", ["off", "on", "no", "yes", "y", "n", "Off", "NO", "1:30", "12:30:45"])
def test_words_of_old_yaml_are_words(word: str) -> None:
    assert plain(f"a: {word}") == {"a": word}
    assert plain(f"{word}: a") == {word: "a"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("12e03", 12000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("+1", 1),
        ("-0.0", -0.0),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'off'", "off"),
        ("'1'", "1"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("&x true", True),  # an anchor changes nothing
        ("&x 3", 3),
        ("&x 1.5", 1.5),
        ("&x word", "word"),
        (".inf", math.inf),
    ],
)
def test_scalars_are_plain_python(written: str, value: Any) -> None:
    found = plain(f"a: {written}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(plain("a: .nan")["a"])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False),
    st.text("abo01 :#-'\"{}[]&*!e.\n", max_size=8),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@steady
@given(TREES.filter(lambda tree: tree is not None), st.sampled_from([False, True]))
def test_whatever_is_written_as_yaml_is_read_back(tree: Any, flow: bool) -> None:
    yaml, written = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style = flow
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(tree, written)
    assert repr(plain(written.getvalue())) == repr(tree)  # types and order too


TEXT = """\
name: x   # a comment
space:
  method:
    simclr:
      lr: {log: [1e-4,
                 0.1]}
    byol: off

  views: [crop, {p: 1},
          blur]
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 1),
        (("space",), 2),
        (("space", "method"), 3),
        (("space", "method", "simclr"), 4),
        (("space", "method", "simclr", "lr"), 5),
        (("space", "method", "simclr", "lr", "log"), 5),
        (("space", "method", "simclr", "lr", "log", 0), 5),
        (("space", "method", "simclr", "lr", "log", 1), 6),
        (("space", "method", "byol"), 7),
        (("space", "views"), 9),
        (("space", "views", 1, "p"), 9),
        (("space", "views", 2), 10),
    ],
)
def test_nodes_know_their_line_and_path(path: tuple[str | int, ...], line: int) -> None:
    node = parse(TEXT, "s.yaml")
    for step in path:
        node = node.value[step]
    assert node.origin == f"s.yaml:{line}"
    assert node.path == "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "s.yaml: the document is empty"),
        ("# nothing\n---\n", "s.yaml: the document is empty"),
        ("a: 1\nb: 2\na: 3", "s.yaml:3: the key 'a' stands twice in one mapping"),
        ("a:\n  b: 1\n  c:\n  b: 2", "s.yaml:4: the key 'b' stands twice in one mapping"),
        ("a: !!str 5", "s.yaml:1: a: YAML tags are not used here"),
        ("x: 1\na:\n  - !mine {x: 1}", "s.yaml:3: a[0]: YAML tags are not used here, found !mine"),
        ("!mine\na: b", "s.yaml:1: YAML tags are not used here, found !mine"),
        ("a:\n  1: x", "s.yaml:2: a: a key must be text, found 1"),
        ("true: x", "s.yaml:1: a key must be text, found True"),
        (": x", "s.yaml:1: a key must be text, found None"),
        ("[1, 2]: x", "s.yaml:1: a key must be text, found a list"),
        ("{a: 1}: x", "s.yaml:1: a key must be text, found a mapping"),
        ("2020-01-01: x", "s.yaml:1: expected text, a number or true/false, found the date 2020-01-01"),
        ("a: 1\nb: 2020-01-01", "s.yaml:2: b: expected text, a number or true/false, found the date 2020-01-01"),
        ("a: !!binary aGVsbG8=", "s.yaml:1: a: YAML tags are not used here, found tag:yaml.org,2002:binary"),
        ("a: !!set {x, y}", "s.yaml:1: a: YAML tags are not used here"),
        ("a: ! x", "s.yaml:1: a: YAML tags are not used here, found !"),
        ("a: *b", "s.yaml:1: not valid YAML: found undefined alias"),
        ("a: 1\nb: [1, 2\nc: 3", "s.yaml:3: not valid YAML"),
        ("a:\n\t- b", "s.yaml:2: not valid YAML"),
        ("a: 'x", "s.yaml:1: not valid YAML"),
        ("a: b: c", "s.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("--- a\n--- b", "s.yaml:2: not valid YAML"),
        ("a: 1\nb: \0", "s.yaml:2: not valid YAML: the character '\\x00' may not stand here"),
        ("a: 2020-13-45", "s.yaml:1: a: expected text, a number or true/false, found the date 2020-13-45"),
        ("a: &x [*x]", "s.yaml:1: the alias *x stands inside what it names"),
        ("a: &a\n  b: *a", "s.yaml:2: the alias *a stands inside what it names"),
        ("a: &x\n  b: &y\n    - c: 1\n    - *x", "s.yaml:4: the alias *x stands inside what it names"),
        ("a: {<<: 5}", "s.yaml:1: a.<<: not valid YAML: << takes a mapping or a list of mappings, found the number 5"),
        ("a: {<<: {}, b: 1, <<: {}}", "s.yaml:1: the key '<<' stands twice in one mapping"),
    ],
)
def test_what_is_no_study_is_refused_with_its_place(text: str, said: str) -> None:
    assert refused(text).startswith(said)


def test_nesting_ends_somewhere() -> None:
    assert plain("[" * DEEPEST + "]" * DEEPEST) == nested(DEEPEST)
    for depth in (DEEPEST + 1, 300, 5000):
        assert refused("x:\n  " + "[" * depth + "]" * depth).startswith("s.yaml:2: nested more than")
    chain = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, DEEPEST + 5))
    assert "nested more than" in refused(chain)


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth > 1 else []


def test_aliases_are_what_they_name_wherever_they_stand() -> None:
    assert plain("a: &x [1, 2]\nb: *x\nc: {d: *x}") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}
    assert plain("a: &x [1]\nb: [*x, *x]") == {"a": [1], "b": [[1], [1]]}
    node = parse("a: &x [1]\nb: *x", "s.yaml").value["b"].value[0]
    assert (node.path, node.value) == ("b[0]", 1)


@pytest.mark.filterwarnings("ignore")
def test_an_anchor_may_be_used_again() -> None:
    assert plain("a: &x [1]\nb: &x [&x 2, *x]") == {"a": [1], "b": [2, 2]}


def test_merge_keys_fill_in_what_is_missing() -> None:
    text = "base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\n  z: 4"
    assert plain(text)["a"] == {"x": 1, "y": 3, "z": 4}
    merged = parse(text, "s.yaml").value["a"].value["x"]
    assert (merged.path, merged.origin) == ("a.x", "s.yaml:1")
    assert plain("a: &a {x: 1, y: 2}\nb: {y: 3, z: 4, <<: [*a, {z: 5, x: 6}]}")["b"] == {"x": 1, "y": 3, "z": 4}
    assert plain("'<<': {x: 1}") == {"<<": {"x": 1}}  # in quotes it is a name like any other


def test_a_complaint_says_where_what_and_what_else() -> None:
    assert complaint("here", "wrong") == "here: wrong"
    assert complaint("", "wrong", "a thing") == "wrong\n  allowed: a thing"
    said = complaint("here", "there is no 'simclrr'", ["byol", "simclr"], "simclrr")
    assert said == "here: there is no 'simclrr'\n  allowed: byol, simclr\n  did you mean 'simclr'?"
    assert "did you mean" not in complaint("here", "wrong", ["byol", "simclr"], "xyz")
    assert str(Node(1, "f:3", "a.b").wrong("wrong")) == "f:3: a.b: wrong"
    assert str(Node(1, "f:3").wrong("wrong")) == "f:3: wrong"


@pytest.mark.parametrize(
    ("value", "said"),
    [("5", "the number 5"), ("x", "the text 'x'"), ("true", "true"), ("", "nothing"), ("[1, 2]", "a list of 2")],
)
def test_what_is_no_mapping_is_described(value: str, said: str) -> None:
    node = parse(f"a: {value}", "s.yaml").value["a"]
    with pytest.raises(StudyError, match=f"s.yaml:1: a: expected knobs, found {said}"):
        node.mapping("knobs")


def test_known_names_pass_and_unknown_ones_bring_the_nearest() -> None:
    node = parse("budget: 1\nserach: 2", "s.yaml")
    assert list(node.known(["budget", "serach"], "section")) == ["budget", "serach"]
    with pytest.raises(StudyError) as caught:
        node.known(["budget", "search"], "section")
    first, allowed, near = str(caught.value).splitlines()
    assert first == "s.yaml:2: serach: there is no section 'serach'"
    assert "budget, search" in allowed
    assert "'search'" in near


BASE = "name: x\nmethod: simclr\nspace: {method: {byol: search, simclr: {lr: 1}}}\ntags: [a, b]\ncount: 3\nnone:\n"


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("name=y", "name", "y"),
        ("name = y ", "name", "y"),
        ("new=1", "new", 1),
        ("new.deep.er=1e-3", "new", {"deep": {"er": 1e-3}}),
        ("count=off", "count", "off"),
        ("count=", "count", None),
        ("count=a=b", "count", "a=b"),
        ("count={int: [1, 3]}", "count", {"int": [1, 3]}),
        ("tags=[c]", "tags", ["c"]),
        ("none.x=1", "none", {"x": 1}),
        ("method.simclr.lr=2", "method", {"simclr": {"lr": 2}}),
        ("method.byol.lr=2", "method", {"simclr": "default", "byol": {"lr": 2}}),
        ("space.method.byol.lr=2", "space", {"method": {"byol": {"lr": 2}, "simclr": {"lr": 1}}}),
        ("space.method.simclr.t=2", "space", {"method": {"byol": "search", "simclr": {"lr": 1, "t": 2}}}),
        ("space.method.simclr=off", "space", {"method": {"byol": "search", "simclr": "off"}}),
        ("space={}", "space", {}),
    ],
)
def test_settings_replace_one_value(setting: str, path: str, value: Any) -> None:
    before = parse(BASE, "s.yaml")
    after = assign(before, setting).plain()
    assert after == {**before.plain(), path: value}
    assert plain(BASE) == before.plain()  # the document itself stays


def test_what_a_setting_brings_knows_the_flag() -> None:
    setting = "space.method={swav: [1, {t: 2}]}"
    node = assign(parse(BASE, "s.yaml"), setting).value["space"].value["method"]
    leaf = node.value["swav"].value[1].value["t"]
    assert (leaf.origin, leaf.path) == (f"--set {setting}", "space.method.swav[1].t")
    other = assign(parse(BASE, "s.yaml"), setting).value["name"]
    assert other.origin == "s.yaml:1"
    made = assign(parse(BASE, "s.yaml"), "new.deep.er=1").value["new"].value["deep"]
    assert (made.origin, made.path) == ("--set new.deep.er=1", "new.deep")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("name", "--set name: expected a dotted path and a value"),
        ("=3", "--set =3: expected a dotted path and a value"),
        ("count.x=3", "--set count.x=3: count: the number 3 has no 'x' in it"),
        ("tags.x=3", "--set tags.x=3: tags: a list of 2 has no 'x' in it"),
        ("count=[1", "--set count=[1:1: not valid YAML"),
        ("count=!x 1", "--set count=!x 1:1: YAML tags are not used here"),
        ("count=# 1", "--set count=# 1: the document is empty"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting: str, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        assign(parse(BASE, "s.yaml"), setting)
    assert str(caught.value).startswith(said)
