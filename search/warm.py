"""Warm starts: what earlier runs found, told to the strategy before it is asked for anything.

Of each run named by `search.warm_start`, those trials are used whose config lies in the space of this study and that
have its metric. They become `known` events at the head of the new ledger, which therefore needs the old runs no more.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from search.ledger import Event, History, Trial, read
from spaces.document import StudyError
from spaces.domains import Domain, Fixed
from spaces.space import Config, Either, Group, Node, Same, Sequence, Switch, allowed, below
from spaces.study import Study


class Misfit(ValueError):
    """A config of another space has no place in this one."""


def known(study: Study) -> tuple[list[Event], list[str]]:
    """The events of what earlier runs know of this study's space, and a line on each run for the user.

    Raises:
        StudyError: there is no such run, or nothing in any of them fits.
    """
    events: list[Event] = []
    lines = []
    for node in study.warm_start:
        try:
            history, _ = read(Path(node.value) / "ledger.jsonl")
        except StudyError as error:
            raise node.wrong(f"the run to start from cannot be read: {error}") from None
        found, misfits = _usable(study, history)
        for trial, config in found:
            events.append(_event(study, history, trial, config, len(events), node.value))
        said = "; ".join(f"{reason} ({count})" for reason, count in misfits.most_common(3))
        lines.append(
            f"{node.value}: {len(found)} of {len(history.trials)} trials are used" + (f"; {said}" * bool(said))
        )
    if study.warm_start and not events:
        raise study.warm_start[0].wrong("no trial of an earlier run fits this space: " + " | ".join(lines))
    return events, lines


def _usable(study: Study, history: History) -> tuple[list[tuple[Trial, Config]], Counter[str]]:
    """The trials of a run that fit, with their configs in this space; why the others do not, and how many."""
    found, misfits = [], Counter[str]()
    for trial in history.trials.values():
        try:
            config = projected(study.space, trial.config)
            if not allowed(study.space, config):
                raise Misfit("forbidden by 'where'")
            if trial.failed or not trial.rungs:
                raise Misfit("failed or never at a rung")
            if study.goal.values(trial.rungs[-1].metrics) is None:
                raise Misfit("without " + ", ".join(target.metric for target in study.goal.targets))
            found.append((trial, config))
        except Misfit as misfit:
            misfits[str(misfit)] += 1
    return found, misfits


def _event(study: Study, history: History, trial: Trial, config: Config, place: int, run: str) -> Event:
    """A trial of an earlier run, as far as it got, on the scale of this study's epochs."""
    share = trial.epoch / history.rungs[-1]
    return {
        "event": "known",
        "id": f"w{place:04d}",
        "config": config,
        "epoch": max(1, round(share * study.goal.epochs)),
        "metrics": trial.rungs[-1].metrics,
        "from": f"{run} {trial.id}",
    }


def projected(space: Group, config: Config) -> Config:
    """The config in this space, knobs that it does not have left out and settled ones filled in.

    Raises:
        Misfit: a knob of the space has no value, or one that it does not allow.
    """
    made = _projected(space, config, "")
    assert isinstance(made, dict)
    return made


def _projected(node: Node, part: Any, path: str) -> Any:
    match node:
        case Group(parts):
            if not isinstance(part, dict):
                raise Misfit(f"{path} is of another shape")
            return {name: _child(child, part, name, below(path, name)) for name, child in parts.items()}
        case Switch(branches):
            if not isinstance(part, dict) or len(part) != 1:
                raise Misfit(f"{path} is of another shape")
            ((name, child),) = part.items()
            if name not in branches:
                raise Misfit(f"{path} '{name}' is not searched")
            return {name: _projected(branches[name], child, below(path, name))}
        case Either(ways):
            for way in ways.values():
                try:
                    return _projected(way, part, path)
                except Misfit:
                    continue
            raise Misfit(f"{path} fits no way")
        case Sequence(steps, length):
            if not isinstance(part, list) or not length.contains(len(part)):
                raise Misfit(f"{path} is of another shape")
            return [_projected(Switch(steps), step, path) for step in part]
        case Same(_, domain):
            return _value(domain, part, path)
        case _:
            return _value(node, part, path)


def _child(child: Node, part: dict[str, Any], name: str, path: str) -> Any:
    if name in part:
        return _projected(child, part[name], path)
    if isinstance(child, Fixed):
        return child.value
    raise Misfit(f"{path} has no value")


def _value(domain: Domain, value: Any, path: str) -> Any:
    if not domain.contains(value):
        raise Misfit(f"{path} is {value}, outside {domain}")
    return value
