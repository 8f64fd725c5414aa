"""A pool: many different circuits as a few arrays, the form in which circuits are sampled, encoded and evaluated."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.circuits.gates import CODES, GATES, MAX_WIRES, parameters_of, wires_of
from spaces.document import StudyError, complaint
from spaces.files import write_whole

END = -1  # the code behind a circuit's last gate; also a wire or a parameter that a gate does not have

MOST_WIRES = 127  # a wire is an int8
DTYPES = {"op": np.int8, "wire": np.int8, "parameter": np.int32, "length": np.int32, "theta": np.float64}

GateRow = tuple  # ("RY", 0, 0.3) or ("CNOT", 0, 1): a gate's name, its wires, its angles


DAMAGE = (OSError, KeyError, ValueError, TypeError, IndexError, EOFError, zipfile.BadZipFile, zlib.error)


class CircuitError(StudyError):
    """A circuit, or a request about circuits, that cannot be; the message says what was found and what is allowed."""


@dataclass(frozen=True)
class Pool:
    """B circuits of at most S gates on the same register.

    Attributes:
        wires: the register's size n.
        op: the gates' codes in `GATES`, `END` behind the last gate: int8 (B, S).
        wire: the wires that each gate acts on, `END` where it has but one: int8 (B, S, 2).
        parameter: the index of each gate's first parameter, the others follow it; `END` if none: int32 (B, S).
        length: the number of gates: int32 (B,).
        theta: the parameters' values in radians, 0 where a circuit has fewer than P: float64 (B, P).

    Gates may share a parameter. An index of P or more is no parameter but an *input*, index - P counting the columns
    of the data that a task feeds to the circuit.
    """

    wires: int
    op: NDArray[np.int8]
    wire: NDArray[np.int8]
    parameter: NDArray[np.int32]
    length: NDArray[np.int32]
    theta: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, kind in DTYPES.items():
            array = np.ascontiguousarray(getattr(self, name), kind)
            if name != "theta":  # what has been checked must stay as it is: compiled code trusts it
                array = array.view()
                array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, rows: slice | NDArray) -> Pool:
        """The pool of some rows: a slice, a mask or an array of indices, as NumPy takes them."""
        if np.isscalar(rows):
            raise TypeError("pool[row] is ambiguous: pool[row:row + 1] is a pool of one, pool.gates(row) its gates")
        return Pool(self.wires, **{name: array[rows] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray]:
        """The arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "wires"}

    @property
    def slots(self) -> NDArray[np.bool_]:
        """Which entries of `op` hold a gate: (B, S)."""
        return np.arange(self.op.shape[1]) < self.length[:, None]

    @property
    def parameters(self) -> NDArray[np.int32]:
        """How many columns of `theta` each circuit uses: (B,)."""
        takes = self.slots & (self.parameter >= 0)
        ends = np.where(takes, self.parameter + parameters_of()[self.op], 0)
        ends[self.parameter >= self.theta.shape[1]] = 0
        return np.minimum(ends.max(1, initial=0), self.theta.shape[1]).astype(np.int32)

    @cached_property
    def inputs(self) -> int:
        """How many columns of data the circuits read."""
        takes = self.slots & (self.parameter >= 0)
        ends = np.where(takes, self.parameter + parameters_of()[self.op], 0)
        return max(0, int(ends.max(initial=0)) - self.theta.shape[1])

    def gates(self, row: int) -> list[GateRow]:
        """One circuit, readable: `("RY", 0, 0.3)`, a gate's name, its wires, its angles (an input reads `x0`)."""
        found = []
        for slot in range(int(self.length[row])):
            gate, first = GATES[self.op[row, slot]], int(self.parameter[row, slot])
            wires = [int(w) for w in self.wire[row, slot, : gate.wires]]
            found.append((gate.name, *wires, *(self._angle(row, first + k) for k in range(gate.parameters))))
        return found

    def _angle(self, row: int, index: int) -> float | str:
        columns = self.theta.shape[1]
        return float(self.theta[row, index]) if index < columns else f"x{index - columns}"

    def __iter__(self) -> Iterator[list[GateRow]]:
        return (self.gates(row) for row in range(len(self)))

    @staticmethod
    def of(wires: int, circuits: Sequence[Sequence[GateRow]]) -> Pool:
        """The pool of some circuits, each written as `gates` writes it; every angle is a parameter of its own.

        Raises:
            CircuitError: an unknown gate, a wire outside the register or twice in a gate, a wrong number of angles,
                an angle that is no finite number.
        """
        length = np.array([len(circuit) for circuit in circuits], np.int32)
        slots = int(length.max(initial=0))
        op = np.full((len(circuits), slots), END, np.int8)
        wire = np.full((len(circuits), slots, MAX_WIRES), END, np.int8)
        parameter = np.full((len(circuits), slots), END, np.int32)
        angles: list[list[float]] = [[] for _ in circuits]
        for row, circuit in enumerate(circuits):
            for slot, (name, *rest) in enumerate(circuit):
                where = f"circuit {row}, gate {slot}"
                if name not in CODES:
                    raise CircuitError(complaint(where, f"no gate {name!r}", CODES, near=str(name)))
                gate = GATES[CODES[name]]
                if len(rest) != gate.wires + gate.parameters:
                    raise CircuitError(
                        f"{where}: {name} takes {gate.wires} wires and {gate.parameters} angles, found {rest}"
                    )
                op[row, slot] = CODES[name]
                wire[row, slot, : gate.wires] = rest[: gate.wires]
                if gate.parameters:
                    parameter[row, slot] = len(angles[row])
                    angles[row] += rest[gate.wires :]
        theta = np.zeros((len(circuits), max(map(len, angles), default=0)))
        for row, values in enumerate(angles):
            theta[row, : len(values)] = values
        return Pool(wires, op, wire, parameter, length, theta).checked()

    def checked(self) -> Pool:
        """This pool, if it can be.

        Raises:
            CircuitError: arrays that do not fit each other, an unknown code, a wire outside the register or twice in
                a gate, a parameter that is no finite number; the first is named by circuit and gate.
        """
        if self.theta.ndim != 2 or len(self.theta) != len(self.op):
            raise CircuitError(f"theta is {self.theta.shape}, wanted a row for each of {len(self.op)} circuits")
        _ = self._sound
        if not np.isfinite(self.theta).all():
            row, column = np.argwhere(~np.isfinite(self.theta))[0]
            raise CircuitError(f"circuit {row}: parameter {column} is {self.theta[row, column]}, no finite number")
        return self

    @cached_property
    def _sound(self) -> bool:
        """True; raises as `checked` does. Asked once, since all arrays but `theta` are read-only."""
        if not 1 <= self.wires <= MOST_WIRES:
            raise CircuitError(f"a register has 1 .. {MOST_WIRES} wires, found {self.wires}")
        shapes = (self.wire.shape, self.parameter.shape, self.length.shape)
        wanted = ((*self.op.shape, MAX_WIRES), self.op.shape, self.op.shape[:1])
        if self.op.ndim != 2 or shapes != wanted:
            raise CircuitError(f"op is {self.op.shape}, and wire, parameter and length are {shapes}, wanted {wanted}")
        wrong = np.flatnonzero((self.length < 0) | (self.length > self.op.shape[1]))
        if len(wrong):
            raise CircuitError(f"circuit {wrong[0]}: {self.length[wrong[0]]} gates in {self.op.shape[1]} slots")
        slots, count = self.slots, len(GATES)
        self._refuse(slots & ((self.op < 0) | (self.op >= count)), "has no gate of the table")
        used = np.where(slots, wires_of()[np.where(slots, self.op, 0)], 0)
        for k in range(MAX_WIRES):
            outside = (self.wire[..., k] < 0) | (self.wire[..., k] >= self.wires)
            self._refuse((used > k) & outside, f"acts on a wire outside 0..{self.wires - 1}")
            self._refuse(slots & (used <= k) & (self.wire[..., k] != END), "has a wire too many")
        self._refuse((used == 2) & (self.wire[..., 0] == self.wire[..., 1]), "acts twice on one wire")
        takes = slots & (parameters_of()[np.where(slots, self.op, 0)] > 0)
        self._refuse(takes & (self.parameter < 0), "takes a parameter but has none")
        return True

    def _refuse(self, wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            row, slot = np.argwhere(wrong)[0]
            code = int(self.op[row, slot])
            name = GATES[code].name if 0 <= code < len(GATES) else f"code {code}"
            wires = [int(w) for w in self.wire[row, slot] if w != END]
            raise CircuitError(f"circuit {row}, gate {slot}: {name} on {wires} {what}")

    @staticmethod
    def stack(pools: Sequence[Pool]) -> Pool:
        """The circuits of several pools of one register, one after the other.

        Raises:
            CircuitError: no pools, different registers, or circuits that read inputs.
        """
        if len({pool.wires for pool in pools}) != 1:
            raise CircuitError(f"pools on {sorted({pool.wires for pool in pools})} wires do not stack")
        if any(pool.inputs for pool in pools):
            raise CircuitError("pools that read inputs do not stack")
        slots = max(pool.op.shape[1] for pool in pools)
        columns = max(pool.theta.shape[1] for pool in pools)
        return Pool(
            pools[0].wires,
            np.concatenate([_widened(pool.op, slots, END) for pool in pools]),
            np.concatenate([_widened(pool.wire, slots, END) for pool in pools]),
            np.concatenate([_widened(pool.parameter, slots, END) for pool in pools]),
            np.concatenate([pool.length for pool in pools]),
            np.concatenate([_widened(pool.theta, columns, 0) for pool in pools]),
        )

    def save(self, path: Path) -> None:
        """Writes the pool as an `.npz`, whole or not at all."""
        write_whole(path, self.packed())

    def packed(self) -> bytes:
        """The content of the file that `save` writes."""
        buffer, arrays = io.BytesIO(), dict[str, Any](self.arrays())
        np.savez_compressed(buffer, wires=self.wires, **arrays)
        return buffer.getvalue()

    @staticmethod
    def load(path: Path) -> Pool:
        """Reads what `save` wrote.

        Raises:
            CircuitError: the file is missing, damaged or holds no pool.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {f.name: file[f.name] for f in fields(Pool) if f.name != "wires"}
                return Pool(int(file["wires"]), **arrays).checked()
        except DAMAGE as error:
            raise CircuitError(f"{path}: no pool of circuits: {error}") from error


def own_parameters(op: NDArray[np.int8]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The index of each gate's first parameter if every angle is a parameter of its own, and their number.

    Takes codes (B, S), `END` where there is no gate; gives (B, S), `END` where a gate has none, and (B,).
    """
    takes = np.where(op == END, 0, parameters_of()[op])
    upto = np.cumsum(takes, axis=1, dtype=np.int32)
    return np.where(takes > 0, upto - takes, END).astype(np.int32), takes.sum(1, dtype=np.int64)


def _widened(array: NDArray, width: int, filling: int) -> NDArray:
    padding = [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, padding, constant_values=filling)
