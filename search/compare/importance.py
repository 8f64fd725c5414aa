"""Which knob mattered: the share of the variance of a metric that each explains alone (fANOVA, Hutter et al. 2014,
by Optuna).

Trials are compared where most of them stand side by side: at the longest rung that half of them have reached. A
knob that not every config has is judged among the trials of its branch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from search.ledger import History, Trial
from spaces.columns import cell

FEWEST = 10  # trials from which shares are told
BAR = 24  # characters of a share of 1


@dataclass(frozen=True)
class Scope:
    """The shares of knobs among some trials, the largest first; `within` says which, empty for all."""

    within: str
    trials: int
    shares: dict[str, float]


def importance(history: History) -> tuple[int, list[Scope]]:
    """The rung at which trials are compared, and the shares of knobs among all trials and those of each branch.

    Each scope's shares add up to 1. Nothing where too few trials stand side by side.
    """
    epoch, found = comparable(history)
    if not found:
        return 0, []
    scopes = [Scope("", len(found), _shares(history, found, epoch, _names(history, "")))]
    for switch in history.header["switches"]:
        for branch in sorted({next(iter(trial.config[switch])) for trial in found}):
            inside = [trial for trial in found if branch in trial.config[switch]]
            names = _names(history, f"{switch}.{branch}.")
            if len(inside) >= FEWEST and names and len(inside) < len(found):
                scopes.append(Scope(f"{switch} {branch}", len(inside), _shares(history, inside, epoch, names)))
    return epoch, [scope for scope in scopes if scope.shares]


def comparable(history: History) -> tuple[int, list[Trial]]:
    """The longest rung that half of the trials have reached, `FEWEST` at least, and those trials; 0 and none where
    there is no such rung."""
    enough = max(FEWEST, len(history.trials) / 2)
    for epoch in reversed(history.rungs):
        found = [trial for trial in history.trials.values() if _value(history, trial, epoch) is not None]
        if len(found) >= enough:
            return epoch, found
    return 0, []


def table(history: History) -> list[Any]:
    """The shares as a table with its title; nothing where there are none."""
    epoch, scopes = importance(history)
    if not scopes:
        return []
    rows = Table("knob", "share", "", box=None, pad_edge=False, header_style="bold")
    for scope in scopes:
        if scope.within:
            rows.add_row(Text(f"within {scope.within} ({scope.trials} trials)", style="italic"), "", "")
        for name, share in scope.shares.items():
            rows.add_row(name, f"{share:.2f}", "█" * round(BAR * share))
    metric = history.header["metric"]
    return [Text(f"\nWhat mattered for {metric} at epoch {epoch}, over {scopes[0].trials} trials", style="bold"), rows]


def _value(history: History, trial: Trial, epoch: int) -> float | None:
    if trial.failed:
        return None
    return next((rung.metrics.get(history.header["metric"]) for rung in trial.rungs if rung.epoch == epoch), None)


def _names(history: History, prefix: str) -> list[str]:
    """The switches and knobs whose names begin so."""
    names = [*history.header["switches"], *(knob["name"].partition("[")[0] for knob in history.header["knobs"])]
    return [name for name in names if name.startswith(prefix)]


def _shares(history: History, trials: Sequence[Trial], epoch: int, names: list[str]) -> dict[str, float]:
    """The shares of those of the knobs that all of the trials have, and that differ among them."""
    import optuna  # here: `pretune show` of a small run should not wait for it

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = {knob["name"]: knob for knob in history.header["knobs"]}
    told = {name: [cell(trial.config, name) for trial in trials] for name in dict.fromkeys(names)}
    told = {name: axis for name, axis in told.items() if None not in axis and len(set(map(str, axis))) > 1}
    values = [_value(history, trial, epoch) for trial in trials]
    if not told or len(set(values)) < 2:
        return {}
    axes = {name: _axis(kinds.get(name, {}), values) for name, values in told.items()}
    study = optuna.create_study(direction=f"{history.header['mode']}imize")
    spread = {name: distribution for name, (_, distribution) in axes.items()}
    for row, value in enumerate(values):
        params = {name: axis[row] for name, (axis, _) in axes.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=spread, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _axis(knob: dict[str, Any], values: list[Any]) -> tuple[list[Any], Any]:
    """The values of a knob as numbers or options, and what they lie in."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if knob.get("kind") == "ordinal":
        values = [knob["options"].index(value) for value in values]
    elif knob.get("kind") not in ("uniform", "log", "int"):
        return values, CategoricalDistribution(sorted(set(values), key=str))
    log = min(values) > 0 and (knob["kind"] == "log" or knob.get("log", False))
    return [float(value) for value in values], FloatDistribution(float(min(values)), float(max(values)), log=log)
