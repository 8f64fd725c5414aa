"""The table of a run: numbers as wide as they need, floors on their side, and what an objective says of the winner."""

import pytest

from search.compare.table import _decimals, _number, report
from search.ledger import History


def history(metric, mode, values, floor, said=()):
    made = History()
    header = {"metric": metric, "mode": mode, "rungs": [1], "switches": [], "said": list(said)}
    made.take({"event": "study", **header})
    made.take({"event": "floors", "floors": {"random": {metric: floor}}})
    for number, value in enumerate(values):
        id = f"t{number}"
        made.take({"event": "asked", "id": id, "number": number, "config": {}, "seed": 0, "until": 1})
        made.take({"event": "rung", "id": id, "epoch": 1, "metrics": {metric: value, "depth": 4.0}, "seconds": 1.0})
    return made


def text(made):
    return [str(part) for part in report(made, "runs/x").renderables[1:]]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([817.0, 12.0], ["817", "12"]),
        ([817.0, 213.7], ["817.0", "213.7"]),
        ([0.9566, 1.0], ["0.9566", "1.0000"]),
        ([2.4e-7, 0.0188, 0.0], ["2.4e-07", "0.0188", "0.0000"]),
        ([-1.1361, None], ["-1.1361", ""]),
    ],
)
def test_numbers_beside_each_other_are_told_apart(values, shown):
    decimals = _decimals(values)
    assert [_number(value, decimals) for value in values] == shown


def test_a_metric_to_be_small_is_below_its_floor():
    assert "  0.25 below the random floor (0.5000)" in text(history("error", "min", [0.25, 0.75], 0.5))
    assert "  0.25 above the random floor (0.5000)" in text(history("error", "min", [0.75], 0.5))
    assert "  +300 over the random floor (200)" in text(history("candidates", "max", [500.0], 200.0))


def test_the_objective_speaks_of_the_winner_where_it_can():
    said = ["{depth:.0f} layers", "{gain:.2f} gained"]
    lines = text(history("error", "min", [0.25], 0.5, said))
    assert "  4 layers" in lines
    assert not any("gained" in line for line in lines)
