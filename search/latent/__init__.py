"""Search in a learned architecture space: which circuits of a pool to evaluate next. Ask and tell; no Ray inside.

A pool of B circuits is seen only through its latents (B, d), and a circuit only as its index. A searcher is built by
`build(config, latents, seed)` of a module in `searchers` (which says `BLIND = True` if it looks at none), and lives
by four rules:

- **Asking changes nothing.** Proposals come from the seed, from what was told and from which circuits joined; asked
  again before either, a searcher answers the same. So proposals must be told before the next are asked for.
- **Telling and extending are all there is to remember.** A searcher's state depends on the sequence of pairs
  (index, reward) that it was told and of the circuits that joined between them, not on how the pairs were grouped nor
  on what was asked: tell and extend a new one likewise and it goes on as the old one would have, to the bit on the
  same machine. Circuits that it did not propose may be told too.
- **Nothing comes twice.** A circuit that was told is never proposed again, and every circuit is proposed in the end.
- **A pool grows behind its end.** Circuits that join change no index, and no coordinates in which a searcher sees those
  there before. They void what was proposed and not told: such circuits may be told, but as any others that the
  searcher did not propose. So extend, then ask, then tell.

Rewards are better when larger, about 0..1, finite; an evaluation that failed is told as 0.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Searcher(Protocol):
    """Built by a searcher's `build(config, latents, seed)`."""

    @property
    def batch(self) -> int:
        """How many proposals, 1 at least, it would like to be told before it is asked again."""
        ...

    def ask(self, n: int) -> NDArray[np.int64]:
        """The next `n` circuits to evaluate: distinct, none of them told before: (n,), or all that are left: (< n,).

        Raises:
            ValueError: n is below 1.
        """
        ...

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        """Takes note of circuits' rewards: both (n,), in the order in which the circuits were proposed.

        Raises:
            ValueError: shapes that differ, an index outside the pool or told before, a reward that is not finite.
                Nothing is noted then.
        """
        ...

    def extend(self, latents: NDArray) -> None:
        """Takes circuits into the pool, behind those there: (N, d), with indices from the pool's size on.

        Raises:
            ValueError: latents that are not (N, d), N at least 1 and d that of the pool, or not finite. Nothing joins
                then.
        """
        ...
