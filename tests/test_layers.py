"""Imports run downwards only: spaces knows no torch and no Ray, objectives no Ray and no search."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "spaces": {"objectives", "search", "torch", "ray", "optuna", "pennylane"},
    "objectives": {"search", "ray", "optuna"},
    "search/strategies": {"ray"},
    "search/schedulers": {"ray"},
    "search/latent": {"ray", "objectives", "pennylane"},
}


def imported(path):
    """The top packages that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_import_runs_upwards(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    found = {
        f"{path.relative_to(ROOT)}: {name}" for path in files for name in imported(path) if name in FORBIDDEN[room]
    }
    assert not found


def test_only_the_executor_knows_ray():
    knowing = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "search").rglob("*.py") if "ray" in set(imported(path))
    }
    assert knowing == {"search/executors/ray_nodes.py", "search/executors/ray_tune.py"}
