"""A study before it runs, in lines: its goal, its data, its knobs and how large its space is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from search import branches
from spaces.goal import Goal
from spaces.knobs import Knob, knobs, size
from spaces.study import Study, kept_share


def overview(study: Study, data: Any) -> Iterator[str]:
    """The lines that `pretune check` prints of a study that is in order."""
    budget = study.budget
    each = f" for each {budget.per}" if budget.per else ""
    yield f"{study.name}: {_aim(study.goal)} in {budget.trials} trials of {budget.epochs} epochs{each}"
    if budget.repeats:
        yield f"then the best {budget.finalists} again with {budget.repeats} other seeds each"
    for bound in study.goal.bounds:
        yield f"subject to {bound.text}"
    if data is not None:
        yield f"data: {data.summary()}"
    yield ""
    found = knobs(study.space)
    yield from (_line(knob) for knob in found)
    yield ""
    yield _extent(found, size(study.space))
    if chosen := getattr(branches.strategy(study), "chosen", ""):
        yield f"'{study.strategy.component.name}' begins with the strategy '{chosen}'"
    if study.space.where:
        rules = "; ".join(rule.text for rule in study.space.where)
        yield f"where {rules}: kept by {kept_share(study.space):.0%} of random configs"
    if any(getattr(knob.domain, "prior", None) for knob in found) and study.strategy.component.name != "prior":
        yield f"the beliefs in it guide the strategy 'prior'; '{study.strategy.component.name}' does not heed them"


def _aim(goal: Goal) -> str:
    return " and ".join(f"{target.mode}imise {target.metric}" for target in goal.targets)


def _line(knob: Knob) -> str:
    when = " and ".join(f"{name} is {' or '.join(values)}" for name, values in knob.when.items())
    belief = getattr(knob.domain, "prior", None)
    said = f"{knob.domain}" + (f", near {belief.value} ({belief.confidence})" if belief else "")
    return f"  {knob.name:<40} {said:<36} {f'when {when}' if when else ''}".rstrip()


def _extent(found: list[Knob], count: float) -> str:
    """How many knobs there are, and how many configs."""
    endless = sum(math.isinf(knob.domain.size) for knob in found)
    if endless:
        return f"{len(found)} knobs, {endless} of them continuous"
    return f"{len(found)} knobs, {count:,.0f} configs"
