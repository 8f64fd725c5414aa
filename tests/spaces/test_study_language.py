"""The whole language in which a study states its space and its goal: what is understood, and what is refused.

The base study, of which cases replace lines, stands in `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spaces.components import Catalogue
from spaces.document import assign, parse
from spaces.domains import Choice, Fixed, Int, Log, Ordinal, Prior, Uniform
from spaces.goal import Target
from spaces.knobs import knobs, size
from spaces.space import Config, Either, Group, Same, Sequence, allowed, walk
from spaces.study import Study, read_study

Edit = Callable[[int, str], str]
Read = Callable[[str], Study]


def alpha(edited: Edit, read: Read, **written: str) -> Any:
    """The space of the method alpha with some knobs so written."""
    study = read(edited(7, f"    alpha: {{{', '.join(f'{name}: {text}' for name, text in written.items())}}}"))
    return study.space.parts["method"].branches["alpha"].parts  # type: ignore[union-attr]


def drawn(space: Group, count: int = 300) -> list[Config]:
    rng = np.random.default_rng(0)
    return [walk(space, lambda name, domain: domain.sample(rng)) for _ in range(count)]


# ── Ranges ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        ("width", "{ordinal: [16, 32]}", Ordinal(16, 32)),
        ("width", "{ordinal: [64, 16, 32]}", Ordinal(64, 16, 32)),
        ("kind", "{ordinal: [sine, cosine]}", Ordinal("sine", "cosine")),
        ("share", "{uniform: [0, 1], step: 0.25}", Uniform(0.0, 1.0, 0.25)),
        ("heads", "{int: [1, 7], step: 2}", Int(1, 7, step=2)),
        ("heads", "{uniform: [1, 7], step: 2}", Int(1, 7, step=2)),
        ("share", "{uniform: [0, 1], default: 0.3}", Uniform(0.0, 1.0, prior=Prior(0.3, "medium"))),
        ("share", "{uniform: [0, 1], default: 1}", Uniform(0.0, 1.0, prior=Prior(1.0, "medium"))),
        (
            "temperature",
            "{log: [0.1, 1], default: 0.2, confidence: high}",
            Log(0.1, 1.0, Prior(0.2, "high")),
        ),
        ("heads", "{int: [1, 8], default: 4, confidence: low}", Int(1, 8, prior=Prior(4, "low"))),
        ("size", "{log: [1, 64], default: 8}", Int(1, 64, log=True, prior=Prior(8))),
        ("width", "{choice: [16, 32], default: 32}", Choice(16, 32, prior=Prior(32))),
        ("width", "{ordinal: [16, 32], default: 32, confidence: medium}", Ordinal(16, 32, prior=Prior(32))),
        ("warm", "{choice: [true, false], default: true}", Choice(True, False, prior=Prior(True))),
        ("steps", "{int: [0, 100], step: 10, default: 50}", Int(0, 100, step=10, prior=Prior(50))),
        ("heads", "{either: [1, 5]}", Either({"1": Fixed(1), "2": Fixed(5)})),
        (
            "share",
            "{either: [0, {uniform: [0.5, 1], step: 0.1}]}",
            Either({"1": Fixed(0.0), "2": Uniform(0.5, 1.0, 0.1)}),
        ),
        ("heads", "{either: {few: {int: [1, 2]}, many: 8}}", Either({"few": Int(1, 2), "many": Fixed(8)})),
        (
            "heads",
            "{either: [default, search, {either: [1, {choice: [3, 4]}]}]}",
            Either({"1": Fixed(2), "2": Int(1, 8), "3": Either({"1": Fixed(1), "2": Choice(3, 4)})}),
        ),
    ],
)
def test_a_knob_can_be_written_so(edited: Edit, read: Read, name: str, written: str, found: Any) -> None:
    assert alpha(edited, read, **{name: written})[name] == found


def test_a_component_may_be_one_of_several(edited: Edit, read: Read) -> None:
    method = "{either: [default, search, {heads: {int: [1, 2]}}, {either: {a: {heads: 7}, b: {heads: 8}}}]}"
    study = read(edited(7, f"    alpha: {method}"))
    found = study.space.parts["method"].branches["alpha"]  # type: ignore[union-attr]
    assert isinstance(found, Either)
    assert list(found.ways) == ["1", "2", "3", "4"]
    assert found.ways["1"].parts["heads"] == Fixed(2)  # type: ignore[union-attr]
    assert found.ways["2"].parts["heads"] == Int(1, 8)  # type: ignore[union-attr]
    assert found.ways["3"].parts["heads"] == Int(1, 2)  # type: ignore[union-attr]
    assert list(found.ways["4"].ways) == ["a", "b"]  # type: ignore[union-attr]
    for config in drawn(study.space):
        (method_drawn,) = config["method"].items()
        assert method_drawn[0] == "beta" or set(method_drawn[1]) == set(found.ways["1"].parts)  # type: ignore[union-attr]


def test_a_part_of_plain_knobs_may_be_one_of_several(edited: Edit, read: Read) -> None:
    study = read(edited(11, "  optimizer: {either: [default, {lr: 0.1, batch: search}]}"))
    found = {(c["optimizer"]["lr"], c["optimizer"]["batch"]) for c in drawn(study.space)}
    assert found == {(0.001, 32), (0.1, 16), (0.1, 32), (0.1, 64)}


# ── Shared knobs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_knob_may_be_the_same_as_another(edited: Edit, read: Read) -> None:
    study = read(edited(8, "    beta: {low: 0, high: {same: crop.scale}}"))
    beta = study.space.parts["method"].branches["beta"].parts  # type: ignore[union-attr]
    assert beta["high"] == Same("views.crop.scale", Uniform(0.1, 1))
    for config in drawn(study.space):
        if "beta" in config["method"]:
            assert config["method"]["beta"]["high"] == config["views"]["crop"]["scale"]
    assert [knob.name for knob in knobs(study.space)].count("views.crop.scale") == 1


def test_a_knob_that_is_the_same_as_one_that_does_not_apply_is_drawn(edited: Edit, read: Read) -> None:
    text = edited(7, "    alpha: {share: {choice: [0.25, 0.75]}}").replace("beta: search", "beta: {low: {same: share}}")
    study = read(text)
    assert {config["method"]["beta"]["low"] for config in drawn(study.space) if "beta" in config["method"]} == {
        0.25,
        0.75,
    }


def test_to_be_the_same_as_a_settled_value_is_to_have_it(edited: Edit, read: Read) -> None:
    study = read(edited(8, "    beta: {low: {same: alpha.share}, high: 1}"))
    assert study.space.parts["method"].branches["beta"].parts["low"] == Fixed(0.25)  # type: ignore[union-attr]


def test_one_way_may_be_the_same_as_another_knob(edited: Edit, read: Read) -> None:
    study = read(edited(8, "    beta: {low: 0, high: {either: [1, {same: crop.scale}]}}"))
    high = study.space.parts["method"].branches["beta"].parts["high"]  # type: ignore[union-attr]
    assert high == Either({"1": Fixed(1.0), "2": Same("views.crop.scale", Uniform(0.1, 1))})


# ── Sequences ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "steps", "length", "repeat"),
    [
        ("{of: search}", ["blur", "crop", "flip"], Int(0, 3), False),
        ("{of: [flip, crop], length: 2}", ["flip", "crop"], Int(2, 2), False),
        ("{of: {crop: search, flip: default, blur: off}, length: [1, 2]}", ["crop", "flip"], Int(1, 2), False),
        ("{of: search, length: [1, 8], repeat: true}", ["blur", "crop", "flip"], Int(1, 8), True),
        ("{of: crop, repeat: true}", ["crop"], Int(0, 8), True),
        ("{of: [crop, flip], repeat: false, length: [0, 0]}", ["crop", "flip"], Int(0, 0), False),
    ],
)
def test_a_sequence_can_be_written_so(
    edited: Edit, read: Read, written: str, steps: list[str], length: Int, repeat: bool
) -> None:
    study = read(edited(9, f"  views: {{sequence: {written}}}"))
    found = study.space.parts["views"]
    assert isinstance(found, Sequence)
    assert (list(found.steps), found.length, found.repeat) == (steps, length, repeat)
    lengths, orders = set(), set()
    for config in drawn(study.space):
        names = [name for step in config["views"] for name in step]
        assert set(names) <= set(steps)
        assert repeat or len(set(names)) == len(names)
        lengths.add(len(names))
        orders.add(tuple(names))
    assert lengths == set(range(length.low, length.high + 1))
    assert (
        length.high < 2
        or len(steps) < 2
        or {tuple(o[:2]) for o in orders} >= {(steps[0], steps[1]), (steps[1], steps[0])}
    )


def test_steps_have_knobs_of_their_own(edited: Edit, read: Read) -> None:
    steps = "{crop: {either: [{scale: 0.5}, {scale: {uniform: [0.6, 1], step: 0.2}}]}, flip: default}"
    once = read(edited(9, f"  views: {{sequence: {{of: {steps}}}}}")).space
    often = read(edited(9, f"  views: {{sequence: {{of: {steps}, length: 2, repeat: true}}}}")).space
    names = [knob.name for knob in knobs(once) if knob.name.startswith("views")]
    assert names == ["views.length", "views.1", "views.2", "views.crop", "views.crop.2.scale"]
    names = [knob.name for knob in knobs(often) if knob.name.startswith("views")]
    assert names == [
        *("views.1", "views.2", "views.1.crop", "views.1.crop.2.scale", "views.2.crop", "views.2.crop.2.scale"),
    ]
    assert size(Group({"views": once.parts["views"]})) == 1 + (4 + 1) + 2 * 4  # scales 0.5, 0.6, 0.8, 1
    assert size(Group({"views": often.parts["views"]})) == 5 * 5


# ── Conditions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("beta.low < beta.high", ["beta.low < beta.high"]),
        ("[beta.low < beta.high, heads == 3]", ["beta.low < beta.high", "heads == 3"]),
        ("[\"method == 'alpha' or lr < 0.01\"]", ["method == 'alpha' or lr < 0.01"]),
        ("\n    - low < high\n    - >\n      lr <\n      0.05", ["low < high", "lr < 0.05"]),
        ("[]", []),
    ],
)
def test_conditions_can_be_written_so(edited: Edit, read: Read, written: str, texts: list[str]) -> None:
    study = read(edited(11, f"  optimizer: {{lr: {{log: [1e-4, 1e-1]}}}}\n  where: {written}"))
    assert [rule.text for rule in study.space.where] == texts


def test_conditions_forbid_configs(edited: Edit, read: Read) -> None:
    study = read(edited(11, "  optimizer: {lr: search}\n  where: [beta.low < beta.high, crop.scale > 0.5]"))
    found = {(allowed(study.space, c), meets(c)) for c in drawn(study.space)}
    assert found == {(True, True), (False, False)}


def meets(config: Config) -> bool:
    beta = config["method"].get("beta")
    return bool(config["views"]["crop"]["scale"] > 0.5 and (beta is None or beta["low"] < beta["high"]))


def test_conditions_reach_below_either_and_same_and_into_sequences(edited: Edit, read: Read) -> None:
    text = edited(7, "    alpha: {either: [{heads: {int: [1, 4]}}, {heads: {int: [5, 8]}, share: {same: crop.scale}}]}")
    text = text.replace(
        "  views: {crop: search, blur: off}", "  views: {sequence: {of: {crop: search, flip: default}}}"
    )
    rules = ["heads < 7", "alpha.share <= 0.5", "views.length > 0", "crop.scale > 0.2", "lr < 0.05"]
    study = read(text.replace("lr: {log: [1e-4, 1e-1]}}", f"lr: {{either: [0.01, search]}}}}\n  where: {rules}"))
    assert dict(study.space.where[0].names) == {"heads": "method.alpha.heads"}
    kept = [config for config in drawn(study.space, 2000) if allowed(study.space, config)]
    assert kept
    for config in kept:
        settings = config["method"].get("alpha", {"heads": 1, "share": 0})
        assert settings["heads"] < 7
        assert settings["share"] <= 0.5
        assert config["views"]
        assert all(step.get("crop", {"scale": 1})["scale"] > 0.2 for step in config["views"])
        assert config["optimizer"]["lr"] < 0.05
    assert any(not allowed(study.space, config) for config in drawn(study.space))


# ── Goals ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "targets"),
    [
        ("{metric: [accuracy, loss]}", [("accuracy", "max"), ("loss", "min")]),
        ("{metric: [loss, accuracy]}", [("loss", "min"), ("accuracy", "max")]),
        ("{metric: [loss, accuracy], mode: [max, auto]}", [("loss", "max"), ("accuracy", "max")]),
        ("{metric: [accuracy, loss], mode: auto}", [("accuracy", "max"), ("loss", "min")]),
        ("{metric: [loss]}", [("loss", "min")]),
        ("{metric: [loss], mode: [max]}", [("loss", "max")]),
        ("{metric: loss, mode: max}", [("loss", "max")]),
    ],
)
def test_several_metrics(edited: Edit, read: Read, written: str, targets: list[tuple[str, str]]) -> None:
    goal = read(edited(14, f"search: {written}")).goal
    assert goal.targets == tuple(Target(*target) for target in targets)
    assert (goal.metric, goal.mode) == targets[0]
    metrics = {"accuracy": 0.75, "loss": 2.0}
    assert goal.values(metrics) == tuple(metrics[m] * (1 if mode == "max" else -1) for m, mode in targets)
    assert goal.values({"other": 1.0}) is None


def test_bounds(edited: Edit, read: Read) -> None:
    goal = read(edited(14, "search: {subject_to: [loss < 2, 0.5 <= accuracy]}")).goal
    assert [bound.text for bound in goal.bounds] == ["loss < 2", "0.5 <= accuracy"]
    assert goal.excess({"loss": 1.0, "accuracy": 0.5}) == 0
    assert goal.excess({"loss": 3.0, "accuracy": 0.5}) == pytest.approx(0.5)
    assert goal.excess({"loss": 3.0, "accuracy": 0.25}) == pytest.approx(0.5 + 1)
    assert goal.excess({"loss": 1.0}) == float("inf")
    assert read(edited(14, "search: {subject_to: loss < 2}")).goal.bounds[0].text == "loss < 2"
    assert read(edited(14, "search: {metric: accuracy}")).goal.excess({}) == 0


def test_flags_reach_into_the_language(edited: Edit, catalogue: Catalogue) -> None:
    document = parse(edited(11, "  optimizer: {lr: {log: [1e-4, 1e-1]}}\n  where: low < high"), "s.yaml")
    for flag in ("space.where=low > high", "space.optimizer.batch.ordinal=[16, 64]", "search.subject_to=loss < 1"):
        document = assign(document, flag)
    study = read_study(document, catalogue)
    assert [rule.text for rule in study.space.where] == ["low > high"]
    assert study.space.parts["optimizer"].parts["batch"] == Ordinal(16, 64)  # type: ignore[union-attr]
    assert study.goal.bounds[0].text == "loss < 1"
