"""Conditions that a study states about knobs or metrics: `crop.min < crop.max`, `method != 'mae' or width < 64`.

An expression is parsed into a small tree of numbers, words, names, arithmetic, comparisons and `and`, `or`, `not`;
nothing else has a meaning here, and nothing is ever run. Arithmetic is that of floats.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

LONGEST = 1000  # characters
DEEPEST = 20  # levels
TINY = 1e-12
ORDERS: dict[type, int] = {ast.Gt: 1, ast.GtE: 1, ast.Lt: -1, ast.LtE: -1}  # the sign of what is to be the larger

ARITHMETIC: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, options: value in options,
    ast.NotIn: lambda value, options: value not in options,
}
NAMED: dict[type, str] = {
    ast.Attribute: "a part of something that is no name",
    ast.Subscript: "x[...]",
    ast.Lambda: "lambda",
    ast.ListComp: "for",
    ast.SetComp: "for",
    ast.DictComp: "for",
    ast.GeneratorExp: "for",
    ast.NamedExpr: ":=",
    ast.JoinedStr: "an f-string",
    ast.IfExp: "if ... else",
    ast.Starred: "*",
    ast.Set: "{...}",
    ast.Dict: "{...}",
    ast.BinOp: "such an operator",
    ast.UnaryOp: "such an operator",
    ast.Compare: "such a comparison",
    ast.Constant: "such a value",
}
GRAMMAR = "numbers, 'words', names, + - * / // % **, < <= > >= == != in, and, or, not, parentheses"


@dataclass(frozen=True)
class Expression:
    """A condition on named values.

    Args:
        text: as it was written.
        names: each name in it, and the full name of the value that it stands for.
    """

    text: str
    names: tuple[tuple[str, str], ...]
    tree: ast.expr = field(repr=False, compare=False)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether each name has a value."""
        return all(full in values for _, full in self.names)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is met. Where a name has no value it asks for nothing; where it has no meaning (a
        division by zero, a word compared with a number) it is not met."""
        known = {name: values[full] for name, full in self.names if full in values}
        if len(known) < len(self.names):
            return True
        try:
            return bool(_value(self.tree, known))
        except (ArithmeticError, TypeError, ValueError):
            return False

    @property
    def compares(self) -> bool:
        """Whether it says of two numbers which is to be the larger one."""
        return isinstance(self.tree, ast.Compare) and len(self.tree.ops) == 1 and type(self.tree.ops[0]) in ORDERS

    def sides(self, values: Mapping[str, Any]) -> tuple[float, float] | None:
        """The two numbers that it compares; None where a name has no value, a side no meaning, or it is no comparison
        of two."""
        known = {name: values[full] for name, full in self.names if full in values}
        match self.tree:
            case ast.Compare(left=left, comparators=[right]) if len(known) == len(self.names):
                try:
                    return _number(_value(left, known)), _number(_value(right, known))
                except (ArithmeticError, TypeError, ValueError):
                    pass
        return None

    def margin(self, values: Mapping[str, Any]) -> float:
        """By how much a comparison of two numbers holds or, below 0, is missed, in their own units: the first side less
        the second where it is to be the larger one, else the reverse. NaN where it `compares` no two numbers."""
        sides = self.sides(values) if self.compares else None
        if sides is None:
            return math.nan
        assert isinstance(self.tree, ast.Compare)
        return ORDERS[type(self.tree.ops[0])] * (sides[0] - sides[1])

    def excess(self, values: Mapping[str, Any]) -> float:
        """By how much a comparison of two numbers is missed, relative to the second; 0 where it holds, else 1 where
        the condition is of another shape. Infinite where a name has no value, or none that is finite."""
        if not self.applies(values):
            return math.inf
        if self.holds(values):
            return 0.0
        sides = self.sides(values) if self.compares else None
        if sides is None:
            return 1.0
        gap = abs(sides[0] - sides[1])
        return relative(gap, sides[1]) if math.isfinite(gap) else math.inf


def relative(gap: float, bound: float) -> float:
    """A gap in units of a bound; above 0, however small it is."""
    return max(gap / max(abs(bound), TINY), TINY)


def parse(text: str, known: Sequence[str] | None, further: Sequence[str] = ()) -> Expression:
    """The condition that a text states about the values called `known`; the last parts of a dotted name are enough
    where they fit one alone, or one alone of those that are not `further` ones. If `known` is None, any name will do.

    Raises:
        ValueError: the text is no such condition, or a name means nothing or several things.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of escapes that are none, and `1or x`
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"it cannot be read: {message}") from None
    names = dict.fromkeys(_names(tree, 0))
    if not names:
        raise ValueError("it speaks of no knob or metric")
    if not isinstance(tree, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Name, ast.Attribute)):
        raise ValueError("it is no condition; compare something with something")
    full = {name: name if known is None else resolve(name, known, further) for name in names}
    return Expression(text.strip(), tuple(full.items()), tree)


def resolve(name: str, known: Sequence[str], further: Sequence[str] = ()) -> str:
    """The one of the `known` dotted names that a name means: itself, or the only one that ends so, else the same of
    the `further` ones.

    Raises:
        ValueError: there is none, or several; the message names the nearest.
    """
    if name in known or name in further:
        return name
    found = [full for full in known if full.endswith(f".{name}")]
    found = found or [full for full in further if full.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"'{name}' may be {' or '.join(found[:4])}; say which")
    tails = {tail: full for full in (*known, *further) for tail in _tails(full)}
    near = get_close_matches(name, list(tails), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(list(known)[:12])}"
    raise ValueError(f"there is no '{name}'{hint}")


def _tails(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))


def _dotted(node: ast.expr) -> str:
    """The name that a node spells, or nothing."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            before = _dotted(value)
            return f"{before}.{name}" if before else ""
    return ""


def _names(node: ast.expr, depth: int) -> Iterator[str]:
    """The names in a tree, which is checked on the way."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    if name := _dotted(node):
        yield name
        return
    for child in _children(node):
        yield from _names(child, depth + 1)


def _children(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number in it is too large")
            return []
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return [left, right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.Compare(left=left, ops=ops, comparators=right) if all(type(op) in COMPARISONS for op in ops):
            return [left, *right]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return elements
        case ast.Call():
            raise ValueError(f"nothing can be called in it; it may have {GRAMMAR}")
    raise ValueError(f"{NAMED.get(type(node), 'something')} has no meaning in it; it may have {GRAMMAR}")


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """The value of a checked tree."""
    if name := _dotted(node):
        return known[name]
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](_number(_value(left, known)), _number(_value(right, known)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, known)
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_value(operand, known))
            return -number if isinstance(op, ast.USub) else number
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, known) for value in values)
        case ast.BoolOp(values=values):
            return any(_value(value, known) for value in values)
        case ast.List(elts=elements):
            return [_value(element, known) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element, known) for element in elements)
        case ast.Compare(left=left, ops=ops, comparators=right):
            sides = [_value(side, known) for side in (left, *right)]
            return all(COMPARISONS[type(op)](sides[i], sides[i + 1]) for i, op in enumerate(ops))
    raise TypeError(f"unchecked expression: {node}")


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError("a word is no number")
    return float(value)
