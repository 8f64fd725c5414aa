"""A test function with a known optimum, so that searchers are measured against truth, in milliseconds.

A trial evaluates its function at its config. Early rungs see the value through an error that shrinks with
the epochs and vanishes at the last, as a half-trained network's score does; the error depends on the seed. So does
the noise of a function that has some, which stays to the last; the `truth` behind it is told beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from objectives import SHELVES
from objectives.kinds import Metric, Metrics, Setting
from spaces.components import Component
from spaces.study import OneOf, Study


@dataclass(frozen=True)
class Config:
    """This objective has no knobs beside its space."""


DATA = False
PARTS = {"function": OneOf("function")}
TUNABLE = ("function",)
METRICS = {
    "value": Metric("min", False, "the function's value"),
    "second": Metric("min", False, "the second value of a function that has two"),
    "truth": Metric("min", False, "the value without the noise of a function that has noise; not for a search to see"),
}
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
        self.evaluate = _evaluation(component, knobs, setting.seed)
        rng = np.random.default_rng(setting.seed)
        self.error = ERROR * float(rng.normal())
        spread = _noise(component)
        self.noise = spread * float(rng.normal()) if spread else None
        self.setting, self.epoch = setting, 0

    def run(self) -> Iterator[Metrics]:
        last = self.setting.rungs[-1]
        for rung in [r for r in self.setting.rungs if r > self.epoch]:
            self.epoch = rung
            yield self._seen(self.error * (1 - rung / last))

    def _seen(self, error: float) -> Metrics:
        """The metrics through an error, and through the noise if there is some."""
        exact = _named(self.evaluate())
        seen = {name: value + error for name, value in exact.items()}
        if self.noise is not None:
            seen["value"] += self.noise
            seen["truth"] = exact["value"]
        return seen

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]


def check(study: Study, data: None) -> None:
    """Raises StudyError where a function of the space does not give every metric that the study chooses by."""
    for name in study.space.parts["function"].branches:  # type: ignore[union-attr]
        component = SHELVES["function"].load(name)
        given = [*_named(_evaluation(component, {}, 0)()), *(["truth"] if _noise(component) else [])]
        for target in study.goal.targets:
            if target.metric not in given:
                raise study.document.wrong(f"the function {name} gives no metric '{target.metric}'", given)


def floors(study: Study, data: None) -> dict[str, Metrics]:
    """A function has no floors."""
    return {}


def _evaluation(component: Component, knobs: Mapping[str, Any], seed: int) -> Callable[[], float | Metrics]:
    """A function at its knobs; one that draws what it measures, and says so (`SEEDED`), does it by the seed."""
    evaluate: Callable[..., float | Metrics] = component.build(component.config(**knobs))
    return partial(evaluate, seed) if getattr(component.module, "SEEDED", False) else evaluate


def _named(found: float | Metrics) -> Metrics:
    """What a function gave, by metric."""
    return dict(found) if isinstance(found, Mapping) else {"value": found}


def _noise(component: Component) -> float:
    """The standard deviation of a function's noise."""
    return getattr(component.module, "NOISE", 0.0)
