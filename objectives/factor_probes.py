"""How many of the ground-truth factors of an image its frozen features tell: one linear read-out a factor.

A representation may single out a few factors and drop the rest; the mean over all factors shows it (Ozair et al. 2019,
"Wasserstein Dependency Measure for Representation Learning": accuracy per character of a grid of characters).
"""

from __future__ import annotations

import numpy as np

from objectives import linear_probes
from objectives.features import pareto
from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID
from objectives.kinds import Metric

METRICS = {
    "factor_accuracy": Metric("max", True, "accuracy of logistic regression for each factor of the images, their mean"),
}


def factors(features: np.ndarray, factors: np.ndarray, part: np.ndarray, penalty: float) -> dict[str, float]:
    """`factor_accuracy` on the valid rows and `test_factor_accuracy` on the test rows, each factor weighing alike.

    Features are scaled as for `probes.probe`, and multinomial logistic regression is fitted for each factor on the
    train rows where it is known. A factor of which these know fewer than two classes is left out, and so is one that
    no row to be scored knows; a metric that no factor is left for is not given. A class that the train rows lack is
    never given, hence wrong.

    Args:
        features: frozen features, `(N, D)` float.
        factors: class of each row in each factor, `(N, F)` int, -1 where unknown.
        part: 0 train, 1 valid, 2 test, `(N,)`.
        penalty: of logistic weights, half of it times their sum of squares.

    Raises:
        ValueError: arrays that do not fit each other, no train row, or features that are not finite.
    """
    if features.ndim != 2 or factors.ndim != 2 or not len(features) == len(factors) == len(part):
        shapes = f"features {features.shape}, factors {factors.shape}, part {part.shape}"
        raise ValueError(f"factor probes need features (N, D), factors (N, F) and part (N,), got {shapes}")
    if not np.isfinite(features).all() or not np.any(part == TRAIN):
        raise ValueError("factor probes need train rows and finite features")
    x = pareto(features, part == TRAIN)
    names = {VALID: "factor_accuracy", TEST: "test_factor_accuracy"}
    each: dict[str, list[float]] = {name: [] for name in names.values()}
    for truth in factors.T:
        train = (part == TRAIN) & (truth != UNLABELLED)
        classes, codes = np.unique(truth[train], return_inverse=True)
        if len(classes) < 2:
            continue
        read = linear_probes.logistic(linear_probes.rows(x[train], codes, len(classes)), penalty)
        for where, name in names.items():
            scored = (part == where) & (truth != UNLABELLED)
            if scored.any():
                given = classes[read(x[scored]).argmax(axis=1)]
                each[name].append(float(np.mean(given == truth[scored])))
    return {name: float(np.mean(values)) for name, values in each.items() if values}
