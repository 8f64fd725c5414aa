"""Collapse, recognised while a trial trains: a representation that has stopped telling images apart.

The watch looks at the frozen features of the same few images after every epoch of the first third, and at rungs, and
at the loss. It knows five ways to fail; what it says names the cause, and what to try.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from objectives.kinds import Failed
from objectives.label_free import effective_rank

EARLY = 1 / 3  # of the epochs, in which every one is looked at
FLAT = 1e-3  # spread of features, relative to their length, below which they are constant
LOST_SPREAD = 0.08  # share of the untrained network's relative spread below which they are on their way there
LOST_RANK = 0.25  # share of the untrained network's effective rank below which dimensions have collapsed
FEWEST_DIMENSIONS = 1.7  # effective rank that alone is as good as none
CROWDS = 8  # clusters that would be few, whatever the data
CROWDED = 0.9  # share of the features' variance that lies between so many clusters if these have collapsed
LINE = 0.85  # share of it along one axis, from which on they lie on a line rather than in clusters
THIN = 0.95  # share of it along one axis, beside which there is next to nothing
SHORT = 0.2  # share of the untrained network's relative spread below which so thin a line is a short one
LOST_WITHIN = 0.25  # share of the variance within clusters that the untrained network's features had, left by then
BLOWN_UP = 10.0  # a loss that has grown by so many times its first size, or by that where it is below 1
HINTS = {
    "constant": "weigh more what keeps features apart (variance, temperature, momentum), or lower the learning rate",
    "dimensional": "weigh more what decorrelates (covariance), widen the projector, or augment less",
    "cluster": "take more prototypes or a softer assignment (epsilon), or lower the learning rate",
    "not a number": "lower the learning rate, or clip gradients harder",
    "divergence": "lower the learning rate, warm it up longer, or clip gradients harder",
}


class Collapsed(Failed):
    """A trial whose representation has collapsed; `cause` is one of `HINTS`."""

    def __init__(self, cause: str, what: str, epoch: int) -> None:
        super().__init__(f"collapsed ({cause}): {what} in epoch {epoch}; {HINTS[cause]}")
        self.cause, self.what, self.epoch = cause, what, epoch

    def __reduce__(self) -> tuple[type[Collapsed], tuple[str, str, int]]:
        return type(self), (self.cause, self.what, self.epoch)  # what it is made of, not the words that it says


@dataclass
class Watch:
    """What a trial looked like before it trained, and what it must not come to.

    Attributes:
        rank: effective rank of the untrained network's features on the images that are watched.
        spread: of those features, relative to their length.
        loss: of the first epoch.
        suspected: the cause that the last look found, if it needs a second one to be sure.
        crowding: the share of the untrained features' variance that lay between `CROWDS` clusters; much where the
            images themselves are few scenes, over and over.
    """

    rank: float
    spread: float
    loss: float = math.nan
    suspected: str = field(default="")
    crowding: float = 0.0

    @classmethod
    def of(cls, features: np.ndarray) -> Watch:
        """The watch over a network whose untrained features of the watched images are `(n, D)`."""
        return cls(_rank(features), relative_spread(features), crowding=crowded(features))

    def losses(self, losses: Mapping[str, float], epoch: int) -> None:
        """Raises Collapsed where the loss of an epoch is no number or has blown up."""
        for name, value in losses.items():
            if not math.isfinite(value):
                raise Collapsed("not a number", f"{name} became {value}", epoch)
        if math.isnan(self.loss):
            self.loss = losses["loss"]
        grown = losses["loss"] - self.loss
        if grown > BLOWN_UP * max(abs(self.loss), 1):
            raise Collapsed("divergence", f"the loss rose from {self.loss:.3g} to {losses['loss']:.3g}", epoch)

    def features(self, features: np.ndarray, epoch: int) -> None:
        """Raises Collapsed where features `(n, D)` of the watched images have collapsed.

        Features that are no numbers are told at once, all else at the second look that finds it, since training may
        pass through it.
        """
        if not np.isfinite(features).all():
            raise Collapsed("not a number", "features are not finite", epoch)
        found = diagnosis(features, self.rank, self.spread, self.crowding)
        if found is not None and found[0] == self.suspected:
            raise Collapsed(*found, epoch)
        self.suspected = found[0] if found else ""

    def state_dict(self) -> dict[str, object]:
        """All that the watch remembers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Watch:
        """The watch as it was."""
        return cls(**state)  # type: ignore[arg-type]


def diagnosis(features: np.ndarray, rank: float, spread: float, crowding: float = 0.0) -> tuple[str, str] | None:
    """The cause and the words for features `(n, D)` that have collapsed, given the rank, the relative spread and the
    crowding that the untrained network's had."""
    now, left, axis = relative_spread(features), _rank(features), along_axis(features)
    lost = now <= LOST_SPREAD * spread
    if now <= FLAT or (lost and axis < LINE):
        return "constant", f"features of different images differ by {now:.1e} of their length, at first by {spread:.1e}"
    if axis < LINE and (share := crowded(features)) > max(CROWDED, 1 - LOST_WITHIN * (1 - crowding)):
        return "cluster", f"{share:.1%} of the features' variance lies between {CROWDS} clusters"
    if left < max(FEWEST_DIMENSIONS, LOST_RANK * rank):
        return "dimensional", f"the effective rank of features fell from {rank:.1f} to {left:.2f}"
    if lost or (axis >= THIN and now <= SHORT * spread):  # to a short line; noise around it keeps the rank up
        return "dimensional", f"features lie near one place, {axis:.0%} of their variance along one axis"
    return None


def relative_spread(features: np.ndarray) -> float:
    """Root mean square distance of features `(n, D)` from their mean, over their root mean square length."""
    x = features.astype(np.float64)
    length = math.sqrt(float(np.mean(np.sum(x**2, axis=1))))
    spread = math.sqrt(float(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1))))
    return spread / length if length > 0 else 0.0


def along_axis(features: np.ndarray) -> float:
    """The share of the variance of features `(n, D)` along their first principal axis."""
    x = features.astype(np.float64)
    energy = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    return float(energy[0] / energy.sum()) if energy.sum() > 0 else 1.0


def crowded(features: np.ndarray) -> float:
    """The share of the variance of features `(n, D)` that lies between `CROWDS` clusters, found by k-means; of a normal
    distribution on a line it is 0.965 (Max 1960)."""
    from sklearn.cluster import KMeans  # here: scikit-learn is slow to import
    from sklearn.exceptions import ConvergenceWarning

    x = features.astype(np.float64)
    total = float(np.sum((x - x.mean(axis=0)) ** 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        found = KMeans(min(CROWDS, len(x)), n_init=1, random_state=0).fit(x)
    return 1 - float(found.inertia_) / total if total > 0 else 1.0


def _rank(features: np.ndarray) -> float:
    """Effective rank of features less their mean."""
    x = features.astype(np.float64)
    return effective_rank(np.linalg.svd(x - x.mean(axis=0), compute_uv=False))
