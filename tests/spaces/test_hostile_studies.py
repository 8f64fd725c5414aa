"""Studies that somebody wrote to do harm, or that an accident damaged: one clear message each, soon and in short.

`benchmarks/study_fuzz.py` damages thousands; here are a few hundred, and what was found with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.study_fuzz import CIRCUITS, Case, damaged, judged
from search.run import CATALOGUE
from spaces.circuits.reading import read_sampler
from spaces.document import LONGEST_NUMBER, MOST_TEXT, MOST_VALUES, StudyError, assign, complaint, parse, shown
from spaces.shipped import LARGEST, open_study, shipped
from spaces.study import LONGEST_NAME, read_study

steady = settings(deadline=None, derandomize=True)
TOY = "name: x\nobjective: function\nspace: {function: branin}\n"


def refused(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        read_study(parse(text, "s.yaml"), CATALOGUE)
    return str(caught.value)


def opened(path: Path | str) -> str:
    """What is said of a file that is no study."""
    with pytest.raises(StudyError) as caught:
        open_study(str(path))
    return str(caught.value)


# ── Whatever comes ────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, 2**64))
def test_damaged_studies_are_read_or_refused(seed: int) -> None:
    verdict = judged(damaged(Random(seed)))
    assert verdict.kind in ("accepted", "refused"), verdict.said


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.sampled_from(sorted(shipped())), st.text(max_size=12), st.floats(0, 1))
def test_text_of_any_kind_may_come_in_between(name: str, strange: str, place: float) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    at = int(place * len(text))
    verdict = judged(Case(name, text[:at] + strange + text[at:]))
    assert verdict.kind in ("accepted", "refused"), verdict.said


@steady
@given(st.text(max_size=40))
def test_text_of_any_kind_is_a_document_or_refused(text: str) -> None:
    verdict = judged(Case("nothing", text))
    assert verdict.kind in ("accepted", "refused"), verdict.said


def never(*_: object) -> None:
    while True:
        pass


def test_the_judge_sees_faults() -> None:
    """A fuzzer that finds nothing proves nothing unless it can."""
    assert judged(Case("", "name: x\n")).kind == "refused"
    assert judged(Case("", TOY)).kind == "accepted"
    assert judged(Case("", TOY, ("about=\x1b", "about=x"))).kind == "refused"
    assert judged(Case("", None)).kind == "tracebacks"  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.study_fuzz.MOST_SECONDS", 0.01)
        patch.setattr("benchmarks.study_fuzz.parse", never)
        assert judged(Case("", TOY)).kind == "hangs"
    for said, kind in (
        ("study.yaml:5: x", "wrong_lines"),
        ("nowhere", "wrong_lines"),
        ("study.yaml:1: \x1b", "untidy"),
    ):

        def fails(*_: object, said: str = said) -> None:
            raise StudyError(said)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("benchmarks.study_fuzz.parse", fails)
            assert judged(Case("", TOY)).kind == kind


# ── What fuzzing found ────────────────────────────────────────────────────────────────────────────────────────────────

FOUND = [
    ("about: [" + "{a: &a [*a" + "}]", "s.yaml:4: the alias *a stands inside what it names"),
    ("? {a: [1]}\n: x", "s.yaml:4: a key must be text, found a mapping"),
    ("about: 1" + "0" * 5000, "s.yaml:4: about: found a number of 5,001 characters; expected at most 1,000"),
    ("about: 0x" + "f" * 5000, "s.yaml:4: about: found a number of 5,002 characters; expected at most 1,000"),
    ("about: -1_0e9" + "9" * 1000, "s.yaml:4: about: found a number of 1,006 characters"),
    ("about: x\x91", "s.yaml:4: not valid YAML: the character '\\x91' may not stand here"),
    ("about: x\u2028y\n  - z: [", "s.yaml:4: not valid YAML: the character '\\u2028' may not stand here"),
    ("about: [1,\n", "s.yaml:4: not valid YAML: expected the node content"),  # not line 5, which is not there
    ("about: ___", "no complaint"),  # was taken for a number
    ("budget: {trials: {<<: *x}}", "s.yaml:4: not valid YAML: found undefined alias 'x'"),
]


@pytest.mark.parametrize(("line", "said"), FOUND, ids=[line[:20].strip() for line, _ in FOUND])
def test_what_fuzzing_found_stays_mended(line: str, said: str) -> None:
    if said == "no complaint":
        assert read_study(parse(TOY + line, "s.yaml"), CATALOGUE).about == "___"
    else:
        assert refused(TOY + line).startswith(said)


@pytest.mark.parametrize("bounds", ["[2, 1" + "0" * 400 + "]", "[-1" + "0" * 400 + ", 2]", f"[1, {2**63}]"])
def test_whole_numbers_that_no_array_holds_are_refused(bounds: str) -> None:
    text = f"name: x\nobjective: circuit_search\nspace:\n  circuits: {{length: {{int: {bounds}}}}}\n  task: molecule\n"
    assert "is too large" in refused(text)
    text = f"name: x\ndata: {{npz: {{path: x, limit: 1{'0' * 400}}}}}\nspace: {{method: simclr}}"
    assert refused(text).startswith("s.yaml:2: data.npz.limit: the number 1000")


def test_settings_of_thousands_of_steps_are_refused() -> None:
    with pytest.raises(StudyError, match=r"--set x\.x.*: a path of 5,000 steps\n  allowed: at most 40"):
        assign(parse(TOY, "s.yaml"), ".".join("x" * 5000) + "=1")


# ── Bounds ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def laughs(wide: int, deep: int) -> str:
    rows = [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * wide) if i else 'lol'}]" for i in range(deep)]
    return TOY + "\n".join(rows)


@pytest.mark.parametrize(("wide", "deep"), [(10, 10), (2, 39), (1000, 3), (30_000, 2)])
def test_a_billion_laughs_are_not_laughed(wide: int, deep: int) -> None:
    line, row, total = 4, 2, 9 + 1 + 2  # the toy study is 9 keys and values, the first row one key, a list and a word
    while total <= MOST_VALUES:
        line, row = line + 1, 1 + wide * row
        total += 1 + row
    text, started = laughs(wide, deep), time.process_time()
    with pytest.raises(StudyError) as caught:
        parse(text, "s.yaml")
    assert str(caught.value) == (
        f"s.yaml:{line}: with its aliases followed, the document has more than {MOST_VALUES:,} keys and values"
    )
    assert time.process_time() - started < 2


def test_many_aliases_of_long_text_are_refused() -> None:
    text = f"a: &a '{'x' * 10_000}'\nb: [{', '.join(['*a'] * 60)}]"
    with pytest.raises(StudyError, match=f"s.yaml:2: with its aliases.* more than {MOST_TEXT:,} characters"):
        parse(text, "s.yaml")
    assert len(parse(text.replace("*a, " * 20, "", 1), "s.yaml").plain()["b"]) == 40


def test_merge_keys_are_no_way_around() -> None:
    rows = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(900)) + "}"]
    rows += [f"a{n}: &a{n} {{x{n}: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 20)]
    with pytest.raises(
        StudyError, match=r"s\.yaml:4: with its aliases followed, the document has more than 20,000 keys"
    ):
        parse("\n".join(rows), "s.yaml")


def test_as_many_values_as_are_allowed_are_read() -> None:
    assert len(parse("[" + "1," * (MOST_VALUES - 1) + "]", "s.yaml").value) == MOST_VALUES - 1
    with pytest.raises(StudyError, match=r"more than 20,000 keys and values"):
        parse("[" + "1," * MOST_VALUES + "]", "s.yaml")


def test_long_text_is_refused_unread() -> None:
    started = time.process_time()
    with pytest.raises(StudyError, match=r"^s\.yaml: the document has 900,003 characters; expected at most 524,288$"):
        parse("a: " + "[" * 900_000, "s.yaml")
    assert time.process_time() - started < 1


def test_paths_of_long_keys_take_no_memory() -> None:
    node = parse("? " + "x" * 30_000 + "\n: [" + "[1]," * 5000 + "]", "s.yaml")
    (child,) = node.value.values()
    assert len(child.value) == 5000
    assert max(len(item.value[0].path) for item in child.value) < 300


def test_numbers_may_be_long_but_not_very() -> None:
    assert parse("a: 1" + "0" * (LONGEST_NUMBER - 1), "s.yaml").plain() == {"a": 10 ** (LONGEST_NUMBER - 1)}
    assert parse("a: '1" + "0" * LONGEST_NUMBER + "'", "s.yaml").plain()["a"].startswith("10")


# ── Messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_repeat_little_of_what_is_long() -> None:
    long, key = "x" * 10_000, "x" * 1000  # a longer key is one only after "? "
    for text in (
        f"name: {long}",
        f"{key}: 1\nname: x",
        f"? {long}\n: 1",
        f"name: x\nobjective: {long}",
        TOY + f"search: {{metric: {long}}}",
        TOY + f"search: {{{key}: {{{key}: 1}}}}",
        TOY + f"search: {{mode: {long}}}",
        f"name: x\nobjective: function\nspace: {{function: {{branin: {{{key}: 1}}}}}}",
        f"name: *{long}",
        f"name: !{long} x",
    ):
        said = refused(text)
        assert said.startswith("s.yaml:")
        assert " … " in said
        assert len(said) < 1500


@given(st.text(), st.integers(9, 100))
@steady
def test_shown_text_is_short_plain_and_the_same_where_it_can_be(text: str, most: int) -> None:
    found = shown(text, most)
    assert found.isprintable()
    assert len(found) <= 10 * (most + 3)
    assert found == text or len(text) > most or not text.isprintable()


def test_nothing_steers_the_terminal() -> None:
    assert complaint("a\x1b[31m:1", "b\x07\nc\x9b2J", ["\u202ed", "e\r"]) == (
        "a\\x1b[31m:1: b\\x07\nc\\x9b2J\n  allowed: \\u202ed, e\\r"
    )
    assert "\\x1b]0;evil\\x07" in refused('name: "\\e]0;evil\\a"')
    assert "no section 'a\\nb\\x00'" in refused('name: x\n"a\\nb\\0": 1')


# ── Names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = {
    "../x": "",
    "/tmp/x": "",
    "..": "",
    ".": "",
    "a/b": "",
    "a\\b": "",
    "~root": "",
    ".hidden": "",
    "-rf": "",
    "x.": "",
    "x..": "",
    "a b": "",
    "a\nb": "",
    "x" * 10_000: "",
    "x" * (LONGEST_NAME + 1): "",
    "a\0b": "",
    "．．": "FULLWIDTH FULL STOP",
    "quіckstart": "CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I",
    "a∕b": "DIVISION SLASH",
    "a\u202etxt": "'\\u202e' is RIGHT-TO-LEFT OVERRIDE",
    "１": "FULLWIDTH DIGIT ONE",
    "a\u0300": "COMBINING GRAVE ACCENT",
}


def quoted(name: str) -> str:
    """In YAML's double quotes."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in name) + '"'


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:12]))
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    file = refused(f"name: {quoted(name)}\nobjective: function\nspace: {{function: branin}}")
    assert file.startswith("s.yaml:1: name: a name becomes a folder; found '")
    with pytest.raises(StudyError) as caught:
        read_study(assign(parse(TOY, "s.yaml"), f"name={quoted(name)}"), CATALOGUE)
    flag = str(caught.value)
    assert flag.startswith('--set name="')
    for said in (file, flag):
        assert NAMES[name] in said
        assert "allowed: English letters, digits and . _ -" in said
        assert len(said) < 500


@pytest.mark.parametrize("name", ["x", "X-1", "a.b_c", "0", "x" * LONGEST_NAME, "a..b", "v1.0-"])
def test_other_names_are_taken(name: str) -> None:
    assert read_study(assign(parse(TOY, "s.yaml"), f"name='{name}'"), CATALOGUE).name == name


@steady
@given(st.text(min_size=1, max_size=70) | st.text("./\\ax", min_size=1, max_size=5))
def test_a_name_that_is_taken_is_a_folder_in_its_folder(name: str) -> None:
    try:
        taken = read_study(assign(parse(TOY, "s.yaml"), f"name={quoted(name)}"), CATALOGUE).name
    except StudyError:
        return
    path = Path("runs") / taken
    assert Path(os.path.normpath(path)) == path
    assert path.parent == Path("runs")
    assert taken.isascii()


def test_hostile_names_end_the_command_with_one_message(tmp_path: Path) -> None:
    """In a process of its own, as people meet it: exit code 2, no traceback, nothing written."""
    code = (
        "import sys; from click.testing import CliRunner; from search.cli import main\n"
        "for name in sys.stdin.read().split('\\n'):\n"
        "    done = CliRunner().invoke(main, ['run', 'quickstart', '--executor', 'serial', '--set', 'name=' + name])\n"
        "    said = done.stderr\n"
        "    print(done.exit_code, said.count('error: '), 'Traceback' in said, 'becomes a folder' in said)\n"
    )
    names = [quoted(name) for name in NAMES] + ["../x", "/etc/x", "．．/x", "x" * 10_000]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environment, said = os.environ | {"PYTHONPATH": os.getcwd()}, "\n".join(names)
        return subprocess.run(
            command, input=said, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    done = run(sys.executable, "-c", code)
    assert done.stdout.splitlines() == ["2 1 False True"] * len(names), done.stderr
    done = run(sys.executable, "-m", "search", "check", "quickstart", "--set", "name=../x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --set name=../x: name: a name becomes a folder; found '../x'")
    assert list(tmp_path.iterdir()) == []


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TOY.encode("utf-16"), "s.yaml:1: the file is in UTF-16 or UTF-32\n  allowed: UTF-8"),
        (TOY.encode("utf-32"), "s.yaml:1: the file is in UTF-16 or UTF-32\n  allowed: UTF-8"),
        (TOY.encode("utf-16-le"), "s.yaml:1: not valid YAML: the character '\\x00' may not stand here"),
        (TOY.encode() + b"about: caf\xe9", "s.yaml:4: the byte 0xe9 is not UTF-8\n  allowed: UTF-8"),
        (b"\xff" + TOY.encode(), "s.yaml:1: the byte 0xff is not UTF-8"),
        (TOY.encode() + b"about: \xed\xa0\x80", "s.yaml:4: the byte 0xed is not UTF-8"),  # half a surrogate pair
        (TOY.encode() + b"a: \0", "s.yaml:4: not valid YAML: the character '\\x00' may not stand here"),
        (b"", "s.yaml: the document is empty"),
        (b"#" * (LARGEST + 1), "s.yaml: the file is too large for a study\n  allowed: at most 65,536 bytes"),
    ],
)
def test_files_that_are_no_text_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(content)
    assert opened(tmp_path / "s.yaml").removeprefix(f"{tmp_path}/").startswith(said)


@pytest.mark.parametrize("text", ["\ufeff" + TOY, TOY.replace("\n", "\r\n"), TOY.replace("\n", "\r")])
def test_files_of_other_editors_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(text.encode())
    assert read_study(open_study(str(tmp_path / "s.yaml")), CATALOGUE).name == "x"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert opened(tmp_path).endswith(": this is a folder, not a study\n  allowed: the path of a YAML file")
    assert ": this is a pipe, not a study" in opened(tmp_path / "pipe")
    assert opened("/dev/zero").startswith("/dev/zero: this is a device or a socket, not a study")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        assert ": this is a device or a socket, not a study" in opened(tmp_path / "socket")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read: Too many levels of symbolic links" in opened(tmp_path / "loop")
    assert "cannot be read: File name too long" in opened("x" * 10_000)
    assert len(opened("x" * 10_000)) < 1000
    assert "cannot be read" in opened("a\0b")
    assert "cannot be read" in opened("~nobody-of-this-name/x.yaml")
    assert "there is no study of this name and no such file" in opened("\x1b[31m")
    assert "\x1b" not in opened("\x1b[31m")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wires: 4", "wires: 1" + "0" * 400, "s.yaml:1: wires: the number 1000"),
        ("[0, 1]", "[0, 1" + "0" * 400 + "]", "s.yaml:3: coupling.edges"),
        ("depth: 8", "depth: *d", "s.yaml:6: not valid YAML: found undefined alias 'd'"),
        ("ring", "{heavy_hex: 1" + "0" * 300 + "}", "s.yaml:4: coupling_of.CZ.heavy_hex"),
    ],
)
def test_hostile_circuit_spaces_are_refused(old: str, new: str, said: str) -> None:
    assert read_sampler(CIRCUITS, "s.yaml").wires == 4
    with pytest.raises(StudyError) as caught:
        read_sampler(CIRCUITS.replace(old, new, 1), "s.yaml")
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 1500
