"""Every component that a study can name, as tables: knobs, ranges, defaults, and where each comes from."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.run import CATALOGUE
from spaces.components import Component, fields
from spaces.document import StudyError, complaint


def show(names: Sequence[str]) -> None:
    """Prints all components by kind, or those named, with their whole description.

    Raises:
        StudyError: a name that no shelf has.
    """
    console = Console(highlight=False)
    known = {name: kind for kind, shelf in CATALOGUE.items() for name in shelf.names()}
    for name in names:
        if name not in known:
            raise StudyError(complaint("", f"there is no component '{name}'", sorted(known), near=name))
    for kind, shelf in CATALOGUE.items():
        chosen = [name for name in shelf.names() if not names or name in names]
        if chosen and not names:
            console.print(Text(f"\n{kind}", style="bold underline"))
        for name in chosen:
            _print(console, shelf.load(name), whole=bool(names))


def _print(console: Console, component: Component, whole: bool) -> None:
    text = inspect.cleandoc(component.module.__doc__ or "")
    summary = text if whole else " ".join(text.partition("\n\n")[0].split())
    console.print(Text.assemble((component.name, "bold"), f"  {component.kind if whole else ''}"))
    console.print(Text(summary), soft_wrap=whole)
    for title, table in _tables(component, whole):
        if table.row_count:
            console.print(*([Text(f"  {title}", style="italic")] if title else []), table, sep="\n")
    console.print()


def _tables(component: Component, whole: bool) -> Iterator[tuple[str, Table]]:
    """The knobs of a component; of an objective also what may stand in a study's space
    and probe, and of all the metrics that they give."""
    yield "", _knobs(component.config)
    if not whole:
        return
    if component.kind == "objective":
        module = component.module
        for part, config in module.PARTS.items():
            if isinstance(config, type):
                yield f"space.{part}", _knobs(config)
        if module.Probe:
            yield "probe", _knobs(module.Probe)
    if component.metrics:
        metrics = _table("metric", "", "meaning")
        for name, metric in component.metrics.items():
            metrics.add_row(name, metric.mode, metric.meaning)
        yield "search.metric", metrics


def _knobs(config: type) -> Table:
    table = _table("knob", "default", "range")
    for field in fields(config):
        table.add_row(field.name, str(field.default), str(field.domain) if field.domain else field.type.__name__)
    return table


def _table(*heads: str) -> Table:
    return Table(*heads, box=None, padding=(0, 2, 0, 2), header_style="dim")
