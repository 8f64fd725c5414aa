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
    assert last.strip() == 'pip install -q -c constraints.txt ".[test]" && python -m pytest'


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_are_checked_and_say_what_they_are(name):
    study = read_study(open_study(name), CATALOGUE)
    assert study.name == name.rpartition("/")[2]
    assert study.about
