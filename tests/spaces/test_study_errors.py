"""Studies that are wrong, read with a small catalogue of made-up components: each is told where and what.

The base study, of which each case replaces one line, stands in `conftest.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.components import Catalogue
from spaces.document import Node, StudyError, parse
from spaces.knobs import knobs
from spaces.study import Study, read_study

Edit = Callable[[int, str], str]
Read = Callable[[str], Study]

WRONG: list[tuple[Any, ...]] = [
    # the document and its sections
    (1, "name x", "2", "not valid YAML"),
    (1, "", "1", "the study has no name"),
    (1, "name: a/b", "1: name", "becomes a folder", "'a/b'", "letters, digits"),
    (1, "name: ..", "1: name", "becomes a folder", "'..'"),
    (1, "name: .hidden", "1: name", "becomes a folder"),
    (1, "name: " + "x" * 65, "1: name", "becomes a folder"),
    (1, "name: 5", "1: name", "expected text, found the number 5"),
    (1, "name: 2026-01-01", "1: name", "the date 2026-01-01", "quotes"),
    (1, "name: ''", "1: name", "expected text, found the text ''"),
    (1, "name: [a]", "1: name", "expected text, found a list of 1"),
    (2, "about:", "2: about", "expected text, found nothing"),
    (2, "abuot: x", "2: abuot", "no section 'abuot'", "name, about, objective", "did you mean 'about'?"),
    (2, "name: again", "2", "the key 'name' stands twice"),
    (3, "objective: pretrian", "3: objective", "no objective 'pretrian'", "pretrain, toy", "did you mean 'pretrain'?"),
    (3, "objective: {pretrain: 1}", "3: objective", "the name of one objective, found a mapping", "pretrain, toy"),
    (3, "objective: toy", "4: data", "this objective takes no data"),
    (4, "", "1", "the study names no data", "broken, digits, npz"),
    (4, "data: digit", "4: data", "no data 'digit'", "did you mean 'digits'?"),
    (4, "data: {digits: , npz: x}", "4: data", "expected one data, found 2", "digits, npz"),
    (4, "data: digits\ndata: npz", "5", "the key 'data' stands twice"),
    (4, "data: [digits]", "4: data", "the name of one data, found a list of 1", "digits, npz"),
    (4, "data: {npz: 5}", "4: data.npz", "expected text, found the number 5"),
    (4, "data: {npz: {paht: x}}", "4: data.npz.paht", "no setting 'paht'", "path, limit", "did you mean 'path'?"),
    (4, "data: {digits: x}", "4: data.digits", "expected a mapping of settings, found the text 'x'"),
    (4, "data: {}", "4: data", "expected one data, found 0"),
    # the space
    (6, "  methods:", "6: space.methods", "no space part 'methods'", "method, views", "did you mean 'method'?"),
    (7, "    alhpa: search", "7: space.method.alhpa", "no method 'alhpa'", "alpha, beta", "did you mean 'alpha'?"),
    (7, "    alpha: serach", "7: space.method.alpha", "the text 'serach'", "did you mean 'search'?"),
    (7, "    alpha:", "7: space.method.alpha", "'search', 'default' or a mapping of knobs, found nothing"),
    (7, "    alpha: 3", "7: space.method.alpha", "a mapping of knobs, found the number 3"),
    (7, "    alpha: [heads]", "7: space.method.alpha", "a mapping of knobs, found a list of 1"),
    (7, "    alpha: {hads: 1}", "7: space.method.alpha.hads", "no knob 'hads'", "did you mean 'heads'?"),
    (7, "    beta: off", "8", "the key 'beta' stands twice"),
    (8, "    beta: {low: 0.9}", "8: space.method.beta", "low must not exceed high, got 0.9 and 0.8"),
    (9, "  views: blr", "9: space.views", "no view 'blr'", "blur, crop, flip", "did you mean 'blur'?"),
    (9, "  views: [crop, flop]", "9: space.views[1]", "no view 'flop'", "did you mean 'flip'?"),
    (9, "  views: [crop, crop]", "9: space.views[1]", "'crop' is named twice"),
    (9, "  views: [crop, {flip: 1}]", "9: space.views[1]", "the name of one view, found a mapping", "blur, crop"),
    (9, "  views: 3", "9: space.views", "expected a mapping of views, found the number 3"),
    (9, "  views: {crop: true}", "9: space.views.crop", "a mapping of knobs, found true"),
    (10, "  body: {cnn: off}", "10: space.body", "no body is left to choose from", "cnn, mlp, vit"),
    (10, "  body: []", "10: space.body", "no body is left"),
    (10, "  body: transformer", "10: space.body", "no body 'transformer'"),
    (11, "  optimizer: off", "11: space.optimizer", "'search', 'default' or a mapping of knobs, found the text 'off'"),
    (11, "  optimizer: [lr]", "11: space.optimizer", "a mapping of knobs, found a list of 1"),
    (11, "  optimizer: {lr: off}", "11: space.optimizer.lr", "expected a number, found the text 'off'", "1e-05 .. 1"),
    (11, "  optimizer: {lr: {lin: [0, 1]}}", "11: space.optimizer.lr.lin", "no part of a range 'lin'", "uniform, log"),
    (11, "  optimizer: {batch: 17}", "11: space.optimizer.batch", "17 is out of bounds", "16 | 32 | 64"),
    (11, "  optimizer: {batch: {int: [16, 64]}}", "11: space.optimizer.batch.int", "16 .. 64 leaves", "16 | 32 | 64"),
    # the other sections
    (12, "probe: {k: 0}", "12: probe.k", "0 is out of bounds", "1 .. 50"),
    (12, "probe: 5", "12: probe", "expected a mapping of settings, found the number 5"),
    (13, "budget: {trials: 2.5}", "13: budget.trials", "a whole number, found the number 2.5", "1 .. 1000000"),
    (13, "budget: {trials: true}", "13: budget.trials", "a whole number, found true"),
    (13, "budget: {trials: 0}", "13: budget.trials", "0 is out of bounds"),
    (13, "budget: {epoch: 3}", "13: budget.epoch", "no setting 'epoch'", "did you mean 'epochs'?"),
    (13, "budget: {epochs: '9'}", "13: budget.epochs", "a whole number, found the text '9'"),
    (13, "budget: 24", "13: budget", "expected a mapping of settings, found the number 24"),
    (13, "budget: [8, 9]", "13: budget", "expected a mapping of settings, found a list of 2"),
    (14, "search: tree", "14: search", "expected a mapping of search settings, found the text 'tree'"),
    (14, "search: {metric: acuracy}", "14: search.metric", "the metric 'acuracy'", "did you mean 'accuracy'?"),
    (14, "search: {metric: 3}", "14: search.metric", "expected the name of a metric, found the number 3"),
    (14, "search: {mode: maximum}", "14: search.mode", "a mode, found the text 'maximum'", "did you mean 'max'?"),
    (14, "search: {seed: -1}", "14: search.seed", "-1 is out of bounds", "0 .. 2147483647"),
    (14, "search: {startegy: tree}", "14: search.startegy", "'startegy'", "did you mean 'strategy'?"),
    (14, "search: {strategy: tre}", "14: search.strategy", "no strategy 'tre'", "did you mean 'tree'?"),
    (14, "search: {strategy: {tree: {startup: 0}}}", "14: search.strategy.tree.startup", "0 is out of bounds"),
    (
        14,
        "search: {strategy: [tree]}",
        "14: search.strategy",
        "the name of one strategy, found a list of 1",
        "tpe, tree",
    ),
    (14, "search: {strategy: {tree: 1, tpe: 2}}", "14: search.strategy", "expected one strategy, found 2"),
    (14, "search: {scheduler: }", "14: search.scheduler", "the name of one scheduler, found nothing", "asha"),
    (15, "resources: {cpu: .nan}", "15: resources.cpu", "expected a finite number, found nan", "0 .. 1024"),
    (15, "resources: {gpu: .inf}", "15: resources.gpu", "expected a finite number, found inf"),
    (15, "resources: {gpu: true}", "15: resources.gpu", "expected a number, found true"),
    (15, "resources: {gpu: -1}", "15: resources.gpu", "-1.0 is out of bounds", "0 .. 64"),
    (15, "resources: {cpu: 1" + "0" * 400 + "}", "15: resources.cpu", "expected a number"),
] + [
    (7, f"    alpha: {{{name}: {written}}}", f"7: space.method.alpha.{name}{below}", *words)
    for name, written, below, *words in [
        ("temperature", "2", "", "2.0 is out of bounds", "0.05 .. 1 (log)"),
        ("temperature", "warm", "", "expected a number, found the text 'warm'", "0.05 .. 1 (log)"),
        ("temperature", "true", "", "expected a number, found true"),
        ("temperature", "", "", "expected a number, found nothing"),
        ("temperature", ".nan", "", "expected a finite number, found nan"),
        ("temperature", "[0.1, 1]", "", "expected one value, found a list", "{choice: [...]}"),
        ("temperature", "{}", "", "a range is one of these", "uniform, log, int, choice"),
        ("temperature", "{log: [0.1, 1], uniform: [0, 1]}", "", "a range is one of these"),
        ("temperature", "{lgo: [0.1, 1]}", ".lgo", "no part of a range 'lgo'", "did you mean 'log'?"),
        ("temperature", "{log: 0.1}", ".log", "'log' takes [low, high], found the number 0.1"),
        ("temperature", "{log: [0.1]}", ".log", "'log' takes [low, high], found a list of 1"),
        ("temperature", "{log: [0.1, 0.2, 0.3]}", ".log", "'log' takes [low, high], found a list of 3"),
        ("temperature", "{log: [0, 1]}", ".log", "a logarithmic range must start above 0, got [0.0, 1.0]"),
        ("temperature", "{log: [-1, 1]}", ".log", "a logarithmic range must start above 0"),
        ("temperature", "{log: [0.5, 0.1]}", ".log", "lower bound must not exceed the upper one, got [0.5, 0.1]"),
        ("temperature", "{log: [0.01, 1]}", ".log", "0.01 .. 1 (log) leaves the declared one", "0.05 .. 1 (log)"),
        ("temperature", "{uniform: [0.1, 1.0000001]}", ".uniform", "0.1 .. 1.0000001 leaves the declared one"),
        ("temperature", "{log: [a, 1]}", ".log[0]", "expected a number, found the text 'a'"),
        ("temperature", "{log: [0.1, .inf]}", ".log[1]", "expected a finite number, found inf"),
        ("temperature", "{int: [1, 1]}", ".int", "'temperature' takes fractions", "uniform, log, choice"),
        ("temperature", "{choice: 0.1}", ".choice", "'choice' takes a list of options, found the number 0.1"),
        ("temperature", "{choice: []}", ".choice", "a choice needs at least one option"),
        ("temperature", "{choice: [0.1, 0.1]}", ".choice", "must not name an option twice"),
        ("temperature", "{choice: [1, 1.0]}", ".choice", "must not name an option twice"),
        ("temperature", "{choice: [0.1, 3]}", ".choice[1]", "3.0 is out of bounds", "0.05 .. 1 (log)"),
        ("heads", "2.5", "", "expected a whole number, found the number 2.5", "1 .. 8"),
        ("heads", "true", "", "expected a whole number, found true"),
        ("heads", "9", "", "9 is out of bounds", "1 .. 8"),
        ("heads", "{int: [0, 8]}", ".int", "0 .. 8 leaves the declared one", "1 .. 8"),
        ("heads", "{int: [1.5, 8]}", ".int[0]", "expected a whole number, found the number 1.5"),
        ("heads", "{log: [0, 8]}", ".log", "a logarithmic range must start above 0, got [0, 8]"),
        ("heads", "{int: [8, 1]}", ".int", "the lower bound must not exceed the upper one, got [8, 1]"),
        ("width", "{int: [16, 64]}", ".int", "16 .. 64 leaves the declared one", "16 | 32 | 64"),
        ("kind", "sinn", "", "'sinn' is out of bounds", "cosine, sine", "did you mean 'sine'?"),
        ("kind", "3", "", "expected text, found the number 3", "cosine | sine"),
        ("kind", "{uniform: [0, 1]}", ".uniform", "'kind' is no number, so it has no 'uniform' range", "choice"),
        ("kind", "{choice: [sine, tan]}", ".choice[1]", "'tan' is out of bounds", "cosine, sine"),
        ("warm", "off", "", "expected true or false, found the text 'off'"),
        ("warm", "1", "", "expected true or false, found the number 1"),
        ("warm", "{int: [0, 1]}", ".int", "'warm' is no number"),
        ("steps", "search", "", "'steps' has no range to search; give it a value"),
        ("note", "5", "", "expected text, found the number 5"),
    ]
]


@pytest.mark.parametrize(
    ("line", "text", "place", "words"),
    [(line, text, place, words) for line, text, place, *words in WRONG],
    ids=[f"{line}: {text.strip()[:60]}" for line, text, *_ in WRONG],
)
def test_wrong_studies_are_told_where_and_what(
    edited: Edit, read: Read, line: int, text: str, place: str, words: list[str]
) -> None:
    with pytest.raises(StudyError) as caught:
        read(edited(line, text))
    said = str(caught.value)
    assert said.startswith(f"s.yaml:{place}: "), said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- name: x", "s.yaml:1: expected a study (a mapping with name, data, space, ...), found a list of 1"),
        ("just words", "s.yaml:1: expected a study"),
        ("name: x\nobjective: pretrain\ndata: digits", "s.yaml:1: space: the space names no method\n  allowed: alpha"),
        ("name: x\nobjective: toy\nspace:", "s.yaml:3: space: expected a mapping of space parts, found nothing"),
        ("name: x\nobjective: toy\nspace: [a]", "s.yaml:3: space: expected a mapping of space parts, found a list"),
        ("name: x\nobjective: toy\nspace:\n  function: {}", "s.yaml:4: space.function: no function is left"),
        (
            "name: x\nobjective: pretrain\ndata: digits\nspace:\n  method: [beta, mask]\n  body: [cnn, mlp]",
            "s.yaml:6: space.body: method 'mask' needs tokens, which none of cnn, mlp offers",
        ),
        (
            "name: x\nobjective: pretrain\ndata: digits\nspace:\n  method: mask",
            "s.yaml:4: space.body: method 'mask' needs tokens, which none of cnn offers",
        ),
    ],
)
def test_whole_studies_that_cannot_be(read: Read, text: str, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        read(text)
    assert str(caught.value).startswith(said)


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.just(10**400),
        st.sampled_from(["search", "default", "off", "alpha", "mask", "crop", "npz", "", "..", "log", "choice", "x y"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["log", "int", "choice", "alpha", "crop", "lr", "asha", "metric"]), inner)
    ),
    max_leaves=4,
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data())
def test_any_damage_ends_in_a_study_or_a_complaint(edited: Edit, catalogue: Catalogue, data: st.DataObject) -> None:
    """One value anywhere in the study is replaced by junk: nothing but a StudyError may come of it."""
    document = parse(edited(0, ""), "s.yaml")

    def damaged(node: Node) -> Node:
        below = node.value if isinstance(node.value, dict) else {}
        name = data.draw(st.sampled_from([None, *below] if node.path else [*below]))
        if name is None:
            return noded(data.draw(JUNK), node)
        return Node({**below, name: damaged(below[name])}, node.origin, node.path)

    def noded(junk: Any, node: Node) -> Node:
        if isinstance(junk, dict):
            junk = {name: noded(value, node) for name, value in junk.items()}
        elif isinstance(junk, list):
            junk = [noded(value, node) for value in junk]
        return Node(junk, node.origin, node.path)

    with contextlib.suppress(StudyError):
        study = read_study(damaged(document), catalogue)
        assert all(knob.domain.grid(2) for knob in knobs(study.space))
