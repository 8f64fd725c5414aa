"""Mistake: Sinkhorn's plan is taken as it is, of mass 1 in all, where each row should sum to 1.

A row then weighs an n-th of what it should, and the rate of parts, which is to be compressed, all but vanishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from objectives.method import Method, Task

NEEDS = ("affinity",)


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def build(config: Config) -> Callable[[Method, Task], Method]:
    """What makes the mistake in a method's `affinity`."""

    def add(method: Method, task: Task) -> Method:
        scaled = method.affinity
        method.affinity = lambda rows: scaled(rows) / len(rows)  # type: ignore[assignment, operator]
        return method

    return add
