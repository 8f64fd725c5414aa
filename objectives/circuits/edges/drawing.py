"""Circuits drawn by PennyLane: as text, and as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from objectives.circuits.edges.tape import to_tape
from spaces.circuits.pool import CircuitError, Pool
from spaces.document import complaint
from spaces.files import write_whole

PICTURES = (".png", ".svg", ".pdf")
DECIMALS = 2  # of the angles


def draw(pool: Pool, row: int) -> str:
    """One circuit as text, a line for each wire; angles in radians, inputs as `x0`, `x1`, ..."""
    return qml.drawer.tape_text(_tape(pool, row), range(pool.wires), show_all_wires=True, decimals=DECIMALS)


def draw_mpl(pool: Pool, row: int, path: Path) -> None:
    """One circuit as a picture, PNG, SVG or PDF by the name's ending; written whole or not at all.

    Raises:
        CircuitError: a name with another ending.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise CircuitError(complaint(str(path), f"cannot draw '{path.suffix}' files", PICTURES, near=path.suffix))
    write_whole(path, picture(pool, row, path.suffix[1:].lower()))


def picture(pool: Pool, row: int, form: str = "png") -> bytes:
    """One circuit as the content of a picture's file, `png`, `svg` or `pdf`.

    The figure belongs to no window and to no session: neither matplotlib's backend nor its open figures change.
    """
    figure, content = Figure(), io.BytesIO()
    FigureCanvasAgg(figure)  # PennyLane measures its labels on a canvas
    qml.drawer.tape_mpl(
        _tape(pool, row), range(pool.wires), show_all_wires=True, decimals=DECIMALS, style="black_white", fig=figure
    )
    figure.savefig(content, format=form)
    return content.getvalue()


def _tape(pool: Pool, row: int) -> Any:
    read = pool[row : row + 1].inputs
    return to_tape(pool, row, measurements=[], inputs=np.array([f"x{k}" for k in range(read)]))
