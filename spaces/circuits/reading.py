"""A circuit space as a study writes it:

    wires: 6
    gates: paper                  # a set of `GATE_SETS`, or a list of gates, or a mapping of gates to weights
    length: 20                    # gates per circuit
    depth: 8                      # at most; or any
    coupling: {grid: [2, 3]}      # a map's name, {heavy_hex: 3}, {edges: [[0, 1], [1, 2]]}, {directed: [[0, 1]]};
                                  #   or paper: CNOT from q to q + 1 mod n, every other gate on any pair
    coupling_of: {CNOT: ring}     # maps of single gates
    reject: circuit               # what is drawn anew where a circuit gets too deep: circuit or gate

Every key may be left out and then is the paper's, see `sampler.paper`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spaces.circuits.coupling import NAMES, Coupling, coupling
from spaces.circuits.gates import CODES, GATE_SETS, GATES, MAX_WIRES
from spaces.circuits.pool import MOST_WIRES, CircuitError
from spaces.circuits.sampler import LONGEST, REJECT, WEIGHT, Sampler, paper, paper_couplings
from spaces.components import Field
from spaces.document import Node, describe, parse
from spaces.domains import Choice, Int
from spaces.reading import value

KEYS = ("wires", "gates", "length", "depth", "coupling", "coupling_of", "reject")
ASIDE = ("task", "hamiltonian")  # what a file may say besides, for those who evaluate its circuits
USUAL = paper()


def read_sampler(text: str, file: str) -> Sampler:
    """The circuit space in a YAML text; `file` names it in messages. What it says of a task is left aside.

    Raises:
        StudyError: at the first thing that is wrong, with its place.
    """
    root = parse(text, file)
    given = root.known([*KEYS, *ASIDE], "circuit setting")
    return sampler_from(replace(root, value={name: child for name, child in given.items() if name in KEYS}))


def sampler_from(node: Node) -> Sampler:
    """The circuit space that a section of a document describes.

    Raises:
        StudyError: at the first thing that is wrong, with its place.
    """
    given = node.known(KEYS, "circuit setting")
    wires = _plain(given, Field("wires", int, USUAL.wires, Int(1, MOST_WIRES)))
    length = _plain(given, Field("length", int, USUAL.length, Int(1, LONGEST)))
    reject = _plain(given, Field("reject", str, USUAL.reject, Choice(*REJECT)))
    depth = _depth(given["depth"]) if "depth" in given else USUAL.depth
    gates = _gates(given["gates"]) if "gates" in given else USUAL.gates
    written = given.get("coupling", Node("paper", node.origin))
    ruled = written.value == "paper"
    shared, single = paper_couplings(wires, gates) if ruled else (_coupling(written, wires, (*NAMES, "paper")), {})
    if "coupling_of" in given:
        two = [name for name in gates if GATES[CODES[name]].wires == MAX_WIRES]
        children = given["coupling_of"].known(two, "two-qubit gate")
        single |= {name: _coupling(child, wires, NAMES) for name, child in children.items()}
    try:
        return Sampler(wires, gates, length, depth, shared, single, reject)
    except CircuitError as error:
        raise node.wrong(str(error)) from None


def _plain(given: Mapping[str, Node], field: Field) -> Any:
    return value(given[field.name], field) if field.name in given else field.default


def _depth(node: Node) -> int | None:
    if node.value == "any":
        return None
    if type(node.value) is not int or not 1 <= node.value <= LONGEST:
        raise node.wrong(f"expected a number of layers, found {describe(node)}", f"1 .. {LONGEST}, or any")
    return node.value


def _gates(node: Node) -> dict[str, float]:
    if isinstance(node.value, str):
        if node.value not in GATE_SETS:
            raise node.wrong(f"there is no gate set '{node.value}'", GATE_SETS, near=node.value)
        return dict.fromkeys(GATE_SETS[node.value], 1.0)
    if isinstance(node.value, dict):
        weight = Field("weight", float, 1.0, WEIGHT)
        return {name: value(child, weight) for name, child in node.known(CODES, "gate").items()}
    if not isinstance(node.value, list):
        raise node.wrong(f"expected a gate set, a list of gates or their weights, found {describe(node)}", GATE_SETS)
    found: dict[str, float] = {}
    for item in node.value:
        if not isinstance(item.value, str):
            raise item.wrong(f"expected the name of a gate, found {describe(item)}", CODES)
        if item.value not in CODES:
            raise item.wrong(f"there is no gate '{item.value}'", CODES, near=item.value)
        if item.value in found:
            raise item.wrong(f"the gate '{item.value}' is named twice")
        found[item.value] = 1.0
    return found


def _coupling(node: Node, wires: int, names: tuple[str, ...]) -> Coupling:
    name, shape = node.value, Node(None, node.origin, node.path)
    if isinstance(node.value, dict) and len(node.value) == 1:
        ((name, shape),) = node.known(names, "coupling map").items()
    elif not isinstance(node.value, str):
        raise node.wrong(f"expected one coupling map, found {describe(node)}", names)
    elif name not in names:
        raise node.wrong(f"there is no coupling map '{name}'", names, near=name)
    try:
        return coupling(name, wires, shape.plain())
    except CircuitError as error:
        raise shape.wrong(str(error)) from None
