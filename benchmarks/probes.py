"""CPU seconds that each probe takes on one core: `python benchmarks/probes.py [--quick]`.

Features are those of a random layer of rectified units over noisy class prototypes, at the size of the digits
(1079 train, 359 valid, 359 test rows) and of 6,000 train images with 1,000 valid and 1,000 test ones. Every part
is run several times on one thread and its least CPU time counts, which a busy machine hardly changes. `--quick` takes
the digits alone. The last line is one JSON object: by case, CPU seconds of the parts and of the whole, and the scores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from objectives import linear_probes, probes
from objectives.features import pareto
from objectives.label_free import rankme, uniformity

CASES = {"digits_64": (1079, 359, 64), "digits_256": (1079, 359, 256), "images_512": (6000, 1000, 512)}


def features(train: int, held_out: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features `(N, dim)` of ten classes, their labels and parts."""
    rng = np.random.default_rng(0)
    n = train + 2 * held_out
    labels = rng.integers(10, size=n)
    inputs = rng.standard_normal((10, 32))[labels] + 1.5 * rng.standard_normal((n, 32))
    hidden = np.maximum(inputs @ rng.standard_normal((32, dim)) / 8 - 0.5, 0)
    return hidden.astype(np.float32), labels, np.repeat([0, 1, 2], [train, held_out, held_out])


def least(call: Callable[[], Any], repeats: int) -> float:
    """CPU seconds of the fastest of `repeats` calls."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def parts(x: np.ndarray, labels: np.ndarray, part: np.ndarray) -> Mapping[str, Callable[[], Any]]:
    """What `probe` does, piece by piece."""
    config, train, valid = probes.Config(), part == 0, part == 1
    scaled = pareto(x, train)
    fit_x, codes, valid_x = scaled[train], labels[train], scaled[valid]
    fit = linear_probes.rows(fit_x, codes, 10)

    def few_shot() -> linear_probes.Linear:
        draws = probes.few_shot_draws(codes, config.shots, config.draws, 0)
        return linear_probes.logistic(linear_probes.rows(fit_x[draws], codes[draws], 10), config.penalty)

    return {
        "rankme": lambda: rankme(x[train]),
        "uniformity": lambda: uniformity(x[train]),
        "scaling": lambda: pareto(x, train),
        "axes": lambda: linear_probes.rows(fit_x, codes, 10),
        "ridge": lambda: linear_probes.ridge(fit),
        "linear": lambda: linear_probes.logistic(fit, config.penalty),
        "few_shot": few_shot,
        "neighbours": lambda: probes.nearest(fit_x, fit.target, config.neighbours, config.temperature)(valid_x),
        "clusters": lambda: probes.clusters(valid_x, labels[valid], 10, config.restarts, 0),
        "probe": lambda: probes.probe(x, labels, part, config, 0),
    }


def measured(name: str, quick: bool) -> dict[str, float]:
    """The figures of a case, shown as a table on the way."""
    train, held_out, dim = CASES[name]
    data = features(train, held_out, dim)
    scores = probes.probe(*data, probes.Config(), 0)
    print(f"{name}: {train} train, {held_out} valid, {held_out} test rows of {dim} features")
    seconds = {}
    for part, call in parts(*data).items():
        seconds[f"{part}_seconds"] = least(call, 3 if quick else 7)
        print(f"  {part:12}{1e3 * seconds[f'{part}_seconds']:10.1f} ms")
    return seconds | scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the digits alone")
    quick = parser.parse_args().quick
    probes.probe(*features(100, 50, 8), probes.Config(), 0)  # loads every library, so that the limit reaches it
    with threadpool_limits(1):
        figures = {name: measured(name, quick) for name in CASES if name.startswith("digits") or not quick}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
