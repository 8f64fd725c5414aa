"""Grid search: every combination, ranges cut into evenly spaced points; branches bring only their own knobs.

Cells that the space's conditions forbid are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from search.ledger import Trial
from spaces.document import StudyError, complaint
from spaces.domains import Domain, Int, Value
from spaces.space import Config as Point
from spaces.space import Group, allowed, walk
from spaces.study import Goal

TARGETS = "many"
MOST_FORBIDDEN = 100_000  # cells one after another, before the grid counts as having no more that is allowed


@dataclass(frozen=True)
class Config:
    """How fine the grid is."""

    points: Annotated[int, Int(1, 1000)] = 3  # values taken from a range; of one point, its lower end


def build(config: Config, space: Group, goal: Goal) -> Grid:
    """The grid over a space."""
    return Grid(config, space)


class Grid:
    """Walks the grid in a fixed order, the last knob turning fastest."""

    def __init__(self, config: Config, space: Group) -> None:
        self.points, self.space = config.points, space
        self._cells, self._next = permitted_cells(space, config.points), 0

    def ask(self, number: int) -> Point | None:
        if number < self._next:
            self._cells, self._next = permitted_cells(self.space, self.points), 0
        skipped = number - self._next
        self._next = number + 1
        return next(islice(self._cells, skipped, None), None)

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""


def permitted_cells(space: Group, points: int) -> Iterator[Point]:
    """Every config of the grid that is allowed.

    Raises:
        StudyError: too many cells one after another are forbidden.
    """
    forbidden = 0
    for cell in combinations(space, points):
        forbidden = 0 if allowed(space, cell) else forbidden + 1
        if not forbidden:
            yield cell
        elif forbidden == MOST_FORBIDDEN:
            what = f"the conditions forbid {forbidden:,} cells of the grid one after another"
            raise StudyError(complaint("space.where", what, "conditions that a grid meets, or another strategy"))


def combinations(space: Group, points: int) -> Iterator[Point]:
    """Every config of the grid. An odometer whose wheels are the draws of the walk: which come, and how many
    values each has, depends on those before, as branches do."""
    turns: list[int] | None = []
    while turns is not None:
        settings = turns
        wheels: list[int] = []

        def draw(name: str, domain: Domain, settings: list[int] = settings, wheels: list[int] = wheels) -> Value:
            values = domain.grid(points)
            at = settings[len(wheels)] if len(wheels) < len(settings) else 0
            wheels.append(len(values))
            return values[at]

        yield walk(space, draw)
        turns = _turned(settings + [0] * (len(wheels) - len(settings)), wheels)


def _turned(settings: list[int], wheels: list[int]) -> list[int] | None:
    """The next setting of the odometer: the last wheel that can still turn does, those behind it start anew."""
    for place in reversed(range(len(wheels))):
        if settings[place] + 1 < wheels[place]:
            return [*settings[:place], settings[place] + 1]
    return None
