"""What conditions may speak of, and which configs they allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.conditions import nameable
from spaces.domains import Fixed, Int, Log, Uniform
from spaces.expressions import parse
from spaces.space import Either, Group, Same, Sequence, Switch, allowed, fits, flat, leaves
from tests.spaces.trees import languages, sequenced, steady, traced


def limited() -> Group:
    """A space with one of each, to be limited."""
    return Group(
        {
            "method": Switch(
                {"p": Group({"x": Int(0, 9)}), "q": Group({"y": Int(0, 9), "n": Switch({"m": Group({})})})}
            ),
            "lr": Either({"1": Fixed(0.0), "2": Log(1e-3, 1)}),
            "body": Either({"small": Group({"width": Int(1, 4)}), "large": Group({"width": Int(4, 9), "z": Fixed(1)})}),
            "views": Sequence({"crop": Group({"low": Uniform(0, 1)}), "flip": Group({})}, Int(0, 2)),
            "again": Same("method.p.x", Int(0, 9)),
        }
    )


CONFIG = {"method": {"p": {"x": 3}}, "lr": 0.0, "body": {"width": 2}, "views": [{"crop": {"low": 0.5}}], "again": 3}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("x == 3", True),
        ("method.p.x > 3", False),
        ("y > 100", True),  # does not apply
        ("x < 0 or y > 100", True),  # neither does this, as a whole
        ("method == 'p'", True),
        ("method != 'p'", False),
        ("method.q.n == 'm'", True),  # does not apply
        ("lr == 0", True),  # the value that was filled in, not the way
        ("lr > 0", False),
        ("lr == '1'", False),
        ("body.width < 3", True),
        ("width >= 3", False),
        ("small.width == 2", True),
        ("large.width > 100", True),  # another way was taken
        ("body == 'small'", True),
        ("body == 'large'", False),
        ("body.z == 1", True),
        ("again == 3", True),
        ("again > x", False),
        ("views.length == 1", True),
        ("views.length > 1", False),
        ("crop.low == 0.5", True),
        ("views.crop.low > 0.5", False),
    ],
)
def test_conditions_speak_of_a_config_by_its_names(text: str, answer: bool) -> None:
    space = limited()
    found = Group(space.parts, (parse(text, *nameable(space)),))
    assert allowed(found, CONFIG) is answer
    assert allowed(Group(space.parts, (parse("x == 3", *nameable(space)), *found.where)), CONFIG) is answer


def test_a_space_without_conditions_allows_all() -> None:
    assert allowed(limited(), CONFIG)
    assert fits(limited(), CONFIG)


@pytest.mark.parametrize("text", ["views == 'crop'", "1 < crop", "flip == 1", "body.small == 1", "lr.x < 1", "p == 1"])
def test_what_has_no_value_has_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        parse(text, *nameable(limited()))


@steady
@given(languages(), st.integers(0, 1000))
def test_everything_in_a_config_can_be_named(space: Group, seed: int) -> None:
    config, _ = traced(space, seed)
    values = {**flat(space, config), **leaves(config)}
    places, further = nameable(space)
    assert not set(places) & set(further)
    assert set(leaves(config)) <= set(places)
    repeated = [path for path, node in sequenced(space, "") if node.repeat]
    lines = dict(sequenced(space, ""))
    for name in values:
        inside = any(name.startswith(f"{path}.") for path in repeated)
        assert name in places or name in further or inside or name.rpartition(".")[0] in lines, name
