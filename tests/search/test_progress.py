"""The live view against a count of all trials, its lines for a whole run, and what it costs when there are many."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, Group

from search.compare import progress as module
from search.compare.progress import FRAMES, SHARE, Progress
from search.compare.table import report
from search.ledger import Event, History

HEADER = {"event": "study", "metric": "value", "mode": "max", "rungs": [1, 3, 9], "switches": ["method"], "knobs": []}
TRIALS = 12


def asked(number: int, until: int = 1) -> Event:
    config = {"method": {"mae": {"shuffled": True}}}
    return {"event": "asked", "id": f"t{number:04d}", "number": number, "config": config, "seed": 0, "until": until}


def rung(number: int, epoch: int, value: float = 0.5, seconds: float = 2.0) -> Event:
    return {
        "event": "rung", "id": f"t{number:04d}", "epoch": epoch, "metrics": {"value": value}, "seconds": seconds,
    }  # fmt: skip


def happened(name: str, number: int, **more: Any) -> Event:
    return {"event": name, "id": f"t{number:04d}", **more}


def begun(*events: Event) -> History:
    history = History()
    for event in [HEADER, *events]:
        history.take(event)
    return history


class Clock:
    """Stands for the module `time`; it goes when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(module, "time", found := Clock())
    return found


def view(terminal: bool = False, quiet: bool = False, before: float = 0.0, trials: int = TRIALS) -> Progress:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, height=60, highlight=False)
    return Progress(trials, "runs/x", console, quiet, before)


def written(progress: Progress) -> str:
    assert isinstance(progress.console.file, io.StringIO)
    return progress.console.file.getvalue()


def frame(progress: Progress) -> str:
    """What the terminal would show now."""
    console = Console(file=io.StringIO(), width=120, height=60)
    assert progress.live is not None
    console.print(progress.live.get_renderable())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def tell(progress: Progress, history: History, *events: Event) -> None:
    for event in events:
        history.take(event)
        progress(event, history)


def test_a_floor_that_lacks_the_metric_is_passed_over() -> None:
    for floors, said in (({"raw": {"other": 1.0}}, ""), ({"raw": {}, "untrained": {"value": 0.5}}, "untrained 0.5000")):
        progress, history = view(), begun()
        with progress:
            tell(progress, history, {"event": "floors", "floors": floors})
        assert written(progress) == (f"floors of value: {said}\n" if said else "")


def test_the_lines_of_a_run(clock: Clock) -> None:
    progress, history = view(trials=3), begun()
    floors = {"raw": {"value": 0.25}, "untrained": {"value": 0.125}}
    with progress:
        tell(progress, history, {"event": "floors", "floors": floors}, asked(0), asked(1))
        clock.now = 2.0
        tell(progress, history, rung(0, 1), happened("promoted", 0, until=3))
        clock.now = 4.0
        tell(progress, history, happened("retried", 0, reason="the worker died"))
        tell(progress, history, happened("failed", 1, reason="the loss became nan"), asked(2))
        clock.now = 6.0
        tell(progress, history, rung(0, 3, 0.75, 4.0), happened("retried", 2, reason="it hung"), rung(2, 1, 0.625, 3.0))
        tell(progress, history, {"event": "finished"})
    assert written(progress).splitlines() == [
        "floors of value: raw 0.2500, untrained 0.1250",
        "t0000 mae                      epoch    1  value 0.5000     2.0 s   [1 of 3 trials, 0:02, about 0:04 left]",
        "t0000 mae                      lost: the worker died; goes on from epoch 1",
        "t0001 mae                      failed: the loss became nan",
        "t0000 mae                      epoch    3  value 0.7500     6.0 s   [2 of 3 trials, 0:06, about 0:12 left]",
        "t0002 mae                      lost: it hung; goes on from epoch 0",
        "t0002 mae                      epoch    1  value 0.6250     3.0 s   [3 of 3 trials, 0:06, about 0:03 left]",
    ]


def test_floors_that_could_not_be_measured_are_said() -> None:
    progress = view()
    tell(progress, begun(), {"event": "floors", "floors": {}, "reason": "ValueError: no ground"})
    assert written(progress) == "floors could not be measured: ValueError: no ground\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_who_wants_quiet_gets_it(terminal: bool) -> None:
    progress = view(terminal, quiet=True)
    with progress:
        tell(progress, begun(), asked(0), rung(0, 1), {"event": "finished"})
    assert written(progress) == ""


def by_scanning(history: History, spent: float, before: float) -> set[str]:
    """The status, by a look at every trial; two, where the time left is a whole second but for rounding."""
    trials = list(history.trials.values())
    told = [t for t in trials if t.rungs]
    text = f"{sum(t.waiting or t.failed for t in trials)} of {TRIALS} trials, 0:{spent:02.0f}"
    total = sum(t.seconds for t in told)
    if not told or total - before <= 0:
        return {text}
    left = max(TRIALS - len(told), 0) * total / len(told)
    under_way = [t.until - t.epoch for t in told if not t.waiting and not t.failed]
    left += sum(under_way) * total / sum(t.epoch for t in told)
    left *= spent / (total - before)
    return {f"{text}, about {clock_face(int(left + error))} left" for error in (-1e-6, 1e-6)}


def clock_face(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """A run's events, in an order that a sweep may give them."""
    history, found = begun(), list[Event]()
    for _ in range(draw(st.integers(1, 40))):
        alive = [t for t in history.trials.values() if not t.failed]
        events = [asked(len(history.trials))]
        for trial in alive:
            longer = {1: 3, 3: 9}.get(trial.until)
            if not trial.waiting:
                seconds = draw(st.sampled_from([0.25, 0.5, 7.75]))  # sums of which are exact in any order
                events.append(rung(trial.number, trial.until, seconds=seconds))
                events.append(happened("retried", trial.number, reason="lost"))
                events.append(happened("failed", trial.number, reason="it broke"))
            elif longer:
                events.append(happened("promoted", trial.number, until=longer))
        found.append(draw(st.sampled_from(events)))
        history.take(found[-1])
    return found


@settings(deadline=None, derandomize=True, max_examples=150)
@given(runs(), st.integers(0, 40))
def test_the_status_is_what_a_look_at_every_trial_gives(events: list[Event], resumed: int) -> None:
    history = begun(*events[:resumed])
    before = sum(trial.seconds for trial in history.trials.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock := Clock())
        progress = view(before=before)
        for now, event in enumerate(events[resumed:], 1):
            clock.now = float(now)
            tell(progress, history, event)
            assert progress.status() in by_scanning(history, clock.now, before)


def test_a_run_taken_up_again_has_no_rate_before_it_has_worked(clock: Clock) -> None:
    worked = [0.366, 0.417, 8.871, 0.151]  # whose sum grows by 1.8e-15 when parts of it are told anew
    history = begun(*(e for number, s in enumerate(worked) for e in (asked(number), rung(number, 1, seconds=s))))
    progress = view(before=sum(worked))
    clock.now = 5.0
    tell(progress, history, *(happened("promoted", number, until=3) for number in (0, 1, 2)))
    assert progress.sums.seconds > sum(worked)
    assert progress.status() == "1 of 12 trials, 0:05"


class Unseen(dict[str, Any]):
    """Trials that can be looked up, but not gone through."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("somebody looks at all trials")

    def values(self) -> Any:
        return iter(self)

    items = values


@pytest.mark.parametrize("terminal", [False, True])
def test_an_event_asks_after_its_own_trial_alone(terminal: bool) -> None:
    history = begun(*(asked(number) for number in range(8)))
    progress = view(terminal)
    tell(progress, history, rung(0, 1))
    history.trials = Unseen(history.trials)
    more = [rung(1, 1), happened("failed", 2, reason="it broke"), happened("retried", 3, reason="lost"), asked(8)]
    tell(progress, history, *more, happened("promoted", 1, until=3), rung(1, 3), {"event": "finished"})
    assert progress.status().startswith("3 of 12 trials")


def test_a_terminal_is_redrawn_a_few_times_a_second_and_shows_how_it_ended() -> None:
    progress, history = view(terminal=True, trials=2000), begun()
    started = time.monotonic()
    with progress:
        for number in range(2000):
            tell(progress, history, asked(number), rung(number, 1, number / 2000))
        while time.monotonic() - started < 1:
            tell(progress, history, happened("retried", 0, reason="lost"))
    frames = written(progress).count(" of 2000 trials")
    assert 1 <= frames <= FRAMES * (time.monotonic() - started) + 2
    assert "2000 of 2000 trials" in written(progress)
    assert "mae (t1999) leads with value 0.9995" in written(progress)


def test_a_silent_run_shows_its_last_state_before_the_end() -> None:
    progress, history = view(terminal=True), begun()
    with progress:
        tell(progress, history, asked(0), rung(0, 1), asked(1))
        deadline = time.monotonic() + 30
        while "running" not in written(progress) and time.monotonic() < deadline:  # nothing more happens
            continue
        assert "running" in written(progress)
        assert "1 of 12 trials" in written(progress)


@pytest.fixture
def slow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A table takes a second; the list says of how many trials each was."""
    made: list[int] = []

    def making(history: History, where: str) -> Group:
        clock.now += 1.0
        made.append(len(history.trials))
        return report(history, where)

    monkeypatch.setattr(module, "report", making)
    return made


def test_tables_take_a_small_share_of_the_time(clock: Clock, slow: list[int]) -> None:
    progress, history = view(terminal=True), begun()
    number = count()
    while clock.now < 60:
        tell(progress, history, asked(next(number)))
        frame(progress)
        clock.now += 1 / FRAMES
    assert 2 <= len(slow) <= 1 + 60 * SHARE
    made = len(slow)
    clock.now += 100
    for _ in range(3):  # nothing new but for the first
        frame(progress)
        clock.now += 100
    assert len(slow) <= made + 1


def test_the_last_table_is_made_however_long_the_one_before_took(slow: list[int]) -> None:
    progress, history = view(terminal=True), begun()
    with progress:
        tell(progress, history, asked(0))
        frame(progress)
        tell(progress, history, asked(1), rung(1, 1, 0.75))
    assert slow[-1] == 2
    assert "mae (t0001) leads with value 0.7500" in written(progress)


def test_a_trial_may_join_while_the_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, history = view(terminal=True), begun(asked(0))

    def interrupted(shown: History, where: str) -> Group:
        trials = iter(shown.trials.values())
        next(trials)
        tell(progress, history, asked(2))
        return Group(*(trial.id for trial in trials))

    monkeypatch.setattr(module, "report", interrupted)
    tell(progress, history, asked(1))
    assert "t0001" in frame(progress)
    assert len(history.trials) == 3


def test_no_more_failures_are_drawn_than_a_terminal_has_lines() -> None:
    progress, history = view(terminal=True, trials=500), begun()
    for number in range(500):
        tell(progress, history, asked(number), happened("failed", number, reason="it broke"))
    assert frame(progress).count("failed  t0") == 58  # below the table, and how many more there are
    assert "500 of 500 trials" in frame(progress)
