"""Strategies, one a file: which config to try next. Ask and tell; no Ray inside.

A strategy is rebuilt by telling it the trials of the ledger again. What `ask(number)` draws comes from
(seed, number) and from what was told, never from how often it was asked, so that a resumed search goes on as
the unbroken one would have.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from search.ledger import Trial
from spaces.domains import Choice, Domain, Value
from spaces.space import Config, Group, walk


class Strategy(Protocol):
    """Built by a module's `build(config, space, goal)`."""

    def ask(self, number: int) -> Config | None:
        """The config of trial `number`, or None where there is nothing left to try."""
        ...

    def tell(self, trial: Trial) -> None:
        """Takes note of a trial as it stands now: asked, at a rung, or failed; a later word replaces an earlier."""
        ...


def generator(seed: int, number: int) -> np.random.Generator:
    """The random numbers of one trial's suggestion."""
    return np.random.default_rng([seed, number])


def draw_evenly(space: Group, seed: int, number: int) -> Config:
    """A random config in which the branches of each switch take turns.

    Every branch is tried once, in a random order, before any is tried again, so that no method goes untried by
    bad luck; all else is drawn independently from its domain.
    """
    rng = generator(seed, number)
    switches = {name for name, part in space.parts.items() if hasattr(part, "branches")}

    def draw(name: str, domain: Domain) -> Value:
        if name not in switches or not isinstance(domain, Choice):
            return domain.sample(rng)
        turn, place = divmod(number, len(domain.options))
        order = np.random.default_rng([seed, turn, *name.encode()]).permutation(len(domain.options))
        return domain.options[order[place]]

    return walk(space, draw)
