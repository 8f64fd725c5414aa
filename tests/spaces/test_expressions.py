"""Conditions: they mean what Python means by the same text, and nothing else can be said in them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.expressions import LONGEST, Expression, parse, resolve

steady = settings(deadline=None, derandomize=True, max_examples=400)
KNOWN = ["a", "b", "crop.low", "kind", "on"]
VALUES: dict[str, Any] = {"a": 3, "b": 0.5, "crop.low": 2.0, "kind": "cosine", "on": True}


class Crop:
    """What `crop.low` reads in Python."""

    def __init__(self, low: float) -> None:
        self.low = low


NUMBERS = st.recursive(
    st.integers(0, 9).map(str) | st.sampled_from(["0.5", "2.5", "1e3", "a", "b", "crop.low", "on", "True"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from([" + ", "-", " * ", "/", "//", " % ", "**"]), inner).map("".join)
        | inner.map("-{}".format)
        | inner.map("({})".format)
    ),
    max_leaves=5,
)
WORDS = st.sampled_from(["kind", "'cosine'", '"sine"'])
ORDERS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
COMPARED = (
    st.tuples(NUMBERS, ORDERS, NUMBERS).map(" ".join)
    | st.tuples(NUMBERS, ORDERS, NUMBERS, ORDERS, NUMBERS).map(" ".join)
    | st.tuples(WORDS, st.sampled_from(["==", "!=", "<"]), WORDS).map(" ".join)
    | st.tuples(NUMBERS, ORDERS, WORDS).map(" ".join)
    | st.builds("{} {} [{}, {}]".format, NUMBERS | WORDS, st.sampled_from(["in", "not in"]), NUMBERS | WORDS, WORDS)
    | st.builds("{} in ({}, 'sine')".format, WORDS, NUMBERS)
)
CONDITIONS = st.recursive(
    COMPARED | st.just("on"),
    lambda inner: (
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join)
        | inner.map("not {}".format)
        | inner.map("({})".format)
    ),
    max_leaves=4,
)


def python(text: str, values: dict[str, Any]) -> bool:
    """What Python says; arithmetic that has no real result is not met, as are words compared with numbers."""
    known = {name: value for name, value in values.items() if "." not in name} | {"crop": Crop(values["crop.low"])}
    try:
        found = eval(text, {"__builtins__": {}}, known)
    except (ArithmeticError, TypeError):
        return False
    return bool(found)


@steady
@given(CONDITIONS, st.integers(-4, 4), st.floats(-2, 2).map(lambda x: round(x, 2)), st.booleans())
def test_a_condition_means_what_it_means_in_python(text: str, a: int, b: float, on: bool) -> None:
    values = {**VALUES, "a": a, "b": b, "on": on}
    text = f"{text} and a == a"  # a condition speaks of something
    condition = parse(text, KNOWN)
    if "**" in text:  # floats alone: Python would make whole numbers without end, and complex ones, of some powers
        assert condition.holds(values) in (True, False)
    else:
        assert condition.holds(values) is python(text, values)


@steady
@given(CONDITIONS, st.sampled_from([{}, {"a": 1}, {"a": "word", "b": None}, {"a": math.nan, "b": math.inf}]))
def test_the_excess_is_zero_where_a_condition_holds_and_else_above(text: str, more: dict[str, Any]) -> None:
    try:
        condition = parse(text, KNOWN)
    except ValueError:
        return
    values = {**VALUES, **more}
    assert (condition.excess(values) == 0) is condition.holds(values)
    assert condition.excess(values) >= 0


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a + 2 * 3 == 9", True),
        ("(a + 2) * 3 == 15", True),
        ("2 * a ** 2 == 18", True),
        ("-a ** 2 == -9", True),
        ("2 ** a ** 2 == 512", True),
        ("a - 2 - 1 == 0", True),
        ("7 // a == 2 and 7 % a == 1", True),
        ("a / 2 == 1.5", True),
        ("1 < a < 4", True),
        ("1 < a < 3", False),
        ("4 > a <= 3 != 2", True),
        ("a < 1 or a > 2 and b < 1", True),
        ("(a < 1 or a > 2) and b > 1", False),
        ("not a < 1", True),
        ("not (a < 1 or a > 2)", False),
        ("not not on", True),
        ("on", True),
        ("kind == 'cosine'", True),
        ("kind in ['sine', 'cosine']", True),
        ("kind not in ('sine', 'cosine')", False),
        ("a in [1, 2, 3] and a not in [1, 2]", True),
        ("on == True", True),
        ("  a   <\t4 ", True),
    ],
)
def test_precedence_chains_and_words(text: str, holds: bool) -> None:
    assert parse(text, KNOWN).holds(VALUES) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("1 / (a - 3) > 0", "1 / (a - 3) < 0", "1 // (a - 3) == 0", "1 % (a - 3) == 0", "kind < 4", "a < 'x'"),
        *("kind + 1 > 0", "-kind < 0", "a in 3", "a in kind", "9 ** 9 ** 9 > a", "(-a) ** 0.5 > 0"),
        *("10 ** 400 > a", "0 ** -a > 1", "a * 1e308 * 1e308 - a * 1e308 * 1e308 < 1", "[a] < 3"),
    ],
)
def test_what_has_no_meaning_is_not_met(text: str) -> None:
    condition = parse(text, KNOWN)
    assert not condition.holds(VALUES)
    assert condition.excess(VALUES) > 0


REFUSED = {
    "called": [
        *("a()", "a(1) < 2", "min(a, b) < 1", "crop.low() < 1", "kind.upper() == 'X'", "a < abs(b)"),
        *("__import__('os').system('x') == 0", "eval('1') < a", "(lambda: 1)() < a", "'x'.join(kind) == a"),
    ],
    "has no meaning": [
        *("a[0] < 1", "kind[1:2] == 'o'", "(a + b).real < 1", "'x'.__class__ == kind", "f'{a}' == kind"),
        *("(lambda: a) == 1", "[x for x in kind] == a", "{x for x in a} == 1", "{x: 1 for x in a} == 1"),
        *("(y := a) < 1", "a < (y := 2)", "a if on else b", "{a: 1} == b", "{a} == b", "a is b", "a is not None"),
        *("a == None", "a < ...", "kind == b'cosine'", "a < 1j", "a @ b < 1", "a | b < 1", "a & 1 == 1", "~a < 1"),
        *("a << 60 < 1", "[*kind] == a", "().__class__.__bases__ == a", "a < (await b)", "(yield a) < 1"),
    ],
    "cannot be read": [
        *("", "   ", "a <", "a < 1; b < 1", "a = 1", "import os", "a < 1\nb < 2", "for x in a: pass", "a < 08"),
        *("a < 1)", "'a", "a\0 < 1", "exec 'x' < a", "a < 1 if", "a..low < 1", "1or a < 1", "kind == '\\d'", "\\"),
        *("(" * 300 + "a" + ")" * 300 + " < 1", "a < \ud800", "if a: 1", "print a", "a < 1 # \0"),
    ],
    "deeper than": ["a < " + "-" * 200 + "1", "not " * 100 + "on", "a < " + "1 + (" * 30 + "1" + ")" * 30],
    "longer than": ["a < 1" + " " * LONGEST, "a" * 10_000, "a < 1 and " * 1000 + "on"],
    "no knob or metric": ["1 < 2", "True", "'a' == 'a'", "[]", "9**9**9 < 1"],
    "no condition": ["a + 1", "a * b", "a ** b", "[a, b]", "(a, b)"],
    "too large": ["a < 1e999", "a in [1, 1e400]"],
    "there is no": ["c < 1", "a.b < 1", "__class__ < 1", "a.__class__ == 1", "os < 1", "crop < 1", "low.crop < 1"],
}


@pytest.mark.parametrize(
    ("reason", "text"),
    [(reason, text) for reason, texts in REFUSED.items() for text in texts],
    ids=lambda value: ascii(value[:40]),
)
def test_everything_else_is_refused(reason: str, text: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse(text, KNOWN)
    assert len(str(caught.value)) < 2000


def test_an_endless_tail_of_attributes_is_refused() -> None:
    for text in ("f()" + ".a" * 490, "a" + ".a" * 490, "a" + "[0]" * 300):
        with pytest.raises(ValueError, match=r"there is no|meaning|deeper|called|cannot be read"):
            parse(text, KNOWN)


@steady
@given(st.text("ab.<>=!+-*/%()[]{}'\"\\ 0123456789einotadrlmbf:,#@~^&|;\n\t_", max_size=40))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = parse(text, KNOWN)
    except ValueError:
        return
    assert condition.holds(VALUES) in (True, False)


def test_a_name_is_a_key_and_nothing_more() -> None:
    """Even names that mean something to Python are looked up among the values alone."""
    names = ["__class__", "x.__globals__", "x.__init__.__builtins__", "__import__", "print"]
    condition = parse(" and ".join(f"{name} == {i}" for i, name in enumerate(names)), names)
    assert condition.holds({name: i for i, name in enumerate(names)})
    assert not condition.holds(dict.fromkeys(names, 9))


KNOBS = ["method.alpha.share", "method.beta.low", "method.beta.high", "views.crop.low", "method", "optimizer.lr"]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("share", "method.alpha.share"),
        ("alpha.share", "method.alpha.share"),
        ("method.alpha.share", "method.alpha.share"),
        ("beta.low", "method.beta.low"),
        ("crop.low", "views.crop.low"),
        ("method", "method"),
        ("lr", "optimizer.lr"),
    ],
)
def test_the_end_of_a_name_is_enough(name: str, full: str) -> None:
    assert resolve(name, KNOBS) == full
    assert parse(f"{name} == 1", KNOBS).names == ((name, full),)
    assert parse(f"{name} == 1", KNOBS).holds({full: 1})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("low", "'low' may be method.beta.low or views.crop.low; say which"),
        ("hare", "there is no 'hare'; did you mean 'share'?"),
        ("crop.lwo", "there is no 'crop.lwo'; did you mean 'crop.low'?"),
        ("zzz", "there is no 'zzz'; there are method.alpha.share, method.beta.low"),
        ("ow", "there is no 'ow'"),  # the end of a name, but not of its parts
        ("", "there is no ''"),
    ],
)
def test_a_name_that_is_none_or_several(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"there is|may be") as caught:
        resolve(name, KNOBS)
    assert str(caught.value).startswith(said)


def test_further_names_yield_to_known_ones() -> None:
    known, further = ["a.x"], ["a.1.x", "a.2.x", "a.2.y", "b.z", "c.z"]
    assert resolve("x", known, further) == "a.x"
    assert resolve("y", known, further) == "a.2.y"
    assert resolve("a.1.x", known, further) == "a.1.x"
    with pytest.raises(ValueError, match="say which"):
        resolve("z", known, further)


def test_a_condition_on_what_does_not_apply_asks_for_nothing() -> None:
    condition = parse("a < 1 and b > 9", KNOWN)
    assert not condition.holds(VALUES)
    assert condition.holds({"a": 5})
    assert condition.holds({})
    assert condition.excess({"a": 5}) == math.inf


@pytest.mark.parametrize("text", ["a < 2", "a <= 2", "2 > a", "2 >= a"])
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=2))
@settings(deadline=None, derandomize=True)
def test_the_excess_grows_with_the_miss(text: str, values: list[float]) -> None:
    near, far = sorted(values)
    condition = parse(text, ["a"])
    assert condition.excess({"a": near}) <= condition.excess({"a": far})
    assert (condition.excess({"a": far}) == 0) is condition.holds({"a": far})


def test_the_excess_is_relative_to_the_bound() -> None:
    assert parse("a < 100", ["a"]).excess({"a": 150}) == pytest.approx(0.5)
    assert parse("a > 4", ["a"]).excess({"a": 3}) == pytest.approx(0.25)
    assert 0 < parse("a < 100", ["a"]).excess({"a": 100}) < 1e-6
    assert parse("a < 2 * b", ["a", "b"]).excess({"a": 3, "b": 1}) == pytest.approx(0.5)
    assert parse("a == 2", ["a"]).excess({"a": 3}) == 1
    assert parse("a < 1 or a > 9", ["a"]).excess({"a": 3}) == 1
    assert parse("a < 2", ["a"]).excess({"a": math.inf}) == math.inf
    assert parse("a < 2", ["a"]).excess({"a": math.nan}) == math.inf


def test_conditions_are_equal_by_what_they_say() -> None:
    one, other = parse("share < 1", KNOBS), parse("share < 1", KNOBS)
    assert one == other
    assert isinstance(one, Expression)
    assert hash(one) == hash(other)
    assert one != parse("share < 2", KNOBS)


@pytest.mark.parametrize(
    ("text", "margin"),
    [
        ("a >= b", 2.5),
        ("a > b", 2.5),
        ("a <= b", -2.5),
        ("b < a", 2.5),
        ("2 * a >= crop.low ** 2 + 1", 1.0),
        ("a >= 3", 0.0),
        ("a > 3", 0.0),
    ],
)
def test_the_margin_is_in_units_of_what_is_compared(text: str, margin: float) -> None:
    assert parse(text, KNOWN).margin(VALUES) == margin


@pytest.mark.parametrize("text", ["a == 3", "1 < a < 4", "a > 1 and b > 0", "on", "a > 'x'", "1 / (a - 3) > 0"])
def test_what_compares_no_two_numbers_has_no_margin(text: str) -> None:
    assert math.isnan(parse(text, KNOWN).margin(VALUES))


def test_a_margin_needs_every_value() -> None:
    condition = parse("a > b", KNOWN)
    assert math.isnan(condition.margin({"a": 1}))
    assert condition.sides({"a": 1}) is None
    assert condition.sides({"a": 1, "b": 2}) == (1.0, 2.0)
    assert condition.compares
    assert not parse("a == b", KNOWN).compares


@steady
@given(st.sampled_from(["<", "<=", ">", ">="]), st.floats(-9, 9), st.floats(-9, 9))
def test_a_condition_holds_where_its_margin_is_above_zero(sign: str, a: float, b: float) -> None:
    condition, values = parse(f"a {sign} b", KNOWN), {"a": a, "b": b}
    margin = condition.margin(values)
    assert condition.holds(values) is (margin >= 0 if "=" in sign else margin > 0)
    if margin < 0:
        assert condition.excess(values) == pytest.approx(max(-margin / max(abs(b), 1e-12), 1e-12))


def test_without_known_names_any_will_do() -> None:
    assert parse("x.y >= 2 * z.w", None).names == (("x.y", "x.y"), ("z.w", "z.w"))
    with pytest.raises(ValueError, match="called"):
        parse("f(x.y) > 1", None)
