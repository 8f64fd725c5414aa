"""Strategies, one a file: which config to try next. Ask and tell; no Ray inside.

A strategy is rebuilt by telling it the trials of the ledger again. What `ask(number)` draws comes from
(seed, number) and from what was told, never from how often it was asked, so that a resumed search goes on as
the unbroken one would have. It never asks for a config that the space's conditions forbid (`permitted`).

Beside `Config` and `build`, a module says by `TARGETS = "many"` that it can serve a goal of several metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable
from typing import Protocol

import numpy as np

from search.ledger import Trial
from spaces.document import StudyError, complaint
from spaces.domains import Choice, Domain, Value
from spaces.space import Config, Group, allowed, walk

REDRAWN = 10_000  # configs drawn at random before a space counts as having none that is allowed


class Strategy(Protocol):
    """Built by a module's `build(config, space, goal)`."""

    def ask(self, number: int) -> Config | None:
        """The config of trial `number`, or None where there is nothing left to try."""
        ...

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial as it stands now: asked, at a rung, or failed; a later word replaces an earlier."""
        ...


def generator(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of one trial's suggestion; those of another stream are independent of them."""
    return np.random.default_rng([seed, number, stream])


def before(trials: Iterable[Trial], number: int) -> int:
    """How many trials there were before that number, those of earlier runs, whose numbers are below 0, among them."""
    return number + sum(trial.number < 0 for trial in trials)


def permitted(
    space: Group, seed: int, number: int, draw: Callable[[int], Config], tries: int, seen: Container[str] = ()
) -> Config:
    """The first of `draw(0)`, `draw(1)`, ... that the space allows and that nobody has `seen` (by `key`).

    After so many tries it is the first that is at least allowed, and if there was none, a random one that is.

    Raises:
        StudyError: nothing that is allowed was found.
    """
    known = None
    for stream in range(tries):
        config = draw(stream)
        if allowed(space, config):
            if key(config) not in seen:
                return config
            known = known or config
    if known is not None:
        return known
    rng = generator(seed, number, tries)
    for _ in range(REDRAWN):
        config = walk(space, lambda name, domain: domain.sample(rng))
        if allowed(space, config):
            return config
    what = f"of {REDRAWN} configs drawn at random none keeps to the conditions"
    raise StudyError(complaint("space.where", what, "conditions that can be met"))


def key(config: Config) -> str:
    """A config as text, the same for equal ones alone."""
    return json.dumps(config, sort_keys=True)


def draw_evenly(space: Group, seed: int, number: int) -> Config:
    """A random config in which the branches of each switch take turns.

    Every branch is tried once, in a random order, before any is tried again, so that no method goes untried by
    bad luck; all else is drawn independently from its domain, again and again until the config is allowed.
    """
    switches = {name for name, part in space.parts.items() if hasattr(part, "branches")}

    def drawn(stream: int) -> Config:
        rng = generator(seed, number, stream)

        def draw(name: str, domain: Domain) -> Value:
            if name not in switches or not isinstance(domain, Choice):
                return domain.sample(rng)
            turn, place = divmod(number, len(domain.options))
            order = np.random.default_rng([seed, turn, *name.encode()]).permutation(len(domain.options))
            return domain.options[order[place]]

        return walk(space, draw)

    return permitted(space, seed, number, drawn, 100)
