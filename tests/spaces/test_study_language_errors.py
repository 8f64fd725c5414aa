"""Studies that misuse the language of spaces and goals: each is told where and what.

The base study, of which cases replace lines, stands in `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spaces.document import StudyError
from spaces.study import Study

Edit = Callable[[int, str], str]
Read = Callable[[str], Study]


KNOB: list[tuple[str, ...]] = [  # of the method alpha: its name, how it is written, the place below it, what is said
    ("share", "{uniform: [0, 1], step: 0}", ".step", "a step must be above 0, found 0"),
    ("share", "{uniform: [0, 1], step: -0.1}", ".step", "a step must be above 0, found -0.1"),
    ("share", "{uniform: [0, 1], step: a}", ".step", "expected a number, found the text 'a'"),
    ("share", "{uniform: [0, 1], step: 1e-300}", ".step", "the step 1e-300 is too small for [0.0, 1.0]"),
    ("share", "{uniform: [0, 1], step: .inf}", ".step", "expected a finite number, found inf"),
    ("heads", "{int: [1, 8], step: 0.5}", ".step", "expected a whole number, found the number 0.5"),
    ("heads", "{int: [1, 8], step: 0}", ".step", "a step must be above 0, found 0"),
    ("heads", "{log: [1, 8], step: 2}", ".step", "'log' has no step", "uniform, int"),
    ("temperature", "{log: [0.1, 1], step: 0.1}", ".step", "'log' has no step", "uniform, int"),
    ("width", "{choice: [16, 32], step: 16}", ".step", "'choice' has no step"),
    ("width", "{ordinal: [16, 32], step: 16}", ".step", "'ordinal' has no step"),
    ("share", "{step: 0.1}", "", "a range is one of these", "uniform, log, int, choice, ordinal, either, same"),
    ("share", "{uniform: [0, 1], setp: 0.1}", ".setp", "no part of a range 'setp'", "did you mean 'step'?"),
    ("width", "{ordinal: 16}", ".ordinal", "'ordinal' takes a list of options, found the number 16"),
    ("width", "{ordinal: []}", ".ordinal", "a choice needs at least one option"),
    ("width", "{ordinal: [16, 17]}", ".ordinal[1]", "17 is out of bounds", "16 | 32 | 64"),
    ("width", "{ordinal: [16, 16]}", ".ordinal", "must not name an option twice"),
    ("width", "{ordinal: [16], choice: [16]}", "", "a range is one of these"),
    # beliefs
    ("share", "{uniform: [0, 1], confidence: high}", ".confidence", "confidence in what? Say it by 'default'"),
    ("share", "{uniform: [0, 0.5], default: 0.6}", ".default", "the default 0.6 is not in 0 .. 0.5"),
    ("share", "{uniform: [0, 1], step: 0.25, default: 0.3}", ".default", "default 0.3 is not in 0 .. 1 (step 0.25)"),
    ("temperature", "{log: [0.1, 1], default: 0}", ".default", "the default 0.0 is not in 0.1 .. 1 (log)"),
    ("heads", "{int: [1, 3], default: 4}", ".default", "the default 4 is not in 1 .. 3"),
    ("heads", "{int: [1, 3], default: 1.5}", ".default", "expected a whole number, found the number 1.5"),
    ("width", "{choice: [16, 32], default: 64}", ".default", "the default 64 is not in 16 | 32"),
    ("width", "{ordinal: [16, 32], default: 64}", ".default", "the default 64 is not in 16 < 32"),
    ("kind", "{choice: [sine], default: 3}", ".default", "expected text, found the number 3"),
    ("share", "{uniform: [0, 1], default: .nan}", ".default", "expected a finite number, found nan"),
    (
        *("share", "{uniform: [0, 1], default: 1, confidence: hihg}", ".confidence"),
        *("expected a confidence, found the text 'hihg'", "low, medium, high"),
    ),
    ("share", "{uniform: [0, 1], default: 1, confidence: 3}", ".confidence", "found the number 3", "low, medium, high"),
    ("note", "{choice: ['the default', 'the default']}", ".choice", "must not name an option twice"),
    # one of several
    ("heads", "{either: [1]}", ".either", "'either' needs two ways at least"),
    ("heads", "{either: []}", ".either", "'either' needs two ways at least"),
    ("heads", "{either: {}}", ".either", "'either' needs two ways at least"),
    ("heads", "{either: 3}", ".either", "a list of ways, or a mapping that names them, found the number 3"),
    ("heads", "{either: [1, 9]}", ".either[1]", "9 is out of bounds", "1 .. 8"),
    ("heads", "{either: [1, {int: [2, 9]}]}", ".either[1].int", "the range 2 .. 9 leaves the declared one", "1 .. 8"),
    ("heads", "{either: [1, {either: [2]}]}", ".either[1].either", "'either' needs two ways at least"),
    ("heads", "{either: [1, 2], default: 1}", ".default", "no setting beside 'either' 'default'"),
    ("heads", "{either: {'a[b': 1, c: 2}}", ".either.a[b", "'a[b' cannot name a way", "letters, digits and _"),
    ("heads", "{either: {'a.b': 1, c: 2}}", ".either.a.b", "'a.b' cannot name a way"),
    # the same as another
    ("share", "{same: 3}", ".same", "expected text, found the number 3"),
    ("share", "{same: }", ".same", "expected text, found nothing"),
    ("share", "{same: scael}", ".same", "no knob to be the same as: there is no 'scael'; did you mean 'scale'?"),
    ("share", "{same: alpha.share}", ".same", "there is no 'alpha.share'"),
    ("share", "{same: low, default: 0}", ".default", "no setting beside 'same' 'default'"),
    ("heads", "{same: crop.scale}", ".same", "'views.crop.scale' has the range 0.1 .. 1, which does not fit", "1 .. 8"),
    ("temperature", "{same: beta.low}", ".same", "'method.beta.low' has the range 0 .. 1, which", "0.05 .. 1 (log)"),
    ("width", "{same: cnn.depth}", ".same", "'body.cnn.depth' has the range 2, which does not", "16 | 32 | 64"),
    ("kind", "{same: lr}", ".same", "'optimizer.lr' has the range", "cosine | sine"),
    ("steps", "{same: lr}", ".same", "'optimizer.lr' has the range"),
    ("note", "{same: batch}", ".same", "'optimizer.batch' has the range 32"),
    ("share", "{same: method}", ".same", "there is no 'method'"),
]  # fmt: skip

LINES: list[tuple[Any, ...]] = [
    (7, "    alpha: {either: [default]}", "7: space.method.alpha.either", "'either' needs two ways at least"),
    (7, "    alpha: {either: [default, off]}", "7: space.method.alpha.either[1]", "found the text 'off'"),
    (7, "    alpha: {either: [default, {hads: 1}]}", "7: space.method.alpha.either[1].hads", "did you mean 'heads'?"),
    (7, "    alpha: {either: [default, search], heads: 1}", "7: space.method.alpha.heads", "beside 'either' 'heads'"),
    (8, "    beta: {either: [default, {low: 0.9}]}", "8: space.method.beta.either[1]", "low must not exceed high"),
    (8, "    beta: {low: {same: high}, high: {same: low}}", "8: space.method.beta.low.same", "there is no 'high'"),
    (8, "    beta: {low: {same: low}}", "8: space.method.beta.low.same", "there is no 'low'"),
    (10, "  body: {cnn: off, mlp: off}", "10: space.body", "no body is left to choose from", "cnn, mlp, vit"),
    # sequences
    (9, "  views: {sequence: {}}", "9: space.views.sequence", "a sequence of what?", "of"),
    (9, "  views: {sequence: {of: []}}", "9: space.views.sequence.of", "no view is left to choose from", "blur, crop"),
    (9, "  views: {sequence: {of: {}}}", "9: space.views.sequence.of", "no view is left to choose from"),
    (9, "  views: {sequence: {of: {crop: off}}}", "9: space.views.sequence.of", "no view is left to choose from"),
    (9, "  views: {sequence: {of: crpo}}", "9: space.views.sequence.of", "no view 'crpo'", "did you mean 'crop'?"),
    (9, "  views: {sequence: search}", "9: space.views.sequence", "a mapping of setting of a sequences"),
    (9, "  views: {sequence: {off: search}}", "9: space.views.sequence.off", "no setting of a sequence 'off'", "of"),
    (9, "  views: {sequence: {of: [crop, flip], length: 3}}", "9: space.views.sequence.length", "3 is out", "0 .. 2"),
    (9, "  views: {sequence: {of: crop, length: [1, 2]}}", "9: space.views.sequence.length[1]", "2 is out of bounds"),
    (9, "  views: {sequence: {of: crop, length: [1, 0]}}", "9: space.views.sequence.length", "lower bound must not"),
    (9, "  views: {sequence: {of: crop, length: [1]}}", "9: space.views.sequence.length", "a number or [low, high]"),
    (9, "  views: {sequence: {of: crop, length: -1}}", "9: space.views.sequence.length", "-1 is out of bounds"),
    (9, "  views: {sequence: {of: crop, length: all}}", "9: space.views.sequence.length", "expected a whole number"),
    (9, "  views: {sequence: {of: crop, length: 9, repeat: true}}", "9: space.views.sequence.length", "9 is", "0 .. 8"),
    (9, "  views: {sequence: {of: crop, repeat: 2}}", "9: space.views.sequence.repeat", "expected true or false"),
    (9, "  views: {sequence: {of: crop}, flip: search}", "9: space.views.flip", "beside 'sequence' 'flip'"),
    (10, "  body: {sequence: {of: cnn}}", "10: space.body.sequence", "no body 'sequence'", "cnn, mlp, vit"),
    # goals
    (14, "search: {metric: []}", "14: search.metric", "expected the name of a metric, found an empty list"),
    (14, "search: {metric: [loss, los]}", "14: search.metric[1]", "the metric 'los'", "did you mean 'loss'?"),
    (14, "search: {metric: [loss, loss]}", "14: search.metric[1]", "'loss' is named twice"),
    (14, "search: {metric: [loss, 3]}", "14: search.metric[1]", "expected the name of a metric, found the number 3"),
    (14, "search: {metric: {loss: min}}", "14: search.metric", "expected the name of a metric, found a mapping"),
    (14, "search: {metric: [loss, accuracy], mode: min}", "14: search.mode", "expected 2 modes, one a metric, found 1"),
    (14, "search: {metric: loss, mode: [min, max]}", "14: search.mode", "expected 1 modes, one a metric, found 2"),
    (14, "search: {mode: []}", "14: search.mode", "expected 1 modes, one a metric, found 0"),
    (14, "search: {metric: [loss, accuracy], mode: [min, mxa]}", "14: search.mode[1]", "'mxa'", "you mean 'max'?"),
    (14, "search: {subject_to: los < 2}", "14: search.subject_to", "there is no 'los'; did you mean 'loss'?"),
    (14, "search: {subject_to: [loss < 2, loss < 2]}", "14: search.subject_to[1]", "'loss < 2' is named twice"),
    (14, "search: {subject_to: 3}", "14: search.subject_to", "expected a condition, found the number 3"),
    (14, "search: {subject_to: loss + 1}", "14: search.subject_to", "it is no condition; compare something"),
    (14, "search: {subject_to: max(loss) < 1}", "14: search.subject_to", "nothing can be called in it"),
    (14, "search: {subject_to: lr < 1}", "14: search.subject_to", "there is no 'lr'"),
]  # fmt: skip

WHERE: list[tuple[str, ...]] = [  # how it is written, the place below `where`, what is said
    ("3", "", "expected text, found the number 3"),
    ("true", "", "expected text, found true"),
    ("", "", "expected text, found nothing"),
    ("{a: 1}", "", "expected text, found a mapping"),
    ("[low < high, 3]", "[1]", "expected text, found the number 3"),
    ("[low < high, ['low < 1']]", "[1]", "expected text, found a list of 1"),
    ("lowest < high", "", "is no condition on knobs: there is no 'lowest'; did you mean 'low'?"),
    ("[low < high, loss < 1]", "[1]", "'loss < 1' is no condition on knobs: there is no 'loss'"),
    ("low < ", "", "'low <' is no condition on knobs: it cannot be read"),
    ("low + high", "", "it is no condition; compare something with something"),
    ("1 < 2", "", "it speaks of no knob or metric"),
    ("min(low, high) < 1", "", "nothing can be called in it; it may have numbers, 'words', names"),
    ("__import__('os').system('true') < low", "", "nothing can be called in it"),
    ("low.__class__ == 1", "", "there is no 'low.__class__'"),
    ("low[0] < 1", "", "x[...] has no meaning in it"),
    ("9**9**9 < low", "", "configs drawn at random to which '9**9**9 < low' applies none meets it"),
    ("low > high + 1", "", "configs drawn at random to which 'low > high + 1' applies none meets it", "can be met"),
    ("[lr < 1, low > high + 1]", "[1]", "to which 'low > high + 1' applies none meets it", "can be met"),
    ("lr > 1", "", "of 2000 configs drawn at random to which 'lr > 1' applies none", "conditions that can be met"),
    ("[lr > 0.01, lr < 0.005]", "", "none keeps to this: 'lr > 0.01' by ", "'lr < 0.005' by "),
    ("lr < 'a'", "", "to which 'lr < 'a'' applies none meets it"),
    ("lr / 0 < 1", "", "to which 'lr / 0 < 1' applies none meets it"),
    (f"[{', '.join(['lr < 1'] * 33)}]", "", "33 conditions are too many", "at most 32"),
    (f"[{', '.join(['lr < ' + '1' * 900] * 3)}]", "", "more than 2,000 characters together"),
    ("lr < " + "1" * 1001, "", "it is longer than 1000 characters"),
    ("lr < " + "-" * 50 + "1", "", "it is nested deeper than 20 levels"),
]
CASES = [
    *(
        (7, f"    alpha: {{{n}: {text}}}", f"7: space.method.alpha.{n}{below}", *words)
        for n, text, below, *words in KNOB
    ),
    *LINES,
    *(
        (11, f"  optimizer: {{lr: {{log: [1e-4, 0.1]}}}}\n  where: {t}", f"12: space.where{b}", *w)
        for t, b, *w in WHERE
    ),
]


@pytest.mark.parametrize(
    ("line", "text", "place", "words"),
    [(line, text, place, words) for line, text, place, *words in CASES],
    ids=[f"{line}: {text.strip()[:70]}" for line, text, _, *words in CASES],
)
def test_what_is_wrong_is_told_where_and_what(
    edited: Edit, read: Read, line: int, text: str, place: str, words: list[str]
) -> None:
    with pytest.raises(StudyError) as caught:
        read(edited(line, text))
    said = str(caught.value)
    assert said.startswith(f"s.yaml:{place}: "), said
    for word in words:
        assert word in said, said
