"""A test function with a known optimum, so that searchers are measured against truth, in milliseconds.

A trial evaluates its function at its config. Early rungs see the value through an error that shrinks with
the epochs and vanishes at the last, as a half-trained network's score does; the error depends on the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from objectives import SHELVES
from objectives.kinds import Metric, Metrics, Setting
from spaces.study import OneOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


DATA = False
PARTS = {"function": OneOf("function")}
METRICS = {"value": Metric("min", False, "the function's value")}
Probe = None
ERROR = 0.3  # of the first epoch of many, in units of the function


def build(setting: Setting) -> Function:
    """The trial of a setting."""
    return Function(setting)


class Function:
    """One evaluation of a function."""

    def __init__(self, setting: Setting) -> None:
        ((name, knobs),) = setting.config["function"].items()
        component = SHELVES["function"].load(name)
        self.evaluate = component.build(component.config(**knobs))
        self.error = ERROR * float(np.random.default_rng(setting.seed).normal())
        self.setting, self.epoch = setting, 0

    def run(self) -> Iterator[Metrics]:
        last = self.setting.rungs[-1]
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            self.epoch = rung
            yield {"value": self.evaluate() + self.error * (1 - rung / last)}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


def check(study: Study, data: None) -> None:
    """Every study of a function fits."""


def floors(study: Study, data: None) -> dict[str, Metrics]:
    """A function has no floors."""
    return {}
