"""Studies, read with a small catalogue of made-up components: every way to write one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Annotated, Any

import pytest

from spaces.components import Catalogue, fields
from spaces.document import assign, parse
from spaces.domains import Choice, Fixed, Int, Log, Uniform
from spaces.knobs import knobs
from spaces.space import Group, Switch
from spaces.study import Budget, Goal, Resources, Study, read_study

Edit = Callable[[int, str], str]
Read = Callable[[str], Study]


def part(space: Group, *path: str) -> Any:
    found: Any = space
    for name in path:
        found = found.parts[name] if isinstance(found, Group) else found.branches[name]
    return found


def test_all_sections_arrive(edited: Edit, read: Read) -> None:
    study = read(edited(0, ""))
    assert (study.name, study.about, study.objective.name) == ("base", "a study", "pretrain")
    assert study.data is not None
    assert study.data.component.name == "digits"
    assert list(study.space.parts) == ["method", "views", "body", "optimizer"]
    assert study.probe.k == 5
    assert study.budget == Budget(trials=8, epochs=9)
    assert (study.strategy.component.name, study.strategy.config.startup) == ("tree", 10)
    assert (study.scheduler.component.name, study.scheduler.config.eta) == ("asha", 4)
    assert study.goal == Goal("accuracy", "max", 9, 1)
    assert study.resources == Resources(cpu=2.0, gpu=0.5)
    assert type(study.resources.cpu) is float
    assert study.document.plain()["budget"] == {"trials": 8, "epochs": 9}


def test_what_is_silent_is_default(read: Read) -> None:
    study = read("name: x\nobjective: pretrain\ndata: digits\nspace: {method: beta}")
    assert (study.about, study.probe.k, study.budget, study.resources) == ("", 20, Budget(), Resources())
    assert (study.strategy.component.name, study.scheduler.component.name) == ("tpe", "asha")
    assert study.goal == Goal("accuracy", "max", Budget().epochs, 0)
    assert list(part(study.space, "views").parts) == ["flip", "crop"]
    assert list(part(study.space, "body").branches) == ["cnn"]
    assert part(study.space, "optimizer") == Group({"lr": Fixed(0.001), "batch": Fixed(32)})
    assert knobs(study.space) == []


def test_an_objective_without_data_or_probe(read: Read) -> None:
    study = read("name: x\nobjective: toy\nspace: {function: search}")
    assert (study.data, study.probe) == (None, None)
    assert study.goal == Goal("value", "min", Budget().epochs)
    assert study.goal.sign == -1


@pytest.mark.parametrize(
    ("written", "metric", "mode"),
    [
        ("{}", "accuracy", "max"),
        ("{metric: loss}", "loss", "min"),
        ("{metric: loss, mode: max}", "loss", "max"),
        ("{mode: min}", "accuracy", "min"),
        ("{mode: auto, metric: accuracy}", "accuracy", "max"),
    ],
)
def test_the_metric_brings_its_mode(edited: Edit, read: Read, written: str, metric: str, mode: str) -> None:
    goal = read(edited(14, f"search: {written}")).goal
    assert (goal.metric, goal.mode, goal.epochs) == (metric, mode, 9)
    assert goal.sign == (1 if mode == "max" else -1)


def test_components_at_their_ranges_and_defaults(edited: Edit, read: Read) -> None:
    wide = part(read(edited(7, "    alpha: search")).space, "method", "alpha").parts
    assert wide == {
        "temperature": Log(0.05, 1.0),
        "share": Uniform(0, 1),
        "heads": Int(1, 8),
        "size": Int(1, 4096, log=True),
        "width": Choice(16, 32, 64),
        "kind": Choice("cosine", "sine"),
        "warm": Choice(True, False),
        "steps": Fixed(5),
        "note": Fixed("none"),
    }
    still = part(read(edited(7, "    alpha: default")).space, "method", "alpha").parts
    assert list(still) == list(wide)
    assert {name: domain.value for name, domain in still.items()} == {
        "temperature": 0.5,
        "share": 0.25,
        "heads": 2,
        "size": 64,
        "width": 32,
        "kind": "cosine",
        "warm": True,
        "steps": 5,
        "note": "none",
    }


@pytest.mark.parametrize(
    ("name", "written", "domain"),
    [
        ("temperature", "0.2", Fixed(0.2)),
        ("temperature", "1", Fixed(1.0)),
        ("temperature", "2e-1", Fixed(0.2)),
        ("temperature", "default", Fixed(0.5)),
        ("temperature", "search", Log(0.05, 1.0)),
        ("temperature", "{log: [0.1, 1]}", Log(0.1, 1.0)),
        ("temperature", "{uniform: [0.1, 1]}", Uniform(0.1, 1.0)),
        ("temperature", "{choice: [0.1, 1]}", Choice(0.1, 1.0)),
        ("temperature", "{log: [0.2, 0.2]}", Log(0.2, 0.2)),
        ("heads", "3", Fixed(3)),
        ("heads", "{int: [2, 4]}", Int(2, 4)),
        ("heads", "{uniform: [2, 4]}", Int(2, 4)),
        ("heads", "{log: [1, 8]}", Int(1, 8, log=True)),
        ("heads", "{choice: [1, 4]}", Choice(1, 4)),
        ("size", "search", Int(1, 4096, log=True)),
        ("size", "{int: [8, 16]}", Int(8, 16)),
        ("width", "{choice: [64, 16]}", Choice(64, 16)),
        ("kind", "sine", Fixed("sine")),
        ("kind", "search", Choice("cosine", "sine")),
        ("kind", "default", Fixed("cosine")),
        ("kind", "{choice: [sine]}", Choice("sine")),
        ("warm", "false", Fixed(False)),
        ("warm", "search", Choice(True, False)),
        ("steps", "7", Fixed(7)),
        ("steps", "default", Fixed(5)),
        ("steps", "{int: [1, 99]}", Int(1, 99)),
        ("note", "search", Fixed("search")),  # a free text may be any word
        ("note", "default", Fixed("default")),
        ("note", "{choice: [a, b]}", Choice("a", "b")),
    ],
)
def test_a_knob_can_be_written_so(edited: Edit, read: Read, name: str, written: str, domain: Any) -> None:
    study = read(edited(7, f"    alpha: {{{name}: {written}}}"))
    found = part(study.space, "method", "alpha", name)
    assert found == domain
    assert type(found) is type(domain)
    if isinstance(domain, Fixed):
        assert type(found.value) is type(domain.value)


def test_a_check_across_knobs_waits_until_all_are_settled(edited: Edit, read: Read) -> None:
    study = read(edited(8, "    beta: {low: 0.9, high: {uniform: [0.9, 1]}}"))
    assert part(study.space, "method", "beta") == Group({"low": Fixed(0.9), "high": Uniform(0.9, 1.0)})


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("search", ["alpha", "beta", "mask"]),
        ("default", ["alpha", "beta", "mask"]),
        ("beta", ["beta"]),
        ("[beta, alpha]", ["beta", "alpha"]),
        ("{beta: search, alpha: off}", ["beta"]),
        ("{mask: default, alpha: {heads: 1}}", ["mask", "alpha"]),
    ],
)
def test_a_part_can_be_written_so(read: Read, written: str, names: list[str]) -> None:
    text = f"name: x\nobjective: pretrain\ndata: digits\nspace: {{method: {written}, body: vit}}"
    method = part(read(text).space, "method")
    assert isinstance(method, Switch)
    assert list(method.branches) == names
    searched = [name for name in names if written == "search" or f"{name}: search" in written]
    for name, branch in method.branches.items():
        assert bool(knobs(branch)) == (name in searched and name != "mask")


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("search", ["blur", "crop", "flip"]),
        ("default", ["blur", "crop", "flip"]),
        ("crop", ["crop"]),
        ("[flip, blur, crop]", ["flip", "blur", "crop"]),
        ("{flip: default, blur: off, crop: {scale: search}}", ["flip", "crop"]),
        ("{crop: off}", []),
        ("{}", []),
    ],
)
def test_a_sequence_keeps_the_order_of_the_study(edited: Edit, read: Read, written: str, names: list[str]) -> None:
    views = part(read(edited(9, f"  views: {written}")).space, "views")
    assert isinstance(views, Group)
    assert list(views.parts) == names


def test_needs_narrow_the_bodies(read: Read) -> None:
    text = "name: x\nobjective: pretrain\ndata: digits\nspace: {method: [beta, mask], body: [cnn, vit]}"
    body = part(read(text).space, "body")
    assert body.only == {"method": {"mask": ("vit",)}}
    assert [(knob.name, knob.when) for knob in knobs(read(text).space)] == [
        ("method", {}),
        ("body", {"method": ("beta",)}),
    ]
    assert part(read(text.replace("[cnn, vit]", "vit")).space, "body").only == {}
    assert part(read(text.replace("[beta, mask]", "beta")).space, "body").only == {}


@pytest.mark.parametrize(
    ("written", "path", "limit"),
    [
        ("npz", "", 0),
        ("{npz: a.npz}", "a.npz", 0),
        ("{npz: {limit: 7, path: off}}", "off", 7),
        ("{npz: }", "", 0),
    ],
)
def test_one_component_with_its_settings(edited: Edit, read: Read, written: str, path: str, limit: int) -> None:
    data = read(edited(4, f"data: {written}")).data
    assert data is not None
    assert (data.component.name, data.config.path, data.config.limit) == ("npz", path, limit)
    assert data.build(1, 2) == (data.config, (1, 2))


def test_shelves_list_without_importing(catalogue: Catalogue) -> None:
    assert catalogue["data"].names() == ["broken", "digits", "npz"]
    assert catalogue["method"].names() == ["alpha", "beta", "mask"]
    with pytest.raises(KeyError):
        catalogue["data"].load("csv")
    with pytest.raises(KeyError):
        catalogue["method"].load("_shared")
    assert catalogue["method"].load("mask").needs == {"tokens"}
    assert catalogue["body"].load("vit").offers == {"tokens", "grid"}
    assert catalogue["body"].load("mlp").offers == frozenset()


def test_a_config_must_state_defaults_in_its_own_ranges() -> None:
    with pytest.raises(TypeError, match="states no default"):
        fields(make_dataclass("Config", [("lr", float)]))
    with pytest.raises(TypeError, match=r"default 2\.0 is not in 0 \.\. 1"):
        fields(make_dataclass("Config", [("lr", Annotated[float, Uniform(0, 1)], 2.0)]))


def test_a_flag_replaces_what_the_file_has_picked(catalogue: Catalogue) -> None:
    document = parse("name: x\nobjective: pretrain\ndata: digits\nspace: {method: beta}\nsearch: {strategy: tpe}", "s")
    study = read_study(assign(document, "search.strategy.tree.startup=7"), catalogue)
    assert (study.strategy.component.name, study.strategy.config.startup) == ("tree", 7)
