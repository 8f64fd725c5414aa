"""Claims as a table, as JSON and as a page: what was measured, against what, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from search.verdicts import MOST_SEEDS, Interval, Judged, Outcome
from spaces.claims import Claim

STYLES = {"holds": "green", "fails": "red", "undecided": "yellow"}
HEADS = ("claim", "measured", "baseline", "margin", "published", "verdict", "mutation", "seconds")
NUMBERS = ("measured", "baseline", "margin", "seconds")
PAGE = """\
# Claims

Each of these claims is a study that anyone can run: `pretune claim NAME`. This page is written from the ledgers of
their runs by `pretune claim --all --markdown docs/claims.md`.

All variants of a claim are trained with the same seeds. In each seed, a condition has a *margin*: by how much it holds,
below 0 by how much it is missed. In brackets stands the two-sided 90 % interval of the mean margin by Student's t, 5 %
on each side. A condition **holds** where the whole interval is at or above 0, **fails** where the whole of it is below,
and else is **undecided**; then it is said how many seeds would decide if mean and deviation stay as they are. The
*mutation* is a deliberate mistake: with it in the place of the right variant, the claim must fail.
"""


class Row(NamedTuple):
    """A claim and what came of it: its name, its budget and the folder of its run."""

    name: str
    claim: Claim
    outcome: Outcome
    budget: str
    where: str


def table(rows: Sequence[Row]) -> Table:
    """A row a claim: the leading condition in numbers, and the verdict on all."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in HEADS:
        made.add_column(head, justify="right" if head in NUMBERS else "left", no_wrap=head in (*NUMBERS, "verdict"))
    for row in rows:
        cells = _cells(row)
        made.add_row(*cells[:5], Text(cells[5], STYLES[row.outcome.verdict]), *cells[6:])
    return made


def notes(rows: Iterable[Row]) -> list[str]:
    """What the table does not say: which conditions do not hold, why a claim fails without one, or its mutation not."""
    lines = []
    for name, _, outcome, _, where in rows:
        for one in outcome.conditions:
            if one.verdict != "holds":
                lines.append(f"{name}: {one.text} {_verdict(one.verdict, one.needed)}: margin {_margin(one.margin)}")
        if outcome.reason:
            lines.append(f"{name}: {outcome.reason}")
        if not outcome.mutation_fails:
            lines.append(f"{name}: the mutation does not make it fail: {outcome.mutation_reason} ({where})")
    return lines


def _cells(row: Row) -> list[str]:
    outcome, lead = row.outcome, (row.outcome.conditions or (None,))[0]
    numbers = ["", "", ""] if lead is None else [_plus_minus(lead.left), _number(lead.right.mean), _margin(lead.margin)]
    mutation = "fails" if outcome.mutation_fails else "DOES NOT FAIL"
    said = _verdict(outcome.verdict, outcome.needed)
    return [row.name, *numbers, row.claim.published, said, mutation, f"{outcome.seconds:.1f}"]


def as_json(rows: Iterable[Row]) -> dict[str, Any]:
    """The documented form of `pretune claim --json`: the leading condition in numbers (method, baseline, margin and
    its interval), then all; a value that does not exist is null."""
    return {row.name: _object(row) for row in rows}


def _object(row: Row) -> dict[str, Any]:
    outcome, conditions = row.outcome, [_condition(one) for one in row.outcome.conditions]
    lead = conditions[0] if conditions else dict.fromkeys(("method", "baseline", "margin", "interval"))
    return {
        "verdict": outcome.verdict,
        **{name: lead[name] for name in ("method", "baseline", "margin", "interval")},
        "mutation_fails": outcome.mutation_fails,
        "mutation_reason": outcome.mutation_reason,
        "seconds": outcome.seconds,
        "seeds": outcome.seeds,
        "seeds_needed": outcome.needed or None,
        "reason": outcome.reason,
        "budget": row.budget,
        "run": row.where,
        "conditions": conditions,
    }


def _condition(one: Judged) -> dict[str, Any]:
    return {
        "condition": one.text,
        "verdict": one.verdict,
        "method": one.left.mean,
        "baseline": one.right.mean,
        "margin": one.margin.mean,
        "interval": [one.margin.low, one.margin.high],
        "margins": list(one.margins),
        "seeds_needed": one.needed or None,
    }


def page(rows: Sequence[Row]) -> str:
    """All claims as Markdown: a table of them, then a section each."""
    lines = [PAGE, *_grid(HEADS, [_linked(row) for row in rows]), ""]
    for row in rows:
        lines += _section(row)
    return "\n".join(lines).rstrip() + "\n"


def _linked(row: Row) -> list[str]:
    title = _titled(row)
    return [f"[{title}](#{title.replace(' ', '-')})", *_cells(row)[1:]]


def _titled(row: Row) -> str:
    return row.name if row.budget == "quick" else f"{row.name} {row.budget}"


def _section(row: Row) -> list[str]:
    claim, outcome = row.claim, row.outcome
    said = _verdict(outcome.verdict, outcome.needed) + (f": {outcome.reason}" if outcome.reason else "")
    fails = "makes the claim fail" if outcome.mutation_fails else "DOES NOT make the claim fail"
    facts = {
        "Source": claim.source,
        "Published": claim.published or "no figure",
        "Verdict": f"**{said}**",
        "Mutation": f"{claim.mutation.name}: {fails} ({outcome.mutation_reason})",
        "Cost": f"{outcome.seconds:.1f} s of trials, {outcome.seeds} seeds, {row.budget} budget",
        "Not seen": claim.unseen,
    }
    heads = ("condition", "left", "right", "margin", "verdict")
    grid = _grid(heads, [_line(one) for one in outcome.conditions]) if outcome.conditions else []
    listed = [f"- {name}: {_plain(text)}" for name, text in facts.items() if text]
    return [f"## {_titled(row)}", "", _plain(claim.says), "", *listed, "", *grid, ""]


def _line(one: Judged) -> list[str]:
    sides = [_plus_minus(one.left), _plus_minus(one.right)]
    return [f"`{one.text}`", *sides, _margin(one.margin), _verdict(one.verdict, one.needed)]


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---:" if head in (*NUMBERS, "left", "right") else "---" for head in heads], *rows]
    return ["| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def _plain(text: str) -> str:
    """A text that Markdown shows as it stands, where a study's text could be taken for a tag."""
    return text.replace("<", "&lt;") if "`" not in text else text


def _verdict(word: str, needed: int) -> str:
    """A verdict; of one that is undecided, how many seeds would decide."""
    if word != "undecided":
        return word
    return f"undecided ({needed} seeds needed)" if needed <= MOST_SEEDS else f"undecided (> {MOST_SEEDS} seeds needed)"


def _margin(found: Interval) -> str:
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def _plus_minus(found: Interval) -> str:
    return f"{_number(found.mean)} ± {found.half:.2g}" if found.half else _number(found.mean)


def _number(value: float) -> str:
    return f"{value:.4g}"
