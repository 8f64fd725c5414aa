"""The circuits that a study may draw: gate set, coupling map, gates and depth as knobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from spaces.circuits.coupling import coupling
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.pool import CircuitError
from spaces.circuits.reading import read_sampler
from spaces.circuits.sampler import REJECT, Sampler, paper, paper_couplings
from spaces.domains import Choice, Int

MAPS = ("paper", "all", "line", "ring", "directed_line", "directed_ring", "grid", "heavy_hex")
PAPER = paper()


@dataclass(frozen=True)
class CircuitSpace:
    """Which circuits a trial draws; the register is its task's."""

    gates: Annotated[str, Choice(*GATE_SETS)] = "paper"  # the set that gates are drawn from, all alike
    coupling: Annotated[str, Choice(*MAPS)] = "paper"  # pairs for two-qubit gates; paper: CNOT on a ring, others on any
    length: Annotated[int, Int(1, 60)] = PAPER.length  # gates per circuit
    depth: Annotated[int, Int(1, 60)] = PAPER.depth or 0  # layers at most
    reject: Annotated[str, Choice(*REJECT)] = PAPER.reject  # what is drawn anew if too deep: the circuit or the gate
    path: str = ""  # a circuit space of your own in YAML, whose gates and coupling then count

    def sampler(self, wires: int) -> Sampler:
        """The distribution of circuits on so many wires.

        Raises:
            StudyError: the file is missing, wrong or about another register; or no circuit fits gates and depth.
        """
        if self.path:
            return replace(self._own(wires), length=self.length, depth=self.depth, reject=self.reject)
        gates = dict.fromkeys(GATE_SETS[self.gates], 1.0)
        shared, single = (
            paper_couplings(wires, gates) if self.coupling == "paper" else (coupling(self.coupling, wires), {})
        )
        return Sampler(wires, gates, self.length, self.depth, shared, single, self.reject)

    def _own(self, wires: int) -> Sampler:
        try:
            found = read_sampler(Path(self.path).read_text(encoding="utf-8"), self.path)
        except (OSError, UnicodeDecodeError) as error:
            raise CircuitError(f"{self.path}: no circuit space can be read: {error}") from None
        if found.wires != wires:
            raise CircuitError(f"{self.path}: its circuits have {found.wires} wires, the task {wires}")
        return found
