"""Circuit spaces as studies write them: what each key gives, and where and how a wrong one is told."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.circuits import reading
from spaces.circuits.coupling import coupling
from spaces.circuits.gates import GATE_SETS
from spaces.circuits.reading import KEYS, read_sampler, sampler_from
from spaces.circuits.sampler import Sampler, paper
from spaces.document import Node, StudyError, parse


def read(text):
    return read_sampler(text, "s.yaml")


def test_nothing_said_is_the_papers_space():
    assert read("{}") == paper()
    assert read("coupling: paper\ngates: paper\ndepth: 5\nlength: 10\nwires: 4\nreject: circuit") == paper()
    assert read("wires: 8\nlength: 20\ndepth: any") == paper(8, 20, None)


def test_the_example_in_the_docstring_is_read():
    example = "\n".join(line for line in reading.__doc__.splitlines() if line.startswith("    "))
    assert read(example) == Sampler(
        6,
        dict.fromkeys(GATE_SETS["paper"], 1.0),
        20,
        8,
        coupling("grid", 6, [2, 3]),
        {"CNOT": coupling("ring", 6)},
    )


def test_gates_come_as_a_set_a_list_or_weights():
    assert dict(read("gates: rotations").gates) == dict.fromkeys(["RX", "RY", "RZ", "CNOT"], 1.0)
    assert read("gates: rotations").coupling_of == {"CNOT": coupling("directed_ring", 4)}
    listed = read("gates: [RXX, H]")
    assert list(listed.gates.items()) == [("RXX", 1.0), ("H", 1.0)]
    assert listed.coupling_of == {}
    assert list(read("gates: {CZ: 2, H: 0.5}").gates.items()) == [("CZ", 2.0), ("H", 0.5)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ring", ("ring",)),
        ("{line: }", ("line",)),
        ("{grid: [2, 2]}", ("grid", [2, 2])),
        ("grid", ("grid", [2, 2])),
        ("{heavy_hex: 3}", ("heavy_hex", 3)),
        ("{edges: [[0, 1], [1, 3]]}", ("edges", [[0, 1], [1, 3]])),
        ("{directed: [[0, 1], [1, 3]]}", ("directed", [[0, 1], [1, 3]])),
    ],
)
def test_couplings_come_by_name_or_with_their_shape(written, expected):
    name, *shape = expected
    for found in (read(f"coupling: {written}"), read(f"coupling: all\ncoupling_of: {{SWAP: {written}}}")):
        assert found.wires == 4
    assert read(f"coupling: {written}").coupling == coupling(name, 4, *shape)
    assert read(f"coupling: {written}").coupling_of == {}
    assert read(f"coupling_of: {{SWAP: {written}}}").coupling_of == {
        "CNOT": coupling("directed_ring", 4),
        "SWAP": coupling(name, 4, *shape),
    }


def test_single_gates_go_before_the_papers_rule():
    assert read("coupling_of: {CNOT: all}").coupling_of == {"CNOT": coupling("all", 4)}


def test_a_section_of_a_larger_document_is_read_and_told_by_its_place():
    sections = parse("name: x\ncircuit:\n  wires: 3\n  length: 40", "big.yaml").value
    with pytest.raises(StudyError, match=r"^big\.yaml:2: circuit: length: 40 gates do not fit into depth 5"):
        sampler_from(sections["circuit"])


WRONG = [
    ("- a", "s.yaml:1: expected a mapping of circuit settings, found a list of 1"),
    ("", "s.yaml: the document is empty"),
    ("gates: [", "not valid YAML"),
    ("length: 9\nwirse: 3", "s.yaml:2: wirse: there is no circuit setting 'wirse'", "did you mean 'wires'?"),
    ("wires: 0", "s.yaml:1: wires: 0 is out of bounds", "1 .. 127"),
    ("wires: 2.5", "wires: expected a whole number, found the number 2.5"),
    ("wires: true", "wires: expected a whole number, found true"),
    ("length: 1001", "length: 1001 is out of bounds", "1 .. 1000"),
    ("length: 30", "s.yaml:1: length: 30 gates do not fit into depth 5 on 4 wires, at most 20"),
    ("\ndepth: deep", "s.yaml:2: depth: expected a number of layers, found the text 'deep'", "1 .. 1000, or any"),
    ("depth: 0", "depth: expected a number of layers, found the number 0"),
    ("depth: true", "depth: expected a number of layers, found true"),
    ("depth:", "depth: expected a number of layers, found nothing"),
    ("reject: gat", "reject: 'gat' is out of bounds", "circuit, gate", "did you mean 'gate'?"),
    ("gates: papper", "gates: there is no gate set 'papper'", "rotations", "did you mean 'paper'?"),
    ("gates: 3", "gates: expected a gate set, a list of gates or their weights, found the number 3"),
    ("gates:", "gates: expected a gate set, a list of gates or their weights, found nothing"),
    ("gates: []", "gates: the gate set is empty"),
    ("gates: {}", "gates: the gate set is empty"),
    ("gates: [RX,\n CNOTT]", "s.yaml:2: gates[1]: there is no gate 'CNOTT'", "did you mean 'CNOT'?"),
    ("gates: [RX, RX]", "gates[1]: the gate 'RX' is named twice"),
    ("gates: [[RX]]", "gates[0]: expected the name of a gate, found a list of 1"),
    ("gates: {SWAPP: 1}", "gates.SWAPP: there is no gate 'SWAPP'", "did you mean 'SWAP'?"),
    ("gates: {RX: 0}", "gates.RX: 0.0 is out of bounds", "1e-06 .. 1000000"),
    ("gates: {RX: lots}", "gates.RX: expected a number, found the text 'lots'"),
    ("gates: {RX: .inf}", "gates.RX: expected a finite number, found inf"),
    ("wires: 1", "CNOT has no pair of wires to act on in a register of 1"),
    ("coupling: rign", "coupling: there is no coupling map 'rign'", "directed, paper", "did you mean 'ring'?"),
    ("coupling: 4", "coupling: expected one coupling map, found the number 4"),
    ("coupling: [ring]", "coupling: expected one coupling map, found a list of 1"),
    ("coupling: {}", "coupling: expected one coupling map, found an empty mapping"),
    ("coupling: {line: , ring: }", "coupling: expected one coupling map, found a mapping"),
    ("coupling: {grdi: [2, 2]}", "coupling.grdi: there is no coupling map 'grdi'", "did you mean 'grid'?"),
    ("coupling: {ring: 3}", "coupling.ring: the coupling map 'ring' has no shape, found 3"),
    ("coupling: {paper: 3}", "coupling.paper: there is no coupling map 'paper'"),
    ("coupling: edges", "coupling: the coupling map 'edges' needs its pairs"),
    ("coupling: {grid: [2, 3]}", "coupling.grid: a grid of 2 x 3 has 6 wires, the register 4"),
    ("coupling: {heavy_hex: 4}", "coupling.heavy_hex: no heavy-hexagon lattice of distance 4"),
    ("coupling:\n  edges: [[0, 9]]", "s.yaml:2: coupling.edges: the pair [0, 9] leaves the register, wires 0..3"),
    ("coupling: {edges: [[0, 0]]}", "coupling.edges: the pair [0, 0] joins a wire to itself"),
    ("coupling: {edges: []}", "coupling.edges: a coupling map of 4 wires needs at least one pair"),
    ("coupling: {directed: [[0, 1, 2]]}", "coupling.directed: expected pairs of wires, found [[0, 1, 2]]"),
    ("coupling_of: ring", "coupling_of: expected a mapping of two-qubit gates, found the text 'ring'"),
    ("coupling_of: {RX: ring}", "coupling_of.RX: there is no two-qubit gate 'RX'", "CNOT, CZ, SWAP"),
    ("coupling_of: {CNOT: paper}", "coupling_of.CNOT: there is no coupling map 'paper'"),
    ("coupling_of: {CNOT: {edges: [[0, 9]]}}", "coupling_of.CNOT.edges: the pair [0, 9] leaves the register"),
]


@pytest.mark.parametrize(("text", "words"), [(text, words) for text, *words in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_spaces_are_told_where_and_what(text, words):
    with pytest.raises(StudyError) as error:
        read(text)
    said = str(error.value)
    assert said.startswith("s.yaml:")
    assert all(word in said for word in words), said


SCALARS = st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.just(10**400)
WORDS = st.sampled_from([*KEYS, "ring", "grid", "heavy_hex", "edges", "CNOT", "RX", "any", "paper", "", "gate"])
JUNK = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2), max_leaves=5
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK, min_size=1))
def test_any_junk_ends_in_a_space_or_a_complaint(junk):
    def noded(value):
        if isinstance(value, dict):
            value = {name: noded(child) for name, child in value.items()}
        elif isinstance(value, list):
            value = [noded(child) for child in value]
        return Node(value, "s.yaml:1")

    with contextlib.suppress(StudyError):
        assert isinstance(sampler_from(noded(junk)), Sampler)
