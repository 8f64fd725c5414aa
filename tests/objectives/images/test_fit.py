"""What a study asks of its images, its backbones and its methods, and does not get, is told before the first trial."""

from __future__ import annotations

import pytest

from search.run import CATALOGUE, load_data
from spaces.document import StudyError, parse
from spaces.study import read_study

STUDY = """\
name: s
data: {{{data}: {{limit: 100, limit_test: 60}}}}
space: {{method: {{{method}: default}}, architecture: {{{architecture}: default}}, {more}}}
probe: {{episodes: {episodes}}}
search: {{metric: {metric}}}
"""


def loaded(
    more: str = "",
    data: str = "digits",
    method: str = "simclr",
    architecture: str = "resnet",
    metric: str = "knn_accuracy",
    episodes: int = 0,
) -> None:
    text = STUDY.format(
        data=data, more=more, method=method, architecture=architecture, metric=metric, episodes=episodes
    )
    load_data(read_study(parse(text, "s.yaml"), CATALOGUE))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"more": "plugin: {hallucination: default}", "method": "vicreg"},
            "needs pairs of a method, which",
        ),
        (
            {"more": "plugin: {multicrop: default}", "method": "swav", "architecture": "mlp"},
            "cannot be added to 'swav': Perceptron takes images of 8 × 8 pixels alone",
        ),
        ({"more": "sampler: {clustered: {clusters: 900}}"}, "cannot draw from 100 training images: 900 clusters"),
        ({"more": "pool: {inflated: default}", "data": "digit_grids"}, "what it adds has no partner"),
        ({"metric": "factor_accuracy"}, "needs images with known factors"),
        ({"metric": "cell_accuracy"}, "needs images whose pixels have classes"),
        (
            {"metric": "cell_accuracy", "data": "digit_scenes", "architecture": "mlp"},
            "architecture that offers maps",
        ),
        ({"metric": "one_shot_accuracy"}, "needs 'probe.episodes' above 0"),
        ({"metric": "cluster_accuracy"}, "needs a method that has clusters of its own"),
        ({"method": "pixpro", "architecture": "mlp"}, "method 'pixpro' needs maps"),
        ({"method": "pixpro", "data": "digit_grids"}, "'pixpro' cannot serve .* matches places within one image"),
        ({"method": "r2o", "data": "digit_grids"}, "'r2o' cannot serve .* matches places within one image"),
    ],
)
def test_what_cannot_be_had_is_told(asked: dict[str, str], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        loaded(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [
        {"more": "plugin: {hallucination: default}"},
        {"more": "plugin: {multicrop: default}", "method": "swav"},
        {"more": "sampler: {clustered: {clusters: 90}}"},
        {"more": "pool: {inflated: default}"},
        {"metric": "factor_accuracy", "data": "digit_grids"},
        {"metric": "cell_accuracy", "data": "digit_scenes"},
        {"metric": "one_shot_accuracy", "episodes": 10},
        {"metric": "cluster_accuracy", "method": "mlc"},
        {"metric": "prototypes_used", "method": "swav"},
    ],
)
def test_what_can_be_had_is_not_refused(asked: dict[str, str]) -> None:
    loaded(**asked)  # type: ignore[arg-type]
