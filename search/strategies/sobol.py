"""Sobol's sequence (Sobol' 1967), scrambled (Owen 1998): points that fill the space more evenly than random ones.

Every knob has its own coordinate, those of branches that are not taken included; the part of a point that applies to
a config is again evenly spread.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import qmc

from search.ledger import Trial
from search.strategies import generator, permitted
from search.strategies._encoding import basic, valued
from spaces.domains import Domain, Value
from spaces.knobs import knobs
from spaces.space import Config as Point
from spaces.space import Group, walk
from spaces.study import Goal

TARGETS = "many"
TRIES = 20  # points of as many scramblings, before a config that is allowed is drawn at random


@dataclass(frozen=True)
class Config:
    """Sobol's sequence has no knobs."""


def build(config: Config, space: Group, goal: Goal) -> Sobol:
    """Sobol's sequence over a space."""
    return Sobol(space, goal.seed)


class Sobol:
    """The point of each number, whatever has been seen."""

    def __init__(self, space: Group, seed: int) -> None:
        self.space, self.seed = space, seed
        names = dict.fromkeys(basic(knob.name) for knob in knobs(space))
        self.places = {name: place for place, name in enumerate(names)}
        self.sequences: dict[int, qmc.Sobol] = {}

    def ask(self, number: int) -> Point:
        return permitted(self.space, self.seed, number, lambda stream: self._config(number, stream), TRIES)

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""

    def _config(self, number: int, scrambling: int) -> Point:
        point = self._point(number, scrambling) if self.places else []

        def draw(name: str, domain: Domain) -> Value:
            return valued(domain, point[self.places[basic(name)]])

        return walk(self.space, draw)

    def _point(self, number: int, scrambling: int) -> list[float]:
        """Where the sequence is at a number; a step back starts it anew."""
        sequence = self.sequences.get(scrambling)
        if sequence is None:
            sequence = qmc.Sobol(len(self.places), rng=generator(self.seed, scrambling))
            self.sequences[scrambling] = sequence
        if number < sequence.num_generated:
            sequence.reset()
        if number > sequence.num_generated:
            sequence.fast_forward(number - sequence.num_generated)
        point: list[float] = sequence.random(1)[0].tolist()
        return point
