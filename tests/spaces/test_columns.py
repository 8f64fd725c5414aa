"""A space as the columns of a table: every config fills those that apply to it."""

from __future__ import annotations

import numpy as np

from spaces.columns import cell, columns
from spaces.domains import Choice, Fixed, Int, Log, Ordinal, Uniform
from spaces.space import Either, Group, Same, Sequence, Switch, walk

SPACE = Group(
    {
        "method": Switch(
            {
                "a": Group({"heads": Ordinal(1, 2, 4)}),
                "b": Either({"slow": Group({"rate": Uniform(0, 1)}), "fast": Group({"rate": Uniform(2, 3)})}),
                "c": Group({}),
            }
        ),
        "views": Sequence({"crop": Group({"size": Int(1, 9)}), "flip": Group({})}, Int(1, 2)),
        "optimizer": Group(
            {
                "lr": Either({"1": Log(1e-4, 1e-3), "2": Fixed(0.1)}),
                "batch": Choice(16, 32),
                "again": Same("optimizer.batch", Choice(16, 32)),
            }
        ),
    }
)


def test_ways_share_a_column_and_sequences_have_one_for_each_place() -> None:
    found = {column.name: column.domain for column in columns(SPACE)}
    assert found == {
        "method": Choice("a", "b", "c"),
        "method.a.heads": Ordinal(1, 2, 4),
        "method.b.rate": Uniform(0, 3),
        "views.length": Int(1, 2),
        "views.1": Choice("crop", "flip"),
        "views.2": Choice("crop", "flip"),
        "views.crop.size": Int(1, 9),
        "optimizer.lr": Log(1e-4, 1e-3),
        "optimizer.batch": Choice(16, 32),
    }


def test_a_config_fills_its_columns() -> None:
    config = {
        "method": {"b": {"rate": 2.5}},
        "views": [{"flip": {}}, {"crop": {"size": 3}}],
        "optimizer": {"lr": 0.1, "batch": 32, "again": 32},
    }
    assert {column.name: cell(config, column.name) for column in columns(SPACE)} == {
        "method": "b",
        "method.a.heads": None,
        "method.b.rate": 2.5,
        "views.length": 2,
        "views.1": "flip",
        "views.2": "crop",
        "views.crop.size": 3,
        "optimizer.lr": 0.1,
        "optimizer.batch": 32,
    }


def test_steps_that_repeat_have_columns_at_each_place() -> None:
    space = Group({"views": Sequence({"crop": Group({"size": Int(1, 9)})}, Int(2, 2), repeat=True)})
    assert [column.name for column in columns(space)] == ["views.1.crop.size", "views.2.crop.size"]
    assert cell({"views": [{"crop": {"size": 3}}, {"crop": {"size": 5}}]}, "views.2.crop.size") == 5


def test_every_config_fills_at_least_what_all_have() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        config = walk(SPACE, lambda name, domain: domain.sample(rng))
        for name in ("method", "views.length", "views.1", "optimizer.lr", "optimizer.batch"):
            assert cell(config, name) is not None
