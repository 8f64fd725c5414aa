"""The classifier: uploading written out by hand, probabilities counted over basis states, features by NumPy."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from objectives.circuits.tasks.classify import (
    Config,
    accuracy,
    build,
    examples,
    floor,
    held_out,
    predicted,
    probabilities,
    upload,
)
from spaces.circuits.pool import CircuitError, Pool

BLOCKS = Pool.of(2, [[("RX", 0, 0.1), ("CNOT", 0, 1), ("U3", 1, 0.2, 0.3, 0.4)], [("H", 1)], [], [("RZ", 1, 0.5)]])


def random_states(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    states = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return states / np.linalg.norm(states, axis=-1, keepdims=True)


def test_uploading_repeats_encoding_and_block() -> None:
    pool = upload(BLOCKS, Config(wires=2, features=3, repetitions=2)).checked()
    encoding = [("RY", 0, "x0"), ("RY", 1, "x1"), ("RZ", 0, "x2")]
    for row in range(len(BLOCKS)):
        assert pool.gates(row) == 2 * [*encoding, *BLOCKS.gates(row)]
    assert pool.inputs == 3


def test_features_go_round_where_wires_are_more() -> None:
    pool = upload(Pool.of(3, [[("X", 0)]]), Config(wires=3, features=2, repetitions=1))
    assert pool.gates(0) == [("RY", 0, "x0"), ("RY", 1, "x1"), ("RY", 2, "x0"), ("X", 0)]
    assert pool.theta.shape == (1, 0)


def test_every_repetition_has_parameters_of_its_own() -> None:
    pool = upload(BLOCKS, Config(wires=2, features=2, repetitions=3))
    assert pool.parameters.tolist() == [12, 0, 0, 3]
    own = pool.slots & (pool.parameter >= 0) & (pool.parameter < pool.theta.shape[1])
    assert sorted(pool.parameter[0][own[0]]) == [0, 1, 4, 5, 8, 9]
    assert sorted(pool.parameter[3][own[3]]) == [0, 1, 2]
    np.testing.assert_allclose(pool.theta[0], np.tile([0.1, 0.2, 0.3, 0.4], 3))
    np.testing.assert_allclose(pool.theta[3], [0.5] * 3 + [0] * 9)


def test_shared_parameters_stay_shared_within_a_repetition() -> None:
    block = Pool.of(2, [[("RX", 0, 0.1), ("RX", 1, 0.1)]])
    shared = Pool(2, block.op, block.wire, np.zeros((1, 2)), block.length, block.theta[:, :1])
    pool = upload(shared, Config(wires=2, features=2, repetitions=2))
    assert pool.parameter[0].tolist() == [2, 3, 0, 0, 2, 3, 1, 1]


def test_uploading_leaves_the_pool_alone_and_refuses_what_does_not_fit() -> None:
    before = BLOCKS.parameter.copy(), BLOCKS.theta.copy()
    once = upload(BLOCKS, Config(wires=2))
    np.testing.assert_array_equal(before[0], BLOCKS.parameter)
    np.testing.assert_array_equal(before[1], BLOCKS.theta)
    with pytest.raises(CircuitError, match="read inputs already"):
        upload(once, Config(wires=2))
    with pytest.raises(CircuitError, match="on 2 wires, the classifier has 3"):
        upload(BLOCKS, Config(wires=3))


@pytest.mark.parametrize(("digits", "deciding"), [("38", 1), ("017", 2), ("0123", 2), ("01234", 3)])
def test_a_class_is_read_off_the_first_wires(digits: str, deciding: int) -> None:
    task, states = build(Config(digits=digits, wires=3)), random_states(5, 8)
    found = probabilities(states, len(digits))
    assert found.shape == (5, len(digits))
    for outcome, observable in enumerate(task.observables):
        counted = sum(abs(states[:, i]) ** 2 for i in range(8) if i >> (3 - deciding) == outcome)
        np.testing.assert_allclose(found[:, outcome], counted, atol=1e-14)
        np.testing.assert_allclose(observable.expectation(states), -counted, atol=1e-14)
    if len(digits) == 2**deciding:
        np.testing.assert_allclose(found.sum(-1), 1)


def test_predictions_and_accuracy() -> None:
    probability = np.array([[[0.6, 0.4], [0.2, 0.8], [0.9, 0.1]], [[0.4, 0.6], [0.3, 0.7], [0.45, 0.55]]])
    classes = np.array([0, 1, 1])
    assert predicted(probability).tolist() == [[0, 1, 0], [1, 1, 1]]
    assert accuracy(probability, classes).tolist() == [2 / 3, 2 / 3]


def test_features_are_principal_components_of_the_training_part() -> None:
    config = Config(digits="83", features=5, examples=60)
    found, digits = examples(config), load_digits()
    kept = np.isin(digits.target, [3, 8])
    images = digits.data[kept]
    assert (len(found.inputs), len(found.held_out)) == (60, len(images) - 60)
    assert np.abs(found.inputs).max(0) == pytest.approx(np.full(5, np.pi))
    assert np.abs(found.held_out).max() <= np.pi
    assert abs((found.classes == 0).mean() - (digits.target == 8).sum() / len(images)) < 0.02
    train, test = train_test_split(images, train_size=60, stratify=digits.target[kept] == 3, random_state=0)
    _, _, axes = np.linalg.svd(train - train.mean(0), full_matrices=False)
    scores, later = ((part - train.mean(0)) @ axes[:5].T for part in (train, test))
    scale = np.pi / np.abs(scores).max(0)
    signs = np.sign((found.inputs * scores).sum(0))
    np.testing.assert_allclose(found.inputs, signs * scores * scale, atol=1e-9)
    np.testing.assert_allclose(found.held_out, np.clip(signs * later * scale, -np.pi, np.pi), atol=1e-9)


def test_examples_are_seeded() -> None:
    one, two, other = (examples(Config(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.inputs, two.inputs)
    assert not np.array_equal(one.inputs, other.inputs)


def test_the_task_holds_its_examples() -> None:
    config = Config()
    found, task, later = examples(config), build(config), held_out(config)
    np.testing.assert_array_equal(task.inputs, found.inputs)
    np.testing.assert_array_equal(task.which, found.classes)
    np.testing.assert_array_equal(later.inputs, found.held_out)
    np.testing.assert_array_equal(later.which, found.held_out_classes)
    model = LogisticRegression(max_iter=2000).fit(found.inputs, found.classes)
    assert floor(config) == model.score(found.held_out, found.held_out_classes) > 0.9
    sure = model.predict_proba(found.inputs)[np.arange(100), found.classes].mean()
    assert task.strict == pytest.approx(-sure)


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"digits": "3"}, "found '3'"),
        ({"digits": "33"}, "found '33'"),
        ({"digits": "3x"}, "found '3x'"),
        ({"digits": ""}, "found ''"),
        ({"digits": "01234", "wires": 2}, "5 classes need 3 wires, found 2"),
        ({"examples": 400}, "400 are too many: there are 357 images of 3, 8"),
        ({"examples": 4, "features": 8}, "4 examples for 2 classes and 8 features"),
    ],
)
def test_what_cannot_be_is_refused(knobs: dict, complaint: str) -> None:
    with pytest.raises(CircuitError, match=complaint):
        build(Config(**knobs))
