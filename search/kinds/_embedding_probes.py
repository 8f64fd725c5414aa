"""What an embedding of circuits is good for: searches replayed in its latents, and how well they tell rewards.

Rewards are those of the pool benchmark (`objectives.circuits.labelled`), on tasks that choose between embeddings and on
others that are only reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from objectives.circuits.embedding import Embedding, generation, reward_probes
from objectives.circuits.labelled import PROBLEMS, Labelled
from objectives.features import spread
from objectives.kinds import Metrics
from search.latent.replay import search
from search.latent.searchers import reinforce
from spaces.circuits.pool import CircuitError
from spaces.document import complaint
from spaces.domains import Int


@dataclass(frozen=True)
class Probing:
    """What the embedding is asked to be good for."""

    tasks: str = "default"  # benchmark tasks to choose by, with commas; or default: `VALIDATION`
    test_tasks: str = "others"  # those that choose nothing, with commas; or others, or none
    queries: Annotated[int, Int(10, 100_000)] = 300  # circuits that a replayed search may look up
    seeds: Annotated[int, Int(1, 1000)] = 5  # replayed searches a task, the same seeds in every trial
    generated: Annotated[int, Int(1, 1_000_000)] = 1000  # circuits invented to see whether they are any


VALIDATION = {4: ("state0", "state2", "bell", "maxcut"), 8: ("state0", "state2", "maxcut")}  # by wires
PROBED = 10_000  # circuits that regressions and neighbours see, at most
EXPECTED = 1.0  # candidates of a random search, from which on a task says anything about searches
REWARDS = ("smoothness", "ridge_r2", "knn_r2", "knn_spearman")


def chosen(probing: Probing, wires: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tasks that choose, and those that are only reported.

    Raises:
        CircuitError: a task that the register does not have, or one that is among both.
    """
    known = PROBLEMS[wires]
    valid = VALIDATION[wires] if probing.tasks == "default" else _names(probing.tasks)
    others = {"others": tuple(name for name in known if name not in valid), "none": ()}
    test = others.get(probing.test_tasks, _names(probing.test_tasks))
    if not valid:
        raise CircuitError(complaint("", "no task is named to choose by (tasks)", known))
    for name in (*valid, *test):
        if name not in known:
            raise CircuitError(complaint("", f"there is no benchmark task {name!r} on {wires} wires", known, near=name))
        if name in valid and name in test:
            raise CircuitError(f"the task {name!r} cannot both choose (tasks) and be kept apart (test_tasks)")
    return valid, test


def _names(text: str) -> tuple[str, ...]:
    """The names of a list with commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def probed(embedding: Embedding, config: Any, pool: Labelled, probing: Probing) -> Metrics:
    """What an embedding built from `config`, as it stands, is good for; test tasks' metrics are called `test_...`.

    Raises:
        CircuitError: its vectors are not finite, or no task that chooses has candidates enough to judge a search by.
    """
    tasks, test_tasks = chosen(probing, pool.pool.wires)
    vectors = embedding.embed(pool.pool)
    if not np.isfinite(vectors).all():
        raise CircuitError("collapsed or diverged: latents are not finite")
    found = scores(vectors, pool, tasks, probing)
    if "candidates_ratio" not in found:
        raise CircuitError(
            f"searches cannot be judged: on none of {', '.join(tasks)} is random search expected to find a candidate "
            f"in {probing.queries} of {len(pool.pool)} circuits; more circuits, more queries or other tasks are wanted"
        )
    test = scores(vectors, pool, test_tasks, probing)
    if generate := getattr(embedding, "generate", None):
        nodes, adjacency = generate(pool.pool, probing.generated, 0)
        found |= generation(nodes, adjacency, pool.pool, config)
    return found | {f"test_{name}": value for name, value in test.items()}


def scores(vectors: NDArray, pool: Labelled, tasks: Sequence[str], probing: Probing) -> Metrics:
    """The means over tasks of how well vectors (B, d) guide searches and tell rewards.

    A task of which random search is expected to find less than one candidate counts with its rewards only; where none
    has more, there is no `candidates_ratio`, and where there are no tasks, nothing.
    """
    rows = spread(np.arange(len(vectors)), PROBED)
    told = [reward_probes(vectors[rows], pool.rewards[pool.of(task)][rows]) for task in tasks]
    ratios = [ratio for task in tasks if (ratio := ratios_of(vectors, pool, task, probing)) is not None]
    found: Metrics = {}
    if ratios:
        each = np.mean(ratios, 0)
        found |= {"candidates_ratio": float(each.mean()), "candidates_ratio_std": float(each.std())}
    return found | {name: float(np.mean([one[name] for one in told])) for name in REWARDS if told}


def ratios_of(vectors: NDArray, pool: Labelled, task: str, probing: Probing) -> NDArray[np.float64] | None:
    """Candidates of replayed REINFORCE over those expected of random search, (seeds,); None where these are too few."""
    row = pool.of(task)
    hits, rewards = pool.candidates[row], pool.rewards[row]
    expected = min(probing.queries, len(hits)) * float(hits.mean())
    if expected < EXPECTED:
        return None
    config = reinforce.Config(**reinforce.PUBLISHED[pool.pool.wires].get(task, {}))  # type: ignore[arg-type]
    seeds = range(1, probing.seeds + 1)
    visited = (search(reinforce.build(config, vectors, seed), rewards, probing.queries) for seed in seeds)
    return np.array([hits[circuits].sum() / expected for circuits in visited])
