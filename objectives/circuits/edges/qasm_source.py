"""OpenQASM text and its syntax tree, with every way in which the parser complains turned into one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from contextlib import redirect_stderr
from typing import Any

import openqasm3
from openqasm3 import ast
from openqasm3.parser import QASM3ParsingError

from spaces.circuits.pool import CircuitError
from spaces.document import complaint

LONGEST = 60  # characters of somebody's text that a message repeats


class Source:
    """A text, and the complaints about its lines."""

    def __init__(self, file: str, text: str) -> None:
        self.file, text = file, text.removeprefix("\ufeff")
        if re.search(r"^\s*OPENQASM\s+2", text, re.MULTILINE):
            text = text.replace("^", "**")  # the power of OpenQASM 2 by its name in 3, where ^ is something else
        self.text, self.lines = text, text.splitlines()

    def line(self, number: int) -> str:
        """A line of the text, shortened, as a message repeats it."""
        return self.lines[number - 1].strip()[:LONGEST] if 0 < number <= len(self.lines) else ""

    def written(self, node: Any) -> str:
        """An expression as a message repeats it."""
        return openqasm3.dumps(node)[:LONGEST]

    def wrong(self, at: Any, found: str, allowed: Iterable[str] | str = (), near: str | None = None) -> CircuitError:
        """The error to raise about a node of the tree, a line, or the text as a whole (None)."""
        line = at if isinstance(at, int) or at is None else at.span.start_line
        return CircuitError(complaint(self.file if line is None else f"{self.file}:{line}", found, allowed, near))

    def parsed(self) -> ast.Program:
        """The syntax tree.

        Raises:
            CircuitError: the text is not OpenQASM 2 or 3.
        """
        if not self.text.strip():
            raise self.wrong(None, "the text is empty")
        try:
            with redirect_stderr(io.StringIO()):  # the lexer speaks there of what it raises as well
                return openqasm3.parse(self.text)
        except QASM3ParsingError as error:
            raise self._unparsed(error) from None
        except (AttributeError, KeyError, TypeError, ValueError):  # from the making of the tree, without a line
            raise self.wrong(None, "this is not OpenQASM 2 or 3") from None

    def _unparsed(self, error: QASM3ParsingError) -> CircuitError:
        """What the parser found wrong: it says so in its message or, most often, in the token of a cause's cause."""
        message = re.match(r"L(\d+):C\d+: (.*)", str(error), re.DOTALL)
        if message:
            return self.wrong(int(message[1]), " ".join(message[2].split()))
        cause = error.__cause__
        while cause is not None and not hasattr(cause, "offendingToken"):
            cause = cause.args[0] if cause.args else None
        if cause is None:
            return self.wrong(None, "this is not OpenQASM 2 or 3")
        token, recognizer = cause.offendingToken, cause.recognizer
        if self.line(token.line).startswith("opaque "):
            return self.wrong(token.line, "an opaque gate has no definition", "gates of the standard libraries")
        names = cause.getExpectedTokens().toString(recognizer.literalNames, recognizer.symbolicNames)
        found = "the end of the text" if token.text == "<EOF>" else f"'{token.text[:LONGEST]}'"
        return self.wrong(
            token.line, f"{found} cannot stand here", names if len(names) < LONGEST and names != "<EOF>" else ""
        )
