"""Kinds of objectives, one a file: what a trial computes from a config and a seed.

Beside its `Config` and `build`, such a module says what the rest of the house must know of it:

    DATA      whether a study must name data for it
    PARTS     the parts of its space: a config class, `OneOf` a shelf or `SomeOf` a shelf
    METRICS   the metrics it can be chosen by, each with its mode and meaning; the first is the default
    Probe     the config of the study's `probe` section, or None
    check     `check(study, data)`: raises StudyError where the study does not fit the data
    floors    `floors(study, data)`: the metrics that every trial must beat, by name
    build     `build(setting) -> Objective`
    TUNABLE   optional: the dotted paths beneath which knobs may change while a trial runs (for `pbt`)
    files     optional: `files(config, data, state)`, what a trial's winner is to take home, by file name
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from spaces.space import Config

Metrics = dict[str, float]


@dataclass(frozen=True)
class Metric:
    """What a study needs to know of a metric to choose by it: its good end and whether it asks for labels."""

    mode: Literal["max", "min"]
    labels: bool
    meaning: str


class Failed(RuntimeError):
    """A trial that cannot go on, for the reason it says; the study goes on without it.

    Attributes:
        cause: the name of a kind of failure that is recognised, as for a collapse; else empty.
        epoch: when that was seen.
    """

    cause: str = ""
    epoch: int = 0


@dataclass(frozen=True)
class Setting:
    """All that a trial is made of.

    Attributes:
        config: the point of the space.
        seed: decides everything that the trial draws.
        rungs: the epochs after which it reports, ascending; the last is its budget.
        data: what the study's data reader gave, or None.
        probe: the study's probe config, or None.
        threads: CPU threads it may use.
        device: the torch device it runs on, such as `cpu` or `cuda`.
    """

    config: Config
    seed: int
    rungs: tuple[int, ...]
    data: Any = None
    probe: Any = None
    threads: int = 1
    device: str = "cpu"


class Objective(Protocol):
    """One trial, as far as it has come."""

    epoch: int

    def run(self) -> Iterator[Metrics]:
        """Trains on, yielding the metrics of each rung that lies ahead; `epoch` tells which.

        Raises:
            Failed: a metric or the loss is no finite number, or the trial cannot go on.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a continued trial needs to equal an unbroken one, readable with `weights_only`."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the state that `state_dict` gave at some rung."""
        ...
