"""How well scores that need no labels agree with the probe that a study chose by, where labels exist.

Spearman's ρ over the trials that stand side by side at one rung (as for importance), signed so that 1 is full
agreement; and what choosing by the score alone would have cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from search.compare.importance import FEWEST, comparable
from search.ledger import History, Rung

COSTS = ("parameters", "flops", "energy")  # which say nothing of what was learned


@dataclass(frozen=True)
class Agreement:
    """A label-free score beside the study's metric: ρ, and the metric of the trial that the score puts first."""

    score: str
    rho: float
    chosen: str
    value: float


def agreement(history: History) -> tuple[int, list[Agreement]]:
    """The rung at which trials are compared, and the agreement of each label-free score, the best first.

    Nothing where the study's own metric needs no labels, or too few trials stand side by side.
    """
    header = history.header
    if not header["scores"].get(header["metric"]) or "modes" not in header:
        return 0, []
    epoch, found = comparable(history)
    rows = [(t.id, next(rung for rung in t.rungs if rung.epoch == epoch)) for t in found]
    if len(rows) < FEWEST:
        return 0, []
    names = [name for name, labels in header["scores"].items() if not labels and name not in COSTS]
    scores = [one for name in names if (one := _agreement(header, name, rows)) is not None]
    return epoch, sorted(scores, key=lambda one: -one.rho)


def _agreement(header: dict[str, Any], name: str, rows: Sequence[tuple[str, Rung]]) -> Agreement | None:
    from scipy.stats import spearmanr  # here: `pretune show` of a small run should not wait for it

    there = [(id, rung.metrics) for id, rung in rows if name in rung.metrics]
    good, best = _sign(header["modes"].get(name, "max")), _sign(header["mode"])
    scores = [good * metrics[name] for _, metrics in there]
    values = [best * metrics[header["metric"]] for _, metrics in there]
    if len(there) < FEWEST or len(set(scores)) < 2 or len(set(values)) < 2:
        return None
    id, metrics = there[max(range(len(there)), key=lambda row: scores[row])]
    return Agreement(name, float(spearmanr(scores, values).statistic), id, metrics[header["metric"]])


def _sign(mode: str) -> int:
    return 1 if mode == "max" else -1


def table(history: History) -> list[Any]:
    """The agreement as a table with its title; nothing where there is none."""
    epoch, scores = agreement(history)
    if not scores:
        return []
    metric = history.header["metric"]
    rows = Table("score", "ρ", "would choose", metric, box=None, pad_edge=False, header_style="bold")
    for one in scores:
        rows.add_row(one.score, f"{one.rho:.2f}", one.chosen, f"{one.value:.4f}")
    return [Text(f"\nLabel-free scores beside {metric} at epoch {epoch} (Spearman's ρ)", style="bold"), rows]
