"""The watch inside a trial: nothing that trains is touched by it; goals that the images cannot serve are told early."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from objectives import SHELVES
from objectives.collapse import Collapsed
from objectives.images.images import Images
from objectives.images.worth import Probe
from objectives.kinds import Failed, Setting
from objectives.kinds.representation import Representation, floors
from objectives.optimizer import Optimizer
from search.run import load_data, load_study
from spaces.document import StudyError

STUDY = """\
name: s
data: {{npz: {data}}}
space: {{method: [simclr], architecture: {{mlp: {{width: 32}}}}, optimizer: {{batch: 16}}}}
budget: {{trials: 1, epochs: 2}}
search: {{strategy: random, {search}}}
"""


def chosen(kind: str, name: str, **knobs: Any) -> dict[str, Any]:
    return {name: dataclasses.asdict(SHELVES[kind].load(name).config(**knobs))}


VIT = chosen("architecture", "vit", patch=4, heads=1, head_width=16, depth=1)
OFFERED = SHELVES["architecture"].load("vit").offers


def trial(method: str, watch: bool) -> Representation:
    rng = np.random.default_rng(0)
    pixels = rng.random((96, 1, 8, 8), dtype=np.float32)
    part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [64, 16, 16])
    images = Images(pixels, np.arange(96) % 4, part, ("a", "b", "c", "d"))
    config = {
        "method": chosen("method", method),
        "augmentation": chosen("augmentation", "noise"),
        "second_view": {},
        "architecture": VIT if SHELVES["method"].load(method).needs <= OFFERED else chosen("architecture", "resnet"),
        "optimizer": dataclasses.asdict(Optimizer(batch=32)),
    }
    return Representation(Setting(config, 1, (1, 4), images, Probe(draws=2, watch=watch)))


@pytest.mark.parametrize("method", SHELVES["method"].names())
def test_a_watched_trial_trains_to_the_same_bits(method: str) -> None:
    watched, alone = trial(method, True), trial(method, False)
    for one in (watched, alone):
        for epoch in range(1, 4):
            one.look(one.loop.train_epoch(), at_rung=epoch == 1)
    assert torch.equal(watched.loop.draws.get_state(), alone.loop.draws.get_state())
    for name, value in alone.method.state_dict().items():
        assert torch.equal(value, watched.method.state_dict()[name]), name


@pytest.mark.parametrize("watch", [True, False])
def test_only_a_watched_trial_is_stopped_for_its_features(watch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trial("simclr", watch)
    monkeypatch.setattr(one.method, "encode", lambda images: torch.ones(len(images), 16))
    one.watch.rank, one.watch.spread = 9.0, 0.5
    one.look({"loss": 1.0}, at_rung=True)
    if not watch:
        one.look({"loss": 1.0}, at_rung=True)
        with pytest.raises(Failed, match="loss became inf"):
            one.look({"loss": float("inf")}, at_rung=True)
        return
    with pytest.raises(Collapsed) as told:
        one.look({"loss": 1.0}, at_rung=True)
    assert told.value.cause == "constant"


@pytest.mark.parametrize(
    ("shape", "labelled", "search", "said"),
    [
        ((8, 8), False, "metric: label_free", ""),
        ((8, 8), False, "metric: label_free, subject_to: rankme > 2", ""),
        ((8, 8), False, "metric: knn_accuracy", "knn_accuracy' needs labels"),
        ((8, 8), False, "metric: [label_free, nmi]", "nmi' needs labels"),
        ((8, 8), False, "metric: label_free, subject_to: knn_accuracy > 0.1", "knn_accuracy' needs labels"),
        ((8, 12), True, "metric: [label_free, seconds]", ""),
        ((8, 12), True, "metric: rotation_accuracy", "needs square images, and these are of 8 × 12 pixels"),
        ((8, 12), True, "metric: label_free, subject_to: rotation_accuracy > 0.1", "needs square images"),
    ],
)
def test_a_goal_that_the_images_cannot_serve_is_told(
    tmp_path: Path, shape: tuple[int, int], labelled: bool, search: str, said: str
) -> None:
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 256, (60, *shape), dtype=np.uint8)}
    np.savez(tmp_path / "d.npz", **arrays, **({"labels": np.arange(60) % 3} if labelled else {}))
    (tmp_path / "s.yaml").write_text(STUDY.format(data=tmp_path / "d.npz", search=search))
    study = load_study(str(tmp_path / "s.yaml"))
    if said:
        with pytest.raises(StudyError, match=rf"s.yaml:5: .*{said}"):
            load_data(study)
    else:
        assert all(study.goal.metric in metrics for metrics in floors(study, load_data(study)).values())
