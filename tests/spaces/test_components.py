"""Shelves: components of one package or several, by name."""

from __future__ import annotations

import pytest

from spaces.components import Catalogue, Shelf


def test_a_shelf_may_have_several_packages(catalogue: Catalogue) -> None:
    shelf = Shelf("part", *catalogue["method"].packages, *catalogue["body"].packages)
    assert shelf.names() == ["alpha", "beta", "cnn", "mask", "mlp", "vit"]
    assert shelf.load("cnn").module is catalogue["body"].load("cnn").module
    assert shelf.load("alpha").kind == "part"
    with pytest.raises(KeyError):
        shelf.load("_shared")


def test_a_name_in_two_packages_is_a_mistake(catalogue: Catalogue) -> None:
    twice = Shelf("part", *catalogue["method"].packages, *catalogue["method"].packages)
    with pytest.raises(TypeError, match=r"part 'alpha' is in both made_up.methods and made_up.methods"):
        twice.names()
    with pytest.raises(TypeError):
        twice.load("beta")
