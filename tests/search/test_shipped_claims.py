"""The claims that ship with pretune: all can be run as they stand, and the cheapest are, each with its mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search import claims
from search import run as runs

CHEAPEST = ("adainf", "hallucinator")  # by seconds of trials; the others: `pretune claim --all`


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", claims.names())
def test_every_claim_fits_its_data(name: str) -> None:
    planned = claims.plan(name)
    claims.load_data(planned)
    assert planned.seeds >= 5


@pytest.mark.parametrize("name", CHEAPEST)
def test_a_claim_holds_and_its_mistake_breaks_it(name: str) -> None:
    planned = claims.plan(name)
    data = claims.load_data(planned)
    folder, ledger = claims.begin(planned, data)
    with runs.executor("serial", planned.study) as execute:
        found = claims.run(planned, data, folder, ledger, lambda event, history: None, execute)
    assert found.verdict == "holds"
    assert found.mutation_fails
