"""A small classifier of handwritten digits by data re-uploading (Pérez-Salinas et al., Quantum 4, 226, 2020).

A circuit B(θ) of the pool becomes  [ B(θ_L) · E(x) ] … [ B(θ_1) · E(x) ] |0…0⟩  by `upload`: L times an encoding of the
example and the circuit with parameters of its own. E turns each wire by an RY of one feature, then by an RZ of the
next, and so on until every feature has been used and every wire turned.

A class's probability is that of its number on the first ⌈log2 C⌉ wires; the cost is minus the mean probability of the
right class over the training examples, the reward that probability. Features are the first principal components,
fitted to the training examples alone and scaled to angles in [-π, π]. Nothing is published for this task: the threshold
is ours, and the strict question is to be as sure of the training examples as logistic regression on the same angles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.gates import CODES
from spaces.circuits.pool import END, CircuitError, Pool
from spaces.document import complaint
from spaces.domains import Int

THRESHOLD = 0.75  # mean probability of the right class


@dataclass(frozen=True)
class Config:
    """Which digits, seen how, by which register."""

    digits: str = "38"  # the classes, a digit each
    wires: Annotated[int, Int(1, 12)] = 4  # qubits of the register
    features: Annotated[int, Int(1, 32)] = 4  # principal components
    repetitions: Annotated[int, Int(1, 8)] = 2  # L, how often the data is uploaded
    examples: Annotated[int, Int(4, 1500)] = 100  # to train on, by class as they occur; the others are held out
    seed: Annotated[int, Int(0, 2**31 - 1)] = 0  # which examples those are


class Examples(NamedTuple):
    """Angles (K, F) and classes (K,), counted from 0, of the training and of the held-out examples."""

    inputs: NDArray[np.float64]
    classes: NDArray[np.int64]
    held_out: NDArray[np.float64]
    held_out_classes: NDArray[np.int64]


def build(config: Config) -> Task:
    """The task of telling the training examples apart; its circuits go through `upload`.

    Raises:
        CircuitError: digits that are none or twice the same, too few of them for the examples, too few wires for the
            classes.
    """
    found = examples(config)
    sure = float(_fitted(found).predict_proba(found.inputs)[np.arange(len(found.classes)), found.classes].mean())
    return _task(config, found.inputs, found.classes, "", sure)


def held_out(config: Config) -> Task:
    """The same task on the held-out examples, to be scored and never trained on; raises what `build` does."""
    found = examples(config)
    proba = _fitted(found).predict_proba(found.held_out)
    sure = float(proba[np.arange(len(proba)), found.held_out_classes].mean())
    return _task(config, found.held_out, found.held_out_classes, ", held out", sure)


def _task(config: Config, inputs: NDArray, classes: NDArray, part: str, sure: float) -> Task:
    count = len(config.digits)
    return Task(
        name=f"tell digits {', '.join(config.digits)} apart on {config.wires} wires{part}",
        wires=config.wires,
        observables=tuple(_right(config.wires, outcome, count) for outcome in range(count)),
        reference=-1.0,
        threshold=THRESHOLD,
        strict=-sure,
        meaning=f"mean probability {sure:.4f} of the right class, as logistic regression on the same angles",
        inputs=inputs,
        which=classes,
        prepare=partial(upload, config=config),
        accuracy=partial(held_out_accuracy, config=config),
    )


def _deciding(classes: int) -> int:
    """How many wires say the class."""
    return (classes - 1).bit_length()


def _right(wires: int, outcome: int, classes: int) -> Observable:
    """Minus the projector on a class's outcome, the product of (1 ± Z)/2 over the deciding wires."""
    deciding = _deciding(classes)
    words, coefficients = [], []
    for subset in range(2**deciding):
        word = "".join("Z" if subset >> (deciding - 1 - q) & 1 else "I" for q in range(deciding))
        words.append(word + "I" * (wires - deciding))
        coefficients.append(-((-1) ** (subset & outcome).bit_count()) / 2**deciding)
    return Observable.of_paulis(wires, words, coefficients)


def examples(config: Config) -> Examples:
    """The examples, split by class, as angles.

    Raises:
        CircuitError: as `build`.
    """
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split

    _check(config)
    data = load_digits()
    names = np.array([int(digit) for digit in config.digits])
    kept = np.isin(data.target, names)
    classes = (data.target[kept, None] == names).argmax(1)
    if config.examples > len(classes) - len(names):
        what = f"there are {len(classes)} images of {', '.join(config.digits)}, one of each must be held out"
        raise CircuitError(complaint("examples", f"{config.examples} are too many: {what}"))
    train, test, train_classes, test_classes = train_test_split(
        data.data[kept], classes, train_size=config.examples, stratify=classes, random_state=config.seed
    )
    components = PCA(config.features, svd_solver="full").fit(train)
    largest = np.abs(components.transform(train)).max(0)
    largest[largest == 0] = 1
    angles = [np.pi * np.clip(components.transform(part) / largest, -1, 1) for part in (train, test)]
    return Examples(angles[0], train_classes, angles[1], test_classes)


def _check(config: Config) -> None:
    digits = config.digits
    if len(digits) < 2 or set(digits) - set("0123456789") or len(set(digits)) < len(digits):
        raise CircuitError(complaint("digits", f"found {digits!r}", "two or more different digits, such as 38"))
    if _deciding(len(digits)) > config.wires:
        what = f"{len(digits)} classes need {_deciding(len(digits))} wires, found {config.wires}"
        raise CircuitError(complaint("wires", what))
    if config.examples < max(2 * len(digits), config.features):
        what = f"{config.examples} examples for {len(digits)} classes and {config.features} features"
        raise CircuitError(complaint("examples", what, "at least two of each class, and as many as features"))


def upload(pool: Pool, config: Config) -> Pool:
    """The re-uploading circuits made of a pool's: their inputs are the task's, every repetition starts from its angles.

    Raises:
        CircuitError: circuits on another register, or such as read inputs already.
    """
    if pool.wires != config.wires:
        raise CircuitError(f"circuits on {pool.wires} wires, the classifier has {config.wires}")
    if pool.inputs:
        raise CircuitError("circuits that read inputs already cannot be made to upload them again")
    count, times = len(pool), config.repetitions
    used = pool.parameters[:, None].astype(np.int64)  # (B, 1)
    columns = times * int(used.max(initial=0))
    op, wire, parameter = _encoding(config, columns)
    ops = [np.broadcast_to(op, (count, len(op))), pool.op]
    wires = [np.broadcast_to(wire, (count, *wire.shape)), pool.wire]
    own = np.where(pool.slots & (pool.parameter >= 0), pool.parameter, END)
    parameters = []
    for l in range(times):  # noqa: E741
        parameters += [np.broadcast_to(parameter, (count, len(op))), np.where(own >= 0, own + l * used, END)]
    order = np.argsort(np.concatenate(ops * times, axis=1) == END, axis=1, kind="stable")
    index = np.arange(columns)
    own_column = np.minimum(index % np.maximum(used, 1), max(pool.theta.shape[1] - 1, 0))
    theta = np.take_along_axis(pool.theta, own_column, axis=1) if columns else np.zeros((count, 0))
    return Pool(
        pool.wires,
        np.take_along_axis(np.concatenate(ops * times, axis=1), order, axis=1),
        np.take_along_axis(np.concatenate(wires * times, axis=1), order[..., None], axis=1),
        np.take_along_axis(np.concatenate(parameters, axis=1), order, axis=1),
        times * (pool.length + len(op)),
        np.where(index < times * used, theta, 0.0),
    )


def _encoding(config: Config, columns: int) -> tuple[NDArray, NDArray, NDArray]:
    """The gates of E: codes (E,), wires (E, 2), and the inputs that they read (E,), which count from `columns`."""
    turn = np.arange(max(config.features, config.wires))
    op = np.where(turn // config.wires % 2 == 0, CODES["RY"], CODES["RZ"])
    wire = np.stack([turn % config.wires, np.full(len(turn), END)], axis=1)
    return op, wire, columns + turn % config.features


def probabilities(states: NDArray, classes: int) -> NDArray[np.float64]:
    """The classes' probabilities in states (..., N): (..., C); they sum to less than 1 if outcomes have no class."""
    outcomes = 2 ** _deciding(classes)
    return (np.abs(states) ** 2).reshape(*states.shape[:-1], outcomes, -1).sum(-1)[..., :classes]


def predicted(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """The most probable class of each example, (B, K) from (B, K, C)."""
    return probability.argmax(-1)


def accuracy(probability: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of examples whose most probable class is the right one: (B,) from (B, K, C) and (K,)."""
    return (predicted(probability) == classes).mean(-1)


def held_out_accuracy(pool: Pool, config: Config) -> float:
    """The share of held-out examples that a trained circuit, a pool of one from `upload`, tells rightly."""
    from objectives.circuits.batch import fed, states

    found = examples(config)
    probability = probabilities(states(fed(pool, found.held_out)), len(config.digits))
    return float(accuracy(probability, found.held_out_classes))


def floor(config: Config) -> float:
    """The held-out accuracy of logistic regression on the same angles: what a classifier should beat."""
    found = examples(config)
    return float(_fitted(found).score(found.held_out, found.held_out_classes))


def _fitted(found: Examples) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000).fit(found.inputs, found.classes)
