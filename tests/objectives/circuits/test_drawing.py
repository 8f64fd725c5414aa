"""Drawings: every gate and wire is in the text; pictures of each kind, and a session's matplotlib left alone."""

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import pytest
from PIL import Image

from objectives.circuits.edges.drawing import draw, draw_mpl
from spaces.circuits.gates import GATES
from spaces.circuits.pool import CircuitError, Pool

POOL = Pool.of(
    4,
    [
        [(g.name, *[2, 0][: g.wires], *[0.127, 2.5, 3.0][: g.parameters]) for g in GATES],
        [("RY", 0, 0.127), ("CNOT", 2, 1)],
        [],
    ],
)


def test_text_has_a_line_for_each_wire_and_every_gate():
    top, *rest = draw(POOL, 1).splitlines()
    assert [line[:2] for line in (top, *rest)] == ["0:", "1:", "2:", "3:"]
    assert "RY(0.13)" in top
    assert "X" in rest[0]
    assert "●" in rest[1]
    full = draw(POOL, 0)
    names = ["H", "RX(0.13)", "U3(0.13,2.50,3.00)", "SWAP", "IsingXX(0.13)", "S†", "T†", "SX†", "Rϕ(0.13)"]
    assert all(name in full for name in names)
    assert len(draw(POOL, 2).splitlines()) == 4


def test_inputs_are_named():
    pool = replace(POOL[1:2], parameter=[[POOL.theta.shape[1] + 3] + [-1] * (len(GATES) - 1)])
    assert "RY(x3)" in draw(pool, 0)


@pytest.mark.parametrize(("name", "start"), [("a b.png", b"\x89PNG"), ("c.SVG", b"<?xml"), ("new/d.pdf", b"%PDF")])
def test_pictures_are_written_whole_and_leave_the_session_alone(tmp_path, name, start):
    settings, backend = dict(matplotlib.rcParams), matplotlib.rcParams._get("backend")
    figures = plt.get_fignums()
    draw_mpl(POOL, 1, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]
    assert plt.get_fignums() == figures
    assert matplotlib.rcParams._get("backend") == backend
    assert dict(matplotlib.rcParams) == settings


def test_a_picture_grows_with_the_circuit_and_has_ink(tmp_path):
    draw_mpl(POOL, 0, tmp_path / "long.png")
    draw_mpl(POOL, 1, tmp_path / "short.png")
    long, short = Image.open(tmp_path / "long.png"), Image.open(tmp_path / "short.png")
    assert long.width > short.width
    assert long.convert("L").getextrema() == (0, 255)


@pytest.mark.parametrize("name", ["a.jpeg", "a", "a.pngg"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(CircuitError) as error:
        draw_mpl(POOL, 1, tmp_path / name)
    assert "allowed: .png, .svg, .pdf" in str(error.value)
    assert not list(tmp_path.iterdir())
