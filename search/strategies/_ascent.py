"""Where an acquisition function is highest, in a space of any shape.

Configs are drawn evenly and near the best that are known, and scored. From the best of them, and from others drawn by
their scores, three moves alternate until none helps: along the slopes of what has any, by BoTorch's L-BFGS-B, every
option staying as it is; to steps nearby; to other options, of which one that opens a branch brings drawn knobs.
Constraints are kept by drawing, and by going only part of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from botorch.generation.gen import gen_candidates_scipy
from numpy.typing import NDArray
from scipy.stats import qmc
from torch import Tensor

from search.strategies._encoding import Encoding, Spot, Vector, basic, neighbour, nominal, stepped
from spaces.domains import Domain, Fixed, Value
from spaces.space import Config, allowed, draws

Score = Callable[[Tensor], Tensor]  # (b, 1, width) -> (b,)
Pair = tuple[float, Spot]  # a score and who has it
Found = list[Pair]
ITERATIONS = 60  # of L-BFGS-B
ROUNDS, FEWER = 3, 2  # how often steps and slopes follow upon another, and for how many that still gain by it
NEARBY = 0.5  # configs drawn near those known, as a share of those drawn evenly
SHARES = (1.0, 0.5, 0.25)  # of the way to a summit that constraints may cut off
STRIDES = (-4, -2, -1, 1, 2, 4)


def highest(
    score: Score, encoding: Encoding, near: Sequence[Config], rng: np.random.Generator, drawn: int, starts: int
) -> list[Spot]:
    """Configs that score high, the best first.

    Args:
        score: the acquisition function.
        near: configs around which the search is dense.
        drawn: how many configs are drawn evenly.
        starts: from how many of the best the moves begin.
    """
    spots = [encoding.spread(units) for units in qmc.Sobol(len(encoding.places), rng=rng).random(drawn)]
    for config in near:
        spots += [nearby(encoding, config, rng) for _ in range(int(NEARBY * drawn / len(near)))]
    pool = {spot.key: spot for spot in spots if allowed(encoding.space, spot.config)}
    spots = list(pool.values())
    if not spots:
        return []
    scores = scored(score, spots)
    found = [(float(scores[place]), spots[place]) for place in lottery(scores, starts, rng)]
    done, found = list[Pair](), _climb(score, encoding, found)
    for _ in range(ROUNDS):
        hopped = _hop(score, encoding, found, rng)
        done += [old for old, new in zip(found, hopped, strict=True) if new is old]
        better = sorted((new for old, new in zip(found, hopped, strict=True) if new is not old), key=_worth)
        done, found = done + better[FEWER:], _climb(score, encoding, better[:FEWER])
    found = sorted(done + found, key=_worth)
    ranked = dict(zip(pool, scores, strict=True)) | {spot.key: value for value, spot in found}
    pool |= {spot.key: spot for _, spot in found}
    return sorted(pool.values(), key=lambda spot: -ranked[spot.key])


def scored(score: Score, spots: Sequence[Spot]) -> NDArray[np.float64]:
    """The scores of configs: (N,)."""
    with torch.no_grad():
        found = score(torch.from_numpy(np.array([spot.vector for spot in spots]))[:, None]).numpy()
    return np.where(np.isnan(found), -np.inf, found)


def lottery(scores: NDArray, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The place of the best of the scores, which are logarithms, and of others with chances as good as they are."""
    best, *rest = np.argsort(-scores, kind="stable")
    chances = np.exp(np.clip(scores[rest] - scores[best], -50, 0)) + 1e-12
    if not rest:
        return np.array([best])
    return np.array([best, *rng.choice(rest, min(number - 1, len(rest)), replace=False, p=chances / chances.sum())])


def nearby(encoding: Encoding, config: Config, rng: np.random.Generator) -> Spot:
    """The config with one knob or several moved, by a little or by more."""
    drawn = draws(encoding.space, config)
    moved = rng.random(len(drawn)) < rng.integers(1, len(drawn) + 1) / len(drawn)
    deviation = 10 ** rng.uniform(-3, -0.5)
    chosen = [name for name, move in zip(drawn, moved, strict=True) if move]
    changes = {basic(name): neighbour(*drawn[name], deviation, rng) for name in chosen}
    return encoding.changed(config, changes, rng)


def _worth(pair: Pair) -> float:
    return -pair[0]


def _climb(score: Score, encoding: Encoding, found: Found) -> Found:
    """Each config moved along its slopes, all at once."""
    points = torch.from_numpy(np.array([spot.vector for _, spot in found]).reshape(-1, encoding.width))
    slopes = torch.from_numpy(np.array([encoding.slopes(spot) for _, spot in found]).reshape(points.shape))
    columns = torch.nonzero(slopes.any(0))[:, 0]
    if not len(columns):
        return found

    def along(moved: Tensor) -> Tensor:
        """The score where the config named by the last column has moved to, in those columns that are its own."""
        rows = (moved[..., -1] * len(points)).round().long()
        whole = points[rows].index_copy(-1, columns, moved[..., :-1])
        return score(torch.where(slopes[rows], whole, points[rows]))

    rows = torch.arange(len(points), dtype=torch.float64) / len(points)  # within the bounds of all columns
    ends, _ = gen_candidates_scipy(
        torch.cat([points[:, columns], rows[:, None]], 1)[:, None],
        along,
        0.0,
        1.0,
        fixed_features={len(columns): rows},
        options={"maxiter": ITERATIONS},
        use_parallel_mode=True,
    )
    moved = torch.where(slopes, points.index_copy(1, columns, ends[:, 0, :-1]), points)
    return [_farthest(score, encoding, *item) for item in zip(found, moved.numpy(), strict=True)]


def _farthest(score: Score, encoding: Encoding, pair: Pair, end: Vector) -> Pair:
    """How far on the way to a summit a config can go, if that is better than to stay."""
    start = pair[1].vector
    way = (encoding.decode(start + share * (end - start)) for share in SHARES)
    spot = next((spot for spot in way if allowed(encoding.space, spot.config)), None)
    reached = (float(scored(score, [spot])[0]), spot) if spot else pair
    return reached if reached[0] > pair[0] else pair


def _hop(score: Score, encoding: Encoding, found: Found, rng: np.random.Generator) -> Found:
    """Each config, or the best of those that differ from it in one step or option."""
    if encoding.smooth:
        return found
    result = []
    for pair in found:
        others = [other for other in _others(encoding, pair[1], rng) if allowed(encoding.space, other.config)]
        scores = scored(score, others) if others else np.array([-np.inf])
        best = int(scores.argmax())
        result.append((float(scores[best]), others[best]) if scores[best] > pair[0] else pair)
    return result


def _others(encoding: Encoding, spot: Spot, rng: np.random.Generator) -> Iterator[Spot]:
    for name, (domain, value) in draws(encoding.space, spot.config).items():
        for other in _alternatives(domain, value):
            yield encoding.changed(spot.config, {basic(name): other}, rng)


def _alternatives(domain: Domain, value: Value) -> list[Value]:
    """What a knob could be instead: every other option, or steps nearby; nothing where there are slopes."""
    if nominal(domain):
        found = domain.grid(0)
    elif stepped(domain) and not isinstance(domain, Fixed):
        found = [domain.from_unit(domain.to_unit(value) + stride / domain.size) for stride in STRIDES]
    else:
        found = []
    return [v for i, v in enumerate(found) if (type(v), v) != (type(value), value) and v not in found[:i]]
