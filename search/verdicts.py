"""What the trials of a claim say of it: for each condition a margin a seed, their mean, an interval and a verdict.

A *margin* is by how much a condition holds in one seed, below 0 by how much it is missed, in the condition's own units.
All variants of a claim see the same seeds, so that margins are differences of pairs. Their mean has a two-sided 90 %
interval by Student's t with n - 1 degrees of freedom, 5 % on each side:

    mean ± t(0.95, n - 1) · s / √n          Student, "The probable error of a mean" (Biometrika 6, 1908)

A condition holds where the whole interval is at or above 0, fails where the whole is below, and else is undecided. A
claim fails where one of its conditions does, or a trial of a variant; else it is undecided where one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t

from search.ledger import History, Trial
from spaces.claims import FLOORS, MUTATED, Claim
from spaces.goal import SECONDS
from spaces.space import Config

SIDE = 0.05  # of the chance that the mean lies beyond one end of its interval
MOST_SEEDS = 1000  # beyond which it is not told how many would decide
BROKEN = ("diverged", "collapsed", "the metric ")  # how reasons begin of failures that are no error of the code
Seen = Mapping[str, float]  # `VARIANT.METRIC` to its value, in one seed


@dataclass(frozen=True)
class Interval:
    """The mean of values, and where it may lie."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


def interval(values: Sequence[float]) -> Interval:
    """The 90 % interval of the mean of two values or more; of equal ones it has no width."""
    middle, spread = mean(values), stdev(values)
    half = float(t.ppf(1 - SIDE, len(values) - 1)) * spread / len(values) ** 0.5 if spread else 0.0
    return Interval(middle, middle - half, middle + half)


def verdict(found: Interval) -> str:
    """What an interval of margins says of their condition: `holds`, `fails` or `undecided`."""
    if found.low >= 0:
        return "holds"
    return "fails" if found.high < 0 else "undecided"


def seeds_needed(margins: Sequence[float]) -> int:
    """How many seeds would decide, if mean and deviation stay as they are; above `MOST_SEEDS` where more would be."""
    middle, spread = abs(mean(margins)), stdev(margins)
    for count in range(len(margins), MOST_SEEDS + 1):
        if float(t.ppf(1 - SIDE, count - 1)) * spread / count**0.5 <= middle:
            return count
    return MOST_SEEDS + 1


@dataclass(frozen=True)
class Judged:
    """A condition and what came of it; `margins` by seed, those of the right variants."""

    text: str
    left: Interval
    right: Interval
    margin: Interval
    margins: tuple[float, ...]
    verdict: str
    needed: int  # seeds that would decide; 0 where they did


@dataclass(frozen=True)
class Outcome:
    """What came of a claim.

    Attributes:
        verdict: `holds`, `fails` or `undecided`; `reason` says why, where that is no condition's doing.
        conditions: one a condition that could be judged, in the claim's order.
        mutation_fails: whether the mistake makes the claim fail; `mutation_reason` says by what.
        seconds: that all trials have worked.
        seeds: in which every variant has come to its end.
    """

    verdict: str
    reason: str
    conditions: tuple[Judged, ...]
    mutation_fails: bool
    mutation_reason: str
    seconds: float
    seeds: int

    @property
    def needed(self) -> int:
        """Seeds that would decide it; 0 where it is decided."""
        return max((one.needed for one in self.conditions), default=0) if self.verdict == "undecided" else 0

    @property
    def sound(self) -> bool:
        """Whether the claim holds and would not if the mistake were made."""
        return self.verdict == "holds" and self.mutation_fails


Turn = dict[str, Trial]  # a seed's trials, by variant


def turns(history: History, configs: Mapping[str, Config]) -> list[Turn]:
    """The trials of each seed in which every variant, and the mutation, has come to an end."""
    by_seed: dict[int, list[Trial]] = {}
    for trial in history.trials.values():
        if trial.failed or history.state(trial) == "complete":
            by_seed.setdefault(trial.seed, []).append(trial)
    found = []
    for trials in by_seed.values():
        turn = {name: trial for name, config in configs.items() for trial in trials if trial.config == config}
        if turn.keys() == configs.keys():
            found.append(turn)
    return found


def outcome(claim: Claim, configs: Mapping[str, Config], history: History) -> Outcome:
    """What the trials of a run say of a claim, given the configs of its variants and of its mutation.

    Raises:
        StudyError: a condition speaks of a metric that the trials do not have, or fewer than two seeds are done.
    """
    done = turns(history, configs)
    if len(done) < 2:
        raise claim.node.wrong(f"{len(done)} seeds are done in all variants, and an interval needs two")
    worked = sum(trial.seconds for trial in history.trials.values())
    broken = [(name, s, turn[name]) for s, turn in enumerate(done) for name in claim.variants if turn[name].failed]
    fine = [turn for turn in done if not any(turn[name].failed for name in claim.variants)]
    for turn in fine:
        require(claim, {name: turn[name] for name in claim.variants}, history)
    judged, undefined = _judged(claim, [_seen(turn, claim.variants, history) for turn in fine])
    said = [one.verdict for one in judged]
    overall = next((word for word in ("fails", "undecided") if word in said), "holds")
    reason = undefined
    if broken:
        name, seed, trial = broken[0]
        reason = f"{trial.id} ({name}, seed {seed}) failed: {trial.reason}"
    fails, why = _mutation(claim, done, history)
    return Outcome("fails" if reason else overall, reason, judged, fails, why, round(worked, 3), len(done))


def require(claim: Claim, trials: Mapping[str, Trial], history: History) -> None:
    """Refuses conditions on metrics that trials, by variant, or the floors have turned out not to give.

    Raises:
        StudyError: the first such condition, with the metrics that there are.
    """
    given = {name: sorted({*trial.rungs[-1].metrics, SECONDS}) for name, trial in trials.items() if trial.rungs}
    for condition in claim.holds:
        for name, metrics in condition.needs.items():
            floors = {} if name in claim.variants else history.floors
            there = sorted((floors or {}).get(name, {})) if name not in claim.variants else given.get(name)
            if floors is None or there is None:
                continue  # not yet known
            if missing := [metric for metric in metrics if metric not in there]:
                what = f"'{name}' has given no metric '{missing[0]}'"
                raise condition.node.wrong(what, there or "none", near=missing[0] if there else None)


def _seen(turn: Turn, variants: Mapping[str, object], history: History, wrong: str = "") -> dict[str, float]:
    """What a seed has shown; with `wrong`, the mutation in the place of that variant."""
    seen = {f"{name}.{metric}": value for name in FLOORS for metric, value in _floor(history, name).items()}
    for name in variants:
        trial = turn[MUTATED if name == wrong else name]
        seen |= {f"{name}.{metric}": value for metric, value in trial.rungs[-1].metrics.items()}
        seen[f"{name}.{SECONDS}"] = trial.seconds
    return seen


def _floor(history: History, name: str) -> dict[str, float]:
    return (history.floors or {}).get(name, {})


def _judged(claim: Claim, seen: Sequence[Seen]) -> tuple[tuple[Judged, ...], str]:
    """The conditions in the light of each seed's values; and which of them had none, if one had."""
    judged, undefined = [], ""
    for condition in claim.holds if len(seen) > 1 else ():
        sides = [condition.expression.sides(values) for values in seen]
        there = [pair for pair in sides if pair is not None]
        if len(there) < len(sides):
            seed = sides.index(None)
            undefined = undefined or f"'{condition.expression.text}' has no value in seed {seed}"
            continue
        margins = tuple(condition.expression.margin(values) for values in seen)
        found = interval(margins)
        word = verdict(found)
        needed = seeds_needed(margins) if word == "undecided" else 0
        left, right = (interval(side) for side in zip(*there, strict=True))
        judged.append(Judged(condition.expression.text, left, right, found, margins, word, needed))
    return tuple(judged), undefined


def _mutation(claim: Claim, done: Sequence[Turn], history: History) -> tuple[bool, str]:
    """Whether the claim fails once a variant is made wrong, and by what."""
    failed = [turn[MUTATED] for turn in done if turn[MUTATED].failed]
    for trial in sorted(failed, key=lambda trial: not _named(trial))[:1]:
        return _named(trial), f"{trial.id} failed: {trial.reason}"
    fine = [turn for turn in done if not any(turn[name].failed for name in claim.variants)]
    for turn in fine:
        require(claim, {claim.mutation.of: turn[MUTATED]}, history)
    wrong = [_seen(turn, claim.variants, history, claim.mutation.of) for turn in fine]
    for condition in claim.holds if wrong else ():
        margins = [condition.expression.margin(values) for values in wrong]
        if any(margin != margin for margin in margins):
            return True, f"'{condition.expression.text}' has no value"
        if mean(margins) < 0:
            return True, f"'{condition.expression.text}' is missed by {-mean(margins):.3g}"
    return False, "every condition holds on the mean" if wrong else "no seed has all variants"


def _named(trial: Trial) -> bool:
    """Whether a trial failed of what training can come to, and not of an error in the code."""
    return bool(trial.cause) or trial.reason.startswith(BROKEN)
