"""What `pretune show` says of knobs and of label-free scores, on trials whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from search.compare.agreement import agreement
from search.compare.importance import FEWEST, importance
from search.ledger import History, Rung, Trial

KNOBS = [
    {"name": "method", "kind": "choice", "options": ["a", "b"]},
    {"name": "method.a.heads", "kind": "ordinal", "options": [1, 2, 4, 8]},
    {"name": "method.b.lazy", "kind": "choice", "options": [True, False]},
    {"name": "optimizer.lr", "kind": "log", "low": 1e-4, "high": 1.0},
    {"name": "optimizer.idle", "kind": "uniform", "low": 0.0, "high": 1.0},
]
SCORES = {"accuracy": True, "good": False, "bad": False, "noise": False, "parameters": False, "gone": False}
MODES = {"accuracy": "max", "good": "max", "bad": "min", "noise": "max", "parameters": "min", "gone": "max"}


def history(count: int, value: Any, rungs: tuple[int, ...] = (1, 3), seed: int = 0) -> History:
    """Trials of a made-up space, of which a third reaches the second rung."""
    rng = np.random.default_rng(seed)
    found = History()
    found.header = {"metric": "accuracy", "mode": "max", "rungs": list(rungs), "switches": ["method"]}
    found.header |= {"knobs": KNOBS, "scores": SCORES, "modes": MODES}
    for number in range(count):
        method = "ab"[number % 2]
        knobs = {"heads": int(rng.choice([1, 2, 4, 8]))} if method == "a" else {"lazy": bool(rng.integers(2))}
        lr, idle = float(10 ** rng.uniform(-4, 0)), float(rng.uniform())
        config = {"method": {method: knobs}, "optimizer": {"lr": lr, "idle": idle}}
        accuracy = value(method, knobs, lr)
        metrics = {"accuracy": accuracy, "good": accuracy**3, "bad": -accuracy, "noise": float(rng.normal())}
        reached = rungs if number % 3 == 0 else rungs[:1]
        steps = [Rung(epoch, {**metrics, "parameters": 1.0}, 1.0) for epoch in reached]
        id = f"t{number:04d}"
        found.trials[id] = Trial(id, number, config, number, reached[-1], steps)
    return found


def test_the_knob_that_decides_has_nearly_all_of_the_share() -> None:
    epoch, scopes = importance(history(60, lambda method, knobs, lr: -abs(np.log10(lr) + 2)))
    assert epoch == 1  # which all have reached; the next one is that of survivors
    (everything, *_) = scopes
    assert (everything.within, everything.trials) == ("", 60)
    assert next(iter(everything.shares)) == "optimizer.lr"
    assert everything.shares["optimizer.lr"] > 0.9
    assert sum(everything.shares.values()) == pytest.approx(1)


def test_a_knob_of_a_branch_is_judged_within_it() -> None:
    worth = {1: 0.1, 2: 0.2, 4: 0.6, 8: 0.9}
    _, scopes = importance(history(80, lambda method, knobs, lr: worth.get(knobs.get("heads"), 0.5)))
    shares = {scope.within: scope.shares for scope in scopes}
    assert shares["method a"] == {"method.a.heads": pytest.approx(1)}
    assert "method.a.heads" not in shares[""]
    assert all(scope.trials == 40 for scope in scopes[1:])


def test_a_switch_that_decides_is_seen() -> None:
    _, scopes = importance(history(60, lambda method, knobs, lr: float(method == "b")))
    assert scopes[0].shares["method"] > 0.9


def test_few_trials_say_nothing() -> None:
    few = history(FEWEST - 1, lambda method, knobs, lr: lr)
    assert importance(few) == (0, [])
    assert agreement(few) == (0, [])


def test_failed_trials_and_settled_knobs_are_left_out() -> None:
    found = history(40, lambda method, knobs, lr: lr)
    for trial in list(found.trials.values())[:5]:
        trial.reason = "lost"
    for trial in found.trials.values():
        trial.config["optimizer"]["idle"] = 0.5
    _, scopes = importance(found)
    assert scopes[0].trials == 35
    assert "optimizer.idle" not in scopes[0].shares


def test_scores_are_held_against_the_metric_by_rank_and_in_their_own_mode() -> None:
    found = history(50, lambda method, knobs, lr: lr)
    epoch, scores = agreement(found)
    by_name = {one.score: one for one in scores}
    assert epoch == 1
    assert by_name.keys() == {"good", "bad", "noise"}  # costs say nothing, and 'gone' no trial has
    assert (by_name["good"].rho, by_name["bad"].rho) == (pytest.approx(1), pytest.approx(1))
    values = [trial.rungs[0].metrics for trial in found.trials.values()]
    ranks = [rankdata([row[name] for row in values]) for name in ("noise", "accuracy")]
    assert by_name["noise"].rho == pytest.approx(np.corrcoef(ranks)[0, 1])
    best = max(found.trials.values(), key=lambda trial: trial.rungs[0].metrics["accuracy"])
    assert (by_name["good"].chosen, by_name["good"].value) == (best.id, best.rungs[0].metrics["accuracy"])


def test_a_study_without_labels_has_nothing_to_agree_with() -> None:
    found = history(30, lambda method, knobs, lr: lr)
    found.header["metric"] = "good"
    assert agreement(found) == (0, [])
