"""Components: what a study can name, and the typed config in which each states its knobs once.

A component is a module in a *shelf* (one package or several that hold one kind of them), named after its file. It has

    Config   a frozen dataclass; a field is `temperature: Annotated[float, Log(0.05, 1)] = 0.5`:
             its type, its search range (which is also its bound) and its default, stated here alone
    build    what makes the working object from a Config
    NEEDS    optional: what it asks of its partners (a method of its backbone)
    OFFERS   optional: what it gives to its partners
    METRICS  optional: the metrics that trials with it give beside the objective's

Listing a shelf imports nothing; a component is imported when somebody names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from dataclasses import fields as dataclass_fields
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from spaces.document import Node
from spaces.domains import Domain, Fixed, Value
from spaces.space import Group


@dataclass(frozen=True)
class Field:
    """One knob of a config: `domain` is None where it can be set but not searched."""

    name: str
    type: type
    default: Value
    domain: Domain | None


def fields(config: type) -> tuple[Field, ...]:
    """The knobs of a config class, in the order in which it states them.

    Raises:
        TypeError: a field has no default, or a default outside its own domain.
    """
    hints = get_type_hints(config, include_extras=True)
    found = []
    for entry in dataclass_fields(config):
        if entry.default is MISSING:
            raise TypeError(f"{config.__module__}.{config.__name__}.{entry.name} states no default")
        hint, domain = hints[entry.name], None
        if get_origin(hint) is Annotated:
            hint, domain = get_args(hint)[:2]
        if domain is not None and not domain.contains(entry.default):
            raise TypeError(f"{config.__module__}.{entry.name}: default {entry.default!r} is not in {domain}")
        found.append(Field(entry.name, hint, entry.default, domain))
    return tuple(found)


def default_space(config: type) -> Group:
    """The space in which every knob of `config` stands at its default."""
    return Group({f.name: Fixed(f.default) for f in fields(config)})


def full_space(config: type) -> Group:
    """The space in which every knob of `config` varies over its declared range."""
    return Group({f.name: f.domain or Fixed(f.default) for f in fields(config)})


@dataclass(frozen=True)
class Component:
    """A module of a shelf, seen as data."""

    kind: str
    name: str
    module: ModuleType

    @property
    def config(self) -> type:
        return self.module.Config

    @property
    def build(self) -> Callable[..., Any]:
        return self.module.build

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(getattr(self.module, "NEEDS", ()))

    @property
    def offers(self) -> frozenset[str]:
        return frozenset(getattr(self.module, "OFFERS", ()))

    @property
    def metrics(self) -> Mapping[str, Any]:
        return getattr(self.module, "METRICS", {})


@dataclass(frozen=True)
class Pick:
    """A component that a study has settled on, with its config and the place where the study says so."""

    component: Component
    config: Any
    node: Node = field(repr=False, compare=False)

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """What the component makes of its config."""
        return self.component.build(self.config, *args, **kwargs)


@dataclass(frozen=True)
class Shelf:
    """All components of one kind: the modules of one package or several, named after their files."""

    kind: str
    packages: tuple[str, ...]

    def __init__(self, kind: str, *packages: str) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "packages", packages)

    def names(self) -> list[str]:
        """The components' names, sorted; nothing of them is imported.

        Raises:
            TypeError: two packages have a component of one name.
        """
        return sorted(self._places())

    def load(self, name: str) -> Component:
        """Imports one component.

        Raises:
            KeyError: the shelf has no component of that name.
            TypeError: as `names`.
        """
        package = self._places()[name]
        return Component(self.kind, name, importlib.import_module(f"{package}.{name}"))

    def _places(self) -> dict[str, str]:
        """The package of each component."""
        found: dict[str, str] = {}
        for package in self.packages:
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                if module.name in found:
                    raise TypeError(f"{self.kind} '{module.name}' is in both {found[module.name]} and {package}")
                if not module.name.startswith("_"):
                    found[module.name] = package
        return found


Catalogue = Mapping[str, Shelf]
