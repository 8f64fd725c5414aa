"""Claims, run in this process on functions: seeds in pairs, verdicts, and going on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from objectives.kinds import Failed, function
from search import claims, claims_cli
from search import run as runs
from search.compare.claims import Row, as_json, notes, page
from search.ledger import History, read
from search.sweep import trial_seed
from search.verdicts import Outcome, outcome, seeds_needed
from spaces.claims import MUTATED
from spaces.document import StudyError

STUDY = """\
name: bowl
about: a bowl
objective: function
space: {function: {noisy: {x1: 0.2}}}
budget: {epochs: 9}
search: {seed: 3}
claim:
  says: it is lower here
  source: nobody
  published: "3.3"
  variants:
    ours: {}
    theirs: {space.function.noisy.x1: 0.9}
    far: {space.function: {branin: {x: 3.0}}}
  holds:
    - ours.truth <= theirs.truth
    - ours.value <= far.value
  mutation: {name: the sign is lost, of: ours, set: {space.function.noisy.x1: 0.95}}
  full: {space.function.noisy.x2: 0.4}
"""
Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)


def written(text: str = STUDY, name: str = "bowl.yaml") -> str:
    Path(name).write_text(text)
    return name


def ran(planned: claims.Plan, again: bool = False, observe: Any = lambda event, history: None) -> Outcome:
    data = claims.load_data(planned)
    folder, ledger = claims.begin(planned, data, again)
    with runs.executor("serial", planned.study) as execute:
        return claims.run(planned, data, folder, ledger, observe, execute)


def history(name: str = "bowl") -> History:
    return read(Path(f"runs/claims/{name}/ledger.jsonl"))[0]


def test_all_variants_see_the_same_seeds() -> None:
    planned = claims.plan(written(), seeds=3)
    found = ran(planned)
    trials = list(history().trials.values())
    assert len(trials) == 3 * 4
    assert [trial.seed for trial in trials] == [trial_seed(3, turn) for turn in range(3) for _ in range(4)]
    assert [trial.config for trial in trials[:4]] == [planned.configs[n] for n in ("ours", "theirs", "far", MUTATED)]
    assert all([rung.epoch for rung in trial.rungs] == [9] for trial in trials)
    noise = {(t.seed, round(t.rungs[-1].metrics["value"] - t.rungs[-1].metrics["truth"], 9)) for t in trials if
             "truth" in t.rungs[-1].metrics}  # fmt: skip
    assert len(noise) == 3
    assert found.seeds == 3


def test_margins_and_verdicts_are_those_of_the_ledger() -> None:
    found = ran(claims.plan(written()))
    values = [trial.rungs[-1].metrics for trial in history().trials.values()]
    ours, theirs, far = values[0::4], values[1::4], values[2::4]
    first, second = found.conditions
    assert first.margins == tuple(b["truth"] - a["truth"] for a, b in zip(ours, theirs, strict=True))
    assert second.margins == pytest.approx([b["value"] - a["value"] for a, b in zip(ours, far, strict=True)])
    assert first.margin.low == first.margin.high > 0
    assert second.left.mean == pytest.approx(np.mean([a["value"] for a in ours]))
    assert second.right.mean == pytest.approx(np.mean([a["value"] for a in far]))
    low, high = stats.t.interval(0.9, 4, np.mean(second.margins), stats.sem(second.margins))
    assert (second.margin.low, second.margin.high) == pytest.approx((low, high))
    assert found.verdict == "holds"
    assert found.sound
    assert found.mutation_fails
    assert "ours.truth <= theirs.truth" in found.mutation_reason


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["ours.truth <= theirs.truth"], "holds"),
        (["ours.truth >= theirs.truth"], "fails"),
        (["ours.value >= ours.truth - 0.2"], "undecided"),
        (["ours.truth <= theirs.truth", "ours.truth > theirs.truth"], "fails"),
        (["ours.value >= ours.truth - 0.2", "ours.truth > 0"], "fails"),
    ],
)
def test_one_condition_that_fails_is_enough(conditions: list[str], expected: str) -> None:
    listed = "\n".join(f"    - {text}" for text in conditions)
    text = STUDY.replace("    - ours.truth <= theirs.truth\n    - ours.value <= far.value", listed)
    found = ran(claims.plan(written(text)))
    assert found.verdict == expected
    assert bool(found.needed) == (expected == "undecided")
    if found.needed:
        assert found.needed == seeds_needed(found.conditions[0].margins) > 5


def test_a_mutation_that_changes_nothing_that_matters_is_told() -> None:
    found = ran(claims.plan(written(STUDY.replace("x1: 0.95", "x1: 0.21"))))
    assert found.verdict == "holds"
    assert not found.mutation_fails
    assert not found.sound
    assert "every condition holds" in found.mutation_reason


def test_a_mutation_that_equals_a_control_is_not_run_twice() -> None:
    found = ran(
        claims.plan(written(STUDY.replace("x1: 0.95", "x1: 0.9").replace("<= theirs.truth", "< theirs.truth - 0.1")))
    )
    assert len(history().trials) == 3 * 5
    assert found.mutation_fails


def broken(monkeypatch: pytest.MonkeyPatch, x1: float, error: Exception) -> None:
    """Trials at this coordinate raise the error."""
    advance = function.Function.run

    def run(self: function.Function) -> Any:
        if self.setting.config["function"].get("noisy", {}).get("x1") == x1:
            raise error
        return advance(self)

    monkeypatch.setattr(function.Function, "run", run)


def collapsed() -> Failed:
    error = Failed("collapsed (constant): all features are one")
    error.cause = "constant"
    return error


@pytest.mark.parametrize(
    ("error", "fails"),
    [
        (collapsed(), True),
        (Failed("diverged: loss became nan in epoch 3"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_a_mutation_fails_by_collapse_and_not_by_an_error_of_the_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, fails: bool
) -> None:
    broken(monkeypatch, 0.95, error)
    found = ran(claims.plan(written()))
    assert found.verdict == "holds"
    assert found.mutation_fails is fails
    assert str(error) in found.mutation_reason


def test_a_right_variant_that_fails_fails_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, 0.9, Failed("diverged: loss became nan in epoch 3"))
    found = ran(claims.plan(written()))
    assert found.verdict == "fails"
    assert found.reason == "t0001 (theirs, seed 0) failed: diverged: loss became nan in epoch 3"
    assert found.conditions == ()
    assert json.loads(json.dumps(as_json([Row("bowl", claims.plan("bowl.yaml").claim, found, "quick", "")])))


def test_a_condition_without_a_value_fails() -> None:
    found = ran(
        claims.plan(written(STUDY.replace("ours.value <= far.value", "ours.value / (ours.truth - ours.truth) > 0")))
    )
    assert found.verdict == "fails"
    assert "has no value in seed 0" in found.reason


# --- going on


def test_what_is_over_is_read_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = claims.plan(written())
    assert claims.recorded(planned) is None
    found = ran(planned)
    monkeypatch.setattr(function.Function, "run", None)
    assert claims.recorded(planned) == found
    assert claims.recorded(claims.plan("bowl.yaml", seeds=3)) == found
    assert claims.recorded(claims.plan("bowl.yaml", seeds=6)) is None


def test_more_seeds_go_on_from_the_same_ledger() -> None:
    few = ran(claims.plan(written(), seeds=2))
    before = Path("runs/claims/bowl/ledger.jsonl").read_bytes()
    more = ran(claims.plan("bowl.yaml", seeds=5))
    assert Path("runs/claims/bowl/ledger.jsonl").read_bytes().startswith(before)
    assert more.seeds == 5
    assert more.conditions[1].margins[:2] == few.conditions[1].margins
    assert [path.name for path in Path("runs/claims").iterdir()] == ["bowl"]
    whole = ran(claims.plan("bowl.yaml", among=Path("whole")))
    assert [one.margins for one in whole.conditions] == [one.margins for one in more.conditions]


@pytest.mark.parametrize("told", [1, 2, 5, 9, 18, 19])
def test_a_run_that_was_killed_goes_on_to_the_same_numbers(told: int) -> None:
    class Killed(BaseException):
        pass

    def kill(event: Any, history: History) -> None:
        if len([trial for trial in history.trials.values() if trial.rungs]) == told:
            raise Killed

    planned = claims.plan(written())
    with pytest.raises(Killed):
        ran(planned, observe=kill)
    assert claims.recorded(planned) is None
    found = ran(planned)
    whole = ran(claims.plan("bowl.yaml", among=Path("whole")))
    assert [one.margins for one in found.conditions] == [one.margins for one in whole.conditions]
    assert (found.verdict, found.mutation_fails, found.seeds) == (whole.verdict, whole.mutation_fails, whole.seeds)
    assert len(history().trials) == 20


def test_again_is_a_new_run_and_the_newest_counts() -> None:
    planned = claims.plan(written(), seeds=2)
    ran(planned)
    ran(claims.plan("bowl.yaml", seeds=3), again=True)
    assert {path.name for path in Path("runs/claims").iterdir()} == {"bowl", "bowl-2"}
    recorded = claims.recorded(planned)
    assert recorded is not None
    assert recorded.seeds == 3


def test_words_and_conditions_may_change_and_variants_may_not() -> None:
    ran(claims.plan(written()))
    planned = claims.plan(written(STUDY.replace("ours.value <= far.value", "ours.value <= far.value - 1")))
    recorded = claims.recorded(planned)
    assert recorded is not None
    assert recorded.conditions[1].text == "ours.value <= far.value - 1"
    for old, new in (
        ("x: 3.0", "x: 2.0"),
        ("x1: 0.95", "x1: 0.96"),
        ("x1: 0.2}", "x1: 0.3}"),
        ("epochs: 9", "epochs: 8"),
    ):
        with pytest.raises(StudyError, match=r"has changed since(.|\n)*--again"):
            claims.recorded(claims.plan(written(STUDY.replace(old, new))))
    swapped = STUDY.replace("    ours: {}\n", "").replace("  holds:", "    ours: {}\n  holds:")
    with pytest.raises(StudyError, match="has changed since"):
        claims.recorded(claims.plan(written(swapped)))


def test_the_full_budget_is_a_run_of_its_own() -> None:
    ran(claims.plan(written(), seeds=2))
    planned = claims.plan("bowl.yaml", seeds=2, budget="full")
    assert (planned.name, planned.budget) == ("bowl", "full")
    assert {c["function"]["noisy"]["x2"] for c in planned.configs.values() if "noisy" in c["function"]} == {0.4}
    ran(planned)
    assert {path.name for path in Path("runs/claims").iterdir()} == {"bowl", "bowl-full"}
    plain = claims.plan(written(STUDY.partition("  full:")[0]), budget="full")
    assert plain.budget == "quick"


def test_one_session_serves_all_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, begun = runs.executor, []

    def counted(*arguments: Any) -> Any:
        begun.append(arguments)
        return opened(*arguments)

    monkeypatch.setattr(runs, "executor", counted)
    more = STUDY.replace("name: bowl", "name: more\nresources: {cpu: 2}")
    plans = [claims.plan(written(), seeds=2), claims.plan(written(more, "more.yaml"), seeds=2)]
    found = claims_cli._outcomes(plans, again=False, executor="serial", address=None, quiet=True, aside=False)
    assert [one.seeds for one in found] == [2, 2]
    ((_, largest, _),) = begun
    assert largest.resources.cpu == 2
    assert claims_cli._outcomes(plans, again=False, executor="serial", address=None, quiet=True, aside=False) == found
    assert len(begun) == 1


def test_a_claim_is_an_ordinary_study_too() -> None:
    study = runs.load_study(written(), ["budget.trials=2", "search.strategy=random"])
    folder = runs.new_folder(study, None)
    with runs.executor("serial", study) as execute:
        ledger = runs.start(study, folder, None)
        found = runs.sweep(study, None, folder, ledger, lambda event, history: None, execute)
    assert [trial.seed for trial in found.trials.values()] == [trial_seed(3, 0), trial_seed(3, 1)]
    assert {json.dumps(trial.config) for trial in found.trials.values()} == {
        json.dumps(claims.plan("bowl.yaml").configs["ours"])
    }


def test_a_metric_that_is_not_there_ends_the_run_at_once() -> None:
    planned = claims.plan(written(STUDY.replace("ours.value <= far.value", "ours.value <= far.truth")))
    with pytest.raises(StudyError) as caught:
        ran(planned)
    assert "'far' has given no metric 'truth'" in str(caught.value)
    assert "allowed: seconds, value" in str(caught.value)
    assert len([trial for trial in history().trials.values() if trial.rungs]) == 3
    assert ran(claims.plan(written())).verdict == "holds"


def test_floors_that_are_not_there_are_told() -> None:
    planned = claims.plan(written(STUDY.replace("ours.value <= far.value", "ours.value <= raw.value")))
    with pytest.raises(StudyError, match="'raw' has given no metric 'value'"):
        ran(planned)


def test_floors_stand_in_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "floors", lambda study, data: {"untrained": {"value": 9.0}})
    found = ran(claims.plan(written(STUDY.replace("ours.value <= far.value", "ours.value <= untrained.value"))))
    assert found.conditions[1].right.mean == 9.0
    assert found.verdict == "holds"


@pytest.mark.parametrize(
    ("name", "said"),
    [("swaw", "did you mean 'swav'"), ("quickstart", "claims nothing"), ("missing.yaml", "no such file")],
)
def test_what_is_no_claim_is_told(name: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        claims.plan(name)


def test_fewer_than_two_seeds_are_refused() -> None:
    with pytest.raises(StudyError, match="two seeds, found 1"):
        claims.plan(written(), seeds=1)


# --- the page


def test_the_page_says_all_that_was_found() -> None:
    text = STUDY.replace("  variants:", "  unseen: the gain of the paper, measured 0.1\n  variants:")
    planned = claims.plan(written(text))
    found = ran(planned)
    row = Row("bowl", planned.claim, found, "quick", "runs/claims/bowl")
    made = page([row, row._replace(budget="full")])
    for part in ("| [bowl](#bowl) |", "## bowl full", "it is lower here", "Source: nobody", "Published: 3.3",
                 "Not seen: the gain of the paper", "the sign is lost: makes the claim fail", "5 seeds",
                 "`ours.truth <= theirs.truth`", "holds"):  # fmt: skip
        assert part in made
    assert notes([row]) == []
    assert "DOES NOT make the claim fail" in page([row._replace(outcome=_sound(found, False))])
    assert "the mutation does not make it fail" in notes([row._replace(outcome=_sound(found, False))])[0]


def _sound(found: Outcome, fails: bool) -> Outcome:
    return Outcome(found.verdict, "", found.conditions, fails, "every condition holds", found.seconds, found.seeds)


def test_json_is_what_is_documented() -> None:
    planned = claims.plan(written())
    found = ran(planned)
    told = json.loads(json.dumps(as_json([Row("bowl", planned.claim, found, "quick", "here")])))["bowl"]
    assert {"verdict", "method", "baseline", "margin", "interval", "mutation_fails", "seconds", "seeds"} <= told.keys()
    assert told["verdict"] == "holds"
    assert told["mutation_fails"] is True
    assert told["margin"] == pytest.approx(told["baseline"] - told["method"])
    assert told["interval"][0] <= told["margin"] <= told["interval"][1]
    assert [len(one["margins"]) for one in told["conditions"]] == [5, 5]


def test_a_seed_that_lacks_a_variant_does_not_count() -> None:
    planned = claims.plan(written())
    ran(planned)
    whole = history()
    del whole.trials["t0006"]
    found = outcome(planned.claim, planned.configs, whole)
    assert found.seeds == 4
