"""Schedulers: the contract that each keeps, under any number of workers, and the papers' rules."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.kinds import function
from search.folder import Folder
from search.ledger import Event, History, Rung, Trial
from search.run import CATALOGUE
from search.schedulers import Forking, Scheduler, build_scheduler, hyperband, median
from search.schedulers.asha import Config as Ladder
from search.schedulers.asha import rungs as ladder
from search.sweep import Sweep
from search.trial import FLOORS, End, Job, Work
from spaces.components import Shelf
from spaces.document import StudyError, parse
from spaces.space import draws, fits
from spaces.study import Goal, Study, read_study

# Every scheduler of the shelf, with its defaults and in other shapes.
SCHEDULERS = {
    "asha": ["asha", "{asha: {eta: 2, levels: 4}}"],
    "hyperband": ["hyperband", "{hyperband: {eta: 2, levels: 4}}"],
    "median": ["median", "{median: {reports: 8, grace: 1}}"],
    "none": ["none", "{none: {reports: 1}}"],
    "pbt": ["pbt", "{pbt: {population: 4, reports: 4, share: 0.5}}", "{pbt: {population: 5, reports: 3, resample: 0}}"],
}
EPOCHS = 9
each = pytest.mark.parametrize("text", [text for texts in SCHEDULERS.values() for text in texts])


@pytest.fixture(autouse=True, scope="module")
def _tunable() -> Iterator[None]:
    """All knobs of a function may change while it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, "TUNABLE", ("function",), raising=False)
        yield


@cache
def study(scheduler: str, strategy: str = "random", epochs: int = EPOCHS, mode: str = "min") -> Study:
    text = f"""
name: x
objective: function
space: {{function: {{branin: search, mixed: search}}}}
budget: {{trials: 9, epochs: {epochs}, retries: 1}}
search: {{strategy: {strategy}, scheduler: {scheduler}, metric: value, mode: {mode}, seed: 5}}
"""
    return read_study(parse(text, "s.yaml"), CATALOGUE)


def test_every_scheduler_of_the_shelf_is_here() -> None:
    assert Shelf("scheduler", "search.schedulers").names() == sorted(SCHEDULERS)


class Memory:
    """A ledger without a disk."""

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self.history = History({"rungs": list(rungs), "metric": "value", "mode": "min"})
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(deepcopy(event))
        self.history.take(deepcopy(event))


def begun(wanted: Study) -> Sweep:
    """A sweep whose trials nobody computes; its floors are measured."""
    work = Work(wanted, Folder(Path("/nowhere")), build_scheduler(wanted).rungs, "cpu")
    sweep = Sweep(wanted, work, Memory(work.rungs), lambda event, history: None)  # type: ignore[arg-type]
    assert sweep.next_job() == FLOORS
    sweep.ended(FLOORS, End("done"))
    return sweep


class Player:
    """Plays a sweep to its end with workers who finish in a random order, some of whom fail or are lost.

    Values are few, so that many tie.
    """

    def __init__(self, sweep: Sweep, workers: int, rng: random.Random, failing: float, check: Any = None) -> None:
        self.sweep, self.workers, self.rng, self.failing = sweep, workers, rng, failing
        self.check = check or (lambda sweep: None)
        self.out: list[Job] = []
        self.done: Counter[tuple[str, int]] = Counter()  # trials and the rungs that they were told at
        self.epochs = 0

    def play(self) -> History:
        for _ in range(5000):
            while len(self.out) < self.workers and (job := self.sweep.next_job()) is not None:
                assert job.id not in {other.id for other in self.out}
                assert 0 <= job.start < job.until <= EPOCHS
                self.out.append(job)
                self.check(self.sweep)
            if not self.out:
                assert self.sweep.over
                return self.sweep.history
            self.finish(self.out.pop(self.rng.randrange(len(self.out))))
            self.check(self.sweep)
        raise AssertionError("the run does not end")

    def finish(self, job: Job) -> None:
        for rung in [r for r in self.sweep.work.rungs if job.start < r <= job.until]:
            fate = self.rng.random()
            if fate < self.failing:
                return self.sweep.ended(job, End("failed" if fate < self.failing / 2 else "lost", "it broke"))
            self.epochs += rung - max(job.start, self.reached(job))
            self.sweep.told(job, Rung(rung, {"value": float(self.rng.randrange(5))}, 1.0))
            self.done[job.id, rung] += 1
        self.sweep.ended(job, End("done"))

    def reached(self, job: Job) -> int:
        return self.sweep.history.trials[job.id].epoch


def answers(scheduler: Scheduler, ready: set[str]) -> list[Any]:
    """All that a scheduler can be asked."""
    found: list[Any] = [scheduler.first(number) for number in range(30)]
    for coming, idle in product([True, False], [True, False]):
        choice = scheduler.promote(ready, coming, idle)
        found.append(choice and (choice[0].id, choice[1]))
    if isinstance(scheduler, Forking):
        forks = [scheduler.fork(number) for number in (20, 21)]
        found += [fork and (fork.parent.id, fork.start, fork.until, fork.config) for fork in forks]
        found.append(scheduler.oldest())
    return found


@each
@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    trials=st.integers(1, 14),
    workers=st.integers(1, 8),
    failing=st.sampled_from([0.0, 0.1, 0.4]),
    strategy=st.sampled_from(["random", "{grid: {points: 2}}"]),
    mode=st.sampled_from(["min", "max"]),
    seed=st.integers(0, 99),
)
def test_whole_runs_keep_the_contract(
    text: str, trials: int, workers: int, failing: float, strategy: str, mode: str, seed: int
) -> None:
    wanted = study(text, strategy, mode=mode)
    wanted = replace(wanted, budget=replace(wanted.budget, trials=trials))
    rng = random.Random(seed)

    def anew(sweep: Sweep) -> None:  # told every trial once, in any order, after words that no longer hold
        other, known = build_scheduler(wanted), list(sweep.history.trials.values())
        for trial in rng.sample(known, len(known)):
            other.tell(replace(trial, until=sweep.work.rungs[0], rungs=trial.rungs[:1], reason=rng.choice(["", "ill"])))
        for trial in rng.sample(known, len(known)):
            other.tell(trial)
        expected = answers(sweep.scheduler, sweep.ready)
        assert answers(other, sweep.ready) == expected
        assert answers(sweep.scheduler, sweep.ready) == expected  # asking changes nothing

    player = Player(begun(wanted), workers, rng, failing, anew)
    found = list(player.play().trials.values())
    assert len(found) <= trials
    assert strategy != "random" or len(found) == trials or "pbt" in text
    assert all(trial.failed or trial.waiting for trial in found)
    rungs = player.sweep.work.rungs
    for trial in found:
        ahead = [rung for rung in rungs if rung > trial.origin]
        assert [rung.epoch for rung in trial.rungs] == ahead[: len(trial.rungs)]
    assert set(player.done.values()) <= {1}
    assert player.epochs == sum(trial.epoch - trial.origin for trial in found) <= trials * EPOCHS
    alive = [trial for trial in found if not trial.failed]
    assert not alive or max(trial.epoch for trial in alive) == EPOCHS == rungs[-1]


@each
def test_one_trial_alone_runs_to_the_end(text: str) -> None:
    wanted = replace(study(text), budget=replace(study(text).budget, trials=1))
    (trial,) = Player(begun(wanted), 4, random.Random(0), 0.0).play().trials.values()
    assert trial.epoch == EPOCHS


@each
def test_where_nobody_survives_every_trial_of_the_budget_is_tried(text: str) -> None:
    history = Player(begun(study(text)), 3, random.Random(0), 1.0).play()
    assert len(history.trials) == study(text).budget.trials
    assert all(trial.failed for trial in history.trials.values())


@each
@pytest.mark.parametrize("workers", [1, 4])
def test_a_study_of_one_epoch_has_one_rung(text: str, workers: int) -> None:
    history = Player(begun(study(text, epochs=1)), workers, random.Random(0), 0.2).play()
    assert history.rungs == (1,)
    assert {trial.until for trial in history.trials.values()} == {1}


def record(*curves: dict[int, float], until: dict[int, int] | None = None) -> list[Trial]:
    """Trials 0, 1, ... with these values at their rungs, let run to the last of them, or to `until`."""
    trials = []
    for number, curve in enumerate(curves):
        rungs = [Rung(epoch, {"value": value}, 1.0) for epoch, value in curve.items()]
        end = (until or {}).get(number, max(curve, default=1))
        trials.append(Trial(f"t{number:04d}", number, {}, 0, end, rungs))
    return trials


def promoted(scheduler: Scheduler, trials: list[Trial], coming: bool = True) -> tuple[int, int] | None:
    """The number of the promoted trial and how far it may go."""
    for trial in trials:
        scheduler.tell(trial)
    found = scheduler.promote({trial.id for trial in trials if trial.waiting}, coming, not coming)
    return (found[0].number, found[1]) if found else None


GOAL = Goal("value", "max", 81)


def test_the_brackets_of_hyperband_are_those_of_the_paper() -> None:
    """Table 1 of Li et al. 2018: R = 81 and eta = 3."""
    scheduler = hyperband.build(hyperband.Config(3, 5), GOAL)
    assert hyperband.shares(3, 5) == [81, 34, 15, 8, 5]
    assert [bracket.rungs[0] for bracket in scheduler.brackets] == [1, 3, 9, 27, 81]
    assert scheduler.rungs == (1, 3, 9, 27, 81) == ladder(Ladder(3, 5), GOAL)
    firsts = Counter(scheduler.first(number) for number in range(143))
    assert firsts == {1: 81, 3: 34, 9: 15, 27: 8, 81: 5}
    assert [scheduler.first(143 + number) for number in range(143)] == [scheduler.first(n) for n in range(143)]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(2, 10), st.integers(1, 10), st.integers(1, 300))
def test_hyperband_deals_out_trials_in_proportion_at_any_time(eta: int, levels: int, count: int) -> None:
    scheduler = hyperband.build(hyperband.Config(eta, levels), Goal("value", "max", 1000))
    shares = hyperband.shares(eta, len(scheduler.rungs))
    assert len(scheduler.rungs) == len(set(ladder(Ladder(eta, levels), Goal("value", "max", 1000))))
    dealt = Counter(scheduler.first(number) for number in range(count))
    for rung, share in zip(scheduler.rungs, shares, strict=True):
        assert abs(dealt[rung] - count * share / sum(shares)) < len(shares)
    late = hyperband.build(hyperband.Config(eta, levels), Goal("value", "max", 1000))
    assert late.first(count) == scheduler.first(count)  # whoever was asked about before


def test_a_bracket_of_hyperband_halves_by_its_own_trials_alone() -> None:
    scheduler = hyperband.build(hyperband.Config(3, 3), Goal("value", "max", 9))
    firsts = [scheduler.first(number) for number in range(17)]
    hasty = [number for number, first in enumerate(firsts) if first == 1]
    trials = record(*({firsts[number]: float(number)} for number in range(17)))
    best = hasty[-3:]
    quick = [trials[number] for number in hasty]
    found = []
    while (choice := promoted(scheduler, quick)) is not None and choice[1] == 3:
        found.append(choice[0])
        trials[choice[0]].until = 3
    assert found == best[::-1]  # a third of nine
    middle = [number for number, first in enumerate(firsts) if first == 3]
    others = [trials[number] for number in middle]
    assert promoted(scheduler, others) == (middle[-1], 9)  # one of five; those of the hasty do not count here


def test_the_median_rule_on_a_record_made_by_hand() -> None:
    scheduler = median.build(median.Config(reports=3, grace=3), Goal("value", "max", 3))
    running = {0: 2, 1: 2, 2: 2}  # these have gone on from the first rung
    trials = record({1: 1.0}, {1: 3.0}, {1: 5.0}, {1: 2.9}, until=running)
    assert promoted(scheduler, trials) is None  # 2.9 against the median of 1, 3 and 5
    trials[3].rungs = [Rung(1, {"value": 3.0}, 1.0)]
    assert promoted(scheduler, trials) == (3, 2)  # as good as the median is good enough
    # At the second rung, the best of 3 and 0 is held against the means 2, 3 and 4 of the others.
    trials = record({1: 1.0, 2: 3.0}, {1: 3.0, 2: 3.0}, {1: 5.0, 2: 3.0}, {1: 3.0, 2: 0.0}, until={0: 3, 1: 3, 2: 3})
    assert promoted(scheduler, trials) == (3, 3)
    trials[3].rungs = [Rung(1, {"value": 2.9}, 1.0), Rung(2, {"value": 0.0}, 1.0)]
    assert promoted(scheduler, trials) is None


def test_who_was_left_behind_goes_on_when_the_median_falls() -> None:
    scheduler = median.build(median.Config(reports=3, grace=2), Goal("value", "min", 3))
    trials = record({1: 1.0}, {1: 2.0}, {1: 3.0}, until={0: 2, 1: 2})
    assert promoted(scheduler, trials) is None
    trials += record({}, {}, {}, {1: 4.0}, {1: 5.0})[3:]
    assert promoted(scheduler, trials) == (2, 2)


def by_definition(scheduler: median.Median, trials: list[Trial], ready: set[str]) -> set[tuple[str, int]]:
    """Who may go on from the highest rung where someone may, found by looking at everybody."""
    for step in reversed(scheduler.steps):
        seen = {
            trial.id: [rung.metrics["value"] for rung in trial.rungs if rung.epoch <= step.rung]
            for trial in trials
            if any(rung.epoch == step.rung for rung in trial.rungs) and not trial.failed
        }
        found = set()
        for trial in trials:
            others = [statistics.mean(values) for id, values in seen.items() if id != trial.id]
            if trial.id in ready & seen.keys() and trial.until == step.rung:
                few = len(others) < scheduler.grace
                if few or max(seen[trial.id]) >= statistics.median(others):
                    found.add((trial.id, step.longer))
        if found:
            return found
    return set()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 8), max_size=3), st.integers(0, 1), st.sampled_from(["", "", "", "ill"])),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_the_median_rule_agrees_with_its_definition(rows: list[tuple[list[int], int, str]], grace: int) -> None:
    scheduler = median.build(median.Config(reports=4, grace=grace), Goal("value", "max", 4))
    trials = record(*({rung + 1: float(value) for rung, value in enumerate(values)} for values, _, _ in rows))
    for trial, (values, further, reason) in zip(trials, rows, strict=True):
        trial.until, trial.reason = max(1, len(values) + further), reason
        scheduler.tell(trial)
    ready = {trial.id for trial in trials if trial.waiting}
    expected = by_definition(scheduler, trials, ready)
    found = scheduler.promote(ready, True, False)
    assert (found is None) == (not expected)
    if found is not None:
        assert (found[0].id, found[1]) in expected
        best = {id: max(r.metrics["value"] for r in t.rungs) for t in trials for id in [t.id] if t.rungs}
        assert best[found[0].id] == max(best[id] for id, _ in expected)


def test_sums_beyond_the_greatest_number_decide_as_well() -> None:
    scheduler = median.build(median.Config(reports=3, grace=1), Goal("value", "max", 3))
    trials = record(*({1: 1.7e308, 2: 1.7e308} for _ in range(3)))
    assert promoted(scheduler, trials) == (0, 3)
    assert median.mean([0.1, 0.1, 0.1]) == 0.1
    assert median.mean([1.7e308, 1.7e308]) == 1.7e308


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 6), st.sampled_from([0.0, 0.15]))
def test_the_population_of_pbt_never_grows(seed: int, workers: int, failing: float) -> None:
    wanted = study("{pbt: {population: 6, reports: 5, share: 0.34}}")
    wanted = replace(wanted, budget=replace(wanted.budget, trials=40))

    def bounded(sweep: Sweep) -> None:
        trials = sweep.history.trials.values()
        forks = Counter(trial.origin for trial in trials if trial.parent)
        for rung in sweep.work.rungs[:-1]:
            ended = [t for t in trials if t.epoch == rung and (t.failed or t.until == rung)]
            assert forks[rung] <= len(ended) + sum(t.parent != "" and t.failed for t in trials)
        assert sum(not (t.failed or t.waiting) for t in trials) <= 6

    history = Player(begun(wanted), workers, random.Random(seed), failing, bounded).play()
    assert len(history.trials) > 6
    for trial in history.trials.values():
        assert fits(wanted.space, trial.config)
        if trial.parent:
            parent = history.trials[trial.parent]
            assert trial.origin in {rung.epoch for rung in parent.rungs}
            switch = next(iter(trial.config["function"]))
            assert switch == next(iter(parent.config["function"]))
            drawn, before = draws(wanted.space, trial.config), draws(wanted.space, parent.config)
            assert drawn.keys() == before.keys()
            assert drawn != before


def test_a_kind_without_knobs_that_may_change_cannot_be_run_by_pbt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "TUNABLE", ("function.mixed",))
    build_scheduler(study("pbt"))
    monkeypatch.setattr(function, "TUNABLE", ("function.mixed.z",))
    with pytest.raises(StudyError, match=r"(?s)^s.yaml:6: search.scheduler: 'pbt' changes .* allowed: space.function"):
        build_scheduler(study("pbt"))
    monkeypatch.delattr(function, "TUNABLE")
    with pytest.raises(
        StudyError, match=r"(?s)^s.yaml:6: search.scheduler: .*'function' has none .* another scheduler"
    ):
        build_scheduler(study("pbt"))
    build_scheduler(study("asha"))
