"""The README is run: its study is checked, and its error message is what a user gets."""

import re
from pathlib import Path

import pytest

from search.run import CATALOGUE, load_data
from spaces.document import StudyError, assign, parse
from spaces.shipped import open_study, shipped
from spaces.study import read_study

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


def test_the_study_is_a_study_that_fits_data():
    study = read_study(assign(parse(block("yaml"), "mine.yaml"), "data=digits"), CATALOGUE)
    load_data(study)
    assert study.goal.metric == "linear_accuracy"


def test_the_error_is_what_a_misspelt_method_gives():
    with pytest.raises(StudyError) as caught:
        read_study(parse(block("yaml").replace("simclr:", "simcrl:"), "mine.yaml"), CATALOGUE)
    assert f"error: {caught.value}" in README


def test_the_commands_name_the_pinned_versions_and_the_tests():
    first, *_, last = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert "pip install -q -c constraints.txt . && pretune run quickstart" in first
    assert last.strip() == 'pip install -q -c constraints.txt ".[test]" && python -m pytest -n 2 --dist loadfile'


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_are_checked_and_say_what_they_are(name):
    study = read_study(open_study(name), CATALOGUE)
    assert study.name == name.rpartition("/")[2]
    assert study.about


def test_the_circuit_study_fits_a_hamiltonian_and_a_space(tmp_path):
    (tmp_path / "h.txt").write_text("-0.8 Z0 Z1\n-0.8 Z1 Z2\n-0.8 Z2 Z3\n0.4 X0\n0.4 X1\n0.4 X2\n0.4 X3\n")
    (space,) = re.findall(r"```yaml\n(wires: .*?)```", README, re.DOTALL)
    (tmp_path / "space.yaml").write_text(space)
    (text,) = re.findall(r"```yaml\n(name: mine\nobjective: circuit_search\n.*?)```", README, re.DOTALL)
    document = assign(parse(text, "mine.yaml"), f"space.task.paulis.path={tmp_path / 'h.txt'}")
    study = read_study(assign(document, f"space.circuits.path={tmp_path / 'space.yaml'}"), CATALOGUE)
    load_data(study)
    assert set(study.space.parts["searcher"].branches) == {"gp", "evolution", "reinforce", "random"}
