"""Clusters of rows: k-means, k-means that goes on while the rows change, spectral, by merging, and of equal size.

Every label is a long in 0 .. K - 1, and no cluster is ever left empty.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sklearn.cluster import AgglomerativeClustering, SpectralClustering
from torch import Tensor, nn

from objectives.parts.precision import full_precision
from objectives.parts.quantiser import nearest
from objectives.parts.sinkhorn import transport


@full_precision
@torch.no_grad()
def kmeans(
    x: Tensor, k: int, generator: torch.Generator, iterations: int = 30, restarts: int = 1, spherical: bool = False
) -> tuple[Tensor, Tensor]:
    """Centroids `(k, d)` and labels `(n,)` of rows `(n, d)`; each centroid is the mean of its members.

    Lloyd's iterations until nothing changes, from rows drawn by the square of their distance to those drawn before
    (k-means++; Arthur and Vassilvitskii, SODA 2007), each the best of a few; the best of so many restarts. A cluster
    that falls empty takes the row that is farthest from its centroid. `spherical` brings rows and centroids to length
    1, so that cosines decide (Dhillon and Modha, 2001).

    Raises:
        ValueError: fewer rows than clusters.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"{len(x)} rows cannot make {k} clusters")
    middle = torch.zeros_like(x[0]) if spherical else x.mean(dim=0)  # a common offset would cost precision
    x = F.normalize(x, dim=1) if spherical else x - middle
    tries = [_lloyd(x, k, generator, iterations, spherical) for _ in range(restarts)]
    centroids, labels = min(tries, key=lambda found: float(_distances(x, *found).sum()))
    return centroids + middle, labels


def _lloyd(x: Tensor, k: int, generator: torch.Generator, iterations: int, spherical: bool) -> tuple[Tensor, Tensor]:
    centroids = _seeds(x, k, generator)
    labels = torch.full((len(x),), -1, device=x.device)
    for _ in range(max(iterations, 1)):
        before, labels = labels, nearest(x, centroids)
        labels = _refill(labels, _distances(x, centroids, labels), k)
        centroids = means(x, labels, centroids)
        centroids = F.normalize(centroids, dim=1) if spherical else centroids
        if torch.equal(before, labels):
            break
    return centroids, labels


def _seeds(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k rows, each the best of 2 + log k that were drawn by the square of the distance to those before."""
    lots = torch.rand(k, 2 + int(math.log(k)), generator=generator, device=generator.device).to(x.device, x.dtype)
    lengths, chosen, distance = x.square().sum(dim=1), [], torch.ones_like(x[:, 0])
    for step, lot in enumerate(lots):
        mass = distance.cumsum(0)
        picks = x[torch.searchsorted(mass, lot * mass[-1], right=True).clamp(max=len(x) - 1)]
        new = (lengths - 2 * picks @ x.T + picks.square().sum(dim=1, keepdim=True)).clamp(min=0)
        new = torch.minimum(distance, new) if step else new
        best = new.sum(dim=1).argmin() if step else 0  # the first one is any row
        chosen.append(picks[best])
        distance = new[best]
    return torch.stack(chosen)


def _distances(x: Tensor, centroids: Tensor, labels: Tensor) -> Tensor:
    """Squared distances `(n,)` of rows to their centroids."""
    return (x - centroids[labels]).square().sum(dim=1)


def _refill(labels: Tensor, distances: Tensor, k: int) -> Tensor:
    """Labels under which no cluster is empty: each empty one takes the farthest row of those not alone in theirs."""
    sizes = torch.bincount(labels, minlength=k)
    for empty in (sizes == 0).nonzero().flatten().tolist():
        far = distances.masked_fill(sizes[labels] < 2, -1).argmax()
        sizes[labels[far]] -= 1
        sizes[empty] = 1
        labels[far] = empty
    return labels


@full_precision
@torch.no_grad()
def means(x: Tensor, labels: Tensor, centroids: Tensor) -> Tensor:
    """The mean `(k, d)` of the rows `(n, d)` of each label; that of `centroids` `(k, d)` where a label has none."""
    sizes = torch.bincount(labels, minlength=len(centroids)).unsqueeze(1)
    sums = torch.zeros_like(centroids).index_add_(0, labels, x.to(centroids))
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids)


class Centroids(nn.Module):
    """Clusters of a bank of rows that are kept up while the rows change, as in online deep clustering.

    Rows are given to the centroid of the largest inner product. Centroids are means, not brought back to length 1, so
    that a compact cluster has the longer one and draws more.

    Sources: Zhan et al., "Online Deep Clustering" (CVPR 2020, arXiv 2006.10645); InterCLR (Xie et al., IJCV 2022, arXiv
    2008.11702): 10,000 clusters of at least 20 of 1.28 million images.

    Attributes:
        means: `(k, D)`.
    """

    means: Tensor

    def __init__(self, k: int, width: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(k, width))

    def start(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Labels `(N,)` of features `(N, D)` by `kmeans`, whose centroids are kept."""
        centroids, labels = kmeans(features, len(self.means), generator)
        self.means.copy_(centroids)
        return labels

    @full_precision
    @torch.no_grad()
    def assign(self, rows: Tensor) -> Tensor:
        """Labels `(B,)` of rows `(B, D)`."""
        return (rows.to(self.means) @ self.means.T).argmax(dim=1)

    def recompute(self, features: Tensor, labels: Tensor) -> None:
        """Means of features `(N, D)` under labels `(N,)`; a cluster without members keeps what it had."""
        self.means.copy_(means(features, labels, self.means))

    def tidy(self, features: Tensor, labels: Tensor, smallest: int, generator: torch.Generator) -> Tensor:
        """New labels `(N,)`, by `rebalance`; the centroids of clusters that it touched are recomputed."""
        new = rebalance(features, labels, self.means, smallest, generator)
        moved = new != labels
        touched = torch.zeros(len(self.means), dtype=torch.bool, device=new.device)
        touched[torch.cat([labels[moved], new[moved]])] = True
        self.means.copy_(torch.where(touched.unsqueeze(1), means(features, new, self.means), self.means))
        return new


@full_precision
@torch.no_grad()
def rebalance(features: Tensor, labels: Tensor, centroids: Tensor, smallest: int, generator: torch.Generator) -> Tensor:
    """Labels `(N,)` of features `(N, D)` without small clusters, from `labels` and `centroids` `(k, D)`.

    The members of each cluster of fewer than `smallest` go to the large cluster of the largest inner product; then,
    slot by slot, the cluster with most members is halved by 2-means, one half moving into the slot. `smallest` counts
    for no more than N // k, so that a large cluster there is. A half can be small, until the next time. With N at
    least k, none is empty afterwards.

    Raises:
        ValueError: fewer features than clusters, some of them empty.
    """
    k = len(centroids)
    smallest = max(min(smallest, len(labels) // k), 1)
    sizes = torch.bincount(labels, minlength=k)
    small = sizes < smallest
    away = small[labels]
    similar = (features[away] @ centroids.T).masked_fill(small, -torch.inf)
    labels = labels.clone()
    labels[away] = similar.argmax(dim=1)
    for slot in small.nonzero().flatten().tolist():
        biggest = torch.bincount(labels, minlength=k).argmax()
        members = (labels == biggest).nonzero().flatten()
        half = kmeans(features[members], 2, generator)[1].bool()
        labels[members[half]] = slot
    return labels


def spectral(affinity: Tensor, k: int, seed: int) -> Tensor:
    """Labels `(n,)` of an affinity `(n, n)`, none below 0, by spectral clustering; its mean with the transpose counts.

    Source: von Luxburg, "A Tutorial on Spectral Clustering" (2007); scikit-learn's is used.
    """
    matrix = affinity.detach().double().cpu()
    found = SpectralClustering(k, affinity="precomputed", random_state=seed).fit_predict(
        ((matrix + matrix.T) / 2).numpy()
    )
    return torch.from_numpy(found).long().to(affinity.device)


def agglomerative(x: Tensor, k: int) -> Tensor:
    """Labels `(n,)` of rows `(n, d)`: the two clusters whose union adds least variance are merged until k are left.

    Source: Ward, "Hierarchical Grouping to Optimize an Objective Function" (JASA 1963); scikit-learn's is used, which
    takes memory quadratic in n.
    """
    rows = x.detach().double().cpu().numpy()
    return torch.from_numpy(AgglomerativeClustering(k).fit_predict(rows)).long().to(x.device)


@full_precision
@torch.no_grad()
def balanced(x: Tensor, centroids: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Labels `(n,)` of rows `(n, d)` at least distance from centroids `(k, d)`, so that all get about equally many.

    The cost of a pair is its Euclidean distance; a row takes the centroid that gets most of its mass in `transport`.

    Source: BECLR (Poulakakis-Daktylidis and Jamali-Rad, ICLR 2024, arXiv 2402.02444). The authors' code
    has the sign the other way round, which prefers what is far.
    """
    return transport(torch.cdist(x, centroids.to(x)), epsilon, iterations).argmax(dim=1)
