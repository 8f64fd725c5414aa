"""Asynchronous successive halving: on hand-made records, and against one that sorts everything over random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.ledger import Rung, Trial
from search.schedulers import Scheduler, asha, none
from spaces.study import Goal

GOAL = Goal("value", "max", 27)


def ladder(eta: int = 3, levels: int = 3, goal: Goal = GOAL) -> asha.Asha:
    return asha.build(asha.Config(eta, levels), goal)


def record(*curves: dict[int, float], until: dict[int, int] | None = None) -> list[Trial]:
    """Trials 0, 1, ... with these values at their rungs, let run to the last of them, or to `until`."""
    trials = []
    for number, curve in enumerate(curves):
        rungs = [Rung(epoch, {"value": value, "other": -value}, 1.0) for epoch, value in curve.items()]
        end = (until or {}).get(number, max(curve, default=3))
        trials.append(Trial(f"t{number:04d}", number, {}, 0, end, rungs))
    return trials


def choice(
    scheduler: Scheduler, trials: list[Trial], exhausted: bool = False, busy: Collection[int] = ()
) -> tuple[int, int] | None:
    """The number of the promoted trial and how far it may go."""
    for trial in trials:
        scheduler.tell(trial)
    ready = {trial.id for trial in trials if trial.waiting and trial.number not in busy}
    found = scheduler.promote(ready, not exhausted, exhausted)
    return (found[0].number, found[1]) if found else None


def by_sorting(
    scheduler: asha.Asha, trials: Sequence[Trial], ready: Set[str], exhausted: bool
) -> tuple[str, int] | None:
    """What ASHA promotes, found by sorting all that are alive anew at every rung."""
    goal = scheduler.goal
    for rung, longer in reversed(list(pairwise(scheduler.rungs))):
        values = {t.number: r.metrics[goal.metric] for t in trials if not t.failed for r in t.rungs if r.epoch == rung}
        reached = sorted(
            (t for t in trials if t.number in values), key=lambda t: (-goal.sign * values[t.number], t.number)
        )
        quota = len(reached) // scheduler.eta
        if exhausted and quota == 0:
            quota = 1
        for trial in reached[:quota]:
            if trial.id in ready and trial.until == rung:
                return trial.id, longer
    return None


def told(scheduler: asha.Asha, ready: Set[str], exhausted: bool) -> tuple[str, int] | None:
    """What the scheduler promotes, from what it has been told."""
    found = scheduler.promote(ready, not exhausted, exhausted)
    return (found[0].id, found[1]) if found else None


@pytest.mark.parametrize(
    ("epochs", "eta", "levels", "rungs"),
    [
        (27, 3, 3, (3, 9, 27)),
        (20, 3, 3, (2, 7, 20)),
        (16, 4, 2, (4, 16)),
        (9, 3, 1, (9,)),
        (2, 3, 3, (1, 2)),
        (1, 3, 3, (1,)),
        (100, 10, 4, (1, 10, 100)),
        (1000, 2, 10, (2, 4, 8, 16, 31, 62, 125, 250, 500, 1000)),
    ],
)
def test_the_ladder(epochs: int, eta: int, levels: int, rungs: tuple[int, ...]) -> None:
    scheduler = ladder(eta, levels, Goal("value", "max", epochs))
    assert (scheduler.rungs, scheduler.first(0), scheduler.first(7)) == (rungs, rungs[0], rungs[0])


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 10_000), st.integers(2, 10), st.integers(1, 10))
def test_every_ladder_rises_to_the_whole_budget(epochs: int, eta: int, levels: int) -> None:
    rungs = ladder(eta, levels, Goal("value", "max", epochs)).rungs
    assert rungs[0] >= 1
    assert rungs[-1] == epochs
    assert len(rungs) <= levels
    assert all(low < high for low, high in pairwise(rungs))


def test_nobody_goes_on_before_a_third_is_one() -> None:
    assert choice(ladder(), []) is None
    assert choice(ladder(), record({3: 1.0})) is None
    assert choice(ladder(), record({3: 1.0}, {3: 2.0})) is None
    assert choice(ladder(), record({3: 1.0}, {3: 2.0}, {3: 0.0})) == (1, 9)


def test_the_quota_grows_with_the_rung() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 0.0, 6.0, 0.5]
    for count, quota in [(2, 0), (3, 1), (5, 1), (6, 2), (8, 2)]:
        trials = record(*({3: value} for value in values[:count]))
        promoted = []
        while (found := choice(ladder(), trials)) is not None:
            promoted.append(found[0])
            trials[found[0]].until = found[1]
        best = sorted(range(count), key=lambda number: -values[number])
        assert promoted == best[:quota]


def test_the_goal_says_which_way_is_better() -> None:
    trials = record({3: 1.0}, {3: 2.0}, {3: 0.0})
    assert choice(ladder(goal=Goal("value", "min", 27)), trials) == (2, 9)
    assert choice(ladder(goal=Goal("other", "max", 27)), trials) == (2, 9)
    assert choice(ladder(goal=Goal("other", "min", 27)), trials) == (1, 9)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_ties_go_to_the_earlier_trial(mode: str) -> None:
    trials = record(*({3: 1.0} for _ in range(6)))
    scheduler = ladder(goal=Goal("value", mode, 27))
    assert choice(scheduler, trials) == (0, 9)
    assert choice(scheduler, trials[::-1]) == (0, 9)
    trials[0].until = 9
    assert choice(scheduler, trials) == (1, 9)
    trials[1].until = 9
    assert choice(scheduler, trials) is None


def test_busy_trials_are_not_promoted_nor_replaced() -> None:
    trials = record({3: 1.0}, {3: 2.0}, {3: 0.0})
    assert choice(ladder(), trials, busy=[1]) is None
    running = record({3: 1.0}, {3: 2.0}, {3: 0.0}, until={1: 9})
    assert choice(ladder(), running) is None
    assert choice(ladder(), record({3: 1.0}, {}, {3: 0.0})) is None  # a third that has not reported


def test_who_has_gone_on_still_counts_in_the_rungs_below() -> None:
    trials = record({3: 3.0, 9: 0.0}, {3: 2.0}, {3: 1.0})
    assert choice(ladder(), trials) is None
    trials += record({}, {}, {}, {3: 0.0}, {3: 0.0}, {3: 0.0})[3:]
    assert choice(ladder(), trials) == (1, 9)  # two of six: the first has gone


def test_a_latecomer_may_pass_those_who_went_on_before() -> None:
    trials = record({3: 1.0, 9: 1.0}, {3: 0.0}, {3: 0.0}, {3: 5.0})
    assert choice(ladder(), trials) == (3, 9)


def test_a_rung_is_judged_by_its_own_values() -> None:
    trials = record({3: 9.0, 9: 1.0}, {3: 8.0, 9: 3.0}, {3: 7.0, 9: 2.0})
    assert choice(ladder(), trials) == (1, 27)


def test_higher_rungs_go_first() -> None:
    trials = record({3: 9.0, 9: 1.0}, {3: 8.0, 9: 3.0}, {3: 7.0, 9: 2.0}, *({3: 10.0} for _ in range(6)))
    assert choice(ladder(), trials) == (1, 27)
    trials[1].until = 27
    assert choice(ladder(), trials) == (3, 9)


def test_whoever_is_complete_goes_nowhere() -> None:
    trials = record(*({3: 1.0, 9: 1.0, 27: 1.0} for _ in range(9)))
    assert choice(ladder(), trials) is None
    assert choice(ladder(), trials, exhausted=True) is None


def test_an_exhausted_study_takes_its_best_to_the_end() -> None:
    trials = record({3: 1.0}, {3: 2.0})
    assert choice(ladder(), trials) is None
    assert choice(ladder(), trials, exhausted=True) == (1, 9)
    trials = record({3: 1.0}, {3: 2.0, 9: 0.0})
    assert choice(ladder(), trials, exhausted=True) == (1, 27)
    trials = record({3: 1.0}, {3: 2.0, 9: 0.0, 27: 0.0})
    assert choice(ladder(), trials, exhausted=True) is None


def test_exhaustion_lifts_only_rungs_too_thin_for_anyone() -> None:
    trials = record(*({3: float(number)} for number in range(6)), until={4: 9, 5: 9})
    assert choice(ladder(), trials, exhausted=True) is None
    trials = record(*({3: float(number)} for number in range(6)))
    assert choice(ladder(), trials, exhausted=True) == (5, 9)


def test_promotion_reads_and_changes_nothing() -> None:
    trials = record({3: 1.0}, {3: 2.0}, {3: 0.0})
    before = deepcopy(trials)
    assert choice(ladder(), trials) == choice(ladder(), trials) == choice(ladder(), before)
    assert trials == before


@dataclass
class Promotion:
    """A trial that went on, and what its rung looked like then."""

    trial: Trial
    rung: int
    place: int
    quota: int
    exhausted: bool


def place(scheduler: asha.Asha, alive: list[Trial], trial: Trial) -> tuple[int, int]:
    """How many come before a trial among those at its rung, and how many of them may go on."""
    values = {t.number: r.metrics["value"] for t in alive for r in t.rungs if r.epoch == trial.until}
    order = sorted(values, key=lambda number: (-scheduler.goal.sign * values[number], number))
    return order.index(trial.number), len(order) // scheduler.eta


@st.composite
def runs(draw: st.DrawFn) -> tuple[asha.Asha, list[Trial], list[Promotion]]:
    """An asynchronous run to its end, with random values, speeds of workers and failures."""
    goal = Goal("value", draw(st.sampled_from(["max", "min"])), 64)
    scheduler = ladder(draw(st.integers(2, 4)), draw(st.integers(1, 4)), goal)
    budget, workers = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    rng = draw(st.randoms(use_true_random=False))
    trials: list[Trial] = []
    jobs: list[Trial] = []
    promotions: list[Promotion] = []
    for _ in range(1000):
        while len(jobs) < workers:
            alive = [trial for trial in trials if not trial.failed]
            ready = {trial.id for trial in alive if trial.waiting and trial not in jobs}
            exhausted = not jobs and len(trials) == budget
            found = scheduler.promote(ready, not exhausted, exhausted)
            assert (found and (found[0].id, found[1])) == by_sorting(scheduler, trials, ready, exhausted)
            if found is not None:
                trial, until = found
                assert trial.id in ready
                assert until == scheduler.rungs[scheduler.rungs.index(trial.until) + 1]
                promotions.append(Promotion(trial, trial.until, *place(scheduler, alive, trial), exhausted))
                trial.until = until
            elif len(trials) < budget:
                trial = Trial(f"t{len(trials):04d}", len(trials), {}, 0, scheduler.first(len(trials)))
                trials.append(trial)
            else:
                break
            scheduler.tell(trial)
            jobs.append(trial)
        if not jobs:
            return scheduler, trials, promotions
        trial = jobs.pop(rng.randrange(len(jobs)))
        if rng.random() < 0.1:
            trial.reason = "it broke"
        else:
            trial.rungs.append(Rung(trial.until, {"value": float(rng.randrange(10))}, 1.0))
        scheduler.tell(trial)
    raise AssertionError("the run does not end")


@settings(deadline=None, derandomize=True, max_examples=150)
@given(runs())
def test_whole_runs_keep_the_rules(run: tuple[asha.Asha, list[Trial], list[Promotion]]) -> None:
    scheduler, trials, promotions = run
    assert all(trial.failed or trial.waiting for trial in trials)
    for trial in trials:
        assert [rung.epoch for rung in trial.rungs] == list(scheduler.rungs[: len(trial.rungs)])
    # Nobody goes on twice from a rung, and who does is among its best then, or the best of a thin one at the end.
    assert max(Counter((p.trial.id, p.rung) for p in promotions).values(), default=1) == 1
    assert all(p.place < p.quota or (p.exhausted and p.place == p.quota == 0) for p in promotions)
    # At the end nobody who belongs to the best is left behind, and someone has got to the top.
    alive = [trial for trial in trials if not trial.failed]
    for trial in alive:
        before, quota = place(scheduler, alive, trial)
        assert trial.until == scheduler.rungs[-1] or before >= quota
    if alive:
        assert max(trial.epoch for trial in alive) == scheduler.rungs[-1]


WORDS = st.builds(
    lambda number, values, until, reason, retries: Trial(
        f"t{number:04d}",
        number,
        {},
        0,
        max([until, *values]),
        [Rung(epoch, {"value": value}, 1.0) for epoch, value in sorted(values.items())],
        reason,
        retries,
    ),
    number=st.integers(0, 9),
    values=st.dictionaries(st.sampled_from([2, 4, 8]), st.sampled_from([0.0, 1.0, 2.0])),  # some are missing, many tie
    until=st.sampled_from([2, 4, 8]),
    reason=st.sampled_from(["", "", "", "", "it broke"]),
    retries=st.integers(0, 2),
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data(), st.lists(WORDS, min_size=1, max_size=40), st.sampled_from(["max", "min"]))
def test_only_the_last_word_counts_and_sorting_everything_finds_the_same(
    data: st.DataObject, words: list[Trial], mode: str
) -> None:
    goal = Goal("value", mode, 8)
    scheduler, last = ladder(2, 3, goal), dict[str, Trial]()
    for word in words:
        scheduler.tell(word)
        last[word.id] = word
        waiting = sorted(trial.id for trial in last.values() if trial.waiting)
        ready = set(waiting) - data.draw(st.sets(st.sampled_from(waiting)) if waiting else st.just(set()))
        exhausted = data.draw(st.booleans())
        record = sorted(last.values(), key=lambda trial: trial.number)
        assert told(scheduler, ready, exhausted) == by_sorting(scheduler, record, ready, exhausted)
    anew = ladder(2, 3, goal)
    for trial in data.draw(st.permutations(list(last.values()))):
        anew.tell(trial)
    while (found := told(scheduler, ready, exhausted)) is not None:  # to the end, and the same in each
        assert found == told(anew, ready, exhausted)
        last[found[0]].until = found[1]
        ready.discard(found[0])
        scheduler.tell(last[found[0]])
        anew.tell(last[found[0]])
    assert told(anew, ready, exhausted) is None


def test_a_trial_counts_as_it_was_when_it_was_told() -> None:
    scheduler, trials = ladder(), record({3: 1.0}, {3: 2.0}, {3: 0.0})
    assert choice(scheduler, trials) == (1, 9)
    trials[0].rungs = [Rung(3, {"value": 5.0}, 1.0)]
    trials[1].until = 9
    assert told(scheduler, {"t0000", "t0001", "t0002"}, False) == ("t0001", 9)  # nobody has said so
    scheduler.tell(trials[1])
    assert told(scheduler, {"t0000", "t0001", "t0002"}, False) is None
    scheduler.tell(trials[0])
    assert told(scheduler, {"t0000", "t0001", "t0002"}, False) == ("t0000", 9)


def test_who_fails_later_no_longer_counts_anywhere() -> None:
    scheduler, trials = ladder(), record({3: 5.0, 9: 1.0}, {3: 2.0}, {3: 1.0}, {3: 0.0})
    assert choice(scheduler, trials) is None
    trials[0].reason = "it broke"
    assert choice(scheduler, trials) == (1, 9)
    assert choice(scheduler, trials, exhausted=True) == (1, 9)


def test_who_lacks_a_rung_is_not_counted_there() -> None:
    trials = record({9: 9.0}, {3: 1.0}, {3: 2.0})  # the line that told of the first one's first rung was damaged
    assert choice(ladder(), trials) is None
    assert choice(ladder(), trials, exhausted=True) == (0, 27)
    trials += record({}, {}, {}, {3: 0.0})[3:]
    assert choice(ladder(), trials) == (2, 9)
    trials[3].rungs = [Rung(3, {}, 1.0)]
    assert choice(ladder(), trials) is None


class Counted(float):
    """A value that counts how often it is compared in a key."""

    comparisons = 0

    def __rmul__(self, other: float) -> Counted:
        return Counted(other * float(self))

    def __neg__(self) -> Counted:
        return Counted(-float(self))

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return float(self) == other

    __hash__ = float.__hash__


def test_what_a_trial_costs_does_not_grow_with_their_number() -> None:
    scheduler, trials, costs, ready = ladder(), list[Trial](), list[int](), set[str]()
    for number in range(4000):
        trial = Trial(f"t{number:04d}", number, {}, 0, 3)
        trials.append(trial)
        before = Counted.comparisons
        scheduler.tell(trial)
        trial.rungs.append(Rung(3, {"value": Counted(number * 0.618 % 1)}, 1.0))
        scheduler.tell(trial)
        ready.add(trial.id)
        while (found := scheduler.promote(ready, True, False)) is not None:
            best, best.until = found[0], found[1]
            best.rungs.append(Rung(best.until, best.rungs[0].metrics, 1.0))
            scheduler.tell(best)
        costs.append(Counted.comparisons - before)
    assert sum(len(trial.rungs) > 1 for trial in trials) >= 1333
    assert sum(costs[-1000:]) < 2 * sum(costs[:1000])  # sorting them all takes sixteen times as many


@pytest.mark.parametrize(
    ("epochs", "reports", "rungs"),
    [(20, 4, (5, 10, 15, 20)), (3, 4, (1, 2, 3)), (1, 4, (1,)), (10, 3, (3, 7, 10)), (7, 1, (7,))],
)
def test_without_a_scheduler_trials_run_through(epochs: int, reports: int, rungs: tuple[int, ...]) -> None:
    scheduler = none.build(none.Config(reports), Goal("value", "max", epochs))
    assert (scheduler.rungs, scheduler.first(0), scheduler.first(7)) == (rungs, epochs, epochs)
    assert choice(scheduler, record({epochs: 1.0}, {epochs: 2.0}, {epochs: 3.0}), exhausted=True) is None
